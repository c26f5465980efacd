"""The hub of live streams: what changed lately, held once for all clients.

Each device's newest row is kept in the order of change; a client is only a number, the version up to which it has
read. So a
slow client costs nothing, sees the newest of each device when it reads on, and is told when it missed something
(`stream_devices` bounds the memory). Fed from the broker's thread, read in the event loop. Knows no socket.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from platform_api.models.alarms import Alarm

Columns = Mapping[str, Sequence[Any]]
LOOK_BACK_S = 10.0  # a new client is given this much of the past: what a rendering of the map may lack


class Row(msgspec.Struct, frozen=True, gc=False):
    """The newest observation of a device."""

    version: int
    kind: str
    device_id: int
    observed_at: int
    names: tuple[str, ...]
    values: tuple[Any, ...]


class Change(msgspec.Struct, frozen=True):
    """The newest word of an alarm."""

    version: int
    municipality: str
    alarm: dict[str, Any]


class Client(msgspec.Struct, eq=False):
    """How far one stream has read, and what it may see."""

    permitted: frozenset[str] | None
    read: int
    read_alarms: int
    missed: bool = False
    # what it was told last of the broker
    generation: int = 0


class Hub:
    """What changed lately."""

    def __init__(self, max_devices: int, max_alarms: int = 10_000) -> None:
        self.max_devices, self.max_alarms = max_devices, max_alarms
        self.clients: set[Client] = set()
        self.coalesced = 0
        self.connected = False
        self.connected_before = False
        self.generation = 0  # counts losses and returns of the broker
        self.changed_at_ms = 0
        self.closing = False
        self._version = 0
        self._evicted = 0
        self._towns: dict[str, dict[int, Row]] = {}
        self._alarms: dict[int, Change] = {}
        self._evicted_alarms = 0
        self._count = 0
        self._marks: deque[tuple[float, int, int]] = deque()  # (monotonic, wall ms, version) about once a second
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._waking = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let threads wake streams in this loop."""
        self._loop = loop

    # --- written from the broker's thread or the loop

    def publish(self, municipality: str, observations: Mapping[str, Columns]) -> None:
        """Take a flush's newest observations; an older time of a device never replaces a newer one."""
        with self._lock:
            self._mark()
            slowest = min((client.read for client in self.clients), default=self._version)
            town = self._towns.setdefault(municipality, {})
            for kind, columns in observations.items():
                names = tuple(name for name in columns if name not in ("device_id", "observed_at"))
                table = zip(
                    columns["device_id"],
                    columns["observed_at"],
                    zip(*(columns[name] for name in names), strict=True) if names else [()] * len(columns["device_id"]),
                    strict=True,
                )
                for device_id, observed_at, values in table:
                    known = town.get(device_id)
                    if known is not None:
                        if known.observed_at > observed_at:
                            continue
                        if known.version > slowest:
                            self.coalesced += 1
                        del town[device_id]  # so that the dict stays in the order of change
                        self._count -= 1
                    self._version += 1
                    town[device_id] = Row(self._version, kind, device_id, observed_at, names, values)
                    self._count += 1
            while self._count > self.max_devices:
                self._evict()
        self._wake()

    def publish_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Take alarms as they now are."""
        if not alarms:
            return
        with self._lock:
            self._mark()
            for alarm in alarms:
                self._version += 1
                self._alarms.pop(alarm.alarm_id, None)
                self._alarms[alarm.alarm_id] = Change(self._version, alarm.municipality, alarm.model_dump(mode="json"))
            while len(self._alarms) > self.max_alarms:
                oldest = next(iter(self._alarms))
                self._evicted_alarms = self._alarms.pop(oldest).version
        self._wake()

    def set_connected(self, connected: bool, now_ms: int) -> None:
        """The broker is lost, or is there again."""
        with self._lock:
            if connected == self.connected:
                return
            self.connected = connected
            self.changed_at_ms = now_ms
            self.generation += 1
        self._wake()

    def close(self) -> None:
        """End all streams."""
        self.closing = True
        self._wake()

    # --- read in the loop

    def join(self, permitted: frozenset[str] | None) -> tuple[Client, int]:
        """A new client, and the time (ms) since which it is given everything."""
        with self._lock:
            now = time.monotonic()
            as_of, version = int(time.time() * 1000), self._version
            for at, wall_ms, marked in reversed(self._marks):
                as_of, version = wall_ms, marked
                if now - at >= LOOK_BACK_S:
                    break
            start = max(version, self._evicted)
            client = Client(permitted, start, max(version, self._evicted_alarms), generation=self.generation)
            self.clients.add(client)
            return client, as_of

    def leave(self, client: Client) -> None:
        self.clients.discard(client)

    def take(self, client: Client, most: int) -> dict[str, dict[str, list[Any]]]:
        """At most `most` changed devices that the client may see, oldest change first, as columns by kind."""
        with self._lock:
            if client.read < self._evicted:
                client.missed = True
                client.read = self._evicted
            fresh: list[Row] = []
            towns = (
                self._towns
                if client.permitted is None
                else {code: self._towns.get(code, {}) for code in client.permitted}
            )
            for town in towns.values():
                for row in reversed(town.values()):
                    if row.version <= client.read:
                        break
                    fresh.append(row)
            fresh.sort(key=lambda row: row.version)
            if len(fresh) > most:
                del fresh[most:]
                client.read = fresh[-1].version
            else:
                client.read = self._version
        return _columns(fresh)

    def take_alarms(self, client: Client, most: int) -> list[dict[str, Any]]:
        """At most `most` changed alarms that the client may see, oldest change first."""
        with self._lock:
            if client.read_alarms < self._evicted_alarms:
                client.missed = True
                client.read_alarms = self._evicted_alarms
            fresh: list[Change] = []
            for change in reversed(self._alarms.values()):
                if change.version <= client.read_alarms:
                    break
                fresh.append(change)
            fresh.reverse()
            fresh = [item for item in fresh if client.permitted is None or item.municipality in client.permitted]
            if len(fresh) > most:
                del fresh[most:]
                client.read_alarms = fresh[-1].version
            else:
                client.read_alarms = self._version
        return [item.alarm for item in fresh]

    async def changed(self, timeout_s: float) -> bool:
        """Whether anything changed within timeout_s."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    # --- within

    def _mark(self) -> None:
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, int(time.time() * 1000), self._version))
            while len(self._marks) > 2 and now - self._marks[1][0] > LOOK_BACK_S:
                self._marks.popleft()

    def _evict(self) -> None:
        """Forget the device that changed longest ago, over all municipalities."""
        towns = [town for town in self._towns.values() if town]
        town = min(towns, key=lambda item: next(iter(item.values())).version)
        device_id, row = next(iter(town.items()))
        del town[device_id]
        self._count -= 1
        self._evicted = max(self._evicted, row.version)

    def _wake(self) -> None:
        if self._loop is None or self._waking or self._loop.is_closed():
            return
        self._waking = True
        self._loop.call_soon_threadsafe(self._woken)

    def _woken(self) -> None:
        self._waking = False
        event, self._event = self._event, asyncio.Event()
        event.set()


def _columns(rows: Sequence[Row]) -> dict[str, dict[str, list[Any]]]:
    """Rows as columns by kind; a property that a row lacks is null."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row)
    answer: dict[str, dict[str, list[Any]]] = {}
    for kind, members in kinds.items():
        names = list(dict.fromkeys(name for row in members for name in row.names))
        table = [dict(zip(row.names, row.values, strict=True)) for row in members]
        answer[kind] = {
            "device_id": [row.device_id for row in members],
            "observed_at": [row.observed_at for row in members],
            **{name: [values.get(name) for values in table] for name in names},
        }
    return answer
