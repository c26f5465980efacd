/** An alarm in words, from the labels that the platform gives to conditions, kinds and properties. */
import { Problem } from "../api/client";
import type { Alarm, Property } from "../api/types";
import { city } from "../city/city.svelte";
import { quantity } from "../format/quantity";
import { language, said, t } from "../language/language.svelte";

export const kindOf = (alarm: Pick<Alarm, "kind" | "device_id">): string =>
  alarm.kind ?? (alarm.device_id === null ? null : city.devices.get(alarm.device_id)?.kind) ?? "";

export const propertyOf = (alarm: Pick<Alarm, "kind" | "device_id" | "property">): Property | undefined =>
  alarm.property === null ? undefined : city.profiles[kindOf(alarm)]?.properties[alarm.property];

export const detectorWords = (detector: string): string => said(city.conditions[detector], detector);
export const kindWords = (kind: string): string => said(city.profiles[kind]?.label, kind);
export const townWords = (code: string): string => said(city.municipalities.find((m) => m.code === code)?.name, code);

export function conditionWords(alarm: Pick<Alarm, "detector" | "property" | "kind" | "device_id">): string {
  const condition = detectorWords(alarm.detector);
  return alarm.property ? `${said(propertyOf(alarm)?.label, alarm.property)} · ${condition}` : condition;
}

/** What it is of: a device or an agent by its name; a group by what it holds and how much of it. */
export function subjectWords(alarm: Alarm): string {
  if (alarm.group) {
    const { scope, key, members_most, size } = alarm.group;
    const where = scope === "municipality" ? townWords(alarm.municipality) : t(`group_${scope}`, { key });
    return `${where} · ${t(size ? "groupOf" : "groupCount", { n: members_most, size: size ?? 0, what: alarm.kind ? kindWords(alarm.kind) : t("agents") })}`;
  }
  const known = alarm.device_id === null ? null : city.devices.get(alarm.device_id);
  return alarm.device ?? known?.device ?? alarm.agent ?? "";
}

/** A value of the alarm's property with its unit, or nothing where there is no number. */
export function valueWords(value: unknown, property: Property | undefined): string {
  if (value === null || value === undefined) return "";
  if (!property) return typeof value === "number" || typeof value === "string" ? String(value) : "";
  const told = typeof value === "number" && property.type === "enum" ? (property.values[value] ?? value) : typeof value === "number" && property.type === "boolean" ? value !== 0 : value;
  const { text, unit } = quantity(told as number | string | boolean, property, language.current, { none: "", yes: t("yes"), no: t("no") });
  return unit ? `${text} ${unit}` : text;
}

export const isSilence = (detector: string): boolean => detector === "silent" || detector === "agent_silent";

export const failure = (problem: unknown): string => t("failed", { detail: problem instanceof Problem ? problem.detail : String(problem) });
