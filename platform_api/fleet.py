"""The fleet as it is now, in arrays: every device with a place, its newest observation and its state.

Promises: what is shown was committed; a refresh reads only what was written since the last one, and everything once a
minute, so that nothing missed stays missed (a flush that took longer than OVERLAP_MS to commit, a device that was taken
away). A municipality is loaded when it is asked for, and forgotten when others were asked for since and MAX_DEVICES are
held. Who may see which municipality is the caller's business.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from contracts.profiles import Profile
from platform_api.models.words import DeviceState
from platform_api.queries import fleet as query
from platform_api.queries.database import Database
from platform_api.queries.fleet import NO_COLOURS, Colours, Newest, Places
from platform_api.queries.packed import NOTHING, Array

STATES: tuple[DeviceState, ...] = ("ok", "unknown", "info", "warning", "critical", "silent")
OK, UNKNOWN, SILENT = 0, 1, 5
NEVER = np.iinfo(np.int64).min
OVERLAP_MS = 10_000  # as_of is set when a flush begins; it is seen when that has committed
WHOLE_S = 60.0
MAX_DEVICES = 1_000_000  # about 100 bytes each


class Part:
    """The devices of one kind in one municipality, by device_id. `version` rises with every change that shows."""

    def __init__(self, profile: Profile, places: Places) -> None:
        order = np.argsort(places.device_id, kind="stable")
        n = len(order)
        self.profile, self.municipality = profile, places.municipality
        self.device_id: Array = places.device_id[order]
        self.device = [places.device[index] for index in order]
        self.agent_id: Array = places.agent_id[order]
        self.longitude: Array = places.longitude[order]
        self.latitude: Array = places.latitude[order]
        self.registered_at = places.registered_at
        self.observed_ms: Array = np.full(n, NEVER, np.int64)
        self.values: dict[str, Array] = {
            name: np.full(n, np.nan, np.float32) if item.type == "number" else np.full(n, NOTHING, np.int32)
            for name, item in profile.properties.items()
        }
        self.state: Array = np.full(n, UNKNOWN, np.int8)
        self.version = 0
        self.text: Any = None  # what `pieces` made of it, and of which version

    def __len__(self) -> int:
        return len(self.device_id)

    def inherit(self, before: "Part") -> None:
        """Go on with what was made of the same devices before, where it is still true."""
        same = np.array_equal(self.device_id, before.device_id) and self.device == before.device
        same = same and all(
            np.array_equal(getattr(self, name), getattr(before, name)) for name in ("agent_id", "longitude", "latitude")
        )
        self.version = before.version + 1
        if not same:
            return
        self.text = before.text
        same = np.array_equal(self.state, before.state) and np.array_equal(self.observed_ms, before.observed_ms)
        if same and all(_equal(column, before.values[name]) for name, column in self.values.items()):
            self.version = before.version

    def observe(self, newest: Newest) -> None:
        """Take rows as they are stored now; those of devices without a place are passed over."""
        if not len(self) or not len(newest.device_id):
            return
        slot = np.minimum(np.searchsorted(self.device_id, newest.device_id), len(self) - 1)
        rows = np.flatnonzero(self.device_id[slot] == newest.device_id)
        slot = slot[rows]
        changed = not np.array_equal(self.observed_ms[slot], newest.observed_ms[rows])
        self.observed_ms[slot] = newest.observed_ms[rows]
        for name, column in self.values.items():
            fresh = newest.values[name][rows]
            changed = changed or not _equal(column[slot], fresh)
            column[slot] = fresh
        self.version += changed

    def colour(self, colours: Colours) -> None:
        """Work out the states: the worst alarm; silence only when nothing else is wrong."""
        state = np.where(self.observed_ms == NEVER, UNKNOWN, OK).astype(np.int8)
        if colours.silent_agents:
            state[np.isin(self.agent_id, colours.silent_agents)] = SILENT
        if len(self) and len(colours.device_id):
            slot = np.minimum(np.searchsorted(self.device_id, colours.device_id), len(self) - 1)
            here = self.device_id[slot] == colours.device_id
            state[slot[here & colours.silent]] = SILENT
            worse = here & (colours.worst > 0)
            state[slot[worse]] = colours.worst[worse] + UNKNOWN
        if not np.array_equal(state, self.state):
            self.state = state
            self.version += 1


class Town:
    """A municipality's parts, and how far they were read."""

    def __init__(self, whole_s: float) -> None:
        self.parts: dict[str, Part] = {}
        self.whole_s = whole_s  # monotonic, when it was read as a whole
        self.read_s = whole_s
        self.seen_ms = 0  # the server's clock
        self.as_of: dict[str, int] = {}  # newest change, by kind
        self.alarms_at: int | None = None


