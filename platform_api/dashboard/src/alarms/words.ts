/** An alarm in words, from the labels of its condition and of its property. */
import type { Alarm } from "../api/types";
import { city } from "../city/city.svelte";
import { said } from "../language/language.svelte";

export function conditionWords(alarm: Pick<Alarm, "detector" | "property" | "kind" | "device_id">): string {
  const condition = said(city.conditions[alarm.detector], alarm.detector);
  const kind = alarm.kind ?? (alarm.device_id === null ? null : city.devices.get(alarm.device_id)?.kind) ?? "";
  const property = alarm.property ? said(city.profiles[kind]?.properties[alarm.property]?.label, alarm.property) : "";
  return property ? `${property} · ${condition}` : condition;
}

export function subjectWords(alarm: Alarm): string {
  const known = alarm.device_id === null ? null : city.devices.get(alarm.device_id);
  return alarm.device ?? known?.device ?? alarm.agent ?? "";
}
