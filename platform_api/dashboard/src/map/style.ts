/**
 * The map's own quiet ground: paper, the land that is built on, a graticule, and streets hinted from lamps.
 * Nothing is fetched; a city that serves tiles can lay them beneath later. Text on the map is HTML or sprites.
 */
import type { ExpressionSpecification, StyleSpecification, SymbolLayerSpecification } from "maplibre-gl";
import type { Palette } from "../theme/palette";

const nothing = { type: "FeatureCollection" as const, features: [] };
/** Up to this zoom devices are clustered; a big fleet's streets hold more than can be told apart a little longer. */
export const clusterMaxZoomOf = (devices: number) => (devices > 12_000 ? 13 : 11);
/** At this width of the largest town, its disc gives way to its streets. */
export const TOWN_PX = 210;
export const QUARTER_METRES = 105;
const DOTS_TO = 13.5;
const ATTENTION_TO = 15;

/** The zooms between which each layer is drawn, for a city whose towns part at `townZoom`. */
export const zoomRanges = (townZoom: number, clusterMaxZoom: number): Record<string, [number, number]> => ({
  towns: [0, townZoom], clusters: [townZoom, 24], devices: [townZoom, 24], dots: [0, Math.max(DOTS_TO, clusterMaxZoom + 1)],
  halo: [townZoom, 24], "attention-dot": [townZoom, 12], attention: [Math.max(12, townZoom), ATTENTION_TO],
});

const count: ExpressionSpecification = ["get", "point_count"];
/** A length on the ground as pixels (at 37.6° north, where this first runs; elsewhere it is a little off), and `more` pixels. */
const metres = (length: number, more: number): ExpressionSpecification => {
  const at = (zoom: number) => (length * 2 ** zoom) / (78_271.5 * Math.cos((37.6 * Math.PI) / 180)) + more;
  return ["interpolate", ["exponential", 2], ["zoom"], 6, at(6), 20, at(20)];
};
/** Zoom, size of a symbol, and of a bay: bays stand so close that they are small until one looks closely, unless one has an alarm. */
const sizes = (steps: [number, number, number][]): ExpressionSpecification => {
  const closeBy: ExpressionSpecification = ["all", ["in", "|bay|", ["get", "icon"]], ["<", ["get", "rank"], 2]];
  return ["interpolate", ["linear"], ["zoom"], ...steps.flatMap(([zoom, size, bay]) => [zoom, ["case", closeBy, bay, size] as ExpressionSpecification])] as ExpressionSpecification;
};
/** 0–24 parts of the ring; what exists at all gets at least two, or one could not see it. */
const parts = (property: string): ExpressionSpecification => [
  "case", [">", ["get", property], 0], ["max", 2, ["round", ["/", ["*", 24, ["get", property]], count]]], 0,
];
const mixOf = (properties: string[]) => properties.flatMap((p, i) => [...(i ? ["," as const] : []), ["to-string", parts(p)] as ExpressionSpecification]);

