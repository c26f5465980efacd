import { expect, test } from "vitest";
import { HOME, read, write } from "./address";

test("every view survives the address bar", () => {
  const view = { ...HOME, place: "alarms" as const, device: 12, alarm: 7, tab: "closed" as const, severity: "3", detector: "stuck", assigned: "minji", cause: "false", reason: "torn", span: "6h" as const, at: 1_790_000_000_000, municipality: "41280", kind: "streetlight", state: "critical", m: "12.50/37.65800/126.83200" };
  expect(read(write(view))).toEqual(view);
  expect(write(HOME)).toBe("#/map");
});

test("an address that makes no sense leads home", () => {
  expect(read("#/nowhere?device=abc&span=2y&at=-1&tab=all&severity=9&cause=bad")).toEqual(HOME);
  expect(read("")).toEqual(HOME);
});
