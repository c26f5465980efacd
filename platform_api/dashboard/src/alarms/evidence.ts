/** What a detector kept of why it spoke, made ready for reading: the value that decided, and how far off it was. Pure. */
import type { Evidence } from "../api/types";

export interface Reading {
  value: number | string | null;
  at: number | null;
  low: number | null;
  high: number | null;
  expected: number | string | null;
  /** Distance to the nearer limit, or to what was expected where there are no limits; null when it lies within. */
  off: number | null;
}

const finite = (value: unknown): number | null => (typeof value === "number" && Number.isFinite(value) ? value : null);

export function evidenceOf(evidence: Evidence | null): Reading {
  const values = (evidence?.values ?? []) as unknown[];
  const row = values.findLastIndex((v) => v !== null && v !== undefined);
  const told = row < 0 ? null : values[row];
  const value = typeof told === "string" ? told : finite(told);
  const [low, high] = [finite(evidence?.low), finite(evidence?.high)];
  const expected = typeof evidence?.expected === "string" ? evidence.expected : finite(evidence?.expected);
  return { value, at: row < 0 ? null : finite(evidence?.observed_at?.[row]), low, high, expected, off: offOf(value, low, high, expected) };
}

function offOf(value: number | string | null, low: number | null, high: number | null, expected: number | string | null): number | null {
  if (typeof value !== "number") return null;
  if (high !== null && value > high) return value - high;
  if (low !== null && value < low) return value - low;
  return low === null && high === null && typeof expected === "number" && value !== expected ? value - expected : null;
}

/** The detector's parameters by the names they have in the profile, in words short enough for a line. */
export function parametersOf(evidence: Evidence | null): [string, string][] {
  const flat = (name: string, value: unknown): [string, string][] => {
    if (value === null || value === undefined || (Array.isArray(value) && !value.length)) return [];
    if (typeof value === "object" && !Array.isArray(value)) return Object.entries(value).flatMap(([key, inner]) => flat(name ? `${name}.${key}` : key, inner));
    return [[name, Array.isArray(value) ? value.join(", ") : typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value)]];
  };
  return flat("", evidence?.parameters ?? {});
}

/** The observations that the detector saw, for the chart: time and value. */
export function pointsOf(evidence: Evidence | null): [number, number][] {
  return (evidence?.values ?? []).flatMap((value, i) => {
    const [at, number] = [finite(evidence?.observed_at?.[i]), finite(value)];
    return at === null || number === null ? [] : [[at, number] as [number, number]];
  });
}
