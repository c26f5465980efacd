/**
 * Streets hinted from the lamps that stand along them, where no base map is served: lamps that are each other's
 * relative neighbours (nobody stands closer to both) are joined. Pure; some 100 ms for 100,000 points.
 */
export type Point = [number, number];

const METRES_PER_DEGREE = 111_320;
const NEIGHBOURS = 8;
const STRAIGHT = -0.77; // cosine: less than 40 degrees off the straight line

/** Lines [from, to] in degrees; pairs further apart than `maxMetres` are never joined. */
export function joinStreets(points: Point[], maxMetres: number): [Point, Point][] {
  // Twice: from one side of a crossing to the next the left and right lamps mislead, their middles don't.
  const middles = intoTheMiddle(points, neighbours(points, maxMetres));
  const joined = neighbours(middles, maxMetres);
  const centred = intoTheMiddle(middles, joined);
  return joined.map(([i, j]) => [centred[i] as Point, centred[j] as Point]);
}

/** Pairs of points that are each other's relative neighbours, by index. */
function neighbours(points: Point[], maxMetres: number): [number, number][] {
  if (points.length < 2) return [];
  const stretch = Math.cos(((points[0]?.[1] ?? 0) * Math.PI) / 180);
  const xs = Float64Array.from(points, (p) => p[0] * METRES_PER_DEGREE * stretch);
  const ys = Float64Array.from(points, (p) => p[1] * METRES_PER_DEGREE);
  const cells = new Map<string, number[]>();
  const cell = (i: number, dx = 0, dy = 0) => `${Math.floor((xs[i] ?? 0) / maxMetres) + dx},${Math.floor((ys[i] ?? 0) / maxMetres) + dy}`;
  points.forEach((_, i) => {
    const at = cell(i);
    const inside = cells.get(at);
    if (inside) inside.push(i);
    else cells.set(at, [i]);
  });
  const far = (i: number, j: number) => Math.hypot((xs[i] ?? 0) - (xs[j] ?? 0), (ys[i] ?? 0) - (ys[j] ?? 0));
  const near = points.map((_, i) => {
    const found: [number, number][] = [];
    for (let dx = -1; dx <= 1; dx += 1) {
      for (let dy = -1; dy <= 1; dy += 1) {
        for (const j of cells.get(cell(i, dx, dy)) ?? []) {
          const d = far(i, j);
          if (j !== i && d <= maxMetres && d > 0) found.push([d, j]);
        }
      }
    }
    return found.sort((a, b) => a[0] - b[0]).slice(0, NEIGHBOURS);
  });
  const joined: [number, number][] = [];
  near.forEach((around, i) => {
    for (const [d, j] of around) {
      const mutual = near[j]?.some(([, k]) => k === i) ?? false;
      if (mutual && j < i) continue;
      const between = around.some(([dk, k]) => k !== j && dk < d && far(k, j) < d);
      if (!between) joined.push([i, j]);
    }
  });
  return joined;
}

/** Lamps stand left and right of a road in turn; its middle is halfway between a lamp and those before and after it. */
function intoTheMiddle(points: Point[], joined: [number, number][]): Point[] {
  const beside: number[][] = points.map(() => []);
  for (const [i, j] of joined) {
    beside[i]?.push(j);
    beside[j]?.push(i);
  }
  const moved = points.map((p, i): Point => {
    const through = opposite(p, (beside[i] ?? []).map((j) => points[j] as Point));
    if (!through.length) return p;
    const [x, y] = [0, 1].map((axis) => through.reduce((sum, [a, b]) => sum + ((a[axis] ?? 0) + (b[axis] ?? 0)) / 2, 0) / through.length) as Point;
    return [(p[0] + x) / 2, (p[1] + y) / 2];
  });
  return moved.map((p, i) => {
    const [only, more] = beside[i] ?? [];
    if (only === undefined || more !== undefined) return p;
    const [was, is] = [points[only] as Point, moved[only] as Point];
    return [p[0] - (is[0] - was[0]), p[1] - (is[1] - was[1])];
  });
}

/** Pairs of neighbours that a road runs through `p` between; the only two are always one. */
function opposite(p: Point, neighbours: Point[]): [Point, Point][] {
  if (neighbours.length === 2) return [neighbours as [Point, Point]];
  const flat = Math.cos((p[1] * Math.PI) / 180);
  const pairs: [Point, Point][] = [];
  neighbours.forEach((a, k) => {
    for (const b of neighbours.slice(k + 1)) {
      const [ax, ay, bx, by] = [(a[0] - p[0]) * flat, a[1] - p[1], (b[0] - p[0]) * flat, b[1] - p[1]];
      if ((ax * bx + ay * by) / (Math.hypot(ax, ay) * Math.hypot(bx, by)) < STRAIGHT) pairs.push([a, b]);
    }
  });
  return pairs;
}
