/** A maintenance window in words. */
import { kindWords, townWords } from "../alarms/words";
import type { NewWindow } from "../api/types";
import { t } from "../language/language.svelte";

export function scopeWords({ scope, target, municipality }: Pick<NewWindow, "scope" | "target" | "municipality">): string {
  if (scope === "municipality" || target === null) return townWords(municipality);
  return scope === "kind" ? kindWords(target) : t(`scopeOf_${scope}`, { key: target });
}
