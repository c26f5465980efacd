/** The view as text in the address bar (`#/alarms?device=12&span=6h`), so that every view can be linked. Pure. */
export const PLACES = ["map", "alarms", "agents", "quarantine", "status"] as const;
export type Place = (typeof PLACES)[number];
export const SPANS = ["1h", "6h", "24h", "7d", "30d"] as const;
export type Span = (typeof SPANS)[number];

export interface View {
  place: Place;
  device: number | null;
  span: Span;
  /** Right edge of the charts, ms; null follows the newest observation. */
  at: number | null;
  municipality: string;
  kind: string;
  state: string;
  /** Where the map stands: "zoom/latitude/longitude"; empty shows everything. */
  m: string;
}

export const HOME: View = { place: "map", device: null, span: "24h", at: null, municipality: "", kind: "", state: "", m: "" };
export const SPAN_MS: Record<Span, number> = { "1h": 3_600_000, "6h": 21_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000 };

const whole = (text: string | null): number | null => (text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null);
const among = <T extends string>(all: readonly T[], text: string | null | undefined, otherwise: T): T =>
  all.includes(text as T) ? (text as T) : otherwise;

export function read(hash: string): View {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?");
  const q = new URLSearchParams(query);
  return {
    place: among(PLACES, path, HOME.place),
    device: whole(q.get("device")),
    span: among(SPANS, q.get("span"), HOME.span),
    at: whole(q.get("at")),
    municipality: q.get("municipality") ?? "",
    kind: q.get("kind") ?? "",
    state: q.get("state") ?? "",
    m: q.get("m") ?? "",
  };
}

export function write(view: View): string {
  const q = new URLSearchParams();
  for (const key of ["device", "span", "at", "municipality", "kind", "state", "m"] as const) {
    if (view[key] !== HOME[key] && view[key] !== null) q.set(key, String(view[key]));
  }
  const query = q.toString().replaceAll("%2F", "/");
  return `#/${view.place}${query ? `?${query}` : ""}`;
}
