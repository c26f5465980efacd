"""The whole story of ingest: from the broker's messages to committed rows, alarms and answered agents.

One synchronous loop. Each round takes what has arrived, admits it, examines it, stores it in one transaction, and only
then answers. A round that fails is taken back whole and tried again from the messages; when the database has moved
under us (restored, or written by another), memory is read anew from it.
"""

import random
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from contracts import wire
from contracts.cursor import Position
from contracts.log import log
from contracts.profiles import Profile
from contracts.readiness import Part
from contracts.readiness import Reason as Waits
from contracts.reasons import Reason
from ingest_service import alarms, live
from ingest_service.admission import Admission, Flush, Held, Key, Message
from ingest_service.back_off import next_retry_s
from ingest_service.bodies import Refusal
from ingest_service.columns import Array
from ingest_service.counters import Counters
from ingest_service.detection import journal
from ingest_service.detection.fleet import Finding, Fleet
from ingest_service.health import Health
from ingest_service.inbox import Inbox
from ingest_service.newest import Newest, Rows
from ingest_service.registry import Registry
from ingest_service.settings import Settings, parse_shards
from ingest_service.store.connection import DatabaseError, RefusedByDatabase, reason_of
from ingest_service.store.store import CursorMoved, SchemaMissing, ShardTaken, Stay, Store, Work

STRANGER_PERIOD_S = 600.0  # one note in quarantine per unregistered topic and ten minutes
POSITIONS_KEPT = 200_000
CHECK_PERIOD_S = 1.0  # registry, requests to admit, silent agents, counters
MAX_STRANGERS = 10_000  # topics remembered as noted


