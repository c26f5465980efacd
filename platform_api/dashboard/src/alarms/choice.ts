/** Which alarms a list shows. Pure. */
import type { Alarm, AlarmState, Severity } from "../api/types";

export interface Choice {
  severity: Severity | 0;
  detector: string;
  kind: string;
  municipality: string;
}

export const NO_CHOICE: Choice = { severity: 0, detector: "", kind: "", municipality: "" };

export const TABS = ["active", "open", "acknowledged", "cleared", "closed"] as const;
export type Tab = (typeof TABS)[number];
export const statesOf = (tab: Tab): AlarmState[] => (tab === "active" ? ["open", "acknowledged"] : [tab]);

export function matching(alarms: Alarm[], choice: Choice): Alarm[] {
  return alarms.filter(
    (a) =>
      (!choice.severity || a.severity === choice.severity) &&
      (!choice.detector || a.detector === choice.detector) &&
      (!choice.kind || a.kind === choice.kind) &&
      (!choice.municipality || a.municipality === choice.municipality),
  );
}
