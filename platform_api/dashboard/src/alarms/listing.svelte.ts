/**
 * The alarms of a list, page by page as the platform filters them, and the members of group alarms that are unfolded.
 * Asked again when alarms change, at most once a second; what is shown stays until the new answer is there.
 */
import * as api from "../api/client";
import { Pace } from "../api/pace";
import type { Alarm, AlarmPage } from "../api/types";
import { question, questions, rowsOf, type Choice } from "./choice";

const PAGE = 100;
const MOST_AGAIN = 1000; // rows that are asked again at once
const MEMBERS = 500;
const AGAIN_MS = 1000;

export class Listing {
  alarms = $state.raw<Alarm[]>([]);
  counts = $state.raw<AlarmPage["counts"]>({});
  members = $state.raw<ReadonlyMap<number, Alarm[]>>(new Map());
  phase = $state<"loading" | "ready" | "failed">("loading");
  more = $state(false);
  rows = $derived(rowsOf(this.alarms, this.members));
  #choice: Choice | null = null;
  #turn = 0;
  #left: { question: number; after: number | null } | null = null;
  #pace = new Pace(() => void this.#load(Math.min(MOST_AGAIN, Math.max(PAGE, this.alarms.length))), AGAIN_MS);

  /** Shows another choice: what was shown is gone. */
  async show(choice: Choice): Promise<void> {
    this.#choice = choice;
    this.phase = "loading";
    this.members = new Map();
    await this.#load(PAGE);
  }

  /** Something changed: ask again for as much as is shown. */
  freshen(): void {
    if (this.#choice) this.#pace.soon();
  }

  async next(): Promise<void> {
    const found = await this.#take(this.#turn, PAGE, this.#left).catch(() => null);
    if (found) this.alarms = [...this.alarms, ...found];
  }

  /** Shows or hides the members of a group alarm. */
  async unfold(alarm: Alarm, open = !this.members.has(alarm.alarm_id)): Promise<void> {
    const members = new Map(this.members);
    if (!open) members.delete(alarm.alarm_id);
    else members.set(alarm.alarm_id, (await api.alarms({ group: alarm.alarm_id, limit: MEMBERS })).items);
    this.members = members;
  }

  stop(): void {
    this.#pace.stop();
    this.#choice = null;
  }

  async #load(rows: number): Promise<void> {
    const turn = (this.#turn += 1);
    try {
      const open = [...this.members.keys()];
      const counting = this.#choice ? api.alarms({ ...question(this.#choice), limit: 1 }) : null;
      const unfolding = Promise.all(open.map(async (id) => [id, (await api.alarms({ group: id, limit: MEMBERS })).items] as const));
      const [found, counted, members] = await Promise.all([this.#take(turn, rows, { question: 0, after: null }), counting, unfolding]);
      if (!found || turn !== this.#turn) return;
      this.counts = counted?.counts ?? {};
      this.alarms = found;
      this.members = new Map(members.filter(([id]) => found.some((a) => a.alarm_id === id)));
      this.phase = "ready";
    } catch {
      if (turn === this.#turn) this.phase = "failed";
    }
  }

  /** So many rows from there on, or null when another load has begun meanwhile. */
  async #take(turn: number, rows: number, from: { question: number; after: number | null } | null): Promise<Alarm[] | null> {
    const found: Alarm[] = [];
    const asked = this.#choice ? questions(this.#choice) : [];
    let left = from;
    while (left && found.length < rows) {
      const question = asked[left.question];
      if (!question) {
        left = null;
        break;
      }
      const page: AlarmPage = await api.alarms({ ...question, limit: rows - found.length, after: left.after });
      if (turn !== this.#turn) return null;
      found.push(...page.items);
      left = page.next === null ? { question: left.question + 1, after: null } : { ...left, after: page.next };
    }
    if (left && left.question >= asked.length) left = null;
    this.#left = left;
    this.more = left !== null;
    return found;
  }
}
