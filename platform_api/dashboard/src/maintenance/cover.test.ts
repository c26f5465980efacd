import { expect, test } from "vitest";
import { covers, instantOf, localOf, phaseOf } from "./cover";

test("a window covers what its scope names, in its own town only", () => {
  const lamp = { municipality: "41280", device: "sl-1", kind: "streetlight", agent: "pole-1", circuit: "c-1" };
  const of = (scope: "municipality" | "kind" | "circuit" | "agent" | "device", target: string | null, municipality = "41280") => covers({ municipality, scope, target }, lamp);
  expect([of("municipality", null), of("kind", "streetlight"), of("circuit", "c-1"), of("agent", "pole-1"), of("device", "sl-1")]).toEqual([true, true, true, true, true]);
  expect([of("kind", "waste_container"), of("circuit", "c-2"), of("device", "sl-2"), of("municipality", null, "41480")]).toEqual([false, false, false, false]);
  expect(covers({ municipality: "41280", scope: "circuit", target: "c-1" }, { ...lamp, circuit: undefined })).toBe(false);
});

test("a window is planned, then active, then over; its end is no longer part of it", () => {
  expect([9, 10, 19, 20].map((now) => phaseOf({ from: 10, to: 20 }, now))).toEqual(["planned", "active", "active", "over"]);
});

test("what the town's clock shows and the instant are one another's, in summer, in winter and where clocks change", () => {
  for (const zone of ["Asia/Seoul", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]) {
    for (const local of ["2026-01-15T08:30", "2026-07-15T23:05", "2026-03-29T03:30", "2026-10-25T04:00"]) {
      const at = instantOf(local, zone);
      expect(at !== null && localOf(at, zone)).toBe(local);
    }
  }
  expect(instantOf("2026-10-25T02:30", "Europe/Berlin")).toBe(Date.UTC(2026, 9, 25, 0, 30));
  expect(instantOf("", "Asia/Seoul")).toBeNull();
});
