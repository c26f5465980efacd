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

from contracts.profiles import Profile
from ingest_service.columns import Array, Block, as_float
from ingest_service.detection import monitors, silence
from ingest_service.detection.peers import NOBODY
from ingest_service.detection.places import Places
from ingest_service.detection.watches import Noted, watches_of

MAX_SAVE_BYTES = 1 << 31  # of a shard when decompressed
SAVE_FORMAT = 3
_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()


Change = tuple[str, str, Array, Array]  # kind, name of the array ("": clocks), index, values before


class Finding(msgspec.Struct, frozen=True):
    """What a detector says of one observation: a condition begins or ends."""

    kind: str
    slot: int
    detector: str  # out_of_range, stuck, spike, silent
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
        self.state = monitors.new_state(0)


class _Kind:
    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.monitors = {item.name: _Monitor(profile, item.name) for item in profile.measured}
        self.watches = watches_of(profile)
        self.silence = silence.new_state(0)
        self.excused = np.zeros(0, np.uint8)  # from silence; known from the registry, so not part of the state
        self.peers = np.zeros(0, np.int32)  # number of each slot's group, -1 for none; from the registry too
        self.place = np.zeros(0, np.int32)  # scratch of `distinct`
        self.limit_ms = profile.report_period_s * profile.silent_after_periods * 1000
        self.size = 0

    def grow(self, n: int) -> None:
        room = max(n, self.size * 2, 64)
        for monitor in self.monitors.values():
            monitor.state = np.concatenate([monitor.state, monitors.new_state(room - self.size)]).view(np.recarray)
        for watch in self.watches.values():
            watch.grow(room)
        fresh = silence.new_state(room - self.size)
        self.silence = silence.State(*map(np.concatenate, zip(self.silence, fresh, strict=True)))
        self.excused = np.concatenate([self.excused, np.zeros(room - self.size, np.uint8)])
        self.peers = np.concatenate([self.peers, np.full(room - self.size, NOBODY, np.int32)])
        self.place = np.concatenate([self.place, np.zeros(room - self.size, np.int32)])
        self.size = room

    def arrays(self) -> dict[str, Array]:
        """All state, by name: a property's monitors as rows of words, and so a watch as `<condition>`; what is known of
        silence as `/<field>`.
        """
        records = {name: monitor.state for name, monitor in self.monitors.items()}
        records |= {name: watch.state for name, watch in self.watches.items()}
        words = {name: _words(state) for name, state in records.items()}
        return words | {f"/{field}": getattr(self.silence, field) for field in self.silence._fields}


