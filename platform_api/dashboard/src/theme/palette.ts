/**
 * Colours that are drawn on canvases, where CSS variables do not reach. Okabe–Ito for whatever carries a meaning;
 * the same values stand in `app.css` (a unit test holds them equal).
 */
import type { DeviceState, Severity } from "../api/types";
import type { Theme } from "./theme.svelte";

export interface Palette {
  paper: string; region: string; land: string; landEdge: string; grid: string; road: string; roadEdge: string; ink: string; muted: string; faint: string; card: string;
  lit: string; glow: string; taken: string; free: string; level: string;
  critical: string; warning: string; info: string; silent: string; series: readonly string[];
}

const LIGHT: Palette = {
  paper: "#e9e8e2", region: "#efeee9", land: "#f8f7f4", landEdge: "#dbd8cf", grid: "#e0ded6", road: "#ffffff", roadEdge: "#dedbd1", ink: "#1c2126", muted: "#59626c", faint: "#8d949b", card: "#ffffff",
  lit: "#f0c808", glow: "#f0e442", taken: "#0072b2", free: "#009e73", level: "#59626c",
  critical: "#d55e00", warning: "#e69f00", info: "#56b4e9", silent: "#7b838b",
  series: ["#0072b2", "#009e73", "#cc79a7", "#d55e00"],
};

const DARK: Palette = {
  paper: "#0b0f13", region: "#10151a", land: "#161c22", landEdge: "#242c34", grid: "#141a20", road: "#232b33", roadEdge: "#171d23", ink: "#e8ebee", muted: "#a3adb7", faint: "#6f7a85", card: "#171d23",
  lit: "#f0e442", glow: "#f0e442", taken: "#4aa3df", free: "#2cc295", level: "#a3adb7",
  critical: "#ff7a1a", warning: "#f2b632", info: "#6cc4f5", silent: "#8b949e",
  series: ["#56b4e9", "#2cc295", "#e39ac5", "#ff7a1a"],
};

export const palette = (theme: Theme): Palette => (theme === "dark" ? DARK : LIGHT);

export const severityState = (severity: Severity): "info" | "warning" | "critical" => (severity === 3 ? "critical" : severity === 2 ? "warning" : "info");

/** Worst first; a cluster shows the highest of its members. */
export const RANK: Record<DeviceState, number> = { critical: 5, warning: 4, info: 3, silent: 2, unknown: 1, ok: 0 };
export const STATES = ["critical", "warning", "info", "silent", "unknown", "ok"] as const satisfies readonly DeviceState[];
