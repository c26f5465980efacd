/** Times as people read them: relative to a clock that is given, exact in the municipality's time zone. */
import type { Tongue } from "../api/types";

const locale = (tongue: Tongue) => (tongue === "ko" ? "ko-KR" : "en-GB");

/** "12 s ago": coarse on purpose, the exact time is a hover away. */
export function relative(atMs: number, nowMs: number, tongue: Tongue, justNow: string): string {
  const s = Math.round((nowMs - atMs) / 1000);
  if (Math.abs(s) < 3) return justNow;
  const [n, unit] = steps(s);
  return new Intl.RelativeTimeFormat(tongue, { numeric: "always", style: "narrow" }).format(-n, unit);
}

function steps(s: number): [number, Intl.RelativeTimeFormatUnit] {
  const a = Math.abs(s);
  if (a < 60) return [s, "second"];
  if (a < 3600) return [Math.trunc(s / 60), "minute"];
  if (a < 86_400 * 2) return [Math.trunc(s / 3600), "hour"];
  return [Math.trunc(s / 86_400), "day"];
}

export function exact(atMs: number, tongue: Tongue, zone: string): string {
  return new Intl.DateTimeFormat(locale(tongue), { timeZone: zone, dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" }).format(atMs);
}

export function clock(atMs: number, tongue: Tongue, zone: string): string {
  return new Intl.DateTimeFormat(locale(tongue), { timeZone: zone, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(atMs);
}

export function day(atMs: number, tongue: Tongue, zone: string): string {
  return new Intl.DateTimeFormat(locale(tongue), { timeZone: zone, month: "short", day: "numeric", weekday: "short" }).format(atMs);
}

export function hour(atMs: number, tongue: Tongue, zone: string): string {
  return new Intl.DateTimeFormat(locale(tongue), { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(atMs);
}

/** A length of time that may be seconds: "40 s", "12 min", "3 h 20 min". */
export function short(ms: number, tongue: Tongue): string {
  return ms < 60_000 ? `${Math.round(ms / 1000)}${tongue === "ko" ? "초" : " s"}` : duration(ms, tongue);
}

/** A length of time in its largest two units: "3 h 20 min". */
export function duration(ms: number, tongue: Tongue): string {
  const minutes = Math.round(ms / 60_000);
  const [d, h, min] = [Math.floor(minutes / 1440), Math.floor((minutes % 1440) / 60), minutes % 60];
  const names = tongue === "ko" ? ["일", "시간", "분"] : [" d", " h", " min"];
  const parts = [[d, names[0]], [h, names[1]], [min, names[2]]].filter(([n]) => n).slice(0, 2);
  return parts.length ? parts.map(([n, unit]) => `${n}${unit}`).join(" ") : `0${names[2]}`;
}
