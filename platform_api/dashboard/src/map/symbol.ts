/**
 * How a device looks on the map, read off its profile: the `symbol` says the shape, `display` which property fills it.
 * A kind with an unknown symbol is drawn as a hexagon that fills with its level. Pure.
 */
import type { Profile, Value } from "../api/types";

const LEVELS = 5;

/** The part of the picture that follows the values: "on", "free", "l3" (level 3 of 5), or "plain". */
export function variant(profile: Profile | undefined, values: Record<string, Value>): string {
  if (!profile) return "plain";
  const { state, level, headline } = profile.display;
  const word = state ? values[state] : undefined;
  const height = level ? values[level] : undefined;
  switch (profile.symbol) {
    case "lamp":
      if (typeof word === "string") return word;
      return typeof height === "number" ? (height > 0 ? "on" : "off") : "plain";
    case "bay":
      return typeof word === "string" ? word : "plain";
    case "garage": {
      const left = headline ? values[headline] : undefined;
      return typeof left === "number" ? (left <= 0 ? "full" : "spaces") : "plain";
    }
    default:
      return typeof height === "number" ? `l${Math.round(Math.min(1, Math.max(0, height)) * LEVELS)}` : "plain";
  }
}

/** Share of the body that is filled, or null where the picture has no level. */
export function fillShare(name: string): number | null {
  const level = /^l(\d)$/.exec(name);
  return level ? Number(level[1]) / LEVELS : null;
}

/** Lamps that give light are drawn lit, everywhere. */
export const isLit = (symbol: string, name: string) => symbol === "lamp" && (name === "on" || name === "low");
