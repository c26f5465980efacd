/**
 * What an operator does with alarms, wherever they are shown: by a button or a key (a s c x), to one or to many.
 * Holds the dialog that is open and what went wrong last; the changes themselves are `triage`'s.
 */
import type { Alarm } from "../api/types";
import { each, triage } from "./triage.svelte";
import { failure } from "./words";

export type Deed = "assign" | "comment" | "close";

const KEYS: Record<string, Deed | "acknowledge"> = { a: "acknowledge", s: "assign", c: "comment", x: "close" };

/** Whether a key is meant for the page: not while something is typed, chosen, or asked in a dialog. */
export const forThePage = (event: KeyboardEvent): boolean =>
  !event.metaKey && !event.ctrlKey && !event.altKey && !event.defaultPrevented && !document.querySelector("dialog[open]") && !/^(INPUT|SELECT|TEXTAREA)$/.test((event.target as HTMLElement).tagName);

class Work {
  asked = $state.raw<{ deed: Deed; alarms: Alarm[] } | null>(null);
  busy = $state(false);
  wrong = $state("");

  ask(deed: Deed, alarms: Alarm[]): void {
    const able = deed === "comment" ? alarms : alarms.filter((a) => a.state !== "closed");
    this.wrong = "";
    if (able.length) this.asked = { deed, alarms: able };
  }

  async acknowledge(alarms: Alarm[]): Promise<void> {
    await this.#do(alarms.filter((a) => a.state === "open"), (alarm) => triage.acknowledge(alarm));
  }

  /** What the dialog asked for, with each of its alarms; it stays open when that fails. */
  async finish(act: (alarm: Alarm) => Promise<unknown>): Promise<void> {
    if (this.asked && (await this.#do(this.asked.alarms, act))) this.asked = null;
  }

  cancel(): void {
    this.asked = null;
    this.wrong = "";
  }

  /** Whether the key meant one of these. */
  key(event: KeyboardEvent, alarms: Alarm[]): boolean {
    const deed = KEYS[event.key];
    if (!deed || !alarms.length) return false;
    if (deed === "acknowledge") void this.acknowledge(alarms);
    else this.ask(deed, alarms);
    return true;
  }

  async #do(alarms: Alarm[], act: (alarm: Alarm) => Promise<unknown>): Promise<boolean> {
    this.busy = true;
    this.wrong = "";
    await each(alarms, act).catch((problem: unknown) => (this.wrong = failure(problem)));
    this.busy = false;
    return !this.wrong;
  }
}

export const work = new Work();
