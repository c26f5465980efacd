"""A world for the cursor protocol: real outboxes and uplinks, a network that misbehaves, a store that may roll back.

What is real: `Outbox` (on SQLite in memory; a crash keeps exactly what was committed), `Uplink`, `Sender`, wire,
`judge` and `advance`. What is modelled: the network (any message may be lost, doubled, delayed beyond its connection,
overtaken), the card that the outbox lives on (copied back, copied into a second box), rows and cursors together.
"""

import sqlite3
from dataclasses import dataclass, field

from contracts import wire
from contracts.cursor import Position, Verdict, advance, judge
from contracts.wire import CursorMessage
from edge import columns
from edge.outbox import Epoch, Outbox, Reading
from edge.uplink import Uplink, Window

PLENTY = 1 << 30
SCARCE = 9 * 1024  # of 512-byte pages: the schema and some twenty batches
HEARTBEAT_MS = 2000
SOURCE = "s"


class Network:
    """The link of one box; what it publishes lands in the world's queue, in any order and number from there."""

    def __init__(self, up: list[bytes]) -> None:
        self.nonce: int | None = None
        self.inbox: list[CursorMessage] = []
        self._up = up

    def cursors(self) -> list[CursorMessage]:
        heard, self.inbox = self.inbox, []
        return heard

    def has_room(self, size: int) -> bool:
        return True

    def publish(self, payload: bytes, nonce: int) -> None:
        if nonce == self.nonce:
            self._up.append(payload)


@dataclass
class Database:
    """Rows, cursors and counters; copied and restored together."""

    rows: list[int] = field(default_factory=list)
    quarantined: list[int] = field(default_factory=list)
    positions: dict[int, Position] = field(default_factory=dict)
    count: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("received", "committed", "duplicate", "out_of_order", "quarantined", "lost"), 0
        )
    )

    def copy(self) -> "Database":
        return Database(list(self.rows), list(self.quarantined), dict(self.positions), dict(self.count))


class Receiver:
    """Takes batches into the database, one transaction each, and answers with the cursor."""

    def __init__(self) -> None:
        self.database = Database()

    def receive(self, payload: bytes, *, readable: bool = True, commits: bool = True) -> CursorMessage | None:
        """The answer; None when the transaction did not commit."""
        header, body = wire.unpack(payload)
        gap = False
        after = self.database.copy()
        position = after.positions.get(header.epoch, Position())
        if header.seq:
            after.count["received"] += header.count
            verdict = judge(position, header)
            if verdict.taken:
                position, lost = advance(position, header)
                after.positions[header.epoch] = position
                after.count["lost"] += lost
                numbers = [int(n) for kind in wire.decode_body(body).values() for n in kind["observed_at"]]
                (after.rows if readable else after.quarantined).extend(numbers)
                after.count["committed" if readable else "quarantined"] += header.count
            else:
                after.count[verdict.value] += header.count
                gap = verdict is Verdict.OUT_OF_ORDER
        if not commits:
            self.roll_back(after)
            return None
        self.database = after
        return CursorMessage(header.epoch, position.seq, header.nonce, gap)

    def roll_back(self, after: Database) -> None:
        """The transaction failed: nothing of it happened."""


class WatchedOutbox(Outbox):
    """Tells the world which observations it drops before the platform is known to have them."""

    world: "World"

    def _drop_waiting(self, epoch: Epoch) -> int | None:
        self.world.dropped |= observations_in(self, epoch.epoch, epoch.floor)
        return super()._drop_waiting(epoch)


def observations_in(outbox: Outbox, epoch: int, seq: int) -> set[int]:
    batch = outbox.read(epoch, seq)
    if batch is None:
        return set()
    return {n for kind in wire.decode_body(batch.body).values() for n in kind["observed_at"]}


