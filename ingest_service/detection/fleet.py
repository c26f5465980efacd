"""All detectors of a worker's part of the city, as one object: examine a flush, take it back, save a shard, restore it.

Promise: the findings depend only on the observations in arrival order and the agents' clocks, however they are cut into
flushes. Flushes that are not committed leave no trace (`undo`), however many there are.
Alarms belong to `alarms`; this module only finds.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import zstandard

from contracts.log import log
from contracts.profiles import Profile
from ingest_service.columns import Array, Block, as_float
from ingest_service.detection import cadence, monitors, usual
from ingest_service.detection.peers import NOBODY
from ingest_service.detection.places import Places
from ingest_service.detection.watches import Noted, watches_of

MAX_SAVE_BYTES = 1 << 31  # of a shard when decompressed
SAVE_FORMAT = 5
_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()


CADENCE = (
    (cadence.BACK, "silent", False),
    (cadence.SKEW_BEGINS, "clock_skew", True),
    (cadence.SKEW_ENDS, "clock_skew", False),
    (cadence.DOUBLE_BEGINS, "duplicates", True),
    (cadence.DOUBLE_ENDS, "duplicates", False),
)

Change = tuple[str, str, Array, Array]  # kind, name of the array ("": clocks), index, values before


class Finding(msgspec.Struct, frozen=True):
    """What a detector says of one observation: a condition begins or ends."""

    kind: str
    slot: int
    detector: str  # of contracts.profiles.CONDITIONS
    property: str | None
    begins: bool
    at_ms: int
    value: float | None
    low: float | None
    high: float | None
    expected: float | None
    score: float | None = None
    detail: dict[str, Any] | None = None  # what else decided


class _Monitor:
    """One property of one kind: its state and limits."""

    def __init__(self, profile: Profile, name: str) -> None:
        self.item = profile.properties[name]
        self.limits, self.may_stay = monitors.limits_of(self.item)
        self.state: Any = usual.new_series(0)  # record array
        self.groups: Any = monitors.new_groups(1)  # what peers do, by number of the group; the last is nobody's


class _Kind:
    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.monitors = {item.name: _Monitor(profile, item.name) for item in profile.measured}
        self.watches = watches_of(profile)
        self.devices: Any = cadence.new_devices(0)  # record array
        self.excused = np.zeros(0, np.uint8)  # from silence; known from the registry, so not part of the state
        self.peers = np.zeros(0, np.int32)  # number of each slot's group, -1 for none; from the registry too
        self.members = np.zeros(1, np.int32)  # of each group; the last is nobody's
        self.place = np.zeros(0, np.int32)  # scratch of `distinct`
        self.limit_ms = profile.report_period_s * profile.silent_after_periods * 1000
        self.uneven = not profile.clock_skew.on  # changes are reported in between
        self.size = 0

    def grow(self, n: int) -> None:
        room = max(n, self.size * 2, 64)
        for monitor in self.monitors.values():
            monitor.state = np.concatenate([monitor.state, usual.new_series(room - self.size)]).view(np.recarray)
        for watch in self.watches.values():
            watch.grow(room)
        self.devices = np.concatenate([self.devices, cadence.new_devices(room - self.size)]).view(np.recarray)
        self.excused = np.concatenate([self.excused, np.zeros(room - self.size, np.uint8)])
        self.peers = np.concatenate([self.peers, np.full(room - self.size, NOBODY, np.int32)])
        self.place = np.concatenate([self.place, np.zeros(room - self.size, np.int32)])
        self.size = room

    def meet(self, peers: Array) -> None:
        """New groups; what a group's members did so far goes with the first of them."""
        n = int(peers.max(initial=NOBODY)) + 1
        members = np.append(np.bincount(peers[peers >= 0], minlength=n), 0).astype(np.int32)
        of, first = np.unique(peers[peers >= 0], return_index=True)
        before = self.peers[np.flatnonzero(peers >= 0)[first]]
        for monitor in self.monitors.values():
            groups = monitors.new_groups(n + 1)
            groups[of] = np.where(before >= 0, monitor.groups[before], groups[of])
            monitor.groups = groups
        self.peers[: len(peers)] = peers
        self.members = members

    def arrays(self) -> dict[str, Array]:
        """All state by slot and name: a property's monitors as rows of words, and so a watch as `<condition>`, and what
        is known of the device as `/device`.
        """
        records = {name: monitor.state for name, monitor in self.monitors.items()}
        records |= {name: watch.state for name, watch in self.watches.items()}
        return {name: _words(state) for name, state in records.items()} | {"/device": _words(self.devices)}

    def group_arrays(self) -> dict[str, Array]:
        """What peers do, by group and `<property>/group`, as rows of words."""
        return {f"{name}/group": _words(monitor.groups) for name, monitor in self.monitors.items()}


