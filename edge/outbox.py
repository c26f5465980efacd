"""Store-and-forward outbox: observations survive power cuts until the platform has committed them.

Promise: when `store` returns, its observations and the number their source resumes from are on the disk, both or
neither. A batch gets its number once, is never reordered, and stays until the platform has committed it and, as a
reserve, until its room is needed. At `max_bytes` the oldest go: first the reserve, then what nobody has yet; that is
counted and declared by the epoch's `floor`. An epoch's last batch is emptied instead, and so declares the loss.
Every opening starts a new epoch; what was stored but not sealed becomes the next batch of the old one, as it does in
the outbox that this file may be a copy of. Sending belongs to `uplink`; this module never sees the network.
"""

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from contracts import wire
from edge import columns
from edge.columns import Groups
from edge.sealing import Batch, Sealing, Waiting

SCHEMA = (Path(__file__).parent / "outbox.sql").read_text(encoding="utf-8")
MAX_EPOCHS = 64  # kept in reserve though fully committed; each costs a heartbeat now and then
LAST_NUMBER = 1 << 31  # the header's observation number has 32 bits; a new epoch begins well before
EMPTY_BODY = wire.encode_body({})


class OutboxFull(RuntimeError):
    """The disk takes no more; nothing was stored, and nothing of what was stored before is lost."""


class Reading(msgspec.Struct, frozen=True):
    """What a driver handed over at once."""

    groups: Groups
    last: int  # source number of its last observation, 0 for a source that cannot resume
    taken_ms: int  # system clock at the hand-over
    clock_ms: int = 0  # source's clock by then: nothing older will follow; 0 when the source has no clock


class Epoch(msgspec.Struct):
    """One numbered stream. Held are the batches floor <= seq < next_seq; those up to `committed` are reserve."""

    ordinal: int
    epoch: int
    next_seq: int = 1
    next_number: int = 1
    committed: int = 0
    floor: int = 1
    waiting_from: int = 1  # number of the first observation above the cursor

    @property
    def waiting(self) -> int:
        """Observations sealed and not known to be committed."""
        return max(0, self.next_number - self.waiting_from)

    def place(self, seq: int) -> int:
        return self.ordinal << 32 | seq


