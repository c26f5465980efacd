/** Where on the charts an alarm is seen: its device, and a span that shows what led to it and what followed. Pure. */
import type { Alarm } from "../api/types";
import { SPAN_MS, type Span, type View } from "../route/address";

const BEFORE = 0.75; // of the span

export function momentOf(alarm: Pick<Alarm, "device_id" | "opened_at">, span: Span, nowMs: number): Pick<View, "device" | "at"> {
  const edge = Math.round(alarm.opened_at + SPAN_MS[span] * (1 - BEFORE));
  return { device: alarm.device_id, at: edge >= nowMs ? null : edge };
}
