import { expect, test } from "vitest";
import type { Profile } from "../api/types";
import { fillShare, isLit, variant } from "./symbol";

const profile = (symbol: string, display: Profile["display"]): Profile => ({ label: { en: "", ko: "" }, symbol, display, report_period_s: 60, properties: {} });

test("a lamp is lit by its power state, or by its level where it has none", () => {
  const lamp = profile("lamp", { state: "power_state", level: "illuminance_level" });
  expect(variant(lamp, { power_state: "low", illuminance_level: 0 })).toBe("low");
  expect(variant(lamp, { power_state: null, illuminance_level: 0.4 })).toBe("on");
  expect(isLit("lamp", "low")).toBe(true);
  expect(isLit("lamp", "off")).toBe(false);
});

test("a bin fills in five steps and never over its rim", () => {
  const bin = profile("bin", { level: "filling_level" });
  expect(["l0", "l2", "l5", "l5"]).toEqual([0, 0.42, 1, 1.7].map((v) => variant(bin, { filling_level: v })));
  expect(fillShare("l2")).toBe(0.4);
});

test("a kind nobody has drawn yet still shows its level", () => {
  expect(variant(profile("nose", { level: "air_quality_index" }), { air_quality_index: 0.6 })).toBe("l3");
  expect(variant(undefined, {})).toBe("plain");
});

test("a garage without a free space is full", () => {
  const garage = profile("garage", { headline: "available_spot_number" });
  expect([12, 0, -3, null].map((v) => variant(garage, { available_spot_number: v }))).toEqual(["spaces", "full", "full", "plain"]);
});
