/** The alarms that somebody still has to deal with, kept live, and what may be done with them. */
import * as api from "../api/client";
import type { Alarm, Cause, Severity } from "../api/types";
import { city } from "../city/city.svelte";

class Triage {
  open = $state.raw<Alarm[]>([]);
  /** Rises when any alarm changed, so that lists of closed ones and panels load again. */
  version = $state(0);

  bySeverity = $derived.by(() => {
    const counts: Record<Severity, number> = { 1: 0, 2: 0, 3: 0 };
    for (const alarm of this.open) counts[alarm.severity] += 1;
    return counts;
  });

  replaceOpen(alarms: Alarm[]): void {
    this.open = alarms.filter(standsAlone).sort(worstFirst);
    this.version += 1;
  }

  receive(alarms: Alarm[]): void {
    const ids = new Set(alarms.map((a) => a.alarm_id));
    const kept = this.open.filter((a) => !ids.has(a.alarm_id));
    const still = alarms.filter((a) => standsAlone(a) && (a.state === "open" || a.state === "acknowledged"));
    this.open = [...kept, ...still].sort(worstFirst);
    this.version += 1;
  }

  async acknowledge(alarm: Alarm): Promise<void> {
    this.#settle(await api.acknowledge(alarm.alarm_id));
  }

  async close(alarm: Alarm, cause: Cause, comment: string): Promise<void> {
    this.#settle(await api.close(alarm.alarm_id, cause, comment));
  }

  #settle(alarm: Alarm): void {
    city.alarmed([alarm]);
    this.receive([alarm]);
  }
}

/** Members of a group alarm are shown by it. */
const standsAlone = (a: Alarm): boolean => !a.parent_id;

/** Worst first, then not yet acknowledged, then newest. */
export function worstFirst(a: Alarm, b: Alarm): number {
  return b.severity - a.severity || Number(a.state !== "open") - Number(b.state !== "open") || b.opened_at - a.opened_at || b.alarm_id - a.alarm_id;
}

export const triage = new Triage();
