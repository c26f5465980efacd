/** What a maintenance window covers, and when. Pure. */
import type { MaintenanceWindow, NewWindow } from "../api/types";

export interface Subject {
  municipality: string;
  device: string | null;
  kind: string | null;
  agent?: string | null | undefined;
  circuit?: unknown;
}

export function covers(window: Pick<NewWindow, "municipality" | "scope" | "target">, subject: Subject): boolean {
  if (window.municipality !== subject.municipality) return false;
  return window.scope === "municipality" || (window.target !== null && subject[window.scope] === window.target);
}

export type Phase = MaintenanceWindow["phase"];

export const phaseOf = ({ from, to }: Pick<NewWindow, "from" | "to">, nowMs: number): Phase => (nowMs < from ? "planned" : nowMs < to ? "active" : "over");

/** "2026-11-23T09:30" as a clock on a wall in that zone shows it; what `<input type=datetime-local>` takes. */
export function localOf(ms: number, zone: string): string {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).formatToParts(ms);
  const of = Object.fromEntries(parts.map((p) => [p.type, p.value]));
  return `${of["year"]}-${of["month"]}-${of["day"]}T${of["hour"]}:${of["minute"]}`;
}

/** The instant at which a clock in that zone shows this; null when it is no time. Where clocks go back, the earlier one. */
export function instantOf(local: string, zone: string): number | null {
  const asUtc = Date.parse(`${local}Z`);
  if (!Number.isFinite(asUtc)) return null;
  const offset = (ms: number) => Date.parse(`${localOf(ms, zone)}Z`) - Math.floor(ms / 60_000) * 60_000;
  const guess = asUtc - offset(asUtc - offset(asUtc));
  const earlier = asUtc - offset(guess - 3 * 3_600_000);
  return localOf(earlier, zone) === local ? earlier : guess;
}
