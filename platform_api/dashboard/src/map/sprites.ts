/**
 * Pictures of devices and clusters, drawn on canvas when the map first asks for them by name
 * (`device|lamp|on|critical`, `cluster|124|0,2,1,0`). Shape says kind and state, colour says it again.
 */
import type { DeviceState } from "../api/types";
import type { Palette } from "../theme/palette";
import { fillShare, isLit } from "./symbol";

type Ctx = CanvasRenderingContext2D;
const BOX = 40;
const CENTRE = BOX / 2;
export const FONT = '"Pretendard Variable", "Noto Sans KR", system-ui, sans-serif';

export const deviceImage = (symbol: string, variant: string, state: DeviceState) => `device|${symbol}|${variant}|${state}`;

/** The picture of that name, or null when the name is not one of ours. */
export function draw(name: string, colours: Palette, ratio: number): ImageData | null {
  const [type, first = "", second = "", third = ""] = name.split("|");
  if (type === "device") return paint(BOX, ratio, (ctx) => device(ctx, first, second, third as DeviceState, colours));
  if (type === "cluster") {
    const size = clusterSize(first);
    return paint(size, ratio, (ctx) => cluster(ctx, size, first, second.split(",").map(Number), colours));
  }
  return null;
}

function paint(size: number, ratio: number, drawing: (ctx: Ctx) => void): ImageData | null {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.ceil(size * ratio);
  const ctx = canvas.getContext("2d");
  if (!ctx) return null;
  ctx.scale(ratio, ratio);
  ctx.lineJoin = "round";
  ctx.lineCap = "round";
  drawing(ctx);
  return ctx.getImageData(0, 0, canvas.width, canvas.height);
}

/** Draws one device around the middle of a 40 px box; also used by the legend and by lists. */
export function device(ctx: Ctx, symbol: string, variant: string, state: DeviceState, c: Palette): void {
  const hollow = state === "silent" || state === "unknown";
  const edge = state === "critical" || state === "warning" || state === "info" ? c[state] : hollow ? c.silent : c.muted;
  const body = outline(symbol);
  if (isLit(symbol, variant) && !hollow) glow(ctx, c, variant === "low" ? 0.25 : 0.5);
  ctx.fillStyle = c.card;
  ctx.fill(body);
  if (!hollow) fillBody(ctx, body, symbol, variant, c);
  ctx.strokeStyle = edge;
  ctx.lineWidth = state === "ok" || hollow ? 1.5 : 2.5;
  if (state === "unknown") ctx.setLineDash([1, 3]);
  ctx.stroke(body);
  ctx.setLineDash([]);
  if (state === "silent") stroke(ctx, [[CENTRE - 8, CENTRE + 8], [CENTRE + 8, CENTRE - 8]], c.silent, 1.75);
  if (state === "critical" || state === "warning" || state === "info") badge(ctx, state, CENTRE + 8, CENTRE - 8, 5.2, c);
}

function outline(symbol: string): Path2D {
  const p = new Path2D();
  const m = CENTRE;
  if (symbol === "lamp") p.arc(m, m, 6, 0, Math.PI * 2);
  else if (symbol === "bin") {
    p.moveTo(m - 8, m - 8);
    p.lineTo(m + 8, m - 8);
    p.lineTo(m + 5.5, m + 8.5);
    p.lineTo(m - 5.5, m + 8.5);
    p.closePath();
  } else if (symbol === "bay") p.roundRect(m - 6, m - 8, 12, 16, 2.5);
  else if (symbol === "garage") {
    p.moveTo(m - 10, m - 3.5);
    p.lineTo(m, m - 10.5);
    p.lineTo(m + 10, m - 3.5);
    p.lineTo(m + 10, m + 9);
    p.lineTo(m - 10, m + 9);
    p.closePath();
  } else {
    for (let k = 0; k < 6; k += 1) p.lineTo(m + 8.5 * Math.sin((k * Math.PI) / 3), m - 8.5 * Math.cos((k * Math.PI) / 3));
    p.closePath();
  }
  return p;
}

