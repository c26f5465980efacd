import { expect, test } from "vitest";
import type { Alarm } from "../api/types";
import { momentOf } from "./moment";
import { matching, NO_CHOICE } from "./choice";

const HOUR = 3_600_000;
const alarm = (over: Partial<Alarm>) => ({ alarm_id: 1, severity: 2, detector: "stuck", kind: "streetlight", municipality: "41280", state: "open", opened_at: 0, ...over }) as Alarm;

test("an alarm of the past leads to its own time, one of now to the newest observation", () => {
  expect(momentOf({ device_id: 7, opened_at: 100 * HOUR }, "24h", 200 * HOUR)).toEqual({ device: 7, at: 106 * HOUR });
  expect(momentOf({ device_id: 7, opened_at: 100 * HOUR }, "24h", 101 * HOUR)).toEqual({ device: 7, at: null });
});

test("a list shows what matches every choice, and everything without one", () => {
  const list = [alarm({}), alarm({ alarm_id: 2, severity: 3 }), alarm({ alarm_id: 3, severity: 3, kind: "waste_container" })];
  expect(matching(list, NO_CHOICE)).toHaveLength(3);
  expect(matching(list, { ...NO_CHOICE, severity: 3, kind: "waste_container" }).map((a) => a.alarm_id)).toEqual([3]);
});