export function style(c: Palette): StyleSpecification {
  const has = (state: string): ExpressionSpecification => ["case", ["==", ["get", "state"], state], 1, 0];
  const discs: SymbolLayerSpecification["layout"] = {
    "icon-image": ["concat", "cluster|", ["get", "point_count_abbreviated"], "|", ...mixOf(["critical", "warning", "info", "silent"])] as ExpressionSpecification,
    "icon-allow-overlap": true, "symbol-sort-key": ["get", "point_count"],
  };
  return {
    version: 8,
    sources: {
      grid: { type: "geojson", data: nothing },
      quarters: { type: "geojson", data: nothing },
      streets: { type: "geojson", data: nothing, tolerance: 0.2 },
      dots: { type: "geojson", data: nothing },
      attention: { type: "geojson", data: nothing },
      selected: { type: "geojson", data: nothing },
      maintained: { type: "geojson", data: nothing },
      towns: { type: "geojson", data: nothing },
      devices: {
        type: "geojson", data: nothing, cluster: true, clusterRadius: 40, clusterMaxZoom: clusterMaxZoomOf(0), clusterMinPoints: 4, maxzoom: 16,
        clusterProperties: { critical: ["+", has("critical")], warning: ["+", has("warning")], info: ["+", has("info")], silent: ["+", has("silent")] },
      },
    },
    layers: [
      { id: "paper", type: "background", paint: { "background-color": c.paper } },
      { id: "grid", type: "line", source: "grid", paint: { "line-color": c.grid, "line-width": 1 } },
      { id: "quarter-edge", type: "circle", source: "quarters", paint: { "circle-color": c.landEdge, "circle-radius": metres(QUARTER_METRES, 1.5) } },
      { id: "quarter", type: "circle", source: "quarters", paint: { "circle-color": c.land, "circle-radius": metres(QUARTER_METRES, 0) } },
      {
        id: "street-edge", type: "line", source: "streets", layout: { "line-cap": "round" },
        paint: { "line-color": c.roadEdge, "line-width": ["interpolate", ["exponential", 1.6], ["zoom"], 10, 1, 14, 6, 18, 44] },
      },
      {
        id: "street", type: "line", source: "streets", layout: { "line-cap": "round" },
        paint: { "line-color": c.road, "line-width": ["interpolate", ["exponential", 1.6], ["zoom"], 10, 0.4, 14, 4, 18, 40] },
      },
      {
        id: "dots", type: "circle", source: "dots", maxzoom: DOTS_TO,
        paint: {
          "circle-radius": ["interpolate", ["linear"], ["zoom"], 10, 0.7, 12, 1.2, 14, 2.5],
          "circle-color": ["case", ["==", ["coalesce", ["feature-state", "lit"], ["get", "lit"]], 1], c.lit, c.faint],
          "circle-opacity": ["case", ["==", ["coalesce", ["feature-state", "lit"], ["get", "lit"]], 1], 0.95, 0.55],
        },
      },
      {
        id: "fresh", type: "circle", source: "dots", minzoom: 13,
        paint: { "circle-radius": 15, "circle-color": c.ink, "circle-opacity": ["case", ["boolean", ["feature-state", "fresh"], false], 0.12, 0] },
      },
      {
        id: "halo", type: "circle", source: "attention", filter: ["in", ["get", "state"], ["literal", ["critical", "warning"]]],
        paint: {
          "circle-radius": ["interpolate", ["linear"], ["zoom"], 9, 6, 12.5, 12, 15, 18],
          "circle-color": ["match", ["get", "state"], "critical", c.critical, c.warning], "circle-opacity": 0.18,
          "circle-stroke-color": ["match", ["get", "state"], "critical", c.critical, c.warning], "circle-stroke-width": 1, "circle-stroke-opacity": 0.5,
        },
      },
      {
        id: "attention-dot", type: "circle", source: "attention", maxzoom: 12, filter: ["in", ["get", "state"], ["literal", ["critical", "warning"]]],
        paint: { "circle-radius": 3, "circle-color": ["match", ["get", "state"], "critical", c.critical, c.warning], "circle-stroke-color": c.card, "circle-stroke-width": 1 },
      },
      {
        id: "maintained", type: "circle", source: "maintained",
        paint: {
          "circle-radius": ["interpolate", ["linear"], ["zoom"], 10, 2.5, 13, 6, 16, 16], "circle-color": c.muted, "circle-opacity": 0.1,
          "circle-stroke-color": c.muted, "circle-stroke-width": ["interpolate", ["linear"], ["zoom"], 10, 0.5, 15, 1.25], "circle-stroke-opacity": 0.75,
        },
      },
      {
        id: "selected", type: "circle", source: "selected",
        paint: { "circle-radius": 17, "circle-color": c.taken, "circle-opacity": 0.14, "circle-stroke-color": c.taken, "circle-stroke-width": 2.5 },
      },
      {
        id: "devices", type: "symbol", source: "devices", filter: ["!", ["has", "point_count"]],
        layout: {
          "icon-image": ["get", "icon"], "icon-allow-overlap": true, "icon-ignore-placement": true, "symbol-sort-key": ["get", "rank"],
          "icon-size": sizes([[13, 0.3, 0.18], [14, 0.42, 0.22], [15, 0.6, 0.3], [16, 0.85, 0.42], [17, 1.05, 0.66], [18, 1.2, 1.1], [19, 1.35, 1.35]]),
        },
      },
      {
        id: "attention", type: "symbol", source: "attention", minzoom: 12, maxzoom: ATTENTION_TO,
        layout: { "icon-image": ["get", "icon"], "icon-size": ["interpolate", ["linear"], ["zoom"], 12, 0.7, 15, 0.85], "icon-allow-overlap": true, "symbol-sort-key": ["get", "rank"] },
      },
      {
        id: "clusters", type: "symbol", source: "devices", filter: ["has", "point_count"],
        layout: discs,
      },
      { id: "towns", type: "symbol", source: "towns", layout: discs },
    ],
  };
}

/** A graticule of twentieths of a degree around the places given. */
export function graticule(points: [number, number][]): GeoJSON.FeatureCollection {
  const [x, y] = points[0] ?? [127, 37];
  const step = 0.05;
  const features: GeoJSON.Feature[] = [];
  for (let k = -60; k <= 60; k += 1) {
    const [lon, lat] = [Math.round(x / step + k) * step, Math.round(y / step + k) * step];
    for (const line of [[[lon, y - 3], [lon, y + 3]], [[x - 3, lat], [x + 3, lat]]]) {
      features.push({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: line } });
    }
  }
  return { type: "FeatureCollection", features };
}
