/** Which device lies under a pointer, from the places of the devices themselves: right even while the map redraws. Pure. */
import type { MapDevice } from "../city/city.svelte";

type Spot = { x: number; y: number };

/** The device drawn nearest to `at`, at most `reach` pixels away; of several in one place the worst. */
export function nearest(devices: Iterable<MapDevice>, at: Spot, reach: number, project: (p: [number, number]) => Spot, unproject: (p: Spot) => [number, number]): MapDevice | null {
  const [w, n] = unproject({ x: at.x - reach, y: at.y - reach });
  const [e, s] = unproject({ x: at.x + reach, y: at.y + reach });
  let [best, far]: [MapDevice | null, number] = [null, reach];
  for (const device of devices) {
    if (!device.position) continue;
    const [lon, lat] = device.position;
    if (lon < w || lon > e || lat < s || lat > n) continue;
    const { x, y } = project(device.position);
    const d = Math.hypot(x - at.x, y - at.y);
    if (d < far || (d === far && device.state !== "ok")) [best, far] = [device, d];
  }
  return best;
}
