/**
 * Carries the city into the map's sources. Everything is set once; afterwards only devices whose picture changed
 * go over, in one batch a second (fewer when there are many). Lights of far-off lamps change by feature state alone.
 */
import type { GeoJSONSource, GeoJSONSourceDiff, Map as MapLibre } from "maplibre-gl";
import { city, type MapDevice } from "../city/city.svelte";
import { RANK } from "../theme/palette";
import { boxOf, thinned, zoomFor, type Box } from "./quarters";
import { deviceImage } from "./sprites";
import { clusterMaxZoomOf, graticule, QUARTER_METRES, TOWN_PX, zoomRanges } from "./style";
import { joinStreets, type Point } from "./streets";
import { isLit, variant } from "./symbol";

export interface Filter {
  municipality: string;
  kind: string;
  state: string;
}

const STREET_METRES = 95;
const OUTLYING = 0.02; // share of devices that may stand outside a town without making it larger
const FRESH_MS = 900;

interface Picture {
  icon: string;
  lit: 0 | 1;
}

export function matches(device: MapDevice, filter: Filter): boolean {
  return (
    device.position !== null &&
    (!filter.municipality || device.municipality === filter.municipality) &&
    (!filter.kind || device.kind === filter.kind) &&
    (!filter.state || device.state === filter.state)
  );
}

export class Layers {
  #shown = new Map<number, Picture>();
  #waiting = new Set<MapDevice>();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  /** Devices the filter lets through. */
  count = 0;
  /** Below this zoom each town is one disc. */
  townZoom = 0;
  clusterMaxZoom = clusterMaxZoomOf(0);
  /** The box around each municipality's devices. */
  towns = new Map<string, Box>();

  constructor(
    private readonly map: MapLibre,
    private filter: Filter,
  ) {}

