import { expect, test } from "vitest";
import type { Alarm } from "../api/types";
import { HOME } from "../route/address";
import { narrowed, question, questions, rowsOf, type Choice } from "./choice";
import { evidenceOf, parametersOf, pointsOf } from "./evidence";
import { momentOf, spanAround } from "./moment";
import { each } from "./triage.svelte";

const HOUR = 3_600_000;
const { tab, severity, kind, detector, municipality, assigned, cause } = HOME;
const EVERYTHING: Choice = { tab, severity, kind, detector, municipality, assigned, cause };
const alarm = (over: Partial<Alarm>) => ({ alarm_id: 1, parent_id: null, ...over }) as Alarm;

test("an alarm of the past leads to its own time, one of now to the newest observation", () => {
  expect(momentOf({ device_id: 7, opened_at: 100 * HOUR }, "24h", 200 * HOUR)).toEqual({ device: 7, at: 106 * HOUR });
  expect(momentOf({ device_id: 7, opened_at: 100 * HOUR }, "24h", 101 * HOUR)).toEqual({ device: 7, at: null });
});

test("the chart around an alarm shows what led to it, all of it, and never the future", () => {
  const [from, to] = spanAround(100 * HOUR, 110 * HOUR, 200 * HOUR, "fit");
  expect([from <= 90 * HOUR, to >= 110 * HOUR, to <= 200 * HOUR]).toEqual([true, true, true]);
  expect(spanAround(100 * HOUR, null, 101 * HOUR, "fit")[1]).toBe(101 * HOUR);
  expect(spanAround(100 * HOUR, null, 101 * HOUR, "24h")).toEqual([77 * HOUR, 101 * HOUR]);
  const [first, last] = spanAround(100 * HOUR, 100 * HOUR, 200 * HOUR, "fit");
  expect(last - first).toBeGreaterThan(3 * HOUR);
});

test("what is to do is asked worst first; the past is one question; a chosen severity is one, too", () => {
  expect(questions(EVERYTHING).map((q) => [q.state, q.severity])).toEqual([["open,acknowledged", "3"], ["open,acknowledged", "2"], ["open,acknowledged", "1"]]);
  expect(questions({ ...EVERYTHING, tab: "cleared" })).toEqual([question({ ...EVERYTHING, tab: "cleared" })]);
  expect(questions({ ...EVERYTHING, severity: "2", kind: "streetlight", assigned: "kim" })).toMatchObject([{ severity: "2", kind: "streetlight", assigned_to: "kim" }]);
});

test("a cause narrows closed alarms only", () => {
  expect(question({ ...EVERYTHING, cause: "false" }).cause).toBe("");
  expect(question({ ...EVERYTHING, tab: "closed", cause: "false" }).cause).toBe("false");
  expect([narrowed(EVERYTHING), narrowed({ ...EVERYTHING, cause: "false" }), narrowed({ ...EVERYTHING, detector: "stuck" })]).toEqual([false, false, true]);
});

test("members stand below their unfolded group alarm, and nowhere else", () => {
  const [group, other] = [alarm({ alarm_id: 5 }), alarm({ alarm_id: 4 })];
  const members = [alarm({ alarm_id: 2, parent_id: 5 }), alarm({ alarm_id: 3, parent_id: 5 })];
  expect(rowsOf([group, other], new Map()).map((r) => r.alarm.alarm_id)).toEqual([5, 4]);
  expect(rowsOf([group, other], new Map([[5, members]])).map((r) => [r.alarm.alarm_id, r.member])).toEqual([[5, false], [2, true], [3, true], [4, false]]);
});

test("evidence tells the last value, and how far it lies from the nearer limit", () => {
  const seen = { values: [221, null, 290.5], observed_at: [1, 2, 3], low: 187, high: 253 };
  expect(evidenceOf(seen)).toEqual({ value: 290.5, at: 3, low: 187, high: 253, expected: null, off: 37.5 });
  expect(evidenceOf({ values: [170], low: 187 }).off).toBe(-17);
  expect(evidenceOf({ values: [200], low: 187, high: 253 }).off).toBeNull();
  expect(evidenceOf({ values: [9], expected: 4 }).off).toBe(5);
  expect(evidenceOf(null)).toEqual({ value: null, at: null, low: null, high: null, expected: null, off: null });
  expect(pointsOf(seen)).toEqual([[1, 221], [3, 290.5]]);
});

test("parameters are read as the profile writes them, whatever their depth", () => {
  expect(parametersOf({ parameters: { out_of_range: { low: 187, high: null }, ignore: [0, 1], empty: [], threshold: 0.30000001 } })).toEqual([
    ["out_of_range.low", "187"], ["ignore", "0, 1"], ["threshold", "0.3"],
  ]);
});

test("of many deeds one failure is told, and the others are done", async () => {
  const done: number[] = [];
  const act = async (n: number) => {
    if (n === 2) throw new Error("two");
    done.push(n);
  };
  await expect(each([1, 2, 3, 4, 5, 6], act)).rejects.toThrow("two");
  expect(done.sort()).toEqual([1, 3, 4, 5, 6]);
});
