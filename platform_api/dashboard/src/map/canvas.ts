/**
 * The MapLibre map itself: creates it, answers its requests for pictures, and turns gestures into calls.
 * Which devices it shows is `layers`' business.
 */
import type { GeoJSONSource, Map as MapLibre, MapMouseEvent, PointLike } from "maplibre-gl";
import maplibregl from "maplibre-gl/dist/maplibre-gl-csp";
import workerUrl from "maplibre-gl/dist/maplibre-gl-csp-worker.js?url";
import type { Palette } from "../theme/palette";
import { draw } from "./sprites";
import { style } from "./style";

const REACH_PX = 8; // a finger is less exact than a mouse

export interface Gestures {
  hover(id: number | null, at: { x: number; y: number }): void;
  open(id: number): void;
  moved(place: string): void;
}

export function webglWorks(): boolean {
  return document.createElement("canvas").getContext("webgl2") !== null;
}

/** "zoom/lat/lon" of the address bar. */
export function readPlace(text: string): { zoom: number; center: [number, number] } | null {
  const [zoom, lat, lon] = text.split("/").map(Number);
  return zoom !== undefined && lat !== undefined && lon !== undefined && [zoom, lat, lon].every(Number.isFinite) ? { zoom, center: [lon, lat] } : null;
}

export function createMap(container: HTMLElement, colours: () => Palette, place: string, gestures: Gestures): MapLibre {
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
    const found = at(map, event, 2);
    map.getCanvas().style.cursor = found ? "pointer" : "";
    gestures.hover(found && "id" in found ? found.id : null, event.point);
  });
  map.on("mouseout", () => gestures.hover(null, { x: 0, y: 0 }));
  map.on("click", (event) => void click(map, event, gestures));
  return map;
}

type Found = { id: number } | { cluster: number; position: [number, number] };

function at(map: MapLibre, event: MapMouseEvent, reach: number): Found | null {
  if (!map.getLayer("devices")) return null;
  const { x, y } = event.point;
  const box: [PointLike, PointLike] = [[x - reach, y - reach], [x + reach, y + reach]];
  const [first] = map.queryRenderedFeatures(box, { layers: ["clusters", "devices", "attention", "attention-dot"] });
  if (!first) return null;
  const { cluster_id, id } = first.properties as { cluster_id?: number; id?: number };
  if (cluster_id !== undefined && first.geometry.type === "Point") return { cluster: cluster_id, position: first.geometry.coordinates as [number, number] };
  return id === undefined ? null : { id };
}

async function click(map: MapLibre, event: MapMouseEvent, gestures: Gestures): Promise<void> {
  const found = at(map, event, REACH_PX);
  if (!found) return;
  if ("id" in found) return gestures.open(found.id);
  const zoom = await map.getSource<GeoJSONSource>("devices")?.getClusterExpansionZoom(found.cluster);
  map.easeTo({ center: found.position, zoom: Math.min(zoom ?? map.getZoom() + 2, 17) + 0.2 });
}

/** The name of a municipality, set in type above its land. */
export function nameMarker(map: MapLibre, text: string, position: [number, number]): { remove(): void } {
  const element = document.createElement("div");
  element.className = "place-name";
  element.textContent = text;
  return new maplibregl.Marker({ element, anchor: "bottom", offset: [0, -4] }).setLngLat(position).addTo(map);
}
