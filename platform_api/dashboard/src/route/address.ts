/** The view as text in the address bar (`#/alarms?alarm=7&severity=3`), so that every view can be linked. Pure. */
export const PLACES = ["map", "alarms", "maintenance", "detectors", "agents", "quarantine", "status"] as const;
export type Place = (typeof PLACES)[number];
/** What belongs to the work with alarms: one entry of the menu, three pages. */
export const ALARM_PLACES: readonly Place[] = ["alarms", "detectors", "maintenance"];
export const SPANS = ["1h", "6h", "24h", "7d", "30d"] as const;
export type Span = (typeof SPANS)[number];
export const TABS = ["active", "open", "acknowledged", "suppressed", "cleared", "closed"] as const;
export type Tab = (typeof TABS)[number];

export interface View {
  place: Place;
  device: number | null;
  /** The alarm that is looked at; it stands in front of a device. */
  alarm: number | null;
  span: Span;
  /** Right edge of the charts, ms; null follows the newest observation. */
  at: number | null;
  municipality: string;
  kind: string;
  state: string;
  /** Which alarms are listed; municipality and kind are those of the map. */
  tab: Tab;
  severity: string;
  detector: string;
  assigned: string;
  cause: string;
  /** Why something is in quarantine. */
  reason: string;
  /** Where the map stands: "zoom/latitude/longitude"; empty shows everything. */
  m: string;
}

export const HOME: View = {
  place: "map", device: null, alarm: null, span: "24h", at: null, municipality: "", kind: "", state: "",
  tab: "active", severity: "", detector: "", assigned: "", cause: "", reason: "", m: "",
};
export const SPAN_MS: Record<Span, number> = { "1h": 3_600_000, "6h": 21_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000 };

const whole = (text: string | null): number | null => (text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null);
const among = <T extends string>(all: readonly T[], text: string | null | undefined, otherwise: T): T =>
  all.includes(text as T) ? (text as T) : otherwise;
const oneOf = (all: readonly string[], text: string | null): string => (text !== null && all.includes(text) ? text : "");

export function read(hash: string): View {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?");
  const q = new URLSearchParams(query);
  const text = (name: string) => q.get(name) ?? "";
  return {
    place: among(PLACES, path, HOME.place),
    device: whole(q.get("device")),
    alarm: whole(q.get("alarm")),
    span: among(SPANS, q.get("span"), HOME.span),
    at: whole(q.get("at")),
    municipality: text("municipality"),
    kind: text("kind"),
    state: text("state"),
    tab: among(TABS, q.get("tab"), HOME.tab),
    severity: oneOf(["1", "2", "3"], q.get("severity")),
    detector: text("detector"),
    assigned: text("assigned"),
    cause: oneOf(["real", "false", "planned_work"], q.get("cause")),
    reason: text("reason"),
    m: text("m"),
  };
}

export function write(view: View): string {
  const q = new URLSearchParams();
  for (const [key, home] of Object.entries(HOME) as [keyof View, View[keyof View]][]) {
    if (key !== "place" && view[key] !== home && view[key] !== null) q.set(key, String(view[key]));
  }
  const query = q.toString().replaceAll("%2F", "/");
  return `#/${view.place}${query ? `?${query}` : ""}`;
}