class Fleet:
    """Detectors of every kind. `clock_ms` is what the agents last said of their clocks, by agent index."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self.kinds = {kind: _Kind(profile) for kind, profile in profiles.items()}
        self.clock_ms = np.full(16, cadence.NEVER, np.int64)
        self.poisoned: dict[str, int] = {}  # how many series of each property began anew because they were not finite
        self._flushes: deque[list[Change]] = deque()  # of those not committed
        self._undo: list[Change] = []  # of the flush in hand

    def examine(self, blocks: Sequence[Block], clocks: Mapping[int, int]) -> list[Finding]:
        """Findings of a flush: its blocks in arrival order, then a sweep by the agents' clocks ({agent index: ms})."""
        self._undo = []
        self._flushes.append(self._undo)
        found: list[Finding] = []
        for block in blocks:
            self.make_room(block.kind, int(block.slot.max(initial=-1)) + 1)
        for block in blocks:
            kind = self.kinds[block.kind]
            self._remember(kind, cadence.distinct(block.slot, kind.place))
            since_ms = np.empty(len(block), np.int64)
            found += self._hear(kind, block, since_ms)
            for name, monitor in kind.monitors.items():
                found += self._run(kind, block, since_ms, name, monitor)
            for watch in kind.watches.values():
                found += [_noted(block, watch.property, noted) for noted in watch.examine(block)]
        self._tell(clocks, blocks)
        for kind in self.kinds.values():
            found += self._sweep(kind, clocks)
        return found

    def excuse(self, kind: str, slots: Sequence[int]) -> None:
        """These devices report changes only: their silence says nothing."""
        self.make_room(kind, max(slots, default=-1) + 1)
        self.kinds[kind].excused[list(slots)] = 1

    def group(self, kind: str, peers: Array, wider: Array | None = None) -> None:
        """Which devices are each other's peers, and which of one municipality: (slots,) int32, NOBODY for none; slots
        beyond have none.
        """
        self.make_room(kind, len(peers))
        state = self.kinds[kind]
        state.meet(peers)
        for watch in state.watches.values():
            watch.meet(state.peers, np.full(len(peers), NOBODY, np.int32) if wider is None else wider)

    def place(self, kind: str, places: Places) -> None:
        """Where devices stand, and what is planned for them."""
        for watch in self.kinds[kind].watches.values():
            watch.stand(places)

    def undo(self) -> None:
        """Take back every `examine` that is not committed."""
        while self._flushes:
            for kind, name, index, before in reversed(self._flushes.pop()):
                if not kind:
                    self.clock_ms[index] = before
                elif name.endswith("/group"):
                    self.kinds[kind].group_arrays()[name][self.kinds[kind].peers[index]] = before
                else:
                    self.kinds[kind].arrays()[name][index] = before
        for kind_state in self.kinds.values():
            for watch in kind_state.watches.values():
                watch.recount()

    def keep(self) -> None:
        """The oldest `examine` is committed: nothing takes it back any more."""
        self._flushes.popleft()

    def make_room(self, kind: str, n: int) -> None:
        """For n slots of a kind."""
        state = self.kinds.get(kind)
        if state is not None and n > state.size:
            state.grow(n)

    def _remember(self, kind: _Kind, slots: Array) -> None:
        name = kind.profile.kind
        self._undo += [(name, part, slots, array[slots]) for part, array in kind.arrays().items()]
        peers = kind.peers[slots]
        _, first = np.unique(peers, return_index=True)
        one = slots[first[peers[first] != NOBODY]]  # of each group
        if len(one):
            of = kind.peers[one]
            self._undo += [(name, part, one, array[of]) for part, array in kind.group_arrays().items()]

    def _run(self, kind: _Kind, block: Block, since_ms: Array, name: str, monitor: _Monitor) -> list[Finding]:
        column = block.columns[name]
        values = column if monitor.item.type == "number" else as_float(monitor.item, column)
        n, limits = len(block), monitor.limits
        changes, told = np.empty(n, np.int32), np.empty((n, 3))
        if not monitors.run(
            monitor.state,
            monitor.groups,
            kind.peers,
            kind.members,
            block.slot,
            block.observed_ms,
            since_ms,
            values,
            limits,
            monitor.may_stay,
            changes,
            told,
        ):
            return []
        self._poisoned(kind, name, int(np.count_nonzero(changes & monitors.POISONED)))
        return [
            finding
            for row in np.flatnonzero(changes).tolist()
            for finding in _explain(block, name, limits, row, int(changes[row]), float(values[row]), told[row].tolist())
        ]

    def _poisoned(self, kind: _Kind, name: str, n: int) -> None:
        """Series whose state was not finite began anew: counted, and logged once a property."""
        where = f"{kind.profile.kind}.{name}"
        if n and where not in self.poisoned:
            log("detectors.state_reset", level="warning", property=where)
        if n:
            self.poisoned[where] = self.poisoned.get(where, 0) + n

    def _hear(self, kind: _Kind, block: Block, since_ms: Array) -> list[Finding]:
        changes = np.empty(len(block), np.uint8)
        if not cadence.hear(kind.devices, block.slot, block.observed_ms, block.agent, since_ms, changes):
            return []
        chosen = {"clock_skew": kind.profile.clock_skew.on, "duplicates": kind.profile.duplicates.on, "silent": True}
        return [
            _of_device(block.kind, int(block.slot[row]), detector, begins, int(block.observed_ms[row]))
            for row in np.flatnonzero(changes).tolist()
            for bit, detector, begins in CADENCE
            if changes[row] & bit and chosen[detector]
        ]

    def _tell(self, clocks: Mapping[int, int], blocks: Sequence[Block] = ()) -> None:
        top = max(clocks, default=-1)
        if top >= len(self.clock_ms):
            self.clock_ms = np.concatenate([self.clock_ms, np.full(top + 1, cadence.NEVER, np.int64)])
        index = np.array(list(clocks), np.int64)
        self._undo.append(("", "", index, self.clock_ms[index]))
        spoke_ms = self._next_words(blocks)
        for agent, clock in clocks.items():
            before = int(self.clock_ms[agent])
            if before != cadence.NEVER:
                self._welcome_back(agent, before, min(clock, int(spoke_ms[agent])))
            self.clock_ms[agent] = max(before, clock)

    def _next_words(self, blocks: Sequence[Block]) -> Array:
        """(agents,) int64: time of each agent's first observation beyond its clock so far, or the end of time."""
        first = np.full(len(self.clock_ms), np.iinfo(np.int64).max, np.int64)
        for block in blocks:
            known = block.agent < len(first)
            agent, at_ms = block.agent[known], block.observed_ms[known]
            new = at_ms > self.clock_ms[agent]
            np.minimum.at(first, agent[new], at_ms[new])
        return first

    def _welcome_back(self, agent: int, before_ms: int, back_ms: int) -> None:
        """An agent that was away for longer than a device may be silent: nobody could have heard its devices."""
        for name, kind in self.kinds.items():
            if back_ms - before_ms <= kind.profile.report_period_s * 1000:
                continue
            devices = kind.devices
            mine = np.flatnonzero((devices.agent == agent) & (devices.marks & cadence.SILENT == 0))
            if len(mine) == 0:
                continue
            limit_ms = cadence.limits_ms(devices, mine, kind.limit_ms, kind.uneven)
            heard_ms = devices.last_ms[mine] + devices.spare_ms[mine]
            away = (back_ms - before_ms > limit_ms) & (heard_ms < back_ms)
            slots = mine[away]
            self._undo.append((name, "/device", slots, _words(devices)[slots]))
            devices.spare_ms[slots] = np.minimum(back_ms - devices.last_ms[slots], cadence.MOST_SPARE_MS)

    def _sweep(self, kind: _Kind, clocks: Mapping[int, int]) -> list[Finding]:
        devices, name = kind.devices, kind.profile.kind
        fell, due_ms, ahead = (
            np.empty(kind.size, np.int64),
            np.empty(kind.size, np.int64),
            np.empty(kind.size, np.int64),
        )
        told = np.zeros(len(self.clock_ms), np.uint8)
        told[list(clocks)] = 1
        n, m = cadence.sweep(
            devices, kind.excused, self.clock_ms, told, kind.limit_ms, kind.uneven, fell, due_ms, ahead
        )
        for slots, flag in ((fell[:n], cadence.SILENT), (ahead[:m], cadence.SKEWED)):
            if len(slots):
                before = devices[slots].copy()
                before["marks"] &= np.uint8(~flag & 0xFF)
                self._undo.append((name, "/device", slots, _words(before)))
        found = [
            _of_device(name, slot, "silent", True, at_ms)
            for slot, at_ms in zip(fell[:n].tolist(), due_ms[:n].tolist(), strict=True)
        ]
        if not kind.profile.clock_skew.on:
            return found
        return found + [
            _of_device(name, slot, "clock_skew", True, int(devices.last_ms[slot])) for slot in ahead[:m].tolist()
        ]

    def parameters(self, kind: str, name: str | None, detector: str) -> dict[str, Any]:
        """The limits that a detector judged by, for an alarm's evidence."""
        if name is None:
            return {"silent_after_s": self.kinds[kind].limit_ms // 1000} if detector == "silent" else {}
        watch = self.kinds[kind].watches.get(f"{detector}:{name}")
        if watch is not None or name not in self.kinds[kind].monitors:
            return watch.parameters() if watch else {}
        limits = self.kinds[kind].monitors[name].limits
        return {key: value for key, value in limits._asdict().items() if np.isfinite(value)}

    # Saving and restoring one shard: the slots whose device was last heard through an agent of the shard.

    def save(
        self, shard: int, shard_of_agent: Array, agent_ids: Array, device_ids: Mapping[str, Sequence[int]]
    ) -> bytes:
        """The shard's state as bytes. shard_of_agent, agent_ids: (agents,) by agent index; device_ids: by slot."""
        kinds: dict[str, Any] = {}
        for name, kind in self.kinds.items():
            for watch in kind.watches.values():
                watch.before_save()
            heard = kind.devices.agent
            slots = (
                np.flatnonzero((heard >= 0) & (shard_of_agent[np.maximum(heard, 0)] == shard))
                if len(shard_of_agent)
                else np.zeros(0, np.int64)
            )
            if len(slots) == 0:
                continue
            ids = np.fromiter(map(device_ids[name].__getitem__, slots.tolist()), np.int32, len(slots))
            parts = {part: array[slots].tobytes() for part, array in kind.arrays().items()}
            parts |= {part: array[kind.peers[slots]].tobytes() for part, array in kind.group_arrays().items()}
            parts["/agent"] = agent_ids[heard[slots]].astype(np.int32).tobytes()
            kinds[name] = {"device_id": ids.tobytes(), "parts": parts}
        told = np.flatnonzero(self.clock_ms != cadence.NEVER)
        mine = told[shard_of_agent[told] == shard]
        clocks = {int(agent_ids[index]): int(self.clock_ms[index]) for index in mine}
        return _compressor.compress(msgspec.msgpack.encode({"format": SAVE_FORMAT, "kinds": kinds, "clocks": clocks}))

    def restore(self, saved: bytes, slot_of: Any, agent_index: Any) -> bool:
        """Put a saved shard back; False when another version saved it. slot_of(kind, device_id) and
        agent_index(agent_id) give this process's places, or None.
        """
        try:
            content = msgspec.msgpack.decode(
                _decompressor.decompress(saved, max_output_size=MAX_SAVE_BYTES), strict=False
            )
        except (zstandard.ZstdError, msgspec.DecodeError):
            return False
        if content.get("format") != SAVE_FORMAT:
            return False
        for name, entry in content["kinds"].items():
            if name not in self.kinds:
                continue
            kind = self.kinds[name]
            places = [slot_of(name, device_id) for device_id in np.frombuffer(entry["device_id"], np.int32).tolist()]
            known = np.array([place is not None for place in places], bool)
            slots = np.array([place for place in places if place is not None], np.int64)
            self.make_room(name, int(slots.max(initial=-1)) + 1)
            for part, array in (kind.arrays() | kind.group_arrays()).items():
                if part not in entry["parts"]:
                    continue  # a property that a newer profile brought
                values = np.frombuffer(entry["parts"][part], array.dtype).reshape(-1, *array.shape[1:])[known]
                if part.endswith("/group"):
                    grouped = kind.peers[slots] != NOBODY
                    array[kind.peers[slots[grouped]]] = values[grouped]
                else:
                    array[slots] = values
            speakers = [agent_index(int(agent)) for agent in np.frombuffer(entry["parts"]["/agent"], np.int32)[known]]
            kind.devices.agent[slots] = [-1 if index is None else index for index in speakers]
            for watch in kind.watches.values():
                watch.settle()
        clocks = {agent_index(int(agent_id)): clock for agent_id, clock in content["clocks"].items()}
        self._tell({index: clock for index, clock in clocks.items() if index is not None})
        return True


def _words(state: Array) -> Array:
    """Records as rows of words, over the same bytes."""
    words = np.uint64 if state.dtype.itemsize % 8 == 0 else np.uint32
    return state.view(np.ndarray).view(words).reshape(len(state), state.dtype.itemsize // np.dtype(words).itemsize)


def _noted(block: Block, name: str, noted: Noted) -> Finding:
    slot, at_ms = int(block.slot[noted.row]), int(block.observed_ms[noted.row])
    return Finding(
        block.kind,
        slot,
        noted.detector,
        name,
        bool(noted.begins),
        at_ms,
        noted.value,
        noted.low,
        noted.high,
        noted.expected,
        noted.score,
        noted.detail,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _of_device(kind: str, slot: int, detector: str, begins: bool, at_ms: int) -> Finding:
    return Finding(kind, slot, detector, None, begins, at_ms, None, None, None, None)


def _explain(
    block: Block, name: str, limits: monitors.Limits, row: int, change: int, value: float, told: list[float]
) -> list[Finding]:
    """Findings of one value; told is what `monitors.step` tells of it."""
    found = []
    expects, scale, reached = told
    for bit, detector in monitors.NAMES.items():
        begins, ends = bool(change & bit), bool(change >> monitors.CLEARED & bit)
        if not begins and not ends:
            continue
        low: float | None = None
        high: float | None = None
        expected: float | None = None
        if bit == monitors.OUT_OF_RANGE:
            low, high = _finite(limits.low), _finite(limits.high)
        elif bit not in (monitors.STUCK, monitors.RATE_OF_CHANGE):
            expected = expects
            width = limits.spike * scale if np.isfinite(limits.spike) else monitors.SUSPECT * scale
            low, high = expected - width, expected + width
        slot, at_ms = int(block.slot[row]), int(block.observed_ms[row])
        score = 1.0 - 1.0 / (1.0 + max(reached, 1.0)) if begins else None
        found.append(Finding(block.kind, slot, detector, name, begins, at_ms, value, low, high, expected, score))
    return found