class Fleet:
    """All municipalities that were asked for lately. Not for two callers at once."""

    def __init__(self, database: Database, profiles: Mapping[str, Profile], max_devices: int = MAX_DEVICES) -> None:
        self._database, self._profiles, self._max_devices = database, profiles, max_devices
        self._towns: OrderedDict[str, Town] = OrderedDict()
        self._change = 0
        self._renewing: asyncio.Task[None] | None = None

    async def towns(
        self, permitted: Sequence[str] | None, municipality: str | None, max_age_s: float
    ) -> tuple[dict[str, Town], float]:
        """The towns that may be seen, none older than max_age_s, and when (monotonic) the oldest of them was read."""
        began_s = time.monotonic()
        registry = await query.fleet_registry(self._database, self._change)
        self._change = registry.change
        for code in registry.changed:
            self._towns.pop(code, None)
        wanted = [
            code for code in registry.codes if (permitted is None or code in permitted) and municipality in (None, code)
        ]
        missing = [code for code in wanted if code not in self._towns]
        due = [code for code in wanted if code in self._towns and began_s - self._towns[code].whole_s >= WHOLE_S]
        part = [code for code in wanted if code not in missing and began_s - self._towns[code].read_s >= max_age_s]
        if missing:
            await self._read_whole(missing, registry.now_ms, began_s)
        if due and self._renewing is None:  # beside the answers: it takes many times as long as what changed
            self._renewing = asyncio.create_task(self._read_whole(due, registry.now_ms, began_s))
            self._renewing.add_done_callback(self._renewed)
        if part:
            await self._read_changes(part, registry.now_ms, began_s)
        found = {}
        for code in wanted:
            found[code] = self._towns[code]
            self._towns.move_to_end(code)
        self._forget(len(wanted))
        return found, min((town.read_s for town in found.values()), default=began_s)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _renewed(self, task: "asyncio.Task[None]") -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # the next question begins it again, and is told itself what it meets

    async def _read_whole(self, codes: list[str], now_ms: int, began_s: float) -> None:
        fresh = {code: Town(began_s) for code in codes}
        for kind, profile in self._profiles.items():
            for places in await query.fleet_places(self._database, kind, codes):
                fresh[places.municipality].parts[kind] = Part(profile, places)
        await self._read(fresh, None)
        for code, town in fresh.items():
            before = self._towns.get(code)
            for kind, part in town.parts.items():
                if before is not None and kind in before.parts:
                    part.inherit(before.parts[kind])
            town.seen_ms = now_ms
            self._towns[code] = town

    async def _read_changes(self, codes: list[str], now_ms: int, began_s: float) -> None:
        towns = {code: self._towns[code] for code in codes}
        await self._read(towns, min(town.seen_ms for town in towns.values()) - OVERLAP_MS)
        for town in towns.values():
            town.seen_ms, town.read_s = now_ms, began_s

    async def _read(self, towns: Mapping[str, Town], since_ms: int | None) -> None:
        """What was written since, into the towns' parts."""
        codes = list(towns)
        for kind in sorted({kind for town in towns.values() for kind in town.parts}):
            for newest in await query.fleet_newest(self._database, self._profiles[kind], codes, since_ms):
                town = towns[newest.municipality]
                if kind in town.parts:
                    town.parts[kind].observe(newest)
                    town.as_of[kind] = max(town.as_of.get(kind, 0), newest.as_of)
        colours = await query.fleet_alarms(self._database, codes)
        for code, town in towns.items():
            found = colours.get(code, NO_COLOURS)
            for part in town.parts.values():
                part.colour(found)
            town.alarms_at = found.changed_at

    def _forget(self, wanted: int) -> None:
        """Drop what was asked for longest ago, but nothing of this question."""
        held = sum(len(part) for town in self._towns.values() for part in town.parts.values())
        while held > self._max_devices and len(self._towns) > wanted:
            _, town = self._towns.popitem(last=False)
            held -= sum(len(part) for part in town.parts.values())


def _equal(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
