import { expect, test } from "vitest";
import type { DetectorTrust } from "../api/types";
import { byDetector, verdictOf } from "./trust";

const row = (over: Partial<DetectorTrust>): DetectorTrust => {
  const made = { detector: "stuck", kind: "streetlight", open: 0, cleared: 0, closed: 0, real: 0, false: 0, planned_work: 0, median_acknowledge_s: null, ...over };
  return { ...made, false_share: made.real + made.false ? made.false / (made.real + made.false) : null };
};

test("few judgements tell nothing; many tell whom to trust", () => {
  expect(verdictOf(row({ real: 2, false: 2 }))).toBe("untold");
  expect(verdictOf(row({ real: 19, false: 1 }))).toBe("trusted");
  expect(verdictOf(row({ real: 7, false: 3 }))).toBe("mixed");
  expect(verdictOf(row({ real: 1, false: 9 }))).toBe("doubted");
  expect(verdictOf(row({ planned_work: 50 }))).toBe("untold");
});

test("a detector is the sum of its kinds, and who errs most comes first", () => {
  const found = byDetector([row({ real: 9, false: 1 }), row({ kind: "waste_container", real: 1 }), row({ detector: "spike", real: 1, false: 3, open: 2 }), row({ detector: "drift" })]);
  expect(found.map((d) => d.detector)).toEqual(["spike", "stuck", "drift"]);
  expect(found[1]?.sum).toMatchObject({ real: 10, false: 1, false_share: 1 / 11 });
  expect(found[1]?.kinds).toHaveLength(2);
});
