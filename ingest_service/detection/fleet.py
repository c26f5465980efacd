"""All detectors of a worker's part of the city, as one object: examine a flush, take it back, save a shard, restore it.

Promise: the findings depend only on the observations in arrival order and the agents' clocks, however they are cut into
flushes. Flushes that are not committed leave no trace (`undo`), however many there are.
Alarms belong to `alarms`; this module only finds.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from contracts.log import log
from contracts.profiles import Profile
from ingest_service.columns import Array, Block, as_float
from ingest_service.detection import cadence, group_means, monitors, usual
from ingest_service.detection.before import Spare, words_of
from ingest_service.detection.findings import Finding, explain, noted, of_device
from ingest_service.detection.monitor_limits import POISONED, TOLD, limits_of, record_of
from ingest_service.detection.peers import NOBODY
from ingest_service.detection.places import Places
from ingest_service.detection.watches import watches_of

CADENCE = (
    (cadence.BACK, "silent", False),
    (cadence.SKEW_BEGINS, "clock_skew", True),
    (cadence.SKEW_ENDS, "clock_skew", False),
    (cadence.DOUBLE_BEGINS, "duplicates", True),
    (cadence.DOUBLE_ENDS, "duplicates", False),
)

DEVICE, GROUP = "/device", "/group"  # names of arrays that no property has
Change = tuple[str, str, Array, Array]  # kind, name of the array ("": clocks), index in the order written, words before


class _Flush(NamedTuple):
    """What an `examine` has written over."""

    changes: list[Change]
    lent: list[Array]  # memory of these, to be given back


class _Monitor:
    """One property of one kind: its state and limits."""

    def __init__(self, profile: Profile, name: str) -> None:
        self.item = profile.properties[name]
        self.limits = limits_of(self.item)
        self.of_kernel = record_of(self.limits)
        self.state: Any = usual.new_series(0)  # record array
        self.groups: Any = group_means.new_groups(1)  # what peers do, by number of the group; the last is nobody's


class _Kind:
    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.monitors = {item.name: _Monitor(profile, item.name) for item in profile.measured}
        self.watches = watches_of(profile)
        self.devices: Any = cadence.new_devices(0)  # record array
        self.due_ms = np.zeros(0, np.int64)  # when the first of cadence.SWEPT devices may be silent; from their state
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
        self.due_ms = np.full(-(-room // cadence.SWEPT), cadence.NEVER, np.int64)
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
            groups = group_means.new_groups(n + 1)
            groups[of] = np.where(before >= 0, monitor.groups[before], groups[of])
            monitor.groups = groups
        self.peers[: len(peers)] = peers
        self.members = members

    def arrays(self) -> dict[str, Array]:
        """All state by slot and name: a property's monitors as rows of words, and so a watch as `<condition>`, and what
        is known of the device as DEVICE.
        """
        found = {name: words_of(monitor.state) for name, monitor in self.monitors.items()}
        return found | self.watch_arrays() | {DEVICE: words_of(self.devices)}

    def watch_arrays(self) -> dict[str, Array]:
        return {name: words_of(watch.state) for name, watch in self.watches.items()}

    def group_arrays(self) -> dict[str, Array]:
        """What peers do, by group and `<property>GROUP`, as rows of words."""
        return {f"{name}{GROUP}": words_of(monitor.groups) for name, monitor in self.monitors.items()}


class Fleet:
    """Detectors of every kind. `clock_ms` is what the agents last said of their clocks, by agent index."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self.kinds = {kind: _Kind(profile) for kind, profile in profiles.items()}
        self.clock_ms = np.full(16, cadence.NEVER, np.int64)
        self.poisoned: dict[str, int] = {}  # how many series of each property began anew because they were not finite
        self._flushes: deque[_Flush] = deque()  # of those not committed
        self._now = _Flush([], [])  # the flush in hand
        self._spare = Spare()

    def examine(self, blocks: Sequence[Block], clocks: Mapping[int, int]) -> list[Finding]:
        """Findings of a flush: its blocks in arrival order, then a sweep by the agents' clocks ({agent index: ms})."""
        self._now = _Flush([], [])
        self._flushes.append(self._now)
        found: list[Finding] = []
        for block in blocks:
            self.make_room(block.kind, int(block.slot.max(initial=-1)) + 1)
        for block in blocks:
            kind = self.kinds[block.kind]
            if kind.watches:
                slots = cadence.distinct(block.slot, kind.place)
                for part, array in kind.watch_arrays().items():
                    self._note(kind, part, slots, array[slots])
            since_ms = np.empty(len(block), np.int64)
            found += self._hear(kind, block, since_ms)
            for name, monitor in kind.monitors.items():
                found += self._run(kind, block, since_ms, name, monitor)
            for watch in kind.watches.values():
                found += [noted(block, watch.property, said) for said in watch.examine(block)]
        if clocks:
            self.tell(clocks, blocks)
            for kind in self.kinds.values():
                found += self._sweep(kind, clocks, [block for block in blocks if block.kind == kind.profile.kind])
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
            flush = self._flushes.pop()
            for kind, name, index, before in reversed(flush.changes):
                backwards = index[::-1]  # where a row was copied more than once, the oldest copy is written last
                if not kind:
                    self.clock_ms[backwards] = before[::-1]
                elif name.endswith(GROUP):
                    self.kinds[kind].group_arrays()[name][self.kinds[kind].peers[backwards]] = before[::-1]
                else:
                    self.kinds[kind].arrays()[name][backwards] = before[::-1]
            self._give_back(flush)
        for kind_state in self.kinds.values():
            kind_state.due_ms[:] = cadence.NEVER
            for watch in kind_state.watches.values():
                watch.recount()

    def keep(self) -> None:
        """The oldest `examine` is committed: nothing takes it back any more."""
        self._give_back(self._flushes.popleft())

    def _give_back(self, flush: _Flush) -> None:
        for memory in flush.lent:
            self._spare.give_back(memory)

    def make_room(self, kind: str, n: int) -> None:
        """For n slots of a kind."""
        state = self.kinds.get(kind)
        if state is not None and n > state.size:
            state.grow(n)

    def _note(self, kind: _Kind, part: str, slots: Array, before: Array) -> None:
        self._now.changes.append((kind.profile.kind, part, slots, before))

    def _copies(self, kind: _Kind, part: str, slots: Array, width: int) -> Array:
        """(n, width) words, for a kernel that copies there what it writes over."""
        before = self._spare.rows(len(slots), width)
        self._now.lent.append(before)
        self._note(kind, part, slots, before)
        return before

    def _run(self, kind: _Kind, block: Block, since_ms: Array, name: str, monitor: _Monitor) -> list[Finding]:
        column = block.columns[name]
        values = column if monitor.item.type == "number" else as_float(monitor.item, column)
        n, grouped = len(block), len(kind.members) > 1
        changes, told = np.empty(n, np.int32), np.empty(n, TOLD).view(np.recarray)
        of_groups = block.slot if grouped else block.slot[:0]
        if not monitors.run(
            monitor.state,
            words_of(monitor.state),
            monitor.groups,
            words_of(monitor.groups),
            kind.peers,
            kind.members,
            block.slot,
            block.observed_ms,
            since_ms,
            values,
            monitor.of_kernel,
            changes,
            told,
            self._copies(kind, name, block.slot, monitors.WORDS),
            self._copies(kind, name + GROUP, of_groups, monitors.GROUP_WORDS),
        ):
            return []
        self._poisoned(kind, name, int(np.count_nonzero(changes & POISONED)))
        return [
            finding
            for row in np.flatnonzero(changes).tolist()
            for finding in explain(
                block, name, monitor.limits, row, int(changes[row]), float(values[row]), told[row].tolist()
            )
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
        if not cadence.hear(
            kind.devices,
            words_of(kind.devices),
            block.slot,
            block.observed_ms,
            block.agent,
            kind.limit_ms,
            kind.uneven,
            kind.due_ms,
            since_ms.view(cadence.SINCE),
            changes,
            self._copies(kind, DEVICE, block.slot, cadence.WORDS),
        ):
            return []
        chosen = {"clock_skew": kind.profile.clock_skew.on, "duplicates": kind.profile.duplicates.on, "silent": True}
        return [
            of_device(block.kind, int(block.slot[row]), detector, begins, int(block.observed_ms[row]))
            for row in np.flatnonzero(changes).tolist()
            for bit, detector, begins in CADENCE
            if changes[row] & bit and chosen[detector]
        ]

    def tell(self, clocks: Mapping[int, int], blocks: Sequence[Block] = ()) -> None:
        """What agents said of their clocks ({agent index: ms}), with or after these blocks."""
        top = max(clocks, default=-1)
        if top >= len(self.clock_ms):
            self.clock_ms = np.concatenate([self.clock_ms, np.full(top + 1, cadence.NEVER, np.int64)])
        index = np.fromiter(clocks.keys(), np.int64, len(clocks))
        told_ms = np.fromiter(clocks.values(), np.int64, len(clocks))
        before_ms = self.clock_ms[index]
        self._now.changes.append(("", "", index, before_ms))
        self._welcome_back(index, before_ms, told_ms, blocks)
        self.clock_ms[index] = np.maximum(before_ms, told_ms)

    def _welcome_back(self, agents: Array, before_ms: Array, told_ms: Array, blocks: Sequence[Block]) -> None:
        """Agents that were away for longer than a device may be silent: nobody could have heard their devices. They are
        back with their first observation beyond their clock so far, or with what they say now.
        """
        longest_ms = min((kind.profile.report_period_s for kind in self.kinds.values()), default=0) * 1000
        away = (before_ms != cadence.NEVER) & (told_ms - before_ms > longest_ms)
        if not away.any():
            return
        back_ms = np.full(len(self.clock_ms), cadence.NEVER, np.int64)  # where an agent was not away
        back_ms[agents[away]] = told_ms[away]
        for block in blocks:
            cadence.first_words(block.agent, block.observed_ms, self.clock_ms, back_ms)
        for kind in self.kinds.values():
            period_ms = kind.profile.report_period_s * 1000
            slots, spare_ms = np.empty(kind.size, np.int64), np.empty(kind.size, np.int64)
            n = cadence.welcome(
                kind.devices, self.clock_ms, back_ms, period_ms, kind.limit_ms, kind.uneven, slots, spare_ms
            )
            if n:
                self._note(kind, DEVICE, slots[:n], words_of(kind.devices)[slots[:n]])
                kind.devices.spare_ms[slots[:n]] = spare_ms[:n]

    def _sweep(self, kind: _Kind, clocks: Mapping[int, int], blocks: Sequence[Block]) -> list[Finding]:
        """Who fell silent by the clocks told, and who of a flush's blocks is ahead of them."""
        devices, name = kind.devices, kind.profile.kind
        speakers = np.fromiter(clocks.keys(), np.int64, len(clocks))
        told = np.zeros(len(self.clock_ms), np.uint8)
        told[speakers] = 1
        limits = kind.limit_ms, kind.uneven
        fell, due_ms = np.empty(kind.size, np.int64), np.empty(kind.size, np.int64)
        earliest_ms, latest_ms = int(self.clock_ms[speakers].min()), int(self.clock_ms[speakers].max())
        n = cadence.sweep(devices, kind.excused, self.clock_ms, told, latest_ms, *limits, kind.due_ms, fell, due_ms)
        self._marked(kind, fell[:n], cadence.SILENT)
        found = [
            of_device(name, slot, "silent", True, at_ms)
            for slot, at_ms in zip(fell[:n].tolist(), due_ms[:n].tolist(), strict=True)
        ]
        for block in blocks:
            if int(block.observed_ms.max(initial=cadence.NEVER)) <= earliest_ms + cadence.AHEAD_MS:
                continue
            ahead = np.empty(len(block), np.int64)
            m = cadence.lead(devices, block.slot, self.clock_ms, told, ahead)
            self._marked(kind, ahead[:m], cadence.SKEWED)
            if kind.profile.clock_skew.on:
                found += [
                    of_device(name, slot, "clock_skew", True, int(devices.last_ms[slot])) for slot in ahead[:m].tolist()
                ]
        return found

    def _marked(self, kind: _Kind, slots: Array, flag: int) -> None:
        """A mark was set on devices that did not have it."""
        if len(slots):
            before = kind.devices[slots].copy()
            before["marks"] &= np.uint8(~flag & 0xFF)
            self._note(kind, DEVICE, slots, words_of(before))

    def parameters(self, kind: str, name: str | None, detector: str) -> dict[str, Any]:
        """The limits that a detector judged by, for an alarm's evidence."""
        if name is None:
            return {"silent_after_s": self.kinds[kind].limit_ms // 1000} if detector == "silent" else {}
        watch = self.kinds[kind].watches.get(f"{detector}:{name}")
        if watch is not None or name not in self.kinds[kind].monitors:
            return watch.parameters() if watch else {}
        limits = self.kinds[kind].monitors[name].limits
        stay, errors = (tuple(v for v in values if np.isfinite(v)) for values in (limits.stay, limits.errors))
        said = limits._replace(stay=stay, errors=errors)
        return {key: value for key, value in said._asdict().items() if value != () and np.isfinite(value).all()}