function fillBody(ctx: Ctx, body: Path2D, symbol: string, variant: string, c: Palette): void {
  const share = fillShare(variant);
  ctx.save();
  ctx.clip(body);
  if (symbol === "lamp") {
    ctx.fillStyle = c.lit;
    if (variant === "on") ctx.fillRect(0, 0, BOX, BOX);
    else if (variant === "low" || variant === "booting_up") ctx.fillRect(0, CENTRE, BOX, CENTRE);
  } else if (symbol === "bay") {
    ctx.fillStyle = variant === "occupied" ? c.taken : c.card;
    ctx.fillRect(0, 0, BOX, BOX);
    if (variant === "free") stroke(ctx, [[CENTRE - 3, CENTRE], [CENTRE - 0.7, CENTRE + 2.6], [CENTRE + 3.2, CENTRE - 2.8]], c.free, 2);
    if (variant === "occupied") stroke(ctx, [[CENTRE, CENTRE - 3.5], [CENTRE, CENTRE + 3.5]], c.card, 4);
    if (variant === "closed") stroke(ctx, [[CENTRE - 2.6, CENTRE - 2.6], [CENTRE + 2.6, CENTRE + 2.6]], c.muted, 1.75);
    if (variant === "closed") stroke(ctx, [[CENTRE + 2.6, CENTRE - 2.6], [CENTRE - 2.6, CENTRE + 2.6]], c.muted, 1.75);
  } else if (symbol === "garage") {
    ctx.fillStyle = variant === "full" ? c.taken : c.card;
    ctx.fillRect(0, 0, BOX, BOX);
    ctx.fillStyle = variant === "full" ? c.card : variant === "spaces" ? c.free : c.muted;
    ctx.font = `700 11px ${FONT}`;
    ctx.textAlign = "center";
    ctx.fillText("P", CENTRE, CENTRE + 6);
  } else if (share !== null) {
    ctx.fillStyle = c.level;
    const height = 17 * share;
    ctx.fillRect(0, CENTRE + 8.5 - height, BOX, height);
  }
  ctx.restore();
}

function glow(ctx: Ctx, c: Palette, strength: number): void {
  const light = ctx.createRadialGradient(CENTRE, CENTRE, 4, CENTRE, CENTRE, 19);
  light.addColorStop(0, alpha(c.glow, strength));
  light.addColorStop(1, alpha(c.glow, 0));
  ctx.fillStyle = light;
  ctx.fillRect(0, 0, BOX, BOX);
}

/** The mark of a state: triangle, diamond, disc, slashed ring. The same on map, lists and charts. */
export function badge(ctx: Ctx, state: DeviceState, x: number, y: number, r: number, c: Palette): void {
  const p = new Path2D();
  if (state === "critical") {
    p.moveTo(x, y - r * 1.15);
    p.lineTo(x + r * 1.15, y + r * 0.85);
    p.lineTo(x - r * 1.15, y + r * 0.85);
    p.closePath();
  } else if (state === "warning") {
    p.moveTo(x, y - r * 1.15);
    p.lineTo(x + r * 1.15, y);
    p.lineTo(x, y + r * 1.15);
    p.lineTo(x - r * 1.15, y);
    p.closePath();
  } else p.arc(x, y, r * 0.85, 0, Math.PI * 2);
  ctx.strokeStyle = c.card;
  ctx.lineWidth = 3;
  ctx.stroke(p);
  if (state === "silent" || state === "unknown") {
    ctx.fillStyle = c.card;
    ctx.fill(p);
    ctx.strokeStyle = c.silent;
    ctx.lineWidth = 1.5;
    ctx.stroke(p);
    if (state === "silent") stroke(ctx, [[x - r * 0.7, y + r * 0.7], [x + r * 0.7, y - r * 0.7]], c.silent, 1.5);
    return;
  }
  ctx.fillStyle = state === "ok" ? c.free : c[state];
  ctx.fill(p);
}

const clusterSize = (count: string) => 36 + 6 * Math.min(4, count.length);

/** A disc with the number of devices; its ring is the mix of states (critical, warning, info, silent of 24), its mark the worst. */
function cluster(ctx: Ctx, size: number, count: string, mix: number[], c: Palette): void {
  const m = size / 2;
  const r = m - 7;
  ctx.beginPath();
  ctx.arc(m, m, r, 0, Math.PI * 2);
  ctx.shadowColor = "rgba(0,0,0,.22)";
  ctx.shadowBlur = 5;
  ctx.shadowOffsetY = 1;
  ctx.fillStyle = c.card;
  ctx.fill();
  ctx.shadowColor = "transparent";
  ring(ctx, m, r, 0, 1, c.faint, 1.25);
  let from = 0;
  const states = ["critical", "warning", "info", "silent"] as const;
  states.forEach((state, k) => {
    const share = (mix[k] ?? 0) / 24;
    if (share > 0) ring(ctx, m, r, from, from + share, c[state], 3.5);
    from += share;
  });
  ctx.fillStyle = c.ink;
  ctx.font = `600 13px ${FONT}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillText(count, m, m + 0.5);
  const worst = states.find((_, k) => (mix[k] ?? 0) > 0);
  if (worst && worst !== "silent") badge(ctx, worst, m + r * 0.72, m - r * 0.72, 5.6, c);
}

function ring(ctx: Ctx, m: number, r: number, from: number, to: number, colour: string, width: number): void {
  ctx.beginPath();
  ctx.arc(m, m, r, (from - 0.25) * Math.PI * 2, (to - 0.25) * Math.PI * 2);
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.lineCap = "butt";
  ctx.stroke();
}

function stroke(ctx: Ctx, points: [number, number][], colour: string, width: number): void {
  ctx.beginPath();
  for (const [x, y] of points) ctx.lineTo(x, y);
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.lineCap = "round";
  ctx.stroke();
}

/** `#rrggbb` with an opacity. */
export function alpha(hex: string, opacity: number): string {
  return `${hex}${Math.round(opacity * 255).toString(16).padStart(2, "0")}`;
}
