"""From messages to a flush: which batches are taken, what of them is stored, what goes to quarantine, who is answered.

Pure: messages, positions, registry and time are arguments; nothing is written here. The account of each outbox epoch
(received = committed + duplicate + out_of_order + quarantined) is made here and stored with the rows it counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from contracts import cursor, topics, wire
from contracts.cursor import Position, Verdict
from contracts.profiles import Profile
from contracts.reasons import Reason
from ingest_service.bodies import LATEST_MS, Bodies, Refusal
from ingest_service.columns import Block, join
from ingest_service.registry import Agent, Registry
from ingest_service.rows import EARLIEST_MS, Slow, Window, judge, scanned
from ingest_service.scan import Scanner

DAY_MS = 86_400_000

Key = tuple[int, int]  # agent_id, epoch


class Message(msgspec.Struct, frozen=True, gc=False):
    """What the broker brought."""

    topic: str
    payload: bytes
    observations: int = 1  # as the header announces, or 1


class Tally(msgspec.Struct):
    """What a flush does to one outbox epoch, in observations."""

    agent: Agent
    before: Position
    after: Position
    received: int = 0
    committed: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    quarantined: int = 0
    lost: int = 0
    clock_ms: int = 0
    backlog: int = 0
    nonce: int = 0
    gap: bool = False  # a batch came out of order, maybe one without observations


class Held(msgspec.Struct):
    """A refusal with where it came from."""

    refusal: Refusal
    topic: str
    municipality: str | None
    agent_id: int | None
    epoch: int | None
    seq: int | None


class Flush(msgspec.Struct):
    """Everything that one transaction stores."""

    tallies: dict[Key, Tally]
    blocks: list[Block]  # one a kind, rows in arrival order
    held: list[Held]
    clocks: dict[int, int]  # agent index -> ms, of taken batches and heartbeats
    taken: dict[int, int]  # taken_ms -> observations of committed batches, for latency
    strangers: dict[
        str, tuple[Reason, str]
    ]  # topic -> why: batches of agents not registered; they stay in their outboxes
    readmitted: list[int] = []  # quarantine_id of observations that came back from quarantine
    malformed: int = 0
    messages: int = 0

    @property
    def empty(self) -> bool:
        return not (self.tallies or self.held or self.blocks)

    @property
    def committed(self) -> int:
        return sum(len(block) for block in self.blocks)


class _Batch(msgspec.Struct):
    """A batch whose rows are being gathered: where they came from, and how many are good so far."""

    agent: Agent
    window: Window
    tally: Tally
    topic: str
    epoch: int
    seq: int
    taken_ms: int
    count: int
    bodies: Bodies
    raw: bytes | memoryview | None = None  # the body as it came; None when its message is wrong
    plain: bytes | None = None  # the body, decompressed; None when it cannot be
    good: int = 0

    def original(self, kind: str, place: int) -> tuple[str, dict[str, object]]:
        """A row as it was written. Only asked of bodies that the scan took, so it can be read."""
        assert self.plain is not None
        groups, _ = self.bodies.read(self.plain, self.count)
        group = dict(groups)[kind]
        names = self.bodies.profiles[kind].properties
        return group.device[place], {name: values[place] for name in names if (values := getattr(group, name))}


class Admission:
    """Judges messages against the positions known so far."""

    def __init__(
        self, profiles: Mapping[str, Profile], registry: Registry, *, ahead_limit_s: int, past_limit_days: int
    ) -> None:
        self.bodies = Bodies(profiles)
        self.profiles = profiles
        self.registry = registry
        self.ahead_ms = ahead_limit_s * 1000
        self.past_ms = past_limit_days * DAY_MS
        self._scanner = Scanner(profiles)
        self._agents: dict[str, Agent] = {}  # by topic
        self._agents_of = -1  # the registry's count of changes that they were looked up at

    def admit(
        self,
        messages: Iterable[Message],
        positions: Callable[[list[Key]], Mapping[Key, Position]],
        now_ms: int,
        *,
        refuse: str | None = None,
    ) -> Flush:
        """A flush of the messages, in order. `positions` gives how far the named epochs are committed.

        refuse: words of the database that refused these messages before; their batches go to quarantine with them.
        """
        flush = Flush(tallies={}, blocks=[], held=[], clocks={}, taken={}, strangers={})
        if self._agents_of != self.registry.changes:
            self._agents.clear()
            self._agents_of = self.registry.changes
        opened: list[tuple[Key, Message, Agent, wire.Header, memoryview | wire.WireError]] = []
        for message in messages:
            flush.messages += 1
            agent = self._agents.get(message.topic) or self._agent_of(message.topic, flush)
            if agent is None:
                continue
            header, body = _open(message.payload)
            if header is None:
                _hold_malformed(message, agent, body, flush)
            else:
                opened.append(((agent.agent_id, header.epoch), message, agent, header, body))
        before = positions(list({key for key, *_ in opened}))
        windows = {replay: self.window(replay, now_ms) for replay in (False, True)}
        batches: list[_Batch] = []
        for key, message, agent, header, body in opened:
            tally = flush.tallies.get(key)
            if tally is None:
                tally = flush.tallies[key] = Tally(agent, before[key], before[key])
            if refuse is not None and header.seq:
                body = wire.WireError(Reason.REFUSED_BY_DATABASE, refuse, header)
            self._take(message, header, body, tally, windows[agent.replay], flush, batches)
        self._settle(flush, batches)
        return flush

    def _settle(self, flush: Flush, batches: list[_Batch]) -> None:
        """Read and judge the bodies: blocks, quarantine, and what of each batch is committed."""
        registry = self.registry
        _decompress(flush, batches)
        readable = [number for number, batch in enumerate(batches) if batch.plain is not None]
        chosen = [batches[number] for number in readable]
        scan = self._scanner.scan(
            [batch.plain for batch in chosen if batch.plain is not None],
            [batch.count for batch in chosen],
            [registry.town_number(batch.agent.municipality) for batch in chosen],
            registry.index(),
        )
        slow: dict[str, Slow] = {}
        for batch, number, taken in zip(chosen, readable, scan.taken.tolist(), strict=True):
            if taken:
                batch.good = batch.count
            else:
                self._read_slowly(batch, number, slow, flush)
        numbers = np.array(readable, np.int64)
        for place, (kind, profile) in enumerate(self.profiles.items()):
            block, refused = judge(profile, scanned(profile, place, scan, numbers), slow.get(kind), batches, registry)
            if block is not None:
                flush.blocks.append(block)
            for source, refusal in refused:
                assert isinstance(source, _Batch)
                source.good -= 1
                _hold(flush, refusal, source)
        for batch in batches:
            if batch.good:
                batch.tally.committed += batch.good
                flush.taken[batch.taken_ms] = flush.taken.get(batch.taken_ms, 0) + batch.good

    def _read_slowly(self, batch: _Batch, number: int, slow: dict[str, Slow], flush: Flush) -> None:
        """What the scan left: everything that may be right or wrong with a body."""
        assert batch.plain is not None
        try:
            groups, refusals = self.bodies.read(batch.plain, batch.count)
        except wire.WireError as error:
            _hold_body(flush, batch, error)
            return
        known = self.registry.codes.get(batch.agent.municipality, {})
        for kind, group in groups:
            batch.good += slow.setdefault(kind, Slow(self.profiles[kind])).add(group, number, known)
        for refusal in refusals:
            _hold(flush, refusal, batch)

    def window(self, replay: bool, now_ms: int) -> Window:
        """Times believed of the observations of an agent that replays, or does not."""
        return Window(EARLIEST_MS if replay else now_ms - self.past_ms, now_ms + self.ahead_ms)

    def readmit(self, agent: Agent, content: dict[str, object], flush: Flush) -> Refusal | None:
        """Judge one quarantined observation again; adds it to the flush, or says why it still cannot be stored.

        An operator asked for it, so any time between 2000 and 2100 is believed; what no column can hold stays out.
        """
        values = content.get("values")
        kind = str(content.get("kind"))
        group = self.bodies.read_one(
            kind, content.get("device"), content.get("observed_at"), dict(values) if isinstance(values, dict) else {}
        )
        if isinstance(group, Refusal):
            return group
        nothing = Tally(agent, Position(), Position())
        source = _Batch(agent, Window(EARLIEST_MS, LATEST_MS), nothing, "", 0, 0, 0, 1, self.bodies)
        profile, slow = self.profiles[kind], Slow(self.profiles[kind])
        slow.add(group, 0, self.registry.codes.get(agent.municipality, {}))
        block, refused = judge(profile, Slow(profile).table(), slow, [source], self.registry)
        if block is None:
            return refused[0][1]
        same = [index for index, item in enumerate(flush.blocks) if item.kind == kind]
        if same:
            flush.blocks[same[0]] = join([flush.blocks[same[0]], block])
        else:
            flush.blocks.append(block)
        return None

    def _agent_of(self, text: str, flush: Flush) -> Agent | None:
        """The registered agent of a topic; None, with a note in the flush, when there is none."""
        try:
            topic = topics.parse(text)
        except topics.TopicError as error:
            flush.strangers[text] = (Reason.MALFORMED_HEADER, str(error))
            return None
        agent = self.registry.agent(topic.municipality, topic.agent)
        if agent is None:
            known = topic.municipality in self.registry.municipalities
            reason = Reason.UNKNOWN_AGENT if known else Reason.UNKNOWN_MUNICIPALITY
            flush.strangers[text] = (
                reason,
                f"{topic.municipality}/{topic.agent} is not registered; its outbox holds what it has",
            )
            return None
        if topic.shard != agent.shard:
            flush.strangers[text] = (
                Reason.UNKNOWN_AGENT,
                f"cannot take topic {text!r}: the agent's shard is {agent.shard}",
            )
            return None
        self._agents[text] = agent
        return agent

    def _take(
        self,
        message: Message,
        header: wire.Header,
        body: memoryview | wire.WireError,
        tally: Tally,
        window: Window,
        flush: Flush,
        batches: list[_Batch],
    ) -> None:
        """Judge one batch (or heartbeat) of an epoch and do what follows to tally, gathered rows and quarantine."""
        agent = tally.agent
        tally.nonce, tally.backlog = header.nonce, header.backlog
        clock_ms = header.clock_ms
        # A clock that ran ahead must not stay the agent's newest word after it is set right: silence is judged by it.
        if clock_ms and not EARLIEST_MS <= clock_ms <= window.latest_ms:
            clock_ms = EARLIEST_MS if clock_ms < EARLIEST_MS else window.latest_ms
        if header.seq == 0:
            # With a backlog the newest observations are still to come: by this clock all their devices would be silent.
            # So they are when the agent counts further than we: the database was restored, and will be sent them again.
            if header.backlog == 0 and header.first <= tally.after.next:
                _tell_clock(flush, tally, agent, clock_ms)
            return
        tally.received += header.count
        verdict = cursor.judge(tally.after, header)
        if verdict is Verdict.DUPLICATE:
            tally.duplicate += header.count
            return
        if verdict is Verdict.OUT_OF_ORDER:
            tally.out_of_order += header.count
            tally.gap = True
            return
        batch = _Batch(
            agent, window, tally, message.topic, header.epoch, header.seq, header.taken_ms, header.count, self.bodies
        )
        if isinstance(body, wire.WireError):
            _hold(flush, Refusal(body.reason, str(body), body=message.payload, observations=header.count), batch)
        else:
            batch.raw = body
        tally.after, lost = cursor.advance(tally.after, header)
        tally.lost += lost
        batches.append(batch)
        if clock_ms > tally.clock_ms:
            _tell_clock(flush, tally, agent, clock_ms)


def _tell_clock(flush: Flush, tally: Tally, agent: Agent, clock_ms: int) -> None:
    if not clock_ms:  # the agent has more to tell of the time before it
        return
    tally.clock_ms = max(tally.clock_ms, clock_ms)
    flush.clocks[agent.index] = max(flush.clocks.get(agent.index, 0), clock_ms)


def _hold(flush: Flush, refusal: Refusal, batch: _Batch) -> None:
    batch.tally.quarantined += refusal.observations
    agent = batch.agent
    flush.held.append(Held(refusal, batch.topic, agent.municipality, agent.agent_id, batch.epoch, batch.seq))


def _decompress(flush: Flush, batches: Sequence[_Batch]) -> None:
    """Make the bodies plain; what cannot be goes to quarantine."""
    raw = {at: batch.raw for at, batch in enumerate(batches) if batch.raw is not None}
    for at, plain in zip(raw, wire.decompress_all(list(raw.values())), strict=True):
        if isinstance(plain, wire.WireError):
            _hold_body(flush, batches[at], plain)
        else:
            batches[at].plain = plain


def _hold_body(flush: Flush, batch: _Batch, error: wire.WireError) -> None:
    assert batch.raw is not None
    _hold(flush, Refusal(error.reason, str(error), body=bytes(batch.raw), observations=batch.count), batch)


def _open(payload: bytes) -> tuple[wire.Header | None, memoryview | wire.WireError]:
    """Header and body; what is wrong with the body instead; or no header and what is wrong with it."""
    try:
        return wire.unpack(payload)
    except wire.WireError as error:
        return error.header if error.header is not None and error.header.seq else None, error


def _hold_malformed(message: Message, agent: Agent, error: object, flush: Flush) -> None:
    """A message without a readable header: into quarantine, and no cursor moves."""
    assert isinstance(error, wire.WireError)
    flush.malformed += 1
    refusal = Refusal(error.reason, str(error), body=message.payload, observations=0)
    flush.held.append(Held(refusal, message.topic, agent.municipality, agent.agent_id, None, None))
