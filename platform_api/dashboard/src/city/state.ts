/** The state of a device from its open alarms: the worst one; silence counts only when nothing else is wrong. Pure. */
import type { Alarm, DeviceState } from "../api/types";
import { severityState } from "../theme/palette";

export function stateOf(open: Iterable<Pick<Alarm, "condition" | "severity">>, heard: boolean): DeviceState {
  let worst = 0;
  let silent = false;
  for (const alarm of open) {
    if (alarm.condition === "silent" || alarm.condition === "agent_silent") silent = true;
    else worst = Math.max(worst, alarm.severity);
  }
  if (worst) return severityState(worst as 1 | 2 | 3);
  return silent ? "silent" : heard ? "ok" : "unknown";
}