class Outbox:
    """An outbox over an open database; `outbox_file.open_outbox` opens one on the disk. Used from one thread."""

    def __init__(
        self,
        database: sqlite3.Connection,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        batch_observations: int = 100,
        seal_after_ms: int = 1000,
        new_epoch: Callable[[], int] = lambda: secrets.randbits(63) or 1,
    ) -> None:
        self._db = database
        self._max_bytes = max_bytes
        self._batch_observations = batch_observations
        self._seal_after_ms = seal_after_ms
        self._new_epoch = new_epoch
        self._seal_at_ms: int | None = None  # monotonic; set while something waits
        self._cursors_moved = False
        self.on_close: Callable[[], None] = lambda: None
        database.isolation_level = None  # transactions are written out
        database.executescript(SCHEMA)
        self.counters: dict[str, int] = {"dropped": 0, "malformed": 0}
        self.counters.update(database.execute("SELECT name, value FROM counter"))
        self.sources: dict[str, int] = dict(database.execute("SELECT source, number FROM source"))
        self.epochs: dict[int, Epoch] = {}  # by epoch, in the order of opening; the last is the live one
        for row in database.execute(
            "SELECT ordinal, epoch, next_seq, next_number, committed FROM epoch ORDER BY ordinal"
        ):
            self.epochs[row[1]] = epoch = Epoch(*row)
            epoch.floor = self._lowest_held(epoch)
            epoch.waiting_from = self._number_after(epoch, epoch.committed)
        self._waiting, self._covered_ms = self._read_pending()  # the clock up to which all is in batches or waits
        self.open_epoch(clock_ms=self._covered_ms)

    def close(self) -> None:
        """Remember the cursors and close; what waits stays stored."""
        with suppress(OutboxFull, sqlite3.Error):
            self.save_cursors()
        self._db.close()
        self.on_close()
        self.on_close = lambda: None

    # -- what it holds

    @property
    def live(self) -> Epoch:
        return next(reversed(self.epochs.values()))

    @property
    def backlog(self) -> int:
        """Observations waiting for the platform, sealed or not."""
        return self._waiting.count + sum(epoch.waiting for epoch in self.epochs.values())

    @property
    def bytes(self) -> int:
        """Pages in use. The file never grows beyond its fullest moment; SQLite's log beside it adds a few MB."""
        pages, free, size = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    @property
    def about_to_drop(self) -> bool:
        """Nearly full, and nothing left in it that the platform has."""
        reserve = any(e.floor <= e.committed and e.floor < e.next_seq for e in self.epochs.values())
        return not reserve and self.bytes > 0.9 * self._max_bytes

    def read(self, epoch: int, seq: int) -> Batch | None:
        """A batch, from the disk; None when it is not held."""
        held = self.epochs.get(epoch)
        if held is None:
            return None
        row = self._db.execute(
            "SELECT first, count, clock_ms, taken_ms, body FROM batch WHERE place = ?", (held.place(seq),)
        ).fetchone()
        return Batch(seq, *row) if row else None

    def oldest_waiting_ms(self, epoch: Epoch) -> int | None:
        """Hand-over time of the oldest batch that is not known to be committed."""
        row = self._db.execute(
            "SELECT taken_ms FROM batch WHERE place = ?", (epoch.place(max(epoch.committed + 1, epoch.floor)),)
        ).fetchone()
        return int(row[0]) if row else None

    # -- what comes in

    def store(self, source: str, readings: list[Reading], *, clock_ms: int, now_ms: int) -> None:
        """Put readings on the disk together with the source's number; raises OutboxFull when the disk refuses."""
        try:
            sealing, malformed = self._fill(readings, columns.admissible, clock_ms)
        except (TypeError, ValueError, OverflowError, RecursionError):  # something does not encode: look at each row
            sealing, malformed = self._fill(readings, _one_by_one, clock_ms)
        last = max((reading.last for reading in readings), default=0)
        self._commit(sealing, now_ms=now_ms, source=source, last=last, malformed=malformed)
        self._covered_ms = sealing.clock_ms

    def _fill(
        self, readings: list[Reading], admit: Callable[[Groups], tuple[Groups, int]], clock_ms: int
    ) -> tuple[Sealing, int]:
        sealing, malformed = self._sealing(self._covered_ms or clock_ms), 0
        for reading in readings:
            groups, refused = admit(reading.groups)
            malformed += refused
            sealing.add(groups, reading.taken_ms)
            # Only now: a batch that this reading filled may lack some of it, and bears the clock before.
            sealing.clock_ms = reading.clock_ms or clock_ms
        sealing.seal_if_large()
        return sealing, malformed

    def seal_due(self, now_ms: int, *, clock_ms: int, force: bool = False) -> None:
        """Seal what waits, once it has waited long enough."""
        due_ms = self.seal_due_ms()
        if due_ms is not None and (force or now_ms >= due_ms):
            sealing = self._sealing(clock_ms)
            sealing.seal()
            self._commit(sealing, now_ms=now_ms)

    def seal_due_ms(self) -> int | None:
        """When `seal_due` has something to do, by the monotonic clock."""
        return self._seal_at_ms if self._waiting.count else None

    def open_epoch(self, *, clock_ms: int) -> None:
        """Seal what waits into the live epoch and begin another, in one transaction."""
        sealing = self._sealing(clock_ms)
        sealing.seal()
        fresh = Epoch(ordinal=max((e.ordinal for e in self.epochs.values()), default=0) + 1, epoch=self._new_epoch())
        self._commit(sealing, fresh=fresh)

    # -- what the platform has

    def commit(self, epoch: int, seq: int) -> None:
        """The platform's cursor stands at `seq`. On disk with the next write; forgetting it costs only duplicates."""
        held = self.epochs.get(epoch)
        if held is not None and held.committed != seq:
            held.committed = seq
            held.waiting_from = self._number_after(held, seq)
            self._cursors_moved = True

    def save_cursors(self) -> None:
        if self._cursors_moved:
            self._commit(self._sealing(0))

    # -- the disk

    def _sealing(self, clock_ms: int) -> Sealing:
        live = self.live if self.epochs else Epoch(0, 0)
        return Sealing(
            self._waiting,
            next_seq=live.next_seq,
            next_number=live.next_number,
            batch_observations=self._batch_observations,
            clock_ms=clock_ms,
        )

    def _commit(
        self,
        sealing: Sealing,
        *,
        now_ms: int = 0,
        source: str = "",
        last: int = 0,
        malformed: int = 0,
        fresh: Epoch | None = None,
    ) -> None:
        """One transaction for everything. Memory follows the disk, never the other way round."""
        epochs = {key: msgspec.structs.replace(epoch) for key, epoch in self.epochs.items()}
        counters = {**self.counters, "malformed": self.counters["malformed"] + malformed}
        sources = dict(self.sources)
        touched = list(epochs.values()) if self._cursors_moved else []
        if last > sources.get(source, 0):
            sources[source] = last
        with self._transaction():
            if sealing.sealed:
                live = next(reversed(epochs.values()))
                live.next_seq, live.next_number = sealing.next_seq, sealing.next_number
                touched.append(live)
                self._db.execute("DELETE FROM pending")
                self._db.executemany(
                    "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)",
                    [(live.place(b.seq), b.first, b.count, b.clock_ms, b.taken_ms, b.body) for b in sealing.sealed],
                )
            if sealing.fresh.count:
                self._db.execute(
                    "INSERT INTO pending (count, clock_ms, taken_ms, columns) VALUES (?, ?, ?, ?)",
                    (
                        sealing.fresh.count,
                        sealing.clock_ms,
                        sealing.fresh.taken_ms,
                        columns.encode(sealing.fresh.groups),
                    ),
                )
            if fresh is not None:
                epochs[fresh.epoch] = fresh
                self._db.execute("INSERT INTO epoch VALUES (?, ?, 1, 1, 0)", (fresh.ordinal, fresh.epoch))
            counters["dropped"] += self._make_room(epochs)
            self._db.executemany(
                "UPDATE epoch SET next_seq = ?, next_number = ?, committed = ? WHERE ordinal = ?",
                [(e.next_seq, e.next_number, e.committed, e.ordinal) for e in touched],
            )
            if sources != self.sources:
                self._db.execute("INSERT OR REPLACE INTO source VALUES (?, ?)", (source, last))
            if counters != self.counters:
                self._db.executemany("INSERT OR REPLACE INTO counter VALUES (?, ?)", counters.items())
        waited = self._waiting.count and not sealing.sealed
        self.epochs, self.counters, self.sources = epochs, counters, sources
        self._waiting, self._cursors_moved = sealing.rest, False
        if not waited:
            self._seal_at_ms = now_ms + self._seal_after_ms
        if self.live.next_number > LAST_NUMBER:
            self.open_epoch(clock_ms=sealing.clock_ms)

    def _make_room(self, epochs: dict[int, Epoch]) -> int:
        """Drop what must go, within the transaction; how many observations went that nobody is known to have."""
        *old, _live = epochs.values()
        dropped = 0
        finished = [e for e in old if e.floor < e.next_seq <= e.committed + 1]
        for epoch in finished[: max(0, len(finished) - MAX_EPOCHS)]:
            self._drop(epoch, epoch.next_seq - epoch.floor)
        while self.bytes > self._max_bytes:
            reserve = next((e for e in epochs.values() if e.floor <= e.committed and e.floor < e.next_seq), None)
            if reserve is not None:
                self._drop(reserve, 1)
                continue
            freed = None
            for epoch in epochs.values():
                freed = self._drop_waiting(epoch)
                if freed is not None:
                    break
            if freed is None:
                break  # nothing is left but the declarations
            dropped += freed
        for epoch in old:
            if epoch.floor >= epoch.next_seq:  # nothing held, nothing to declare
                self._db.execute("DELETE FROM epoch WHERE ordinal = ?", (epoch.ordinal,))
                del epochs[epoch.epoch]
        return dropped

    def _drop(self, epoch: Epoch, batches: int) -> None:
        below = epoch.floor + batches
        self._db.execute(
            "DELETE FROM batch WHERE place >= ? AND place < ?", (epoch.place(epoch.floor), epoch.place(below))
        )
        epoch.floor = below

    def _drop_waiting(self, epoch: Epoch) -> int | None:
        """Drop the oldest batch, or empty it when it is the epoch's last; None when there is nothing to gain."""
        if epoch.floor >= epoch.next_seq:
            return None
        place = epoch.place(epoch.floor)
        (count,) = self._db.execute("SELECT count FROM batch WHERE place = ?", (place,)).fetchone()
        if epoch.floor < epoch.next_seq - 1:
            self._drop(epoch, 1)
        elif count:
            self._db.execute(
                "UPDATE batch SET first = first + count, count = 0, body = ? WHERE place = ?", (EMPTY_BODY, place)
            )
        else:
            return None
        epoch.waiting_from = self._number_after(epoch, epoch.committed)
        return int(count)

    def _lowest_held(self, epoch: Epoch) -> int:
        (place,) = self._db.execute(
            "SELECT min(place) FROM batch WHERE place >= ? AND place < ?", (epoch.place(0), (epoch.ordinal + 1) << 32)
        ).fetchone()
        return epoch.next_seq if place is None else place & 0xFFFF_FFFF

    def _number_after(self, epoch: Epoch, seq: int) -> int:
        """Number of the first observation held above batch `seq`."""
        place = epoch.place(max(seq + 1, epoch.floor))
        row = self._db.execute("SELECT first FROM batch WHERE place = ?", (place,)).fetchone()
        return row[0] if row else epoch.next_number

    def _read_pending(self) -> tuple[Waiting, int]:
        groups: Groups = {}
        total, clock_ms, oldest_ms = 0, 0, 0
        for count, clock, taken_ms, body in self._db.execute(
            "SELECT count, clock_ms, taken_ms, columns FROM pending ORDER BY id"
        ):
            columns.join(groups, columns.decode(body))
            oldest_ms = taken_ms if not total else oldest_ms
            total, clock_ms = total + count, clock
        return Waiting(groups, total, oldest_ms), clock_ms

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; raises OutboxFull when the disk refuses."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise OutboxFull(str(error)) from error
            raise


def _one_by_one(groups: Groups) -> tuple[Groups, int]:
    admitted, malformed = columns.admissible(groups)
    kept, refused = columns.carriable(admitted)
    return kept, malformed + refused
