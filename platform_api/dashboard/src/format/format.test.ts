import { expect, test } from "vitest";
import type { Property } from "../api/types";
import { bytes, quantity, unitSign } from "./quantity";
import { duration, exact, relative } from "./time";

const words = { none: "–", yes: "yes", no: "no" };
const property = (over: Partial<Property>): Property => ({
  type: "number", unit: "W", label: { en: "", ko: "" }, decimals: 1, values: [], value_labels: {}, chart: true, range: null, ...over,
});

test("a share of one is read in per cent, a count without unit is not", () => {
  expect(quantity(0.425, property({ unit: "1", decimals: 3 }), "en", words)).toEqual({ text: "42.5", unit: "%" });
  expect(quantity(42, property({ type: "integer", unit: "1", decimals: 0 }), "en", words)).toEqual({ text: "42", unit: "" });
});

test("a missing value is a dash and never a zero", () => {
  expect(quantity(null, property({}), "en", words).text).toBe("–");
  expect(quantity(0, property({}), "en", words).text).toBe("0.0");
});

test("an enum value is read by its label in the language in use", () => {
  const lamp = property({ type: "enum", value_labels: { on: { en: "On", ko: "점등" } } });
  expect(quantity("on", lamp, "ko", words).text).toBe("점등");
  expect(quantity("strange", lamp, "ko", words).text).toBe("strange");
});

test("degrees Celsius carry their sign", () => expect(unitSign(property({ unit: "Cel" }))).toBe("°C"));

test("relative times grow coarser with age", () => {
  const at = (s: number) => relative(0, s * 1000, "en", "now");
  expect([at(1), at(12), at(130), at(7300), at(400_000)]).toEqual(["now", "12s ago", "2m ago", "2h ago", "4d ago"]);
});

test("exact times are those of the municipality, not of the viewer", () => {
  expect(exact(Date.UTC(2026, 0, 1, 15, 30), "en", "Asia/Seoul")).toContain("2 Jan 2026");
});

test("a length of time shows its two largest units", () => {
  expect(duration(26 * 3_600_000 + 60_000, "en")).toBe("1 d 2 h");
  expect(duration(20_000, "ko")).toBe("0분");
});

test("bytes are read in powers of a thousand", () => expect(bytes(912_345_678, "en")).toBe("912.3 MB"));
