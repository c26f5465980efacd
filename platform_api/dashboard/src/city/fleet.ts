/** The map's columns as devices, one object each. Pure. */
import type { FleetMap, Value } from "../api/types";
import type { MapDevice } from "./city.svelte";

export function* devicesOf(fleet: FleetMap): Iterable<MapDevice> {
  for (const part of fleet.parts) {
    const { municipality, kind } = part;
    const columns = Object.entries(part.values);
    for (const [row, id] of part.device_id.entries()) {
      const values: Record<string, Value> = {};
      for (const [name, column] of columns) values[name] = column[row] ?? null;
      const [longitude, latitude] = [part.longitude[row], part.latitude[row]];
      yield {
        id, municipality, kind, values,
        device: part.device[row] ?? "",
        position: longitude === undefined || latitude === undefined ? null : [longitude, latitude],
        state: part.state[row] ?? "unknown",
        observedAt: part.observed_at[row] ?? null,
      };
    }
  }
}
