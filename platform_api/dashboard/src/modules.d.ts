/** MapLibre's build without a `blob:` worker, so that a strict content security policy holds. */
declare module "maplibre-gl/dist/maplibre-gl-csp" {
  import maplibregl from "maplibre-gl";
  export default maplibregl;
}
declare module "*.css";
