"""A kind's stored rows in time order, as the blocks that detectors take; one piece of the stream in memory."""

from collections.abc import Iterator, Sequence

import numpy as np

from contracts.profiles import Profile
from ingest_service.columns import Array, Block, join
from ingest_service.store import history, snapshot
from ingest_service.store.snapshot import Snapshot, Window


class Stream:
    """Rows of some devices of one kind. ids: sorted; slots and parts: of each, its place in the detectors and what
    stands for its agent.
    """

    def __init__(
        self, found: Snapshot, profile: Profile, windows: Sequence[Window], ids: Array, slots: Array, parts: Array
    ) -> None:
        self._ids, self._slots, self._parts = ids, slots, parts
        self._profile = profile
        self._pieces = self._read(found, windows)
        self._block: Block | None = next(self._pieces, None)

    @property
    def next_ms(self) -> int | None:
        """Time of the next row; None at the end."""
        return None if self._block is None else int(self._block.observed_ms[0])

    def take(self, end_ms: int) -> Block | None:
        """The rows before end_ms that were not taken yet."""
        taken: list[Block] = []
        while self._block is not None:
            n = int(np.searchsorted(self._block.observed_ms, end_ms))
            if n:
                taken.append(_cut(self._block, slice(0, n)))
            if n < len(self._block):
                self._block = _cut(self._block, slice(n, None))
                break
            self._block = next(self._pieces, None)
        return join(taken) if taken else None

    def _read(self, found: Snapshot, windows: Sequence[Window]) -> Iterator[Block]:
        profile, type_, ids = self._profile, snapshot.record_type(self._profile), self._ids.tolist()
        for window in windows:
            for count, piece in found.copy(history.in_time_order(profile, window, ids)):
                if not count:
                    continue
                rows = snapshot.records(piece, type_)
                device_id = rows["value0"].astype(np.int32)
                place = np.searchsorted(self._ids, device_id)
                yield Block(
                    profile.kind,
                    device_id,
                    self._slots[place],
                    history.observed_ms(rows),
                    self._parts[place],
                    history.columns(profile, rows),
                )


def _cut(block: Block, rows: slice) -> Block:
    """Rows of a block, as views."""
    columns = {name: column[rows] for name, column in block.columns.items()}
    return Block(
        block.kind, block.device_id[rows], block.slot[rows], block.observed_ms[rows], block.agent[rows], columns
    )
