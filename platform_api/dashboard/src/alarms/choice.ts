/** Which alarms a list asks the platform for. Pure. */
import type { AlarmQuery } from "../api/client";
import type { Alarm } from "../api/types";
import type { Tab, View } from "../route/address";

export type Choice = Pick<View, "tab" | "severity" | "kind" | "detector" | "municipality" | "assigned" | "cause">;

export const NO_CHOICE = { severity: "", kind: "", detector: "", municipality: "", assigned: "", cause: "" } as const;

const statesOf = (tab: Tab): string => (tab === "active" ? "open,acknowledged" : tab);
const WAITING: readonly Tab[] = ["active", "open", "acknowledged"];

/** The one question that a choice comes to. */
export function question({ tab, severity, kind, detector, municipality, assigned, cause }: Choice): AlarmQuery {
  return { state: statesOf(tab), severity, kind, detector, municipality, assigned_to: assigned, cause: tab === "closed" ? cause : "" };
}

/**
 * The same, one question after the other: what somebody has to deal with comes worst first and newest first within that,
 * and the platform's pages are newest first; the past comes newest first whatever it was.
 */
export function questions(choice: Choice): AlarmQuery[] {
  if (choice.severity || !WAITING.includes(choice.tab)) return [question(choice)];
  return ["3", "2", "1"].map((severity) => question({ ...choice, severity }));
}

export const narrowed = (choice: Choice): boolean =>
  Object.keys(NO_CHOICE).some((key) => choice[key as keyof typeof NO_CHOICE] !== "" && (key !== "cause" || choice.tab === "closed"));

export interface Row {
  alarm: Alarm;
  /** It stands below its group alarm. */
  member: boolean;
}

/** The rows on the screen: alarms, and below an unfolded group alarm its members. */
export function rowsOf(alarms: Alarm[], members: ReadonlyMap<number, Alarm[]>): Row[] {
  return alarms.flatMap((alarm) => [
    { alarm, member: false },
    ...(members.get(alarm.alarm_id) ?? []).map((each) => ({ alarm: each, member: true })),
  ]);
}
