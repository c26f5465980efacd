/** The alarms that somebody still has to deal with, kept live, and what may be done with any alarm. */
import * as api from "../api/client";
import type { Alarm, Cause, Severity } from "../api/types";
import { city } from "../city/city.svelte";

const AT_ONCE = 4;

class Triage {
  open = $state.raw<Alarm[]>([]);
  /** The devices of the alarm that is looked at, for the map beside it. */
  looked = $state.raw<number[]>([]);
  /** Rises when any alarm changed, so that lists and panels load again. */
  version = $state(0);

  /** Members of a group alarm count as that one. */
  bySeverity = $derived.by(() => {
    const counts: Record<Severity, number> = { 1: 0, 2: 0, 3: 0 };
    for (const alarm of this.open) if (alarm.parent_id === null) counts[alarm.severity] += 1;
    return counts;
  });

  replaceOpen(alarms: Alarm[]): void {
    this.open = alarms;
    this.version += 1;
  }

  receive(alarms: Alarm[]): void {
    const ids = new Set(alarms.map((a) => a.alarm_id));
    this.open = [...this.open.filter((a) => !ids.has(a.alarm_id)), ...alarms.filter((a) => a.state === "open" || a.state === "acknowledged")];
    this.version += 1;
  }

  acknowledge = async (alarm: Alarm): Promise<Alarm> => this.#settle(await api.acknowledge(alarm.alarm_id));
  assign = async (alarm: Alarm, account: string | null): Promise<Alarm> => this.#settle(await api.assign(alarm.alarm_id, account));
  comment = async (alarm: Alarm, text: string): Promise<Alarm> => this.#settle(await api.comment(alarm.alarm_id, text));
  close = async (alarm: Alarm, cause: Cause, note: string): Promise<Alarm> => this.#settle(await api.close(alarm.alarm_id, cause, note));

  #settle(alarm: Alarm): Alarm {
    city.alarmed([alarm]);
    this.receive([alarm]);
    return alarm;
  }
}

/** Does something with each of many, a few at a time; the first failure is thrown when all are through. */
export async function each<T>(items: readonly T[], act: (item: T) => Promise<unknown>): Promise<void> {
  const waiting = [...items];
  const failures: unknown[] = [];
  const work = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await act(item).catch((problem: unknown) => failures.push(problem));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (failures.length) throw failures[0];
}

export const triage = new Triage();