class Box:
    """An agent on a box, its card and its devices. What the devices said is numbered; they can say it again."""

    def __init__(self, world: "World", card: bytes | None, said: dict[int, int] | None = None) -> None:
        self.world = world
        connection = sqlite3.connect(":memory:")
        if card is None:
            connection.execute("PRAGMA page_size=512")
        else:
            connection.deserialize(card)
        self._connection = connection
        WatchedOutbox.world = world
        self.outbox = WatchedOutbox(
            connection,
            max_bytes=world.max_bytes,
            batch_observations=4,
            seal_after_ms=1000,
            new_epoch=world.next_number,
        )
        self.link = Network(world.up)
        self.uplink = Uplink(
            self.outbox,
            self.link,
            random=lambda: 0.5,
            window=Window(batches=6),
            heartbeat_ms=HEARTBEAT_MS,
            backlog_epoch_batches=5,
            backlog_epoch_ms=20_000,
        )
        self.said = {} if said is None else said  # source number -> observation
        self.last_said = max([*self.said, self.outbox.sources.get(SOURCE, 0)])
        self.listen()

    @property
    def card(self) -> bytes:
        return self._connection.serialize()

    def say(self, observations: int) -> None:
        """The devices observe; nobody listened yet."""
        for _ in range(observations):
            self.last_said += 1
            self.said[self.last_said] = self.world.next_number()

    def listen(self) -> None:
        """Take and store whatever the devices said behind the number stored last."""
        after = self.outbox.sources.get(SOURCE, 0)
        new = {number: what for number, what in self.said.items() if number > after}
        if new:
            whats = list(new.values())
            groups = {"k": {"device": [f"d{what}" for what in whats], "observed_at": whats, "v": [0.5] * len(whats)}}
            reading = Reading(groups, max(new), self.world.now_ms)
            self.outbox.store(SOURCE, [reading], clock_ms=self.world.now_ms, now_ms=self.world.now_ms)
            self.world.taken.update(whats)

    def pump(self) -> None:
        self.outbox.seal_due(self.world.now_ms, clock_ms=self.world.now_ms)
        self.uplink.pump(self.world.now_ms, wall_ms=self.world.now_ms, clock_ms=self.world.now_ms)

    def held(self) -> dict[tuple[int, int], set[int]]:
        """What is in the outbox now, by epoch and batch."""
        found: dict[tuple[int, int], set[int]] = {}
        for epoch in self.outbox.epochs.values():
            for seq in range(epoch.floor, epoch.next_seq):
                found[epoch.epoch, seq] = observations_in(self.outbox, epoch.epoch, seq)
        return found


