"""Filling batches: what waits on the disk plus what just came in gives sealed batches and a rest that waits on.

Pure. What already waits on the disk goes whole into the next batch, always: a copy of the disk, opened elsewhere or
later, seals it under the same number, and the platform knows it for a duplicate.
"""

import msgspec

from contracts import wire
from edge import columns
from edge.columns import Groups

MAX_WAITING_BYTES = wire.MAX_BODY_BYTES // 2  # JSON of what waits: it must fit into one body with room to spare


class Batch(msgspec.Struct, frozen=True):
    """A sealed batch as it is kept; `count` 0 declares observations that were dropped."""

    seq: int
    first: int
    count: int
    clock_ms: int
    taken_ms: int
    body: bytes


class Waiting(msgspec.Struct, frozen=True):
    """Observations that are not sealed; taken_ms is of the oldest."""

    groups: Groups = {}
    count: int = 0
    taken_ms: int = 0

    @property
    def bytes(self) -> int:
        return len(columns.encode(self.groups)) if self.count else 0


class Sealing:
    """One round: `add` what came, `seal` what cannot wait, then take `sealed` and `fresh` to the disk."""

    def __init__(
        self, stored: Waiting, *, next_seq: int, next_number: int, batch_observations: int, clock_ms: int
    ) -> None:
        self.stored = stored  # on the disk already; never changed here
        self.fresh = Waiting()
        self.sealed: list[Batch] = []
        self.next_seq = next_seq
        self.next_number = next_number
        self.clock_ms = clock_ms
        self._size = batch_observations

    def add(self, groups: Groups, taken_ms: int) -> None:
        for piece, count in columns.cuts(groups, self._size - self.stored.count - self.fresh.count, self._size):
            if self.fresh.count:
                columns.join(self.fresh.groups, piece)
                self.fresh = Waiting(self.fresh.groups, self.fresh.count + count, self.fresh.taken_ms)
            else:
                self.fresh = Waiting(piece, count, taken_ms)
            if self.stored.count + self.fresh.count >= self._size:
                self.seal()

    def seal(self) -> None:
        """Make batches of all that waits."""
        stored, fresh = self.stored, self.fresh
        whole = self.rest
        if not whole.count:
            return
        parts = columns.bodies(whole.groups, whole.count)
        if len(parts) > 1 and stored.count and fresh.count:
            parts = columns.bodies(stored.groups, stored.count) + columns.bodies(fresh.groups, fresh.count)
        for body, count in parts:
            self.sealed.append(Batch(self.next_seq, self.next_number, count, self.clock_ms, whole.taken_ms, body))
            self.next_seq += 1
            self.next_number += count
        self.stored = self.fresh = Waiting()

    def seal_if_large(self) -> None:
        if self.stored.bytes + self.fresh.bytes > MAX_WAITING_BYTES:
            self.seal()

    @property
    def rest(self) -> Waiting:
        """All that waits: stored, then fresh."""
        stored, fresh = self.stored, self.fresh
        if not stored.count or not fresh.count:
            return fresh if fresh.count else stored
        groups = columns.copy(stored.groups)
        columns.join(groups, fresh.groups)
        return Waiting(groups, stored.count + fresh.count, stored.taken_ms)
