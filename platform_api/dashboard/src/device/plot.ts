/**
 * One chart of one unit: observed lines, min–max bands of rollups, alarms as marked spans, the expected band behind
 * them, gaps as gaps. Draws with uPlot and knows nothing of where the data came from.
 */
import uPlot from "uplot";
import type { Alarm } from "../api/types";
import { severityState, type Palette } from "../theme/palette";
import { alpha, FONT } from "../map/sprites";
import type { Tongue } from "../api/types";
import { pointsOf } from "../alarms/evidence";
import { number, scaled } from "../format/quantity";
import { alarmSpan, expectedBand, merged, type Group } from "./series";

export interface Drawing {
  group: Group;
  at: number[];
  from: number;
  to: number;
  alarms: Alarm[];
  now: number;
  stepped: boolean;
  /** Whether the observations that detectors kept are marked on the line. */
  points?: boolean;
}

export interface Look {
  colours: Palette;
  tongue: Tongue;
  zone: string;
  height: number;
  withTimes: boolean;
}

export const AXIS_WIDTH = 46;
const BAND_ROOM = 1.5;    // times the data's own span: a limit farther off would flatten the line
const MOST_POINTS = 40;
const LEAST_BAND_PX = 28; // a condition of one observation still shows what was expected
const AXIS_FONT = `500 11px ${FONT}`;

export function columns({ group, at }: Drawing): uPlot.AlignedData {
  const rows: (number | null)[][] = [];
  for (const line of group.lines) {
    rows.push(line.value);
    if (line.min && line.max) rows.push(line.min, line.max);
  }
  return [at.map((ms) => ms / 1000), ...rows];
}

export function plot(holder: HTMLElement, drawing: () => Drawing, look: Look, moved: (ms: number | null) => void): uPlot {
  const { group, from, to, stepped } = drawing();
  const { colours: c } = look;
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  group.lines.forEach((line, i) => {
    const colour = c.series[i % c.series.length] ?? c.ink;
    const paths = stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    series.push({ stroke: colour, width: 1.5, spanGaps: false, points: { show: false }, ...(paths ? { paths } : {}) });
    if (!line.min || !line.max) return;
    bands.push({ series: [series.length + 1, series.length], fill: alpha(colour, 0.16) });
    series.push({ width: 0, stroke: "transparent", points: { show: false } }, { width: 0, stroke: "transparent", points: { show: false } });
  });
  const chart = new uPlot(
    {
      width: Math.max(120, holder.clientWidth), height: look.height, padding: [8, 6, look.withTimes ? 0 : 4, 0], legend: { show: false },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), look.zone),
      cursor: {
        sync: { key: "device" }, y: false, drag: { x: false, y: false },
        points: { size: 6, width: 2, fill: c.card, stroke: (_u, i) => String(series[i]?.stroke ?? c.ink) },
      },
      scales: { x: { time: true, range: () => [drawing().from / 1000, drawing().to / 1000] }, y: { range: (_u, low, high) => roomFor(low, high, drawing()) } },
      axes: [
        { show: look.withTimes, stroke: c.muted, font: AXIS_FONT, size: 26, gap: 4, space: 64, ticks: { show: false }, grid: { stroke: alpha(c.faint, 0.18), width: 1 }, values: (_u, splits, _a, _s, step) => splits.map((s) => moment(s * 1000, step, to - from, look)) },
        { stroke: c.muted, font: AXIS_FONT, size: AXIS_WIDTH, gap: 6, space: 30, ticks: { show: false }, grid: { stroke: alpha(c.faint, 0.18), width: 1 }, values: (_u, splits) => ticks(splits, look.tongue) },
      ],
      series, bands,
      hooks: {
        drawClear: [(u) => beneath(u, drawing(), c)],
        draw: [(u) => above(u, drawing(), c)],
        setCursor: [(u) => moved(u.cursor.left !== undefined && u.cursor.left !== null && u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") * 1000 : null)],
      },
    },
    columns(drawing()),
    holder,
  );
  return chart;
}

/** Room for the data, for what was expected where that is not far off, and a margin; a flat line stands in the middle. */
function roomFor(lowest: number | null, highest: number | null, { group, alarms, from, to, points = false }: Drawing): [number, number] {
  if (lowest === null || highest === null) return [0, 1];
  let [low, high] = [lowest, highest];
  const near = Math.max(high - low, Math.abs(high) * 0.02, 0.02) * BAND_ROOM;
  for (const alarm of alarms) {
    const line = group.lines.find((l) => l.name === alarm.property);
    const band = line && expectedBand(alarm, line.property);
    for (const [at, value] of line && points ? pointsOf(alarm.evidence) : []) {
      if (line && at >= from && at <= to) [low, high] = [Math.min(low, scaled(value, line.property)), Math.max(high, scaled(value, line.property))];
    }
    for (const limit of band ? [band.low, band.high] : []) {
      if (limit === null || limit < lowest - near || limit > highest + near) continue;
      [low, high] = [Math.min(low, limit), Math.max(high, limit)];
    }
  }
  const share = group.unit === "%";
  const span = Math.max(high - low, share ? 10 : Math.max(Math.abs(high) * 0.02, 0.02));
  const margin = span * 0.12;
  const flat = span > high - low ? (span - (high - low)) / 2 : 0;
  const [bottom, top] = [low - margin - flat, high + margin + flat];
  return [low >= 0 && bottom < 0 ? Math.min(0, low) : bottom, share && high <= 100 && top > 100 ? 102 : top];
}