  /** Sets every source anew: after loading, a change of the filter, or of the theme. */
  setAll(filter: Filter): void {
    this.filter = filter;
    this.#shown.clear();
    this.#waiting.clear();
    const features = [...city.devices.values()].filter((d) => matches(d, filter)).map((d) => this.#feature(d));
    const collection: GeoJSON.FeatureCollection = { type: "FeatureCollection", features };
    this.count = features.length;
    this.#source("devices")?.setData(collection);
    this.#source("dots")?.setData(collection);
    this.map.removeFeatureState({ source: "dots" });
    this.#attend();
  }

  /** Lays the ground beneath the devices; needed again only when the set of devices changed. */
  layGround(): void {
    const byMunicipality = byMunicipalityOf(city.devices.values());
    const streets: [Point, Point][] = [];
    this.towns.clear();
    for (const [code, devices] of byMunicipality) {
      const box = boxOf(positions(devices), OUTLYING);
      if (box) this.towns.set(code, box);
      const lamps = positions(devices.filter((d) => city.profiles[d.kind]?.symbol === "lamp"));
      streets.push(...joinStreets(lamps, STREET_METRES));
    }
    this.townZoom = Math.max(0, Math.min(12.8, ...[...this.towns.values()].map((box) => zoomFor(box, TOWN_PX))));
    this.clusterMaxZoom = clusterMaxZoomOf(city.devices.size);
    this.#source("devices")?.setClusterOptions({ cluster: true, clusterMaxZoom: this.clusterMaxZoom, clusterRadius: 40 });
    for (const [id, [from, to]] of Object.entries(zoomRanges(this.townZoom, this.clusterMaxZoom))) this.map.setLayerZoomRange(id, from, to);
    this.#source("quarters")?.setData({ type: "Feature", properties: {}, geometry: { type: "MultiPoint", coordinates: thinned(positions(city.devices.values()), QUARTER_METRES / 3) } });
    this.#source("streets")?.setData({ type: "Feature", properties: {}, geometry: { type: "MultiLineString", coordinates: streets } });
    this.#source("grid")?.setData(graticule(positions(city.devices.values()).slice(0, 1)));
  }

  *shown(): Iterable<MapDevice> {
    for (const id of this.#shown.keys()) {
      const device = city.devices.get(id);
      if (device) yield device;
    }
  }

  change(devices: MapDevice[]): void {
    for (const device of devices) this.#waiting.add(device);
    const pause = Math.max(1000, Math.min(5000, city.devices.size / 20));
    this.#timer ??= setTimeout(() => this.#flush(), pause);
  }

  /** Rings what is looked at. */
  select(devices: MapDevice[]): void {
    this.#source("selected")?.setData(pointsOf(devices));
  }

  /** Marks where planned work holds alarms back. */
  maintain(devices: MapDevice[]): void {
    this.#source("maintained")?.setData(pointsOf(devices));
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
  }

  #flush(): void {
    this.#timer = null;
    const diff: Required<Pick<GeoJSONSourceDiff, "add" | "update" | "remove">> = { add: [], update: [], remove: [] };
    let attention = false;
    for (const device of this.#waiting) {
      const before = this.#shown.get(device.id);
      if (!matches(device, this.filter)) {
        if (before) {
          diff.remove.push(device.id);
          this.#shown.delete(device.id);
          attention = true;
        }
        continue;
      }
      if (!before) {
        diff.add.push(this.#feature(device));
        attention = true;
        continue;
      }
      const after = picture(device);
      if (after.icon === before.icon) continue;
      this.#shown.set(device.id, after);
      attention ||= !before.icon.endsWith("|ok") || device.state !== "ok";
      diff.update.push({
        id: device.id,
        addOrUpdateProperties: Object.entries(properties(device, after)).map(([key, value]) => ({ key, value })),
      });
      if (after.lit !== before.lit) this.map.setFeatureState({ source: "dots", id: device.id }, { lit: after.lit });
      this.#flash(device.id);
    }
    this.#waiting.clear();
    if (!diff.add.length && !diff.update.length && !diff.remove.length) return;
    this.count = this.#shown.size;
    this.#source("devices")?.updateData(diff);
    if (diff.add.length || diff.remove.length) this.#source("dots")?.updateData({ add: diff.add, remove: diff.remove });
    if (attention) this.#attend();
  }

  #flash(id: number): void {
    if (this.#calm || this.map.getZoom() < 13) return;
    this.map.setFeatureState({ source: "dots", id }, { fresh: true });
    setTimeout(() => this.map.getSource("dots") && this.map.setFeatureState({ source: "dots", id }, { fresh: false }), FRESH_MS);
  }

  #attend(): void {
    const features = [...city.devices.values()].filter((d) => RANK[d.state] >= RANK.warning && matches(d, this.filter)).map((d) => this.#feature(d));
    this.#source("attention")?.setData({ type: "FeatureCollection", features });
    this.#source("towns")?.setData({ type: "FeatureCollection", features: this.#discs() });
  }

  /** One disc for each town: how many devices, and how many in which state. */
  #discs(): GeoJSON.Feature[] {
    const counts = new Map<string, Record<string, number>>();
    for (const { municipality, state } of this.shown()) {
      const of = counts.get(municipality) ?? { point_count: 0, critical: 0, warning: 0, info: 0, silent: 0 };
      of["point_count"] = (of["point_count"] ?? 0) + 1;
      if (state in of) of[state] = (of[state] ?? 0) + 1;
      counts.set(municipality, of);
    }
    return [...counts].flatMap(([code, of]) => {
      const at = middle(this.towns.get(code));
      const total = of["point_count"] ?? 0;
      const point_count_abbreviated = total < 10_000 ? total.toLocaleString("en") : `${Math.round(total / 1000)}k`;
      return at ? [{ type: "Feature" as const, properties: { ...of, code, point_count_abbreviated }, geometry: { type: "Point" as const, coordinates: at } }] : [];
    });
  }

  #feature(device: MapDevice): GeoJSON.Feature {
    const shown = picture(device);
    this.#shown.set(device.id, shown);
    return { type: "Feature", id: device.id, properties: properties(device, shown), geometry: { type: "Point", coordinates: device.position ?? [] } };
  }

  #source(id: string): GeoJSONSource | undefined {
    return this.map.getSource<GeoJSONSource>(id);
  }
}

const pointsOf = (devices: MapDevice[]): GeoJSON.Feature => ({ type: "Feature", properties: {}, geometry: { type: "MultiPoint", coordinates: positions(devices) } });

export const middle = (box: Box | undefined): Point | null => (box ? [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] : null);

export function positions(devices: Iterable<MapDevice>): Point[] {
  return [...devices].flatMap((d) => (d.position ? [d.position] : []));
}

function picture(device: MapDevice): Picture {
  const profile = city.profiles[device.kind];
  const symbol = profile?.symbol ?? "generic";
  const name = variant(profile, device.values);
  return { icon: deviceImage(symbol, name, device.state), lit: isLit(symbol, name) && device.state !== "silent" ? 1 : 0 };
}

const properties = (device: MapDevice, shown: Picture) => ({ id: device.id, state: device.state, rank: RANK[device.state], icon: shown.icon, lit: shown.lit });

function byMunicipalityOf(devices: Iterable<MapDevice>): Map<string, MapDevice[]> {
  const groups = new Map<string, MapDevice[]>();
  for (const device of devices) {
    const group = groups.get(device.municipality);
    if (group) group.push(device);
    else groups.set(device.municipality, [device]);
  }
  return groups;
}
