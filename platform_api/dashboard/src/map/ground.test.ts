import { expect, test } from "vitest";
import { convexHull, ground } from "./hull";
import { joinStreets, type Point } from "./streets";

const street = (n: number, lat: number): Point[] => Array.from({ length: n }, (_, i) => [127 + (i * 30) / 88_000, lat]);

test("lamps in a row are joined into one line, without shortcuts", () => {
  expect(joinStreets(street(10, 37.6), 100)).toHaveLength(9);
});

test("a road runs straight between lamps that stand left and right of it in turn", () => {
  const zigzag = street(8, 37.6).map(([x, y], i): Point => [x, y + (i % 2 ? 4e-5 : -4e-5)]);
  for (const [a, b] of joinStreets(zigzag, 100)) expect(Math.abs(a[1] - 37.6) + Math.abs(b[1] - 37.6)).toBeLessThan(1e-9);
});

test("streets further apart than a block stay apart", () => {
  expect(joinStreets([...street(5, 37.6), ...street(5, 37.61)], 100)).toHaveLength(8);
});

test("a hull leaves out what lies inside", () => {
  const square: Point[] = [[0, 0], [1, 0], [1, 1], [0, 1]];
  expect(convexHull([...square, [0.5, 0.5]])).toHaveLength(4);
});

test("the ground of a single device is a closed ring around it", () => {
  const ring = ground([[127, 37.6]], 300);
  expect(ring[0]).toEqual(ring.at(-1));
  expect(Math.min(...ring.map((p) => p[1]))).toBeLessThan(37.6);
  expect(Math.max(...ring.map((p) => p[1]))).toBeGreaterThan(37.6);
});
