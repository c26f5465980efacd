/** The ground a municipality covers on our map: the hull of its devices, widened and rounded. Pure. */
import type { Point } from "./streets";

const cross = (o: Point, a: Point, b: Point) => (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);

/** Convex hull, counter-clockwise (Andrew's monotone chain). */
export function convexHull(points: Point[]): Point[] {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (ordered: Point[]) => {
    const chain: Point[] = [];
    for (const p of ordered) {
      while (chain.length >= 2 && cross(chain[chain.length - 2] as Point, chain[chain.length - 1] as Point, p) <= 0) chain.pop();
      chain.push(p);
    }
    return chain.slice(0, -1);
  };
  return sorted.length < 3 ? sorted : [...half(sorted), ...half([...sorted].reverse())];
}

/** A closed ring around `points`, `metres` wider than their hull, its corners cut round. */
export function ground(points: Point[], metres: number): Point[] {
  const around: Point[] = [];
  for (const [lon, lat] of convexHull(points)) {
    for (let k = 0; k < 8; k += 1) {
      const angle = (k * Math.PI) / 4;
      around.push([lon + (Math.cos(angle) * metres) / (111_320 * Math.cos((lat * Math.PI) / 180)), lat + (Math.sin(angle) * metres) / 111_320]);
    }
  }
  let ring = convexHull(around);
  for (let round = 0; round < 3; round += 1) ring = cutCorners(ring);
  return ring.length ? [...ring, ring[0] as Point] : [];
}

/** One point for each square of `metres` that holds any: where the city is built, whatever the number of devices. */
export function thinned(points: Point[], metres: number): Point[] {
  const squares = new Map<string, Point>();
  for (const [lon, lat] of points) {
    const key = `${Math.floor((lon * 88_000) / metres)},${Math.floor((lat * 111_320) / metres)}`;
    if (!squares.has(key)) squares.set(key, [lon, lat]);
  }
  return [...squares.values()];
}

/** Chaikin's corner cutting. */
function cutCorners(ring: Point[]): Point[] {
  return ring.flatMap((a, i) => {
    const b = ring[(i + 1) % ring.length] as Point;
    return [
      [a[0] * 0.75 + b[0] * 0.25, a[1] * 0.75 + b[1] * 0.25],
      [a[0] * 0.25 + b[0] * 0.75, a[1] * 0.25 + b[1] * 0.75],
    ] as Point[];
  });
}
