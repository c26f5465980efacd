/**
 * What the city looks like now: every device with its newest values, and the open alarms that colour it.
 * Devices live in a plain Map (100,000 of them must not be reactive one by one); whoever draws them listens.
 * Loading and the stream are `feed`'s business.
 */
import type { Alarm, Device, DeviceState, FleetMap, LiveColumns, Municipality, Profile, Profiles, Value } from "../api/types";
import { STATES } from "../theme/palette";
import { clock } from "./clock.svelte";
import { devicesOf } from "./fleet";
import { stateOf } from "./state";

export interface MapDevice {
  id: number;
  device: string;
  municipality: string;
  kind: string;
  /** Longitude and latitude; null while nobody has said where it stands. */
  position: [number, number] | null;
  state: DeviceState;
  observedAt: number | null;
  values: Record<string, Value>;
}

type Listener = (changed: MapDevice[] | "all") => void;

class City {
  readonly devices = new Map<number, MapDevice>();
  readonly openAlarms = new Map<number, Map<number, Alarm>>();
  profiles = $state.raw<Record<string, Profile>>({});
  conditions = $state.raw<Profiles["conditions"]>({});
  reasons = $state.raw<Profiles["reasons"]>({});
  municipalities = $state.raw<Municipality[]>([]);
  phase = $state<"loading" | "ready" | "failed">("loading");
  byState = $state.raw<Record<DeviceState, number>>(emptyCounts());
  byKind = $state.raw<Record<string, number>>({});
  /** Rises with every change of a device, for views that read one device from the Map. */
  version = $state(0);
  #listeners = new Set<Listener>();

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  zone(municipality: string | undefined): string {
    return this.municipalities.find((m) => m.code === municipality)?.time_zone ?? this.municipalities[0]?.time_zone ?? "Asia/Seoul";
  }

  describe(profiles: Profiles, municipalities: Municipality[]): void {
    this.profiles = profiles.profiles;
    this.conditions = profiles.conditions;
    this.reasons = profiles.reasons;
    this.municipalities = municipalities;
  }

  replace(fleet: FleetMap, open: Alarm[]): void {
    this.openAlarms.clear();
    for (const alarm of open) this.#keep(alarm);
    this.devices.clear();
    let newest = 0;
    for (const device of devicesOf(fleet)) {
      this.devices.set(device.id, device);
      newest = Math.max(newest, device.observedAt ?? 0);
    }
    clock.observed(newest);
    this.phase = "ready";
    this.#tell("all");
  }

  /** A device that was registered after the map was loaded. */
  add(found: Device): MapDevice {
    const known: MapDevice = {
      id: found.device_id, device: found.device, municipality: found.municipality, kind: found.kind,
      position: found.longitude === null || found.latitude === null ? null : [found.longitude, found.latitude], state: found.state, observedAt: found.observed_at, values: found.values,
    };
    if (!this.devices.has(known.id)) {
      this.devices.set(known.id, known);
      this.#tell("all");
    }
    return known;
  }

  observe(kinds: Record<string, LiveColumns>): void {
    const changed: MapDevice[] = [];
    for (const [, columns] of Object.entries(kinds)) {
      const { device_id, observed_at, ...values } = columns;
      const properties = Object.entries(values) as [string, Value[]][];
      device_id.forEach((id, row) => {
        const known = this.devices.get(id);
        const at = observed_at[row];
        if (!known || at === undefined || (known.observedAt !== null && at < known.observedAt)) return;
        known.observedAt = at;
        for (const [name, column] of properties) known.values[name] = column[row] ?? null;
        if (known.state === "unknown") known.state = stateOf(this.openAlarms.get(id)?.values() ?? [], true);
        clock.observed(at);
        changed.push(known);
      });
    }
    if (changed.length) this.#tell(changed);
  }

  alarmed(alarms: Alarm[]): void {
    const changed = new Set<MapDevice>();
    for (const alarm of alarms) {
      this.#keep(alarm);
      const known = alarm.device_id === null ? undefined : this.devices.get(alarm.device_id);
      if (!known) continue;
      known.state = stateOf(this.openAlarms.get(known.id)?.values() ?? [], known.observedAt !== null);
      changed.add(known);
    }
    if (changed.size) this.#tell([...changed]);
  }

  #keep(alarm: Alarm): void {
    if (alarm.device_id === null) return;
    const of = this.openAlarms.get(alarm.device_id) ?? new Map<number, Alarm>();
    if (alarm.state === "open" || alarm.state === "acknowledged") of.set(alarm.alarm_id, alarm);
    else of.delete(alarm.alarm_id);
    this.openAlarms.set(alarm.device_id, of);
  }

  #tell(changed: MapDevice[] | "all"): void {
    this.version += 1;
    for (const listener of this.#listeners) listener(changed);
  }

  /** Counted at most once a second by `feed`; a walk over 100,000 devices is a few ms. */
  count(): void {
    const byState = emptyCounts();
    const byKind: Record<string, number> = {};
    for (const known of this.devices.values()) {
      byState[known.state] += 1;
      byKind[known.kind] = (byKind[known.kind] ?? 0) + 1;
    }
    this.byState = byState;
    this.byKind = byKind;
  }
}

function emptyCounts(): Record<DeviceState, number> {
  return Object.fromEntries(STATES.map((s) => [s, 0])) as Record<DeviceState, number>;
}

export const city = new City();
