/**
 * A device's history made ready for drawing: properties grouped by unit (one axis each), columns scaled to what the
 * axis shows, gaps left as nulls, runs of a word as bands. Pure.
 */
import type { Alarm, Profile, Property, Series } from "../api/types";
import { isShare, scaled, unitSign } from "../format/quantity";

export interface Line {
  name: string;
  property: Property;
  value: (number | null)[];
  min: (number | null)[] | null;
  max: (number | null)[] | null;
}

export interface Group {
  unit: string;
  lines: Line[];
}

export interface Run {
  from: number;
  to: number;
  word: string;
}

export function groups(profile: Profile, series: Series): Group[] {
  const byUnit = new Map<string, Group>();
  for (const [name, property] of Object.entries(profile.properties)) {
    const column = series.properties[name];
    if (!column || property.chart === false || property.type === "enum" || property.type === "boolean") continue;
    const line = (values: unknown[] | undefined) => (values ? values.map((v) => (typeof v === "number" ? scaled(v, property) : null)) : null);
    const key = isShare(property) ? "share" : property.unit;
    const group = byUnit.get(key) ?? { unit: unitSign(property), lines: [] };
    group.lines.push({ name, property, value: line(column.mean ?? column.value) ?? [], min: line(column.min), max: line(column.max) });
    byUnit.set(key, group);
  }
  return [...byUnit.values()];
}

/** Properties that take words (or yes and no) and are drawn as bands. */
export function bands(profile: Profile, series: Series): { name: string; property: Property; runs: Run[] }[] {
  return Object.entries(profile.properties).flatMap(([name, property]) => {
    const values = series.properties[name]?.value;
    if (!values || property.chart === false || (property.type !== "enum" && property.type !== "boolean")) return [];
    return [{ name, property, runs: runs(series.observed_at, values, series.to) }];
  });
}

/** Stretches of one word; a null row ends a stretch, and the last one lasts until the end of the span at most. */
export function runs(at: number[], values: unknown[], endMs: number): Run[] {
  const found: Run[] = [];
  values.forEach((value, i) => {
    const from = at[i];
    if (from === undefined || value === null || value === undefined) return;
    const to = at[i + 1] ?? Math.min(endMs, from + typicalStep(at));
    const last = found.at(-1);
    if (last && last.word === String(value) && last.to === from) last.to = to;
    else found.push({ from, to, word: String(value) });
  });
  return found;
}

function typicalStep(at: number[]): number {
  const steps = at.slice(1).map((x, i) => x - (at[i] ?? x)).sort((a, b) => a - b);
  return steps[Math.floor(steps.length / 2)] ?? 60_000;
}

/** When an alarm's condition held, as far as is known: until it cleared, was closed, or still (`nowMs`). */
export function alarmSpan(alarm: Alarm, nowMs: number): [number, number] {
  const end = alarm.cleared_at ?? (alarm.state === "closed" ? Math.max(alarm.last_finding_at ?? 0, alarm.opened_at) : Math.max(nowMs, alarm.last_finding_at ?? 0));
  return [alarm.opened_at, Math.max(end, alarm.opened_at)];
}

/** Spans that touch or overlap (within `slack`) as one, in order: many short alarms must not darken each other. */
export function merged(spans: [number, number][], slack: number): [number, number][] {
  const found: [number, number][] = [];
  for (const [from, to] of spans.toSorted((a, b) => a[0] - b[0])) {
    const last = found.at(-1);
    if (last && from <= last[1] + slack) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}

/** What the detector expected, scaled like the axis: a band, of which one side may be open. */
export function expectedBand(alarm: Alarm, property: Property): { low: number | null; high: number | null } | null {
  const { low = null, high = null } = alarm.evidence ?? {};
  if (typeof low !== "number" && typeof high !== "number") return null;
  return { low: typeof low === "number" ? scaled(low, property) : null, high: typeof high === "number" ? scaled(high, property) : null };
}

/** Row whose time is nearest to `ms` (times rise), or -1 when there is none. */
export function nearest(at: number[], ms: number): number {
  if (!at.length) return -1;
  let [low, high] = [0, at.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((at[middle] ?? 0) < ms) low = middle + 1;
    else high = middle;
  }
  return low > 0 && ms - (at[low - 1] ?? 0) < (at[low] ?? 0) - ms ? low - 1 : low;
}
