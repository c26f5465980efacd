/** How far a detector can be trusted, from what people made of its alarms. Pure. */
import type { DetectorTrust } from "../api/types";

export type Verdict = "untold" | "trusted" | "mixed" | "doubted";

const ENOUGH = 5;     // judged alarms; fewer say nothing of the next one
const TRUSTED = 0.1;  // of those judged, false
const DOUBTED = 0.5;

export function verdictOf({ real, false: wrong, false_share }: Pick<DetectorTrust, "real" | "false" | "false_share">): Verdict {
  if (real + wrong < ENOUGH || false_share === null) return "untold";
  return false_share <= TRUSTED ? "trusted" : false_share < DOUBTED ? "mixed" : "doubted";
}

export interface OfDetector {
  detector: string;
  kinds: DetectorTrust[];
  sum: DetectorTrust;
}

/** The detectors, each with its kinds; who has the largest share of false alarms first, then who has the most alarms. */
export function byDetector(rows: DetectorTrust[]): OfDetector[] {
  const groups = new Map<string, DetectorTrust[]>();
  for (const row of rows) groups.set(row.detector, [...(groups.get(row.detector) ?? []), row]);
  const rank = (row: DetectorTrust) => row.false_share ?? -1;
  return [...groups].map(([detector, kinds]) => ({ detector, kinds: kinds.toSorted((a, b) => judged(b) - judged(a)), sum: sumOf(kinds) }))
    .toSorted((a, b) => rank(b.sum) - rank(a.sum) || judged(b.sum) - judged(a.sum) || allOf(b.sum) - allOf(a.sum));
}

export const judged = (row: DetectorTrust): number => row.real + row.false + row.planned_work;
export const allOf = (row: DetectorTrust): number => row.open + row.cleared + row.closed;

function sumOf(rows: DetectorTrust[]): DetectorTrust {
  const [first] = rows as [DetectorTrust];
  const add = (name: "open" | "cleared" | "closed" | "real" | "false" | "planned_work") => rows.reduce((sum, row) => sum + row[name], 0);
  const [real, wrong] = [add("real"), add("false")];
  return {
    detector: first.detector, kind: null, open: add("open"), cleared: add("cleared"), closed: add("closed"), real, false: wrong, planned_work: add("planned_work"),
    false_share: real + wrong ? wrong / (real + wrong) : null, median_acknowledge_s: rows.length === 1 ? first.median_acknowledge_s : null,
  };
}
