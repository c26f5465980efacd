/** Where the names of towns stand beside their discs so that none covers another; a name without room is left out. Pure. */
export interface Label {
  /** Middle of the disc, px on the screen. */
  x: number;
  y: number;
  width: number;
  height: number;
  /** Who stands first; the greatest town keeps its name. */
  rank: number;
}

type Offset = [dx: number, dy: number];
interface Extent {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

const DISC = 27; // px from a disc's middle to its name
const APART = 3;

/** For each label the offset of its top middle from the disc's middle: below, above, right or left of it; null without room. */
export function placed(labels: readonly Label[]): (Offset | null)[] {
  const taken: Extent[] = [];
  const offsets: (Offset | null)[] = labels.map(() => null);
  const discs = labels.map(({ x, y }) => ({ left: x - DISC + 6, right: x + DISC - 6, top: y - DISC + 6, bottom: y + DISC - 6 }));
  const order = labels.map((_, i) => i).sort((a, b) => (labels[b]?.rank ?? 0) - (labels[a]?.rank ?? 0) || a - b);
  for (const i of order) {
    const label = labels[i] as Label;
    const { width, height } = label;
    const beside = DISC + APART + width / 2;
    const choices: Offset[] = [[0, DISC], [0, -DISC - height], [beside, -height / 2], [-beside, -height / 2]];
    const found = choices.find((offset) => {
      const extent = extentOf(label, offset);
      return ![...taken, ...discs.filter((_, j) => j !== i)].some((other) => meet(extent, other));
    });
    if (!found) continue;
    offsets[i] = found;
    taken.push(extentOf(label, found));
  }
  return offsets;
}

const extentOf = ({ x, y, width, height }: Label, [dx, dy]: Offset): Extent => ({ left: x + dx - width / 2, right: x + dx + width / 2, top: y + dy, bottom: y + dy + height });
const meet = (a: Extent, b: Extent): boolean => a.left < b.right + APART && b.left < a.right + APART && a.top < b.bottom + APART && b.top < a.bottom + APART;
