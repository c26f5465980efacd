"""The whole story of ingest: from the broker's messages to committed rows, alarms and answered agents.

Each round takes what has arrived, admits it and examines it, while the round before is being stored by a second thread
in one transaction; only what is committed is answered. When a flush fails, it and the one prepared on top of it are
taken back whole and tried again from their messages, one at a time; when the database has moved under us (restored, or
written by another), memory is read anew from it.
"""

import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from contracts import wire
from contracts.log import log
from contracts.profiles import Profile
from contracts.readiness import Part
from contracts.reasons import Reason
from ingest_service import alarms, live
from ingest_service.admission import Flush, Held, Message
from ingest_service.back_off import next_retry_s
from ingest_service.bodies import Refusal
from ingest_service.columns import Array
from ingest_service.counters import Counters
from ingest_service.detection import journal, saving
from ingest_service.detection.findings import Finding
from ingest_service.health import Health
from ingest_service.inbox import Inbox
from ingest_service.memory import Memory
from ingest_service.newest import Budget, Rows
from ingest_service.registry import Agent
from ingest_service.settings import Settings, parse_shards
from ingest_service.store import alarm_rows
from ingest_service.store.connection import DatabaseError, RefusedByDatabase, reason_of
from ingest_service.store.store import Committed, CursorMoved, SchemaMissing, ShardTaken, Stay, Store, Work

CHECK_PERIOD_S = 1.0  # registry, requests to admit, silent agents, counters
BACKLOG_FLUSHES = 3  # flushes in one where more waits: 193,545/s of 20,000, 258,164/s of 60,000 (docs/adr/0014)

NOT_STORED = (CursorMoved, ShardTaken, SchemaMissing, DatabaseError)


class Prepared(msgspec.Struct):
    """A flush ready to be stored, and what is said once it is."""

    messages: list[Message]
    checking: bool
    flush: Flush
    work: Work
    findings: list[Finding]
    changed: list[Rows]  # for the live channel
    packed: Future[tuple[dict[int, bytes], dict[int, bytes]]]  # journal and saves as bytes, by shard
    began: float  # monotonic seconds