class Fleet:
    """Detectors of every kind. `clock_ms` is what the agents last said of their clocks, by agent index."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self.kinds = {kind: _Kind(profile) for kind, profile in profiles.items()}
        self.clock_ms = np.full(16, silence.NEVER, np.int64)
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
            self._remember(kind, silence.distinct(block.slot, kind.place))
            for name, monitor in kind.monitors.items():
                found += self._run(block, name, monitor)
            for watch in kind.watches.values():
                found += [_noted(block, watch.property, noted) for noted in watch.examine(block)]
            found += self._hear(kind, block)
        self._tell(clocks, blocks)
        for kind in self.kinds.values():
            found += self._sweep(kind)
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
        state.peers[: len(peers)] = peers
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
                array = self.kinds[kind].arrays()[name] if kind else self.clock_ms
                array[index] = before
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

    def _run(self, block: Block, name: str, monitor: _Monitor) -> list[Finding]:
        column = block.columns[name]
        values = column if monitor.item.type == "number" else as_float(monitor.item, column)
        n, limits = len(block), monitor.limits
        changes, level, scale = np.zeros(n, np.uint8), np.empty(n), np.empty(n)
        if not monitors.run(
            monitor.state, block.slot, block.observed_ms, values, limits, monitor.may_stay, changes, level, scale
        ):
            return []
        return [
            finding
            for row in np.flatnonzero(changes).tolist()
            for finding in self._explain(
                block, name, limits, row, int(changes[row]), float(values[row]), float(level[row]), float(scale[row])
            )
        ]

    def _explain(
        self,
        block: Block,
        name: str,
        limits: monitors.Limits,
        row: int,
        change: int,
        value: float,
        level: float,
        scale: float,
    ) -> list[Finding]:
        """Findings of one value; level and scale are what was expected of it."""
        found = []
        for bit, detector in monitors.NAMES.items():
            begins, ends = bool(change & bit), bool(change >> monitors.CLEARED & bit)
            if not begins and not ends:
                continue
            low: float | None = None
            high: float | None = None
            expected: float | None = None
            if bit == monitors.OUT_OF_RANGE:
                low, high = _finite(limits.low), _finite(limits.high)
            elif bit == monitors.SPIKE:
                expected = level
                width = max(limits.spike_threshold * max(scale, limits.floor), limits.spike_min_jump)
                low, high = expected - width, expected + width
            slot, at_ms = int(block.slot[row]), int(block.observed_ms[row])
            found.append(Finding(block.kind, slot, detector, name, begins, at_ms, value, low, high, expected))
        return found

    def _hear(self, kind: _Kind, block: Block) -> list[Finding]:
        state = kind.silence
        back = np.zeros(len(block), np.int64)
        n = silence.hear(state.heard_ms, state.agent, state.silent, block.slot, block.observed_ms, block.agent, back)
        return [
            _silent(block.kind, int(block.slot[row]), False, int(block.observed_ms[row])) for row in back[:n].tolist()
        ]

    def _tell(self, clocks: Mapping[int, int], blocks: Sequence[Block] = ()) -> None:
        top = max(clocks, default=-1)
        if top >= len(self.clock_ms):
            self.clock_ms = np.concatenate([self.clock_ms, np.full(top + 1, silence.NEVER, np.int64)])
        index = np.array(list(clocks), np.int64)
        self._undo.append(("", "", index, self.clock_ms[index]))
        spoke_ms = self._next_words(blocks)
        for agent, clock in clocks.items():
            before = int(self.clock_ms[agent])
            if before != silence.NEVER:
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
            if back_ms - before_ms > kind.limit_ms:
                state = kind.silence
                slots = np.flatnonzero((state.agent == agent) & (state.silent == 0) & (state.heard_ms < back_ms))
                self._undo.append((name, "/heard_ms", slots, state.heard_ms[slots]))
                state.heard_ms[slots] = back_ms

    def _sweep(self, kind: _Kind) -> list[Finding]:
        state = kind.silence
        fell = np.zeros(kind.size, np.int64)
        n = silence.sweep(state.heard_ms, state.agent, state.silent, kind.excused, self.clock_ms, kind.limit_ms, fell)
        slots, name = fell[:n], kind.profile.kind
        if n:
            self._undo.append((name, "/silent", slots, np.zeros(n, np.uint8)))
        return [_silent(name, slot, True, int(state.heard_ms[slot]) + kind.limit_ms) for slot in slots.tolist()]

    def parameters(self, kind: str, name: str | None, detector: str) -> dict[str, Any]:
        """The limits that a detector judged by, for an alarm's evidence."""
        if name is None:
            return {"silent_after_s": self.kinds[kind].limit_ms // 1000}
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
            heard = kind.silence.agent
            slots = (
                np.flatnonzero((heard >= 0) & (shard_of_agent[np.maximum(heard, 0)] == shard))
                if len(shard_of_agent)
                else np.zeros(0, np.int64)
            )
            if len(slots) == 0:
                continue
            ids = np.fromiter(map(device_ids[name].__getitem__, slots.tolist()), np.int32, len(slots))
            parts = {part: array[slots].tobytes() for part, array in kind.arrays().items()}
            parts["/agent"] = agent_ids[heard[slots]].astype(np.int32).tobytes()
            kinds[name] = {"device_id": ids.tobytes(), "parts": parts}
        told = np.flatnonzero(self.clock_ms != silence.NEVER)
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
            for part, array in kind.arrays().items():
                if part not in entry["parts"]:
                    continue  # a property that a newer profile brought
                values = np.frombuffer(entry["parts"][part], array.dtype).reshape(-1, *array.shape[1:])[known]
                if part == "/agent":
                    found = [agent_index(int(agent)) for agent in values]
                    values = np.array([-1 if index is None else index for index in found], np.int32)
                array[slots] = values
            for watch in kind.watches.values():
                watch.settle()
        clocks = {agent_index(int(agent_id)): clock for agent_id, clock in content["clocks"].items()}
        self._tell({index: clock for index, clock in clocks.items() if index is not None})
        return True


def _words(state: Array) -> Array:
    return state.view(np.uint64).reshape(-1, state.dtype.itemsize // 8)


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


def _silent(kind: str, slot: int, begins: bool, at_ms: int) -> Finding:
    return Finding(kind, slot, "silent", None, begins, at_ms, None, None, None, None)
