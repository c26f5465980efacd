import { expect, test } from "vitest";
import type { FleetMap } from "../api/types";
import { devicesOf } from "./fleet";

const part: FleetMap["parts"][number] = {
  municipality: "41280", kind: "streetlight", device_id: [7, 9], device: ["sl-7", "sl-9"], longitude: [126.8, 126.9], latitude: [37.6, 37.7],
  state: ["ok", "unknown"], observed_at: [1760000000000, null], values: { voltage: [221.5, null], power_state: ["on", null] },
};

test("each row of each part is one device, with values of its own", () => {
  const [lamp, silent, bin] = devicesOf({ as_of: null, parts: [part, { ...part, kind: "waste_container", device_id: [11], values: { filling_level: [0.5] } }] });
  expect(lamp).toEqual({
    id: 7, device: "sl-7", municipality: "41280", kind: "streetlight", position: [126.8, 37.6], state: "ok", observedAt: 1760000000000,
    values: { voltage: 221.5, power_state: "on" },
  });
  expect(silent).toMatchObject({ id: 9, observedAt: null, state: "unknown", values: { voltage: null, power_state: null } });
  expect(bin).toMatchObject({ id: 11, kind: "waste_container", values: { filling_level: 0.5 } });
});

test("a map without devices has none", () => {
  expect([...devicesOf({ as_of: null, parts: [] })]).toEqual([]);
});
