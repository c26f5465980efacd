/** Where a municipality is built, read off its devices: the squares that hold any, and the box around nearly all. Pure. */
import type { Point } from "./streets";

export type Box = [west: number, south: number, east: number, north: number];

const METRES_PER_DEGREE = 111_320;

/** One point for each square of `metres` that holds any: where the city is built, whatever the number of devices. */
export function thinned(points: Point[], metres: number): Point[] {
  const squares = new Map<string, Point>();
  for (const [lon, lat] of points) {
    const key = `${Math.floor((lon * 88_000) / metres)},${Math.floor((lat * METRES_PER_DEGREE) / metres)}`;
    if (!squares.has(key)) squares.set(key, [lon, lat]);
  }
  return [...squares.values()];
}

/** The box around the points, less the share of them that lies outermost on each side; null without points. */
export function boxOf(points: Point[], trimmed = 0): Box | null {
  if (!points.length) return null;
  const [lon, lat] = [0, 1].map((axis) => Float64Array.from(points, (p) => p[axis] ?? 0).sort()) as [Float64Array, Float64Array];
  const [first, last] = [Math.floor(trimmed * points.length), Math.ceil((1 - trimmed) * points.length) - 1];
  return [lon[first] ?? 0, lat[first] ?? 0, lon[last] ?? 0, lat[last] ?? 0];
}

/** The zoom at which the longer side of the box takes so many pixels (512 px tiles, Web Mercator). */
export function zoomFor([w, s, e, n]: Box, pixels: number): number {
  const flat = Math.cos((((s + n) / 2) * Math.PI) / 180);
  const metres = Math.max((e - w) * METRES_PER_DEGREE * flat, (n - s) * METRES_PER_DEGREE, 1);
  return Math.log2((78_271.5 * flat * pixels) / metres);
}
