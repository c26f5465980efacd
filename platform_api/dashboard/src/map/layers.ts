/**
 * Carries the city into the map's sources. Everything is set once; afterwards only devices whose picture changed
 * go over, in one batch a second (fewer when there are many). Lights of far-off lamps change by feature state alone.
 */
import type { GeoJSONSource, GeoJSONSourceDiff, Map as MapLibre } from "maplibre-gl";
import { city, type MapDevice } from "../city/city.svelte";
import { RANK } from "../theme/palette";
import { ground, thinned } from "./hull";
import { deviceImage } from "./sprites";
import { graticule, QUARTER_METRES } from "./style";
import { joinStreets, type Point } from "./streets";
import { isLit, variant } from "./symbol";

export interface Filter {
  municipality: string;
  kind: string;
  state: string;
}

const STREET_METRES = 130;
const GROUND_METRES = 450;
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
    const lands: GeoJSON.Feature[] = [];
    const streets: [Point, Point][] = [];
    for (const [code, devices] of byMunicipality) {
      lands.push({ type: "Feature", properties: { code }, geometry: { type: "Polygon", coordinates: [ground(positions(devices), GROUND_METRES)] } });
      const lamps = positions(devices.filter((d) => city.profiles[d.kind]?.symbol === "lamp"));
      streets.push(...joinStreets(lamps, STREET_METRES));
    }
    this.#source("ground")?.setData({ type: "FeatureCollection", features: lands });
    this.#source("quarters")?.setData({ type: "Feature", properties: {}, geometry: { type: "MultiPoint", coordinates: thinned(positions(city.devices.values()), QUARTER_METRES / 2) } });
    this.#source("streets")?.setData({ type: "Feature", properties: {}, geometry: { type: "MultiLineString", coordinates: streets } });
    this.#source("grid")?.setData(graticule(positions(city.devices.values()).slice(0, 1)));
  }

  change(devices: MapDevice[]): void {
    for (const device of devices) this.#waiting.add(device);
    const pause = Math.max(1000, Math.min(5000, city.devices.size / 20));
    this.#timer ??= setTimeout(() => this.#flush(), pause);
  }

  select(device: MapDevice | null): void {
    this.#source("selected")?.setData({
      type: "FeatureCollection",
      features: device?.position ? [{ type: "Feature", properties: {}, geometry: { type: "Point", coordinates: device.position } }] : [],
    });
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
