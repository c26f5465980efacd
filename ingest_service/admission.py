"""From messages to a flush: which batches are taken, what of them is stored, what goes to quarantine, who is answered.

Pure: messages, positions, registry and time are arguments; nothing is written here. The account of each outbox epoch
(received = committed + duplicate + out_of_order + quarantined) is made here and stored with the rows it counts.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from contracts import topics, wire
from contracts.cursor import Position, Verdict, advance, judge
from contracts.profiles import Profile
from contracts.reasons import Reason
from ingest_service.columns import Block, join
from ingest_service.registry import Agent, Registry
from ingest_service.rows import EARLIEST_MS, LATEST_MS, Decoder, Refusal, Window

DAY_MS = 86_400_000

Key = tuple[int, int]  # agent_id, epoch


class Message(msgspec.Struct, frozen=True):
    """What the broker brought."""

    topic: str
    payload: bytes


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
    taken: list[tuple[int, int]]  # (taken_ms, observations) of committed batches, for latency
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


class Admission:
    """Judges messages against the positions known so far."""

    def __init__(
        self, profiles: Mapping[str, Profile], registry: Registry, *, ahead_limit_s: int, past_limit_days: int
    ) -> None:
        self.decoder = Decoder(profiles)
        self.registry = registry
        self.ahead_ms = ahead_limit_s * 1000
        self.past_ms = past_limit_days * DAY_MS

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
        flush = Flush(tallies={}, blocks=[], held=[], clocks={}, taken=[], strangers={})
        opened: list[tuple[Message, Agent, wire.Header, memoryview | wire.WireError]] = []
        for message in messages:
            flush.messages += 1
            known = self._agent_of(message, flush)
            if known is not None:
                header_and_body = _open(message, known, flush)
                if header_and_body is not None:
                    opened.append((message, known, *header_and_body))
        before = positions(list({(agent.agent_id, header.epoch) for _, agent, header, _ in opened}))
        parts: dict[str, list[Block]] = {}
        for message, agent, header, body in opened:
            key = (agent.agent_id, header.epoch)
            tally = flush.tallies.get(key)
            if tally is None:
                tally = flush.tallies[key] = Tally(agent, before[key], before[key])
            if refuse is not None and header.seq:
                body = wire.WireError(Reason.REFUSED_BY_DATABASE, refuse, header)
            self._take(message, header, body, tally, flush, parts, now_ms)
        flush.blocks = [join(blocks) for blocks in parts.values()]
        return flush

    def window(self, agent: Agent, now_ms: int) -> Window:
        """Times believed of an agent's observations."""
        return Window(EARLIEST_MS if agent.replay else now_ms - self.past_ms, now_ms + self.ahead_ms)

    def readmit(self, agent: Agent, content: dict[str, object], flush: Flush) -> Refusal | None:
        """Judge one quarantined observation again; adds it to the flush, or says why it still cannot be stored.

        An operator asked for it, so any time between 2000 and 2100 is believed; what no column can hold stays out.
        """
        blocks: list[Block] = []
        refusals: list[Refusal] = []
        values = content.get("values")
        self.decoder.admit_one(
            str(content.get("kind")),
            content.get("device"),
            content.get("observed_at"),
            dict(values) if isinstance(values, dict) else {},
            agent,
            self.registry,
            Window(EARLIEST_MS, LATEST_MS),
            blocks,
            refusals,
        )
        for block in blocks:
            same = [index for index, item in enumerate(flush.blocks) if item.kind == block.kind]
            if same:
                flush.blocks[same[0]] = join([flush.blocks[same[0]], block])
            else:
                flush.blocks.append(block)
        return refusals[0] if refusals else None

    def _agent_of(self, message: Message, flush: Flush) -> Agent | None:
        """The registered agent of a message; None, with a note in the flush, when there is none."""
        try:
            topic = topics.parse(message.topic)
        except topics.TopicError as error:
            flush.strangers[message.topic] = (Reason.MALFORMED_HEADER, str(error))
            return None
        agent = self.registry.agent(topic.municipality, topic.agent)
        if agent is None:
            known = topic.municipality in self.registry.municipalities
            reason = Reason.UNKNOWN_AGENT if known else Reason.UNKNOWN_MUNICIPALITY
            flush.strangers[message.topic] = (
                reason,
                f"{topic.municipality}/{topic.agent} is not registered; its outbox holds what it has",
            )
            return None
        if topic.shard != agent.shard:
            flush.strangers[message.topic] = (
                Reason.UNKNOWN_AGENT,
                f"cannot take topic {message.topic!r}: the agent's shard is {agent.shard}",
            )
            return None
        return agent

    def _take(
        self,
        message: Message,
        header: wire.Header,
        body: memoryview | wire.WireError,
        tally: Tally,
        flush: Flush,
        parts: dict[str, list[Block]],
        now_ms: int,
    ) -> None:
        """Judge one batch (or heartbeat) of an epoch and do what follows to tally, blocks and quarantine."""
        agent = tally.agent
        tally.nonce, tally.backlog = header.nonce, header.backlog
        # A clock that ran ahead must not stay the agent's newest word after it is set right: silence is judged by it.
        latest_ms = self.window(agent, now_ms).latest_ms
        clock_ms = max(EARLIEST_MS, min(latest_ms, header.clock_ms)) if header.clock_ms else 0
        if header.seq == 0:
            # With a backlog the newest observations are still to come: by this clock all their devices would be silent.
            if header.backlog == 0:
                self._tell_clock(flush, tally, agent, clock_ms)
            return
        tally.received += header.count
        verdict = judge(tally.after, header)
        if verdict is Verdict.DUPLICATE:
            tally.duplicate += header.count
            return
        if verdict is Verdict.OUT_OF_ORDER:
            tally.out_of_order += header.count
            return
        try:
            if isinstance(body, wire.WireError):
                raise body
            blocks, refusals = self.decoder.decode(body, header.count, agent, self.registry, self.window(agent, now_ms))
        except wire.WireError as error:
            raw = bytes(body) if not isinstance(body, wire.WireError) else message.payload
            blocks, refusals = [], [Refusal(error.reason, str(error), body=raw, observations=header.count)]
        tally.after, lost = advance(tally.after, header)
        tally.lost += lost
        committed = sum(len(block) for block in blocks)
        tally.committed += committed
        tally.quarantined += sum(refusal.observations for refusal in refusals)
        for block in blocks:
            parts.setdefault(block.kind, []).append(block)
        flush.held += [
            Held(refusal, message.topic, agent.municipality, agent.agent_id, header.epoch, header.seq)
            for refusal in refusals
        ]
        if committed:
            flush.taken.append((header.taken_ms, committed))
        self._tell_clock(flush, tally, agent, clock_ms)

    def _tell_clock(self, flush: Flush, tally: Tally, agent: Agent, clock_ms: int) -> None:
        if not clock_ms:  # the agent has more to tell of the time before it
            return
        tally.clock_ms = max(tally.clock_ms, clock_ms)
        flush.clocks[agent.index] = max(flush.clocks.get(agent.index, 0), clock_ms)


def _open(message: Message, agent: Agent, flush: Flush) -> tuple[wire.Header, memoryview | wire.WireError] | None:
    """Header and body, or header and what is wrong with the body; None, with a quarantine entry, without a header."""
    try:
        return wire.unpack(message.payload)
    except wire.WireError as error:
        if error.header is not None and error.header.seq:
            return error.header, error
        flush.malformed += 1
        refusal = Refusal(error.reason, str(error), body=message.payload, observations=0)
        flush.held.append(Held(refusal, message.topic, agent.municipality, agent.agent_id, None, None))
        return None
