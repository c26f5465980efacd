/** Values with their units, as the profile of the kind describes them. */
import type { Label, Property, Tongue, Value } from "../api/types";

const SIGNS: Record<string, string> = { Cel: "°C", "1": "", "%": "%", "{spot}": "", Ohm: "Ω", "ug/m3": "µg/m³", "m/s": "m/s" };

/** A share of one is read in per cent. */
export const isShare = (property: Property) => property.type === "number" && property.unit === "1";

export const unitSign = (property: Property) => (isShare(property) ? "%" : (SIGNS[property.unit] ?? property.unit));

/** What is drawn on an axis: shares in per cent, everything else as it is. */
export const scaled = (value: number, property: Property) => (isShare(property) ? value * 100 : value);

export function decimals(property: Property): number {
  return isShare(property) ? Math.max(0, property.decimals - 2) : property.decimals;
}

export function number(value: number, tongue: Tongue, digits = 0): string {
  return value.toLocaleString(tongue === "ko" ? "ko-KR" : "en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** "1,432,198" where there is room, "1.4M" (en) or "143만" (ko) where there is none. */
export function compact(value: number, tongue: Tongue): string {
  return new Intl.NumberFormat(tongue === "ko" ? "ko-KR" : "en-GB", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

/** The value and its unit, apart, so that the unit can be set smaller. */
export function quantity(value: Value | undefined, property: Property, tongue: Tongue, words: { none: string; yes: string; no: string }): { text: string; unit: string } {
  if (value === null || value === undefined) return { text: words.none, unit: "" };
  if (typeof value === "boolean") return { text: value ? words.yes : words.no, unit: "" };
  if (typeof value === "string") return { text: labelOf(property.value_labels[value], tongue) ?? value, unit: "" };
  return { text: number(scaled(value, property), tongue, decimals(property)), unit: unitSign(property) };
}

const labelOf = (label: Label | undefined, tongue: Tongue) => label?.[tongue];

export function bytes(n: number, tongue: Tongue): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  return `${number(n / 1000 ** step, tongue, step > 1 ? 1 : 0)} ${units[step]}`;
}
