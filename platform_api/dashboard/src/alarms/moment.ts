/** Where on the charts an alarm is seen: its device, and a span that shows what led to it and what followed. Pure. */
import type { Alarm } from "../api/types";
import { SPAN_MS, type Span, type View } from "../route/address";

const BEFORE = 0.75; // of the span

export function momentOf(alarm: Pick<Alarm, "device_id" | "opened_at">, span: Span, nowMs: number): Pick<View, "device" | "at"> {
  const edge = Math.round(alarm.opened_at + SPAN_MS[span] * (1 - BEFORE));
  return { device: alarm.device_id, at: edge >= nowMs ? null : edge };
}

export const AROUND = ["fit", "6h", "24h", "7d"] as const;
export type Around = (typeof AROUND)[number];
const LEAST_MS = 3 * 3_600_000; // what led to it can be seen
const MOST_MS = 40 * 86_400_000;

/** From and to around an alarm: `fit` shows all of it and as much again before; a span puts its beginning at two thirds. */
export function spanAround(openedAt: number, endedAt: number | null, nowMs: number, around: Around): [number, number] {
  const now = Math.max(nowMs, openedAt);
  if (around !== "fit") {
    const to = Math.min(now, openedAt + SPAN_MS[around] / 3);
    return [to - SPAN_MS[around], to];
  }
  const lasted = Math.min((endedAt ?? now) - openedAt, MOST_MS);
  const before = Math.max(LEAST_MS, lasted);
  return [openedAt - before, Math.min(now, openedAt + lasted + Math.max(before / 4, LEAST_MS / 4))];
}
