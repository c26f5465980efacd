import { expect, test } from "vitest";
import { placed, type Label } from "./labels";

const town = (x: number, y: number, rank = 1): Label => ({ x, y, width: 70, height: 22, rank });
const extent = ({ x, y, width, height }: Label, [dx, dy]: [number, number]) => ({ left: x + dx - width / 2, right: x + dx + width / 2, top: y + dy, bottom: y + dy + height });

test("a name alone stands below its disc", () => {
  expect(placed([town(100, 100), town(400, 100)])).toEqual([[0, 27], [0, 27]]);
});

test("names of towns close together never cover each other, and the greatest keeps its place", () => {
  const towns = [town(100, 100, 5), town(150, 118, 900), town(170, 60, 30), town(70, 170, 2), town(220, 100, 1)];
  const offsets = placed(towns);
  expect(offsets[1]).not.toBeNull();
  const boxes = towns.flatMap((each, i) => (offsets[i] ? [extent(each, offsets[i])] : []));
  for (const [i, a] of boxes.entries()) {
    for (const b of boxes.slice(i + 1)) expect(a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom).toBe(false);
  }
});

test("a name without room is left out", () => {
  const crowd = Array.from({ length: 30 }, (_, i) => town(100 + i, 100 + i, i));
  expect(placed(crowd).filter(Boolean).length).toBeLessThan(6);
  expect(placed(crowd)[29]).toEqual([0, 27]);
});