function ticks(splits: number[], tongue: Tongue): string[] {
  const step = Math.abs((splits[1] ?? 1) - (splits[0] ?? 0));
  const digits = step >= 1 || step === 0 ? 0 : Math.min(4, Math.ceil(-Math.log10(step) - 1e-9));
  return splits.map((v) => (Math.abs(v) >= 10_000 ? new Intl.NumberFormat(tongue, { notation: "compact" }).format(v) : number(v, tongue, digits)));
}

/** Hours within a day, days beyond; midnight is always a date. */
function moment(ms: number, stepS: number, spanMs: number, look: Look): string {
  const locale = look.tongue === "ko" ? "ko-KR" : "en-GB";
  const hour = new Intl.DateTimeFormat(locale, { timeZone: look.zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
  if (stepS < 86_400 && (hour !== "00:00" || spanMs < 3_600_001)) return hour;
  return new Intl.DateTimeFormat(locale, { timeZone: look.zone, month: look.tongue === "ko" ? "numeric" : "short", day: "numeric" }).format(ms);
}

/** Alarm spans and expected bands, drawn before the lines. */
function beneath(u: uPlot, { group, alarms, now, points = false }: Drawing, c: Palette): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  const spans = new Map<string, [number, number][]>();
  const banded: [number, number][] = [];
  // Where several conditions hold at once, one band is drawn: of the alarm that is looked at (the last), else of the worst.
  const order = points ? alarms.toReversed() : alarms.toSorted((a, b) => b.severity - a.severity);
  for (const alarm of order) {
    const line = alarm.property === null ? undefined : group.lines.find((l) => l.name === alarm.property);
    if (alarm.property !== null && !line) continue;
    const [from, to] = alarmSpan(alarm, now);
    const x0 = u.valToPos(from / 1000, "x", true);
    const x1 = Math.max(u.valToPos(to / 1000, "x", true), x0 + 2);
    if (x1 < left || x0 > left + width) continue;
    const silent = alarm.detector === "silent" || alarm.detector === "agent_silent";
    const colour = silent ? c.silent : c[severityState(alarm.severity)];
    spans.set(colour, [...(spans.get(colour) ?? []), [x0, x1]]);
    const expected = line && expectedBand(alarm, line.property);
    if (expected) {
      const wider = Math.max(0, (LEAST_BAND_PX * uPlot.pxRatio - (x1 - x0)) / 2);
      const [from, to] = [x0 - wider, x1 + wider];
      if (banded.some(([a, b]) => from < b && a < to)) continue;
      banded.push([from, to]);
      band(u, expected, from, to, c);
    }
  }
  for (const [colour, all] of spans) {
    for (const [x0, x1] of merged(all, 1)) {
      ctx.fillStyle = alpha(colour, 0.11);
      ctx.fillRect(x0, top, x1 - x0, height);
      ctx.fillStyle = colour;
      ctx.fillRect(x0, top, x1 - x0, 3 * uPlot.pxRatio);
      if (x1 - x0 > 6 * uPlot.pxRatio) ctx.fillRect(x0, top, 1.5 * uPlot.pxRatio, height);
    }
  }
  ctx.restore();
}

function band(u: uPlot, { low, high }: { low: number | null; high: number | null }, x0: number, x1: number, c: Palette): void {
  const { ctx, bbox } = u;
  const y = (v: number | null, open: number) => (v === null ? open : Math.min(bbox.top + bbox.height + 4, Math.max(bbox.top - 4, u.valToPos(v, "y", true))));
  const [y0, y1] = [y(high, bbox.top), y(low, bbox.top + bbox.height)];
  ctx.fillStyle = alpha(c.free, 0.13);
  ctx.fillRect(x0, y0, x1 - x0, y1 - y0);
  ctx.strokeStyle = alpha(c.free, 0.75);
  ctx.lineWidth = uPlot.pxRatio;
  ctx.setLineDash([4 * uPlot.pxRatio, 3 * uPlot.pxRatio]);
  for (const [value, at] of [[high, y0], [low, y1]] as const) {
    if (value === null) continue;
    ctx.beginPath();
    ctx.moveTo(x0, at);
    ctx.lineTo(x1, at);
    ctx.stroke();
  }
  ctx.setLineDash([]);
}

/** The observations that the detector kept as evidence: dots, and a ring around the one that decided. */
function above(u: uPlot, { group, alarms, points = false }: Drawing, c: Palette): void {
  if (!points) return;
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineWidth = 1.5 * uPlot.pxRatio;
  const alarm = alarms.at(-1);
  const line = alarm && group.lines.find((l) => l.name === alarm.property);
  if (alarm && line) {
    ctx.strokeStyle = c[severityState(alarm.severity)];
    const seen = pointsOf(alarm.evidence).slice(-MOST_POINTS);
    for (const [i, [at, value]] of seen.entries()) {
      const decided = i === seen.length - 1;
      ctx.fillStyle = decided ? c.card : ctx.strokeStyle;
      ctx.beginPath();
      ctx.arc(u.valToPos(at / 1000, "x", true), u.valToPos(scaled(value, line.property), "y", true), (decided ? 4 : 1.8) * uPlot.pxRatio, 0, 2 * Math.PI);
      ctx.fill();
      if (decided) ctx.stroke();
    }
  }
  ctx.restore();
}
