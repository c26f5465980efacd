import { expect, test } from "vitest";
import type { Alarm, Profile, Property, Series } from "../api/types";
import { alarmSpan, bands, expectedBand, groups, merged, nearest, runs } from "./series";

const property = (over: Partial<Property>): Property => ({
  type: "number", unit: "W", label: { en: "", ko: "" }, decimals: 1, values: [], value_labels: {}, chart: true, range: null, ...over,
});
const profile: Profile = {
  label: { en: "", ko: "" }, symbol: "garage", display: {}, report_period_s: 60,
  properties: {
    free: property({ type: "integer", unit: "1" }), taken: property({ type: "integer", unit: "1" }),
    level: property({ unit: "1" }), status: property({ type: "enum" }), hidden: property({ chart: false }),
  },
};
const series: Series = {
  device_id: 1, kind: "garage", resolution: "minute", from: 0, to: 400, gap_after_s: 1, observed_at: [0, 100, 200, 300],
  properties: {
    free: { mean: [1, 2, null, 4], min: [0, 1, null, 3], max: [2, 3, null, 5] }, taken: { mean: [9, 8, null, 6], min: [9, 8, null, 6], max: [9, 8, null, 6] },
    level: { mean: [0.5, 0.5, null, 0.25], min: [0.5, 0.5, null, 0.2], max: [0.5, 0.5, null, 0.3] },
    status: { value: ["open", "open", null, "full"] }, hidden: { mean: [1, 1, 1, 1] },
  },
  alarms: [],
};
const alarm = (over: Partial<Alarm>) => ({ opened_at: 10, last_finding_at: 50, cleared_at: null, state: "open", evidence: null, ...over }) as Alarm;

test("properties of one unit share a chart, shares of one have their own in per cent", () => {
  const made = groups(profile, series);
  expect(made.map((g) => g.lines.map((l) => l.name))).toEqual([["free", "taken"], ["level"]]);
  expect(made[1]).toMatchObject({ unit: "%", lines: [{ value: [50, 50, null, 25], min: [50, 50, null, 20] }] });
});

test("a gap stays a gap, in lines and in bands", () => {
  expect(groups(profile, series)[0]?.lines[0]?.value[2]).toBeNull();
  expect(bands(profile, series)).toMatchObject([{ name: "status", runs: [{ from: 0, to: 200, word: "open" }, { from: 300, to: 400, word: "full" }] }]);
});

test("a word that changes starts a new run where it changed", () => {
  expect(runs([0, 10, 20], ["a", "b", "b"], 30)).toEqual([{ from: 0, to: 10, word: "a" }, { from: 10, to: 30, word: "b" }]);
});

test("an open alarm lasts until now, a cleared one until it cleared, a closed one until its last finding", () => {
  expect(alarmSpan(alarm({}), 99)).toEqual([10, 99]);
  expect(alarmSpan(alarm({ cleared_at: 60 }), 99)).toEqual([10, 60]);
  expect(alarmSpan(alarm({ state: "closed" }), 99)).toEqual([10, 50]);
});

test("the expected band is scaled like its axis and may be open on one side", () => {
  expect(expectedBand(alarm({ evidence: { low: 0, high: 1 } }), property({ unit: "1" }))).toEqual({ low: 0, high: 100 });
  expect(expectedBand(alarm({ evidence: { high: 253 } }), property({}))).toEqual({ low: null, high: 253 });
  expect(expectedBand(alarm({ evidence: { values: [1] } }), property({}))).toBeNull();
});

test("alarms that overlap are marked once", () => {
  expect(merged([[5, 9], [0, 2], [8, 12], [2.5, 4]], 1)).toEqual([[0, 12]]);
  expect(merged([[0, 2], [5, 9]], 1)).toEqual([[0, 2], [5, 9]]);
});

test("the crosshair reads the nearest row", () => {
  expect([-5, 4, 6, 99].map((ms) => nearest([0, 10, 20], ms))).toEqual([0, 0, 1, 2]);
  expect(nearest([], 5)).toBe(-1);
});
