import { expect, test } from "vitest";
import { convexHull, ground } from "./hull";
import { joinStreets, type Point } from "./streets";

const street = (n: number, lat: number): Point[] => Array.from({ length: n }, (_, i) => [127 + (i * 30) / 88_000, lat]);

test("lamps in a row are joined into one line, without shortcuts", () => {
  expect(joinStreets(street(10, 37.6), 100)).toHaveLength(9);
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
