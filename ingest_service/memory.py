"""What a worker holds in memory: registry, cursors, newest observations, detectors, agents' last words.

Promise: memory runs ahead of the database by the flushes under way; `keep` when the oldest of them is committed,
`take_back` when one failed and all of them are to be tried again. `load` reads everything anew from the database.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec
import numpy as np

from contracts.cursor import Position
from contracts.log import log
from contracts.profiles import Profile
from contracts.readiness import Part, Reason
from ingest_service.admission import Admission, Flush, Key
from ingest_service.catch_up import CatchUp, Late
from ingest_service.columns import Array
from ingest_service.detection import saving
from ingest_service.detection.findings import Finding
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.saving import Taken
from ingest_service.health import Health
from ingest_service.newest import Newest
from ingest_service.registry import Registry
from ingest_service.settings import Settings
from ingest_service.store.store import Store

POSITIONS_KEPT = 200_000
SHORT_S = 0.5  # a journal that is examined within this is waited for
STRANGER_PERIOD_S = 600.0  # one note in quarantine per unregistered topic and ten minutes
MAX_STRANGERS = 10_000  # topics remembered as noted

Word = tuple[int, int, int]  # seen_ms, clock_ms (0: said none), backlog


class _Mark(msgspec.Struct):
    """What a flush under way changed, as it was before."""

    positions: dict[Key, Position]
    silent: set[int]
    words: dict[int, Word]  # taken along by the flush
    readmitted: list[int]
    noted: list[str]
    late: int  # flushes whose late findings it stores
    examined: bool


class Memory:
    def __init__(self, settings: Settings, profiles: Mapping[str, Profile], shards: Sequence[int]) -> None:
        self._settings = settings
        self._profiles = profiles
        self._shards = shards
        self._strangers: dict[str, float] = {}  # topic -> when it was noted; what a load need not forget
        self._save_turn = 0
        self._next_save = 0.0
        self.behind: CatchUp | None = None  # while detection catches up
        self._forget()

    def _forget(self) -> None:
        self.stop()
        self.registry = Registry()
        self.fleet = Fleet(self._profiles)
        self.newest = Newest(self._profiles)
        self.positions: dict[Key, Position] = {}
        self.last_word: dict[int, float] = {}  # agent index -> monotonic seconds
        self.words: dict[int, Word] = {}  # agent_id -> what its row of agent_status does not say yet
        self.silent: set[int] = set()  # agent index
        self.admission = Admission(
            self._profiles,
            self.registry,
            ahead_limit_s=self._settings.ahead_limit_s,
            past_limit_days=self._settings.past_limit_days,
        )
        self._late: list[Late] = []  # findings of stored flushes that are no alarms yet
        self._marks: deque[_Mark] = deque()  # of flushes under way, oldest first
        self._agents = (-1, np.zeros(0, np.int64), np.zeros(0, np.int64))

    def load(self, store: Store, health: Health, now_s: float) -> None:
        """Read memory anew: registry, newest, detectors as they were saved; what the journal has since is examined
        while storage goes on (`follow`). Raises DatabaseError, ShardTaken, SchemaMissing.
        """
        self._forget()
        store.forget()
        self.refresh_registry(store)
        self.registry.index()
        for kind, slots in self.registry.slots_in.items():
            self.fleet.make_room(kind, slots)
        for kind in self._profiles:
            stored = [(self.slot_of(kind, device), at_ms) for device, at_ms in store.newest_times(kind)]
            known = [(slot, at_ms) for slot, at_ms in stored if slot is not None]
            if known:
                self.newest.load(kind, [slot for slot, _ in known], [at_ms for _, at_ms in known])
        seen: dict[int, int] = {}
        for shard, flush, body in store.saved_states():
            if saving.restore(self.fleet, body, self.slot_of, self.agent_index):
                seen[shard] = flush
            else:
                log("detectors.not_restored", level="warning", shard=shard, reason="saved by another version")
        self.behind = CatchUp(store, self._profiles, self.fleet, self.slot_of, self.agent_index, seen)
        self.behind.start()
        if self.behind.ends_within(SHORT_S):
            self.follow(health)
        else:
            health.say(Part.DETECTION, Reason.CATCHING_UP)
        self.last_word = {
            index: now_s for agent_id in store.known_agents() if (index := self.agent_index(agent_id)) is not None
        }
        self.silent = {index for agent_id in store.silent_agents() if (index := self.agent_index(agent_id)) is not None}

    def follow(self, health: Health) -> None:
        """While detection catches up, and no flush is under way: take what it has examined, and go on together when it
        has reached the end. Raises DatabaseError.
        """
        behind = self.behind
        if behind is None:
            return
        ended = behind.at_the_end
        if ended:
            behind.finish()
        for blocks in behind.blocks():
            self.newest.take(blocks)
            self.newest.keep()
        self._late += behind.late()
        if ended:
            self.behind = None
            health.say(Part.DETECTION, None)

    def stop(self) -> None:
        """End what runs beside; what it has not examined is in the journal."""
        if self.behind is not None:
            self.behind.stop()
            self.behind = None

    def examine(self, flush: Flush) -> tuple[list[Finding], int]:
        """What is found in a flush, and in those before it that were stored while detection was behind; up to which of
        these, or 0. While it still is, the flush's own findings come later.
        """
        late = self._late[sum(mark.late for mark in self._marks) :]
        findings = [finding for _, found in late for finding in found]
        if self.behind is None:
            findings += self.fleet.examine(flush.blocks, flush.clocks)
        return findings, late[-1][0] if late else 0

    @property
    def has_late_findings(self) -> bool:
        return len(self._late) > sum(mark.late for mark in self._marks)

    @property
    def _alone(self) -> AbstractContextManager[object]:
        """With the fleet and the registry to ourselves."""
        return self.behind.lock if self.behind is not None else nullcontext()

    def refresh_registry(self, store: Store) -> None:
        with self._alone:
            self._refresh_registry(store)

    def _refresh_registry(self, store: Store) -> None:
        if store.refresh(self.registry):
            self.registry.instruct(self.fleet)

    def positions_of(self, keys: list[Key], store: Store) -> Mapping[Key, Position]:
        """How far these epochs are taken, committed or under way."""
        if len(self.positions) > POSITIONS_KEPT and not self._marks:
            self.positions.clear()  # epochs of long ago; whoever speaks is read again
        missing = [key for key in keys if key not in self.positions]
        if missing:
            self.positions.update(store.positions(missing))
        return self.positions

    # Flushes under way.

    def advance(
        self, flush: Flush, silent: set[int], noted: list[str], now_s: float, now_ms: int, *, tell: bool
    ) -> dict[int, Word]:
        """A flush was prepared: cursors, last words and silent agents go on; the words to write when it is time to."""
        before = {key: tally.before for key, tally in flush.tallies.items()}
        late = len(self._late) - sum(mark.late for mark in self._marks)
        mark = _Mark(before, self.silent, {}, flush.readmitted, noted, late, self.behind is None)
        self._marks.append(mark)
        self.silent = silent
        for key, tally in flush.tallies.items():
            self.positions[key] = tally.after
            self.last_word[tally.agent.index] = now_s
            last = self.words.get(tally.agent.agent_id)
            clock_ms = max(tally.clock_ms, last[1]) if last else tally.clock_ms
            self.words[tally.agent.agent_id] = (now_ms, clock_ms, tally.backlog)
        if tell:
            mark.words, self.words = self.words, {}
        return mark.words

    def strange(self, topics: Iterable[str], now_s: float) -> list[str]:
        """Those of these unregistered topics that had no note in quarantine lately; they have one now."""
        if len(self._strangers) > MAX_STRANGERS:
            self._strangers.clear()
        noted = [
            topic for topic in topics if now_s - self._strangers.get(topic, -STRANGER_PERIOD_S) >= STRANGER_PERIOD_S
        ]
        self._strangers.update(dict.fromkeys(noted, now_s))
        return noted

    def readmitting(self, quarantine_id: int) -> bool:
        """Whether a flush under way brings this observation back from quarantine."""
        return any(quarantine_id in mark.readmitted for mark in self._marks)

    def keep(self) -> None:
        """The oldest flush under way is committed."""
        mark = self._marks.popleft()
        del self._late[: mark.late]
        if mark.examined:
            self.fleet.keep()
        self.newest.keep()

    def take_back(self) -> None:
        """No flush under way has happened."""
        if self.behind is None:
            self.fleet.undo()
        self.newest.undo()
        while self._marks:
            mark = self._marks.pop()
            self.positions.update(mark.positions)
            self.silent = mark.silent
            self.words = {**mark.words, **self.words}
            for topic in mark.noted:
                self._strangers.pop(topic, None)

    # Saving detectors, and numbers by which things are known.

    def saves_due(self, now_s: float) -> dict[int, Taken]:
        """A copy of the next shard's detectors when its turn has come; the whole city within the save period."""
        if now_s < self._next_save or self.behind is not None:
            return {}
        self._next_save = now_s + self._settings.save_period_s / len(self._shards)
        self._save_turn = (self._save_turn + 1) % len(self._shards)
        return self.saves([self._shards[self._save_turn]])

    def saves(self, shards: Sequence[int]) -> dict[int, Taken]:
        shard_of_agent, agent_ids = self.agent_arrays()
        of = shard_of_agent, agent_ids, self.registry.device_arrays()
        return {shard: saving.take(self.fleet, shard, *of) for shard in shards}

    def agent_arrays(self) -> tuple[Array, Array]:
        """(agents,) int64: shard and agent_id by agent index."""
        if self._agents[0] != self.registry.changes:
            agents = self.registry.agents
            self._agents = (
                self.registry.changes,
                np.array([agent.shard for agent in agents], np.int64),
                np.array([agent.agent_id for agent in agents], np.int64),
            )
        return self._agents[1], self._agents[2]

    def slot_of(self, kind: str, device_id: int) -> int | None:
        return self.registry.slot_of_id(device_id, kind)

    def agent_index(self, agent_id: int) -> int | None:
        agent = self.registry.agent_by_id(agent_id)
        return None if agent is None else agent.index

    def speaker_of(self, device_id: int | None, agent_id: int | None) -> int | None:
        """Agent index whose live topic carries an alarm of this device or agent."""
        if agent_id is not None:
            return self.agent_index(agent_id)
        for kind in self._profiles:
            slot = self.slot_of(kind, device_id) if device_id is not None else None
            if slot is not None:
                return int(self.fleet.kinds[kind].devices.agent[slot])
        return None