class Pipeline:
    """A worker: everything it holds in memory, and the round."""

    def __init__(
        self, settings: Settings, profiles: Mapping[str, Profile], store: Store, inbox: Inbox, health: Health
    ) -> None:
        self.settings = settings
        self.profiles = dict(profiles)
        self.store = store
        self.inbox = inbox
        self.health = health
        self.shards = parse_shards(settings.shards)
        self.counters = Counters()
        self._strangers: dict[str, float] = {}
        self._next_check = 0.0
        self._next_save = 0.0
        self._save_turn = 0
        self._stale = False  # memory may differ from the database: nothing goes on before it is read anew
        self._readmitting: list[int] = []
        self._forget()

    # Memory that mirrors the database.

    def _forget(self) -> None:
        self.registry = Registry()
        self.fleet = Fleet(self.profiles)
        self.newest = Newest(self.profiles)
        self.positions: dict[Key, Position] = {}
        self.last_word: dict[int, float] = {}  # agent index -> monotonic seconds
        self.silent: set[int] = set()  # agent index
        self.admission = Admission(
            self.profiles,
            self.registry,
            ahead_limit_s=self.settings.ahead_limit_s,
            past_limit_days=self.settings.past_limit_days,
        )

    def load(self) -> None:
        """Read memory anew: registry, newest, detectors from save and journal. Raises DatabaseError, ShardTaken,
        SchemaMissing.
        """
        began = time.monotonic()
        self._forget()
        self.store.forget()
        self._refresh_registry()
        for kind in self.profiles:
            slots = [
                (slot, at)
                for device, at in self.store.newest_times(kind)
                if (slot := self.registry.slot_of_id(device, kind)) is not None
            ]
            if slots:
                self.newest.load(kind, [slot for slot, _ in slots], [at for _, at in slots])
        seen: dict[int, int] = {}
        for shard, flush, body in self.store.saved_states():
            self.fleet.restore(body, self._slot_of, self._agent_index)
            seen[shard] = flush
        entries = 0
        for flushed in self.store.journal(seen):
            self.health.say(Part.DETECTION, Waits.CATCHING_UP)
            self.health.turn()
            blocks, clocks = journal.read_flush(flushed, self.profiles, self._slot_of, self._agent_index)
            self.fleet.examine(blocks, clocks)  # its findings are alarms already
            self.newest.take(blocks)
            entries += 1
        self.fleet.keep()
        self.newest.keep()
        self.health.say(Part.DETECTION, None)
        now = time.monotonic()
        self.last_word = {
            index: now for agent_id in self.store.known_agents() if (index := self._agent_index(agent_id)) is not None
        }
        self.silent = {
            index for agent_id in self.store.silent_agents() if (index := self._agent_index(agent_id)) is not None
        }
        self.counters.latency = Counters(self.store.counters()).latency
        log(
            "ingest.loaded",
            devices=len(self.registry.names),
            agents=len(self.registry.agents),
            shards_saved=len(seen),
            journal_entries=entries,
            seconds=round(time.monotonic() - began, 2),
        )

    # The round.

    def run(self, stopping: threading.Event) -> None:
        """Rounds until stopped; then the last one, with all detectors saved."""
        while not stopping.is_set():
            self.round(self.inbox.take(self.settings.flush_batches, self.settings.flush_wait_ms / 1000), stopping)
        self.round(self.inbox.take(self.settings.flush_batches, 0), stopping)
        self.inbox.stop()
        self.save_everything()

    def round(self, messages: list[Message], stopping: threading.Event) -> None:
        """Carry messages into the store. Waits out a lost database; returns early only when stopping."""
        self.health.turn()
        now = time.monotonic()
        checking = now >= self._next_check
        if checking:
            self._next_check = now + CHECK_PERIOD_S
        if messages or checking:
            self._carry(messages, checking, stopping)

    def _carry(
        self,
        messages: list[Message],
        checking: bool,
        stopping: threading.Event,
        *,
        readmit: list[int] | None = None,
        refuse: str | None = None,
    ) -> None:
        """The round, until it is committed. readmit: only these of quarantine; refuse: what the database said of all
        this.
        """
        failures = 0
        while True:
            try:
                if failures:
                    self.store.reconnect()
                if self._stale:
                    self.load()
                    self._stale = False
                self._round(messages, checking, readmit, refuse)
                self.health.say(Part.DATABASE, None)
                return
            except (CursorMoved, ShardTaken, SchemaMissing, DatabaseError) as error:
                failures += 1
                self.counters.rollbacks += 1
                self._stale = self._stale or isinstance(error, CursorMoved)
                self._take_back()
                self.health.turn()
                if isinstance(error, RefusedByDatabase):
                    self._isolate(messages, checking, stopping, str(error).strip(), refuse)
                    return
                self.health.say(Part.DATABASE, reason_of(error), error)
                if stopping.wait(next_retry_s(failures, random.random())):
                    return

    def _round(self, messages: list[Message], checking: bool, readmit: list[int] | None, refuse: str | None) -> None:
        began = time.monotonic()
        if checking:
            self._refresh_registry()
        flush = self.admission.admit(messages, self._positions, time.time_ns() // 1_000_000, refuse=refuse)
        stays = self._readmit(flush, readmit, refuse) if checking else []
        self._readmitting = list(flush.readmitted)
        noted = self._note_strangers(flush, began)
        agent_changes, fallen, back = self._silent_agents(flush, began) if checking else ([], set(), set())
        if flush.empty and not (agent_changes or stays or checking):
            return
        findings = self.fleet.examine(flush.blocks, flush.clocks)
        changed = self.newest.take(flush.blocks)
        agents, shard_of_agent, agent_ids = self._agent_arrays()
        work = Work(
            changes=alarms.changes(findings, self.fleet, self.registry, self.profiles) + agent_changes,
            newest=self.newest.due(self.settings.newest_rows),
            journal=journal.entries(flush.blocks, flush.clocks, shard_of_agent, agent_ids) if agents else {},
            saves=self._saves_due(began, shard_of_agent, agent_ids),
            stays=stays,
            counters=self.counters.tell(began, self.inbox.shed) if checking else None,
        )
        raised = self.store.commit(flush, work)
        self.fleet.keep()
        self.newest.keep()
        self._committed(flush, findings, work, began)
        self.silent = (self.silent | fallen) - back
        self._strangers.update(dict.fromkeys(noted, began))
        self._answer(flush)
        self._publish(flush, changed, raised)

    def _committed(self, flush: Flush, findings: list[Finding], work: Work, began: float) -> None:
        """Memory and counters after COMMIT."""
        counters = self.counters
        counters.flushes += 1
        counters.note_rate(began, flush.committed)
        counters.flush_seconds += time.monotonic() - began
        counters.malformed += flush.malformed
        for key, tally in flush.tallies.items():
            self.positions[key] = tally.after
            counters.received += tally.received
            counters.committed += tally.committed
            counters.duplicate += tally.duplicate
            counters.out_of_order += tally.out_of_order
            counters.lost += tally.lost
            self.last_word[tally.agent.index] = began
        for held in flush.held:
            reason = held.refusal.reason.value
            counters.quarantined[reason] = counters.quarantined.get(reason, 0) + held.refusal.observations
        for finding in findings:
            counters.findings[finding.detector] = counters.findings.get(finding.detector, 0) + 1
        for change in work.changes:
            if change.begins:
                counters.alarms_opened[change.detector] = counters.alarms_opened.get(change.detector, 0) + 1
        now_ms = time.time_ns() / 1e6
        for taken_ms, observations in flush.taken:
            counters.latency.add(max(0.0, now_ms - taken_ms), observations)

    def _answer(self, flush: Flush) -> None:
        for (_, epoch), tally in flush.tallies.items():
            self.inbox.reply(
                tally.agent.municipality, tally.agent.name, wire.CursorMessage(epoch, tally.after.seq, tally.nonce)
            )

    def _publish(self, flush: Flush, changed: list[Rows], raised: list[dict[str, Any]]) -> None:
        agent_of = {}
        for rows in changed:
            agent_of[rows.kind] = self.fleet.kinds[rows.kind].silence.agent[rows.slot]
        alarm_agents = [self._alarm_agent(alarm) for alarm in raised]
        for index, payload in live.messages(changed, agent_of, raised, alarm_agents, self.profiles, self.registry):
            agent = self.registry.agents[index]
            self.inbox.publish_live(agent.municipality, agent.name, payload)

    def _alarm_agent(self, alarm: dict[str, Any]) -> int | None:
        """Agent index whose live topic carries an alarm."""
        if alarm["agent_id"] is not None:
            return self._agent_index(alarm["agent_id"])
        for kind in self.profiles:
            slot = self.registry.slot_of_id(alarm["device_id"], kind)
            if slot is not None:
                return int(self.fleet.kinds[kind].silence.agent[slot])
        return None

    # Parts of the round.

    def _positions(self, keys: list[Key]) -> Mapping[Key, Position]:
        if len(self.positions) > POSITIONS_KEPT:
            self.positions.clear()  # epochs of long ago; whoever speaks is read again
        missing = [key for key in keys if key not in self.positions]
        if missing:
            self.positions.update(self.store.positions(missing))
        return self.positions

    def _readmit(self, flush: Flush, only: list[int] | None, refuse: str | None) -> list[Stay]:
        """Bring what was asked for back from quarantine; what still cannot be stored, with why."""
        stays: list[Stay] = []
        for quarantine_id, agent_id, content in self.store.requested():
            agent = self.registry.agent_by_id(agent_id) if agent_id is not None else None
            if agent is None or content is None:
                words = "cannot be admitted: it holds no readable observation of a registered agent"
                stays.append((quarantine_id, None, words))
                continue
            if agent.shard not in self.shards or (only is not None and quarantine_id not in only):
                continue
            if refuse is not None:
                stays.append((quarantine_id, Reason.REFUSED_BY_DATABASE.value, refuse))
                continue
            refusal = self.admission.readmit(agent, content, flush)
            if refusal is None:
                flush.readmitted.append(quarantine_id)
            else:
                stays.append((quarantine_id, refusal.reason.value, refusal.detail))
        return stays

    def _note_strangers(self, flush: Flush, now: float) -> list[str]:
        """Put a note into quarantine for topics that had none lately; which."""
        if len(self._strangers) > MAX_STRANGERS:
            self._strangers.clear()
        noted = [
            topic
            for topic in flush.strangers
            if now - self._strangers.get(topic, -STRANGER_PERIOD_S) >= STRANGER_PERIOD_S
        ]
        for topic in noted:
            reason, detail = flush.strangers[topic]
            flush.held.append(Held(Refusal(reason, detail, observations=0), topic, None, None, None, None))
        return noted

    def _silent_agents(self, flush: Flush, now: float) -> tuple[list[alarms.Change], set[int], set[int]]:
        """Alarms of agents that fell silent or spoke again, judged only while we could have heard them."""
        limit = self.settings.agent_silent_s
        heard = {tally.agent.index for tally in flush.tallies.values()}
        back = self.silent & (
            heard | {index for index in self.silent if now - self.last_word.get(index, -1e18) < limit}
        )
        fallen: set[int] = set()
        since = self.inbox.connected_since
        if since is not None and now - since > limit:
            fallen = {
                index for index, at in self.last_word.items() if now - at > limit and index not in heard
            } - self.silent
            fallen = {index for index in fallen if self.registry.agents[index].shard in self.shards}
        at_ms = time.time_ns() // 1_000_000
        made = [
            alarms.agent_silent(self.registry.agents[index], index in fallen, at_ms, limit)
            for index in sorted(fallen | back)
        ]
        return made, fallen, back

    def _saves_due(self, now: float, shard_of_agent: Array, agent_ids: Array) -> dict[int, bytes]:
        """The next shard's state when its turn has come; the whole city within the save period."""
        if now < self._next_save:
            return {}
        self._next_save = now + self.settings.save_period_s / len(self.shards)
        self._save_turn = (self._save_turn + 1) % len(self.shards)
        shard = self.shards[self._save_turn]
        return {shard: self.fleet.save(shard, shard_of_agent, agent_ids, self.registry.devices_of)}

    def _refresh_registry(self) -> None:
        if self.store.refresh(self.registry):
            for kind, slots in self.registry.by_change.items():
                if kind in self.fleet.kinds:
                    self.fleet.excuse(kind, sorted(slots))

    def save_everything(self) -> None:
        """At an orderly stop: all newest rows and all detectors, in one transaction."""
        if self._stale:
            return  # the journal has it all
        agents, shard_of_agent, agent_ids = self._agent_arrays()
        shards = sorted(set(shard_of_agent.tolist()) & set(self.shards))
        saves = {shard: self.fleet.save(shard, shard_of_agent, agent_ids, self.registry.devices_of) for shard in shards}
        work = Work([], self.newest.due(1 << 40), {}, saves, [], self.counters.tell(time.monotonic(), self.inbox.shed))
        try:
            self.store.commit(Flush(tallies={}, blocks=[], held=[], clocks={}, taken=[], strangers={}), work)
            log("ingest.saved", shards=len(saves), agents=agents)
        except (DatabaseError, CursorMoved, ShardTaken, SchemaMissing) as error:
            log("ingest.not_saved", level="warning", error=str(error).strip())  # the journal has it all

    def _agent_arrays(self) -> tuple[int, Array, Array]:
        agents = self.registry.agents
        return (
            len(agents),
            np.array([agent.shard for agent in agents], np.int64),
            np.array([agent.agent_id for agent in agents], np.int64),
        )

    def _slot_of(self, kind: str, device_id: int) -> int | None:
        return self.registry.slot_of_id(device_id, kind)

    def _agent_index(self, agent_id: int) -> int | None:
        agent = self.registry.agent_by_id(agent_id)
        return None if agent is None else agent.index

    # Failure.

    def _take_back(self) -> None:
        """Positions stay: where they differ from the database after a lost connection, the next flush finds out."""
        self.fleet.undo()
        self.newest.undo()

    def _isolate(
        self, messages: list[Message], checking: bool, stopping: threading.Event, words: str, refuse: str | None
    ) -> None:
        """Find what the database refuses, by halves. A batch goes to quarantine with its words; what was asked for
        stays there.
        """
        half = len(messages) // 2
        if messages and checking:
            self._carry(messages, False, stopping)
            self._carry([], True, stopping)
        elif len(messages) > 1:
            self._carry(messages[:half], False, stopping)
            self._carry(messages[half:], False, stopping)
        elif messages and refuse is None:
            log("batch.refused_by_database", level="error", topic=messages[0].topic, error=words)
            self._carry(messages, False, stopping, refuse=words)
        elif messages:  # not even into quarantine: its outbox keeps it, and the load around it goes on
            log("batch.not_taken", level="error", topic=messages[0].topic, error=words)
        elif len(self._readmitting) > 1:
            for quarantine_id in list(self._readmitting):
                self._carry([], True, stopping, readmit=[quarantine_id])
        elif self._readmitting and refuse is None:
            self._carry([], True, stopping, readmit=list(self._readmitting), refuse=words)
        else:
            log("check.refused_by_database", level="error", error=words)
