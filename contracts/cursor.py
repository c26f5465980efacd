"""The protocol that loses nothing and doubles nothing, as two pure state machines.

Receiver: `judge` says what to do with a batch, given how far its (agent, epoch) has been committed; `advance` gives the
position after taking it. Whoever calls them stores rows and position in one transaction.
Sender: one for each epoch that an outbox holds. It chooses what to send next, within the window its owner grants. After
silence it sends the last batch once more: the answer is progress, where what is under way only waits before a slow
database, or a gap, upon which it rewinds to the cursor. How long a silence may last it learns from how long answers
take, and how much may be under way from what got lost. Time and randomness are arguments.
A heartbeat names an epoch and is answered with that epoch's cursor, so an idle outbox hears of a restored database.
"""

from collections.abc import Callable
from enum import Enum

import msgspec

from contracts.wire import Header

FIRST_TIMEOUT_MS = 2_000  # a flush takes 100 ms and a stalled database some seconds; below this, resends would be noise
LONGEST_TIMEOUT_MS = 60_000
FIRST_BATCHES, FEWEST_BATCHES, MOST_BATCHES = 10, 2, 1000  # under way: after connecting (RFC 6928), after gaps, ever


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far one (agent, epoch) is committed: the last batch, and the number the next observation should have."""

    seq: int = 0
    next: int = 1


class Verdict(Enum):
    NEXT = "next"
    AT_FLOOR = "at_floor"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"

    @property
    def taken(self) -> bool:
        return self is Verdict.NEXT or self is Verdict.AT_FLOOR


def judge(position: Position, header: Header) -> Verdict:
    """What to do with a batch whose epoch is committed up to `position`."""
    if header.seq <= position.seq:
        return Verdict.DUPLICATE
    if header.seq == position.seq + 1:
        return Verdict.NEXT
    if header.seq == header.floor:
        return Verdict.AT_FLOOR  # what lay between is gone for good
    return Verdict.OUT_OF_ORDER


def advance(position: Position, header: Header) -> tuple[Position, int]:
    """Position after taking the batch, and how many observations before it are lost for good."""
    return Position(header.seq, header.first + header.count), max(0, header.first - position.next)


class Sender:
    """Sending side of one epoch. `floor..top` is what the outbox holds; `acked` what is committed; `sent` what went
    out.
    """

    def __init__(self, epoch: int, *, floor: int = 1, top: int = 0, acked: int = 0) -> None:
        self.epoch = epoch
        self.floor = floor
        self.top = top
        self.acked = acked
        self.sent = acked
        self.nonce: int | None = None
        self.timeout_ms = FIRST_TIMEOUT_MS
        self._answer = _AnswerTime()
        self._room = _Room()
        self._again = False  # the last batch is due once more
        self._deadline_ms = 0
        self._no_rewind_before_ms = 0

    @property
    def open(self) -> bool:
        """Whether one more batch may be under way; whether the last one is due again is not looked at."""
        return self.in_flight < self._room.batches

    @property
    def in_flight(self) -> int:
        """Batches sent and not known to be committed."""
        return max(0, self.sent - max(self.acked, self.floor - 1))

    @property
    def finished(self) -> bool:
        """Everything that the outbox holds of this epoch is committed; holding nothing counts."""
        return max(self.acked, self.floor - 1) >= self.top

    def seal(self, seq: int) -> None:
        """A batch was sealed under the next number."""
        self.top = seq

    def drop_below(self, floor: int) -> None:
        """The outbox holds nothing below `floor` any more."""
        self.floor = max(self.floor, floor)
        self.sent = max(self.sent, self.floor - 1)

    def connect(self, nonce: int, now_ms: int) -> None:
        """A new connection: whatever was in flight is sent again."""
        self.nonce = nonce
        self.timeout_ms = FIRST_TIMEOUT_MS
        self._answer = _AnswerTime(self._answer.highest)
        self._room = _Room()
        self._no_rewind_before_ms = now_ms
        self._rewind(now_ms)

    def disconnect(self) -> None:
        self.nonce = None

    def next_to_send(self, now_ms: int, random: Callable[[], float]) -> int | None:
        """Number of the batch to send now, or None. After silence beyond the time-out it is `sent`, the last one, once
        more: that counts as under way already and wants no room in any window.
        """
        if self.nonce is None:
            return None
        if self.in_flight and now_ms >= self._deadline_ms:
            self.timeout_ms = min(LONGEST_TIMEOUT_MS, self.timeout_ms * 2)
            self._deadline_ms = now_ms + int(self.timeout_ms * (1 + 0.5 * random()))
            self._no_rewind_before_ms = min(self._no_rewind_before_ms, now_ms)
            self._again = True
        if self._again and self.in_flight:
            return self.sent
        seq = max(self.sent + 1, self.floor)
        return seq if seq <= self.top and self.open else None

    def mark_sent(self, seq: int, now_ms: int) -> None:
        if not self.in_flight:
            self._deadline_ms = now_ms + self.timeout_ms
        self.sent = seq
        self._again = False
        self._answer.mark_sent(seq, now_ms)

    def on_cursor(self, seq: int, nonce: int, now_ms: int, *, gap: bool = False) -> bool:
        """Take a cursor; False when it is of another connection and means nothing here.

        gap: the store ignored what we sent beyond it. Without, and where it was, it answers what came twice, and what
        is in flight may still be on its way.

        A cursor beyond `top` belongs to an outbox that was restored from an older copy: all we hold is committed.
        A cursor that goes back belongs to a restored database: it is served from the reserve.
        """
        if nonce != self.nonce:
            return False
        seq = min(seq, self.top)
        if seq > self.acked:
            self._room.on_progress(seq - self.acked, self.in_flight)
            self.acked = seq
            self.sent = max(self.sent, seq)
            self.timeout_ms = self._answer.timeout_ms(seq, now_ms) or self.timeout_ms
            self._deadline_ms = now_ms + self.timeout_ms
            self._no_rewind_before_ms = min(self._no_rewind_before_ms, self._deadline_ms)
            self._again = False
        else:
            rewind = seq < self.acked or (gap and self.in_flight > 0)
            self.acked = seq
            if rewind and now_ms >= self._no_rewind_before_ms:
                self._room.on_gap(self.in_flight)
                self._rewind(now_ms)
                self._no_rewind_before_ms = self._deadline_ms
        return True

    def _rewind(self, now_ms: int) -> None:
        self._answer.timed = None
        self._again = False
        self.sent = max(self.acked, self.floor - 1)
        self._deadline_ms = now_ms + self.timeout_ms


class _Room:
    """How many batches may be under way: one more with each answer, half as many after a gap, and from then on one more
    each time that all are answered. source: RFC 5681 (slow start, congestion avoidance).
    """

    def __init__(self) -> None:
        self._batches = float(FIRST_BATCHES)
        self._slowly = False

    @property
    def batches(self) -> int:
        return int(self._batches)

    def on_progress(self, answered: int, in_flight: int) -> None:
        if in_flight >= self.batches:  # otherwise more is allowed already than is needed
            step = answered / self._batches if self._slowly else answered
            self._batches = min(MOST_BATCHES, self._batches + step)

    def on_gap(self, in_flight: int) -> None:
        self._batches = max(FEWEST_BATCHES, min(self._batches, in_flight) / 2)
        self._slowly = True


class _AnswerTime:
    """How long a batch takes from sending to its cursor, by one batch at a time that was sent once only.

    source: RFC 6298 (smoothed time and its spread), with Karn's rule: what was sent twice says nothing, and a time-out
    that was doubled stays until a batch that was sent once is answered.
    """

    def __init__(self, highest: int = 0) -> None:
        self.highest = highest  # number of the last batch ever sent
        self.timed: tuple[int, int] | None = None  # batch, and when it was sent
        self._mean_ms = self._spread_ms = 0.0

    def mark_sent(self, seq: int, now_ms: int) -> None:
        if seq > self.highest:
            self.highest = seq
            if self.timed is None:
                self.timed = seq, now_ms
        elif self.timed is not None and self.timed[0] == seq:
            self.timed = None

    def timeout_ms(self, acked: int, now_ms: int) -> int | None:
        """The time-out from now on, when the cursor answers the timed batch."""
        if self.timed is None or acked < self.timed[0]:
            return None
        took_ms = now_ms - self.timed[1]
        self.timed = None
        if not self._mean_ms:
            self._mean_ms, self._spread_ms = took_ms, took_ms / 2
        else:
            self._spread_ms += (abs(took_ms - self._mean_ms) - self._spread_ms) / 4
            self._mean_ms += (took_ms - self._mean_ms) / 8
        return int(max(FIRST_TIMEOUT_MS, min(LONGEST_TIMEOUT_MS, self._mean_ms + 4 * self._spread_ms)))