class World:
    """Everything at once, and what may befall it."""

    def __init__(self, *, max_bytes: int) -> None:
        self.now_ms = 1_000_000
        self.max_bytes = max_bytes
        self.up: list[bytes] = []
        self.down: list[CursorMessage] = []
        self.receiver = Receiver()
        self.taken: set[int] = set()  # observations that were stored in some outbox
        self._number = 0
        self.boxes = [Box(self, None)]
        self.card_copy: bytes | None = None
        self.database_copy: Database | None = None
        self.cards_copied_back = False
        self.databases_restored = False
        self.dropped: set[int] = set()  # observations that an outbox gave up for want of room
        self.collisions: dict[tuple[int, int], set[int]] = {}  # batches that two boxes may number alike; what both have

    def next_number(self) -> int:
        self._number += 1
        return self._number

    # -- what may befall it; every method is one step of a story

    def say(self, who: int, observations: int) -> None:
        self._box(who).say(observations)

    def listen(self, who: int) -> None:
        self._box(who).listen()

    def pump(self, who: int) -> None:
        self._box(who).pump()

    def wait(self, for_ms: int) -> None:
        self.now_ms += for_ms
        for box in self.boxes:
            box.pump()

    def connect(self, who: int) -> None:
        self._box(who).link.nonce = self.next_number()

    def disconnect(self, who: int) -> None:
        self._box(who).link.nonce = None

    def carry(self, which: int, fate: str) -> None:
        """A message on its way to the platform meets its fate."""
        if not self.up:
            return
        index = which % len(self.up)
        payload = self.up[index]
        if fate != "doubled":
            del self.up[index]
        if fate != "lost":
            answer = self.receiver.receive(payload, readable=fate != "garbled", commits=fate != "rolled back")
            if answer is not None:
                self.down.append(answer)

    def answer(self, which: int, fate: str) -> None:
        """A cursor on its way back meets its fate; the broker hands it to every box that has the agent's name."""
        if not self.down:
            return
        index = which % len(self.down)
        cursor = self.down[index]
        if fate != "doubled":
            del self.down[index]
        if fate != "lost":
            for box in self.boxes:
                if box.link.nonce is not None:
                    box.link.inbox.append(cursor)

    def flow(self, times: int) -> None:
        """For a while everything works."""
        for _ in range(times):
            self.now_ms += 100
            for box in self.boxes:
                if box.link.nonce is None:
                    box.link.nonce = self.next_number()
                box.pump()
            while self.up:
                self.carry(0, "arrives")
            while self.down:
                self.answer(0, "arrives")

    def work(self, who: int, observations: int) -> None:
        """A good day: devices speak, the platform hears."""
        self.say(who, observations)
        self.listen(who)
        self.now_ms += 1000
        self.flow(2)

    def rough(self, fates: list[str]) -> None:
        """Some of what is sent now meets a fate, and the answers come back; the rest stays on its way."""
        for box in self.boxes:
            if box.link.nonce is None:
                box.link.nonce = self.next_number()
            box.pump()
        for fate in fates:
            self.carry(0, fate)
        while self.down:
            self.answer(0, "arrives")
        for box in self.boxes:
            box.pump()

    def broker_dies(self) -> None:
        """Whatever was on its way is gone, and every connection with it."""
        self.up.clear()
        self.down.clear()
        for box in self.boxes:
            box.link.nonce = None

    def flood(self, who: int, observations: int) -> None:
        self.say(who, observations)
        self.listen(who)

    def crash(self, who: int) -> None:
        """Power cut: what was committed to the card is what remains; the devices can say the rest again."""
        box = self._box(who)
        self.boxes[self.boxes.index(box)] = Box(self, box.card, box.said)

    def copy_card(self) -> None:
        self.card_copy = self.boxes[0].card

    def copy_card_back(self) -> None:
        """An older copy of the card goes into the box; its devices have gone on since."""
        if self.card_copy is not None:
            self.cards_copied_back = True
            self.boxes[0] = Box(self, self.card_copy)

    def clone(self) -> None:
        """A copy of the card goes into a second box with devices of its own, beside the first."""
        if self.card_copy is not None and len(self.boxes) < 2:
            self.cards_copied_back = True
            self._note_collision(self.card_copy)
            self.boxes.append(Box(self, self.card_copy))

    def copy_database(self) -> None:
        self.database_copy = self.receiver.database.copy()

    def restore_database(self) -> None:
        if self.database_copy is not None:
            self.databases_restored = True
            self.receiver.database = self.database_copy.copy()

    def settle(self) -> bool:
        """Everything works from now on; whether all boxes get rid of all they hold."""
        quiet = 0
        for box in self.boxes:
            box.listen()
        for _ in range(600):
            self.now_ms += 400  # also seals what waits
            before = (len(self.receiver.database.rows), self.receiver.database.count["received"])
            self.flow(1)
            changed = before != (len(self.receiver.database.rows), self.receiver.database.count["received"])
            done = all(box.uplink.finished and box.outbox.seal_due_ms() is None for box in self.boxes)
            quiet = quiet + 1 if done and not changed else 0
            # long enough for each idle epoch to have its heartbeat
            if quiet > (HEARTBEAT_MS // 500 + 1) * (2 + max(len(box.outbox.epochs) for box in self.boxes)):
                return True
        return False

    # -- what must hold

    def check_always(self) -> None:
        database = self.receiver.database
        there = database.rows + database.quarantined
        assert len(there) == len(set(there)), "an observation is there twice"
        count = database.count
        told = count["committed"] + count["duplicate"] + count["out_of_order"] + count["quarantined"]
        assert count["received"] == told, "the counters do not add up"
        assert count["committed"] == len(database.rows), "the counter of committed observations is wrong"
        assert count["quarantined"] == len(database.quarantined), "the counter of quarantined observations is wrong"

    def check_settled(self) -> None:
        self.check_always()
        database = self.receiver.database
        there = set(database.rows) | set(database.quarantined)
        missing = self.taken - there
        lost = database.count["lost"]
        plenty = self.max_bytes == PLENTY
        assert not (plenty and self.dropped), "dropped without need"
        if not self.cards_copied_back and not self.databases_restored:
            assert len(missing) == lost, "lost is not what is missing"
            assert missing <= self.dropped, "something is missing that no outbox had to drop"
            assert sum(box.outbox.counters["dropped"] for box in self.boxes) == len(self.dropped), (
                "dropped, not counted"
            )
        if not self.cards_copied_back and plenty:
            assert not missing, "something is missing though there was room for it all"
        if plenty:
            for box in self.boxes:
                for key, observations in box.held().items():
                    must = observations & self.collisions.get(key, observations)
                    assert must <= there, "an outbox believes in vain that the platform has it"

    def _box(self, who: int) -> Box:
        return self.boxes[who % len(self.boxes)]

    def _note_collision(self, card: bytes) -> None:
        """What waited on the card will be in the next batch of its epoch in either box, with more in one of them."""
        connection = sqlite3.connect(":memory:")
        connection.deserialize(card)
        epoch, seq = connection.execute("SELECT epoch, next_seq FROM epoch ORDER BY ordinal DESC").fetchone()
        bodies = connection.execute("SELECT columns FROM pending").fetchall()
        waiting = {n for (body,) in bodies for kind in columns.decode(body).values() for n in kind["observed_at"]}
        self.collisions[epoch, seq] = waiting
