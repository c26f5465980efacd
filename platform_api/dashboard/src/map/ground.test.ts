import { expect, test } from "vitest";
import type { MapDevice } from "../city/city.svelte";
import { nearest } from "./nearest";
import { boxOf, thinned, zoomFor } from "./quarters";
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

test("a town's box leaves out the few that stand far away", () => {
  const town = Array.from({ length: 100 }, (_, i): Point => [127 + i * 1e-4, 37.6 + i * 1e-4]);
  const box = boxOf([...town, [120, 30]], 0.02);
  expect(box?.[0]).toBeGreaterThanOrEqual(127);
  expect(boxOf([...town, [120, 30]])?.[0]).toBe(120);
  expect(boxOf([])).toBeNull();
});

test("a box of two kilometres fills 200 pixels at ten metres a pixel", () => {
  const zoom = zoomFor([127, 0, 127 + 2000 / 111_320, 0.001], 200);
  expect(78_271.5 / 2 ** zoom).toBeCloseTo(10, 5);
});

test("squares that hold many devices are laid once", () => {
  expect(thinned([[127, 37.6], [127.0001, 37.6], [127.1, 37.6]], 130)).toHaveLength(2);
});

const project = ([lon, lat]: [number, number]) => ({ x: lon * 1000, y: -lat * 1000 });
const unproject = ({ x, y }: { x: number; y: number }): [number, number] => [x / 1000, -y / 1000];
const device = (id: number, lon: number, state = "ok") => ({ id, state, position: [lon, 0] }) as unknown as MapDevice;

test("a click finds the nearest device within reach, and nothing beyond", () => {
  const devices = [device(1, 0), device(2, 0.01), { ...device(3, 0.006), position: null }];
  const at = (x: number) => nearest(devices, { x, y: 0 }, 8, project, unproject)?.id;
  expect([at(2), at(7), at(17), at(30)]).toEqual([1, 2, 2, undefined]);
});

test("of two devices in one place the one with an alarm is found", () => {
  const found = nearest([device(1, 0), device(2, 0, "critical"), device(3, 0)], { x: 1, y: 0 }, 8, project, unproject);
  expect(found?.id).toBe(2);
});