class Pipeline:
    """A worker: its memory, and the round."""

    def __init__(
        self, settings: Settings, profiles: Mapping[str, Profile], store: Store, inbox: Inbox, health: Health
    ) -> None:
        self.settings = settings
        self.profiles = dict(profiles)
        self.store = store
        self.inbox = inbox
        self.health = health
        self.shards = parse_shards(settings.shards)
        self.memory = Memory(settings, self.profiles, self.shards)
        self.counters = Counters()
        self._budget = Budget(settings.newest_rows)
        self._next_check = 0.0
        self._stale = False  # memory may differ from the database: nothing goes on before it is read anew
        self._readmitted: list[int] = []  # by the flush prepared last
        self._storer = ThreadPoolExecutor(1, thread_name_prefix="storer")
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self._telling: Future[None] = self._beside.submit(lambda: None)
        self._under_way: tuple[Prepared, Future[None]] | None = None

    def load(self) -> None:
        """Read memory anew. Raises DatabaseError, ShardTaken, SchemaMissing."""
        began = time.monotonic()
        self.memory.load(self.store, self.health, began)
        self.counters.latency = Counters(self.store.counters()).latency
        log("ingest.loaded", devices=len(self.memory.registry.names), seconds=round(time.monotonic() - began, 2))

    # The round.

    def run(self, stopping: threading.Event) -> None:
        """Rounds until stopped; then the last one, with all detectors saved."""
        while not stopping.is_set():
            self.round(self._take(self.settings.flush_wait_ms / 1000), stopping)
        self.round(self._take(0.0), stopping)
        self._settle(stopping)
        self._storer.shutdown()
        self._telling.result()
        self._beside.shutdown()
        self.inbox.stop()
        self.save_everything()
        self.memory.stop()

    def _take(self, wait_s: float) -> list[Message]:
        enough = self.settings.flush_observations
        return self.inbox.take(enough, wait_s, most=enough * BACKLOG_FLUSHES)

    def round(self, messages: list[Message], stopping: threading.Event) -> None:
        """Prepare messages, and hand them over to be stored once the flush before is. Waits out a lost database;
        returns early only when stopping.
        """
        self.health.turn()
        now = time.monotonic()
        checking = now >= self._next_check
        if checking:
            self._next_check = now + CHECK_PERIOD_S
        if self.memory.behind is not None:
            self._settle(stopping)
        if not (messages or checking):
            if self._under_way is not None and self._under_way[1].done():
                self._settle(stopping)
            return
        try:
            prepared = self._prepare(messages, checking)
        except NOT_STORED:
            self._settle(stopping)
            self._carry(messages, checking, stopping)
            return
        if not self._settle(stopping):
            self._carry(messages, checking, stopping)
        elif prepared is not None:
            self._under_way = prepared, self._storer.submit(self._commit, prepared)

    def _settle(self, stopping: threading.Event) -> bool:
        """Wait for the flush under way. When it failed, it and what was prepared since are taken back, and it is
        carried again.
        """
        if self._under_way is None:
            return True
        prepared, stored = self._under_way
        self._under_way = None
        try:
            stored.result()
        except NOT_STORED as error:
            self._readmitted = list(prepared.flush.readmitted)
            self._carry(prepared.messages, prepared.checking, stopping, failed=error)
            return False
        self.memory.keep()
        self.health.say(Part.DATABASE, None)
        return True

    def _carry(
        self,
        messages: list[Message],
        checking: bool,
        stopping: threading.Event,
        *,
        failed: Exception | None = None,
        readmit: list[int] | None = None,
        refuse: str | None = None,
    ) -> None:
        """Prepare and store messages by themselves, until they are committed. failed: why they were not a moment ago;
        readmit: only these of quarantine; refuse: what the database said of all this.
        """
        failures = 0
        while True:
            if failed is None:
                try:
                    if failures:
                        self.store.reconnect()
                    if self._stale:
                        self.load()
                        self._stale = False
                    prepared = self._prepare(messages, checking, readmit, refuse)
                    if prepared is not None:
                        self._commit(prepared)
                        self.memory.keep()
                    self.health.say(Part.DATABASE, None)
                    return
                except NOT_STORED as error:
                    failed = error
            failures += 1
            self.counters.rollbacks += 1
            self._stale = self._stale or isinstance(failed, CursorMoved)
            self.memory.take_back()
            self.health.turn()
            if isinstance(failed, RefusedByDatabase):
                self._isolate(messages, checking, stopping, str(failed).strip(), refuse)
                return
            self.health.say(Part.DATABASE, reason_of(failed), failed)
            failed = None
            if stopping.wait(next_retry_s(failures, random.random())):
                return

    def _prepare(
        self, messages: list[Message], checking: bool, readmit: list[int] | None = None, refuse: str | None = None
    ) -> Prepared | None:
        """Admit and examine; memory goes on as if it were stored. None when there is nothing to store."""
        began, memory = time.monotonic(), self.memory
        now_ms = time.time_ns() // 1_000_000
        memory.follow(self.health)
        if checking:
            memory.refresh_registry(self.store)
        flush = memory.admission.admit(
            messages, lambda keys: memory.positions_of(keys, self.store), now_ms, refuse=refuse
        )
        stays = self._readmit(flush, readmit, refuse) if checking else []
        self._readmitted = list(flush.readmitted)
        noted = self._note_strangers(flush, began)
        agent_changes, silent = self._silent_agents(flush, began, now_ms) if checking else ([], memory.silent)
        if flush.empty and not (agent_changes or stays or checking or memory.has_late_findings):
            return None
        examined = memory.behind is None
        findings, late = memory.examine(flush)
        changed = memory.newest.take(flush.blocks)
        changes = alarms.changes(findings, memory.fleet, memory.registry, self.profiles) + agent_changes
        work = Work(
            changes=changes,
            newest=memory.newest.due(self._budget.rows(began)),
            stays=stays,
            counters=self.counters.tell(began, self.inbox.shed) if checking else None,
            words=memory.advance(flush, silent, noted, began, now_ms, tell=checking),
            examined=examined,
            late=late,
        )
        packed = self._beside.submit(_packed, flush, memory.agent_arrays(), memory.saves_due(began))
        return Prepared(messages, checking, flush, work, findings, changed, packed, began)

    # By the thread that stores.

    def _commit(self, prepared: Prepared) -> None:
        flush, work = prepared.flush, prepared.work
        work.journal, work.saves = prepared.packed.result()
        done = self.store.commit(flush, work)
        self._count(prepared, done)
        self.inbox.reply(
            [
                (tally.agent, wire.CursorMessage(epoch, tally.after.seq, tally.nonce, gap=tally.gap))
                for (_, epoch), tally in flush.tallies.items()
            ]
        )
        carriers = [self.memory.speaker_of(*alarm.pop("via")) for alarm in done.alarms]
        self._telling.result()  # of the flush before: they do not pile up
        self._telling = self._beside.submit(
            self._tell, prepared.changed, done.alarms, carriers, self.memory.registry.agents
        )

    def _count(self, prepared: Prepared, done: Committed) -> None:
        counters, flush = self.counters, prepared.flush
        self._budget.note(done.newest_rows, done.newest_s)
        counters.flushes += 1
        counters.note_rate(prepared.began, flush.committed)
        counters.flush_seconds += time.monotonic() - prepared.began
        counters.malformed += flush.malformed
        for tally in flush.tallies.values():
            counters.received += tally.received
            counters.committed += tally.committed
            counters.duplicate += tally.duplicate
            counters.out_of_order += tally.out_of_order
            counters.lost += tally.lost
        for held in flush.held:
            reason = held.refusal.reason.value
            counters.quarantined[reason] = counters.quarantined.get(reason, 0) + held.refusal.observations
        for finding in prepared.findings:
            counters.findings[finding.detector] = counters.findings.get(finding.detector, 0) + 1
        for change in prepared.work.changes:
            if change.begins:
                counters.alarms_opened[change.detector] = counters.alarms_opened.get(change.detector, 0) + 1
        now_ms = time.time_ns() / 1e6
        for taken_ms, observations in flush.taken.items():
            counters.latency.add(max(0.0, now_ms - taken_ms), observations)

    # By the thread beside: what takes time, and no connection.

    def _tell(
        self, changed: list[Rows], told: list[alarm_rows.Told], carriers: list[int | None], agents: list[Agent]
    ) -> None:
        """The live channel hears what is committed."""
        messages = live.messages(changed, told, carriers, self.profiles)
        self.inbox.publish_live([(agents[index], payload) for index, payload in messages])

    # Parts of the round.

    def _readmit(self, flush: Flush, only: list[int] | None, refuse: str | None) -> list[Stay]:
        """Bring what was asked for back from quarantine; what still cannot be stored, with why."""
        stays: list[Stay] = []
        memory = self.memory
        for quarantine_id, agent_id, content in self.store.requested():
            if memory.readmitting(quarantine_id):
                continue
            agent = memory.registry.agent_by_id(agent_id) if agent_id is not None else None
            if agent is None or content is None:
                words = "cannot be admitted: it holds no readable observation of a registered agent"
                stays.append((quarantine_id, None, words))
                continue
            if agent.shard not in self.shards or (only is not None and quarantine_id not in only):
                continue
            if refuse is not None:
                stays.append((quarantine_id, Reason.REFUSED_BY_DATABASE.value, refuse))
                continue
            refusal = memory.admission.readmit(agent, content, flush)
            if refusal is None:
                flush.readmitted.append(quarantine_id)
            else:
                stays.append((quarantine_id, refusal.reason.value, refusal.detail))
        return stays

    def _note_strangers(self, flush: Flush, now: float) -> list[str]:
        """Put a note into quarantine for topics that had none lately; which."""
        noted = self.memory.strange(flush.strangers, now)
        for topic in noted:
            reason, detail = flush.strangers[topic]
            flush.held.append(Held(Refusal(reason, detail, observations=0), topic, None, None, None, None))
        return noted

    def _silent_agents(self, flush: Flush, now: float, at_ms: int) -> tuple[list[alarms.Change], set[int]]:
        """Alarms of agents that fell silent or spoke again, judged only while we could have heard them; who is silent
        then.
        """
        memory, limit = self.memory, self.settings.agent_silent_s
        agents = memory.registry.agents
        heard = {tally.agent.index for tally in flush.tallies.values()}
        back = memory.silent & (
            heard | {index for index in memory.silent if now - memory.last_word.get(index, -1e18) < limit}
        )
        fallen: set[int] = set()
        since = self.inbox.connected_since
        if since is not None and now - since > limit:
            quiet = {index for index, at in memory.last_word.items() if now - at > limit and index not in heard}
            fallen = {index for index in quiet - memory.silent if agents[index].shard in self.shards}
        made = [alarms.agent_silent(agents[index], index in fallen, at_ms, limit) for index in sorted(fallen | back)]
        return made, (memory.silent | fallen) - back

    def save_everything(self) -> None:
        """At an orderly stop: all newest rows and all detectors, in one transaction."""
        if self._stale:
            return  # the journal has it all
        shard_of_agent, _ = self.memory.agent_arrays()
        behind = self.memory.behind is not None  # the journal has it all
        saves = {} if behind else self.memory.saves(sorted(set(shard_of_agent.tolist()) & set(self.shards)))
        words, counters = self.memory.words, self.counters.tell(time.monotonic(), self.inbox.shed)
        packed = {shard: saving.pack(taken) for shard, taken in saves.items()}
        work = Work([], self.memory.newest.due(1 << 40), [], counters, words, saves=packed)
        try:
            self.store.commit(Flush(tallies={}, blocks=[], held=[], clocks={}, taken={}, strangers={}), work)
            log("ingest.saved", shards=len(saves), agents=len(shard_of_agent))
        except NOT_STORED as error:
            log("ingest.not_saved", level="warning", error=str(error).strip())  # the journal has it all

    # Failure.

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
        elif len(self._readmitted) > 1:
            for quarantine_id in list(self._readmitted):
                self._carry([], True, stopping, readmit=[quarantine_id])
        elif self._readmitted and refuse is None:
            self._carry([], True, stopping, readmit=list(self._readmitted), refuse=words)
        else:
            log("check.refused_by_database", level="error", error=words)


def _packed(
    flush: Flush, agents: tuple[Array, Array], saves: Mapping[int, saving.Taken]
) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Journal entries and saves, by shard. agents: (agents,) shard and agent_id by the flush's indices."""
    entries = journal.entries(flush.blocks, flush.clocks, *agents)
    return entries, {shard: saving.pack(taken) for shard, taken in saves.items()}
