/**
 * The MapLibre map itself: creates it, answers its requests for pictures, and turns gestures into calls.
 * Which devices it shows is `layers`' business.
 */
import type { GeoJSONSource, Map as MapLibre, MapMouseEvent, PointLike } from "maplibre-gl";
import maplibregl from "maplibre-gl/dist/maplibre-gl-csp";
import workerUrl from "maplibre-gl/dist/maplibre-gl-csp-worker.js?url";
import type { MapDevice } from "../city/city.svelte";
import type { Palette } from "../theme/palette";
import { nearest } from "./nearest";
import { draw } from "./sprites";
import { style } from "./style";

const REACH_PX = 16; // a finger is less exact than a mouse
const HOVER_PX = 9;

export interface Gestures {
  hover(id: number | null, at: { x: number; y: number }): void;
  open(id: number): void;
  town(code: string): void;
  moved(place: string): void;
}

/** What can be picked now: towns below one zoom, clusters up to another, devices beyond. */
export interface Pickable {
  readonly townZoom: number;
  readonly clusterMaxZoom: number;
  shown(): Iterable<MapDevice>;
}

export function webglWorks(): boolean {
  return document.createElement("canvas").getContext("webgl2") !== null;
}

/** "zoom/lat/lon" of the address bar. */
export function readPlace(text: string): { zoom: number; center: [number, number] } | null {
  const [zoom, lat, lon] = text.split("/").map(Number);
  return zoom !== undefined && lat !== undefined && lon !== undefined && [zoom, lat, lon].every(Number.isFinite) ? { zoom, center: [lon, lat] } : null;
}

export function createMap(container: HTMLElement, colours: () => Palette, place: string, gestures: Gestures, pickable: () => Pickable | null): MapLibre {
  maplibregl.setWorkerUrl(new URL(workerUrl, document.baseURI).href);
  const map = new maplibregl.Map({
    container, style: style(colours()), attributionControl: false, dragRotate: false, pitchWithRotate: false, maxZoom: 19.5, minZoom: 6,
    fadeDuration: 0, ...(readPlace(place) ?? { zoom: 9.5, center: [126.8, 37.67] as [number, number] }),
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibregl.ScaleControl({ maxWidth: 110 }), "bottom-right");
  const ratio = Math.min(3, Math.max(1, window.devicePixelRatio || 1));
  map.on("styleimagemissing", ({ id }) => {
    const image = draw(id, colours(), ratio);
    if (image && !map.hasImage(id)) map.addImage(id, image, { pixelRatio: ratio });
  });
  map.on("moveend", () => {
    const { lng, lat } = map.getCenter();
    gestures.moved(`${map.getZoom().toFixed(2)}/${lat.toFixed(5)}/${lng.toFixed(5)}`);
  });
  map.on("mousemove", (event) => {
    const found = at(map, event, HOVER_PX, pickable());
    map.getCanvas().style.cursor = found ? "pointer" : "";
    gestures.hover(found && "id" in found ? found.id : null, event.point);
  });
  map.on("mouseout", () => gestures.hover(null, { x: 0, y: 0 }));
  map.on("click", (event) => void click(map, event, gestures, pickable()));
  return map;
}

type Found = { id: number } | { town: string } | { cluster: number; position: [number, number] };

/** The topmost feature in a box; none in the moment in which MapLibre swaps a tile's data and cannot say. */
function firstShown(map: MapLibre, box: [PointLike, PointLike]) {
  try {
    return map.queryRenderedFeatures(box, { layers: ["towns", "clusters", "devices", "attention", "attention-dot"] })[0];
  } catch {
    return undefined;
  }
}

function at(map: MapLibre, event: MapMouseEvent, reach: number, pickable: Pickable | null): Found | null {
  if (!pickable || !map.getLayer("devices")) return null;
  const { x, y } = event.point;
  const zoom = map.getZoom();
  if (zoom >= pickable.townZoom && zoom >= pickable.clusterMaxZoom + 1) {
    const found = nearest(pickable.shown(), { x, y }, reach, (p) => map.project(p), (p) => map.unproject([p.x, p.y]).toArray());
    return found && { id: found.id };
  }
  const box: [PointLike, PointLike] = [[x - reach, y - reach], [x + reach, y + reach]];
  const first = firstShown(map, box);
  if (!first) return null;
  const { cluster_id, id, code } = first.properties as { cluster_id?: number; id?: number; code?: string };
  if (code !== undefined) return { town: code };
  if (cluster_id !== undefined && first.geometry.type === "Point") return { cluster: cluster_id, position: first.geometry.coordinates as [number, number] };
  return id === undefined ? null : { id };
}

async function click(map: MapLibre, event: MapMouseEvent, gestures: Gestures, pickable: Pickable | null): Promise<void> {
  const found = at(map, event, REACH_PX, pickable);
  if (!found) return;
  if ("id" in found) return gestures.open(found.id);
  if ("town" in found) return gestures.town(found.town);
  const zoom = await map.getSource<GeoJSONSource>("devices")?.getClusterExpansionZoom(found.cluster);
  map.easeTo({ center: found.position, zoom: Math.min(zoom ?? map.getZoom() + 2, 17) + 0.2 });
}

export interface NameMarker {
  remove(): void;
  /** What it takes on the screen, px. */
  size(): { width: number; height: number };
  /** Where it stands beside its disc; null hides it. */
  put(offset: [number, number] | null): void;
}

/** The name of a municipality: above its land, or beside its disc while it is small, where it also leads there. */
export function nameMarker(map: MapLibre, text: string, position: [number, number], go?: () => void): NameMarker {
  const element = document.createElement(go ? "button" : "div");
  element.className = go ? "place-name below" : "place-name above";
  element.textContent = text;
  element.setAttribute("aria-label", text); // MapLibre would call it "Map marker"
  if (go) element.addEventListener("click", (event) => (event.stopPropagation(), go()));
  const marker = new maplibregl.Marker({ element, anchor: go ? "top" : "bottom", offset: go ? [0, 28] : [0, -6] }).setLngLat(position).addTo(map);
  return {
    remove: () => void marker.remove(),
    size: () => ({ width: element.offsetWidth, height: element.offsetHeight }),
    put: (offset) => {
      element.style.visibility = offset ? "" : "hidden";
      if (offset) marker.setOffset(offset);
    },
  };
}
