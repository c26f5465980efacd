/** The maintenance windows that the account may see, asked now and then and after each change; which of them cover what. */
import * as api from "../api/client";
import type { MaintenanceWindow, NewWindow } from "../api/types";
import type { MapDevice } from "../city/city.svelte";
import { clock } from "../city/clock.svelte";
import { covers, phaseOf, type Subject } from "./cover";

const AGAIN_MS = 30_000;
const MOST = 500;

const circuitKey = (window: Pick<NewWindow, "municipality" | "target">) => `${window.municipality}/${window.target}`;

class Maintenance {
  all = $state.raw<MaintenanceWindow[]>([]);
  #circuits = new Map<string, Set<number>>();
  phase = $state<"loading" | "ready" | "failed">("loading");
  /** By the city's clock, as alarms are suppressed by the time of observations. */
  active = $derived(this.all.filter((w) => phaseOf(w, clock.city) === "active"));

  /** Keeps them fresh until the returned function is called. */
  watch(): () => void {
    void this.load();
    const timer = setInterval(() => void this.load(), AGAIN_MS);
    return () => clearInterval(timer);
  }

  async load(): Promise<void> {
    try {
      const found = (await api.windows({ limit: MOST })).items;
      for (const window of found) {
        const now = clock.newest ? clock.city : window.from; // before the city is loaded its clock is not known
        if (window.scope !== "circuit" || window.target === null || this.#circuits.has(circuitKey(window)) || phaseOf(window, now) !== "active") continue;
        const { items } = await api.circuit(window.municipality, window.target);
        this.#circuits.set(circuitKey(window), new Set(items.map((d) => d.device_id)));
      }
      this.all = found;
      this.phase = "ready";
    } catch {
      this.phase = "failed";
    }
  }

  /** The active windows that cover a device of the map, which knows no attributes: those of circuits by their devices. */
  covered(device: MapDevice): MaintenanceWindow[] {
    return this.active.filter((w) => (w.scope === "circuit" ? this.#circuits.get(circuitKey(w))?.has(device.id) : covers(w, device)));
  }

  covering(subject: Subject): MaintenanceWindow[] {
    return this.active.filter((w) => covers(w, subject));
  }

  async add(made: NewWindow): Promise<void> {
    await api.addWindow(made);
    await this.load();
  }

  /** What was planned ends now instead. */
  async end(window: MaintenanceWindow, nowMs: number): Promise<void> {
    const { municipality, scope, target, from, reason } = window;
    await api.changeWindow(window.window_id, { municipality, scope, target, from, to: Math.max(from + 1, Math.floor(nowMs)), reason });
    await this.load();
  }

  async remove(window: MaintenanceWindow): Promise<void> {
    await api.removeWindow(window.window_id);
    await this.load();
  }
}

export const maintenance = new Maintenance();
