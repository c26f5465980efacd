"""The newest observation of each device, kept in memory and written to its table within a budget of rows a flush.

Promise: an older observation never replaces a newer one; a flush that failed is taken back whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from contracts.profiles import Profile
from ingest_service.columns import Array, Block, empty_columns

NEVER = np.iinfo(np.int64).min


class _Kind:
    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.observed_ms = np.zeros(0, np.int64)
        self.columns = empty_columns(profile, 0)
        self.device_id = np.zeros(0, np.int32)
        self.waiting = np.zeros(0, np.int64)  # flush number since which a row waits to be written; 0: written

    def grow(self, n: int) -> None:
        size = len(self.observed_ms)
        if n <= size:
            return
        more = max(n, 2 * size, 64) - size
        self.observed_ms = np.concatenate([self.observed_ms, np.full(more, NEVER, np.int64)])
        self.device_id = np.concatenate([self.device_id, np.zeros(more, np.int32)])
        self.waiting = np.concatenate([self.waiting, np.zeros(more, np.int64)])
        fresh = empty_columns(self.profile, more)
        self.columns = {name: np.concatenate([column, fresh[name]]) for name, column in self.columns.items()}

    def arrays(self) -> list[Array]:
        return [self.observed_ms, self.device_id, self.waiting, *self.columns.values()]


class Rows(msgspec.Struct):
    """Rows of one kind to be written: (n,) slots, device_id, observed_ms and columns."""

    kind: str
    slot: Array
    device_id: Array
    observed_ms: Array
    columns: dict[str, Array]


class Newest:
    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._kinds = {kind: _Kind(profile) for kind, profile in profiles.items()}
        self._undo: list[tuple[Array, Array, Array]] = []
        self._tick = 0

    def take(self, blocks: Sequence[Block]) -> list[Rows]:
        """Take a flush's blocks; the rows that became the newest of their device, for the live channel."""
        self._undo.clear()
        self._tick += 1
        changed = []
        for block in blocks:
            kind = self._kinds[block.kind]
            kind.grow(int(block.slot.max(initial=-1)) + 1)
            order = np.lexsort((np.arange(len(block)), block.observed_ms, block.slot))
            last = order[np.append(np.flatnonzero(np.diff(block.slot[order])), len(order) - 1)]
            rows = last[block.observed_ms[last] >= kind.observed_ms[block.slot[last]]]
            slot = block.slot[rows]
            self._undo += [(array, slot, array[slot]) for array in kind.arrays()]
            kind.observed_ms[slot] = block.observed_ms[rows]
            kind.device_id[slot] = block.device_id[rows]
            kind.waiting[slot] = np.where(kind.waiting[slot] == 0, self._tick, kind.waiting[slot])
            for name, column in block.columns.items():
                kind.columns[name][slot] = column[rows]
            changed.append(self._rows(block.kind, slot))
        return changed

    def due(self, most: int) -> list[Rows]:
        """Rows to write now, those that wait longest first, at most `most` in all; marks them written."""
        chosen = []
        for name, kind in self._kinds.items():
            slots = np.flatnonzero(kind.waiting)
            if len(slots) > most:
                slots = slots[np.argsort(kind.waiting[slots], kind="stable")[:most]]
            if len(slots) == 0:
                continue
            most -= len(slots)
            self._undo.append((kind.waiting, slots, kind.waiting[slots]))
            kind.waiting[slots] = 0
            chosen.append(self._rows(name, slots))
        return chosen

    def undo(self) -> None:
        """Take back what `take` and `due` did since the last `take`."""
        for array, index, before in reversed(self._undo):
            array[index] = before
        self._undo.clear()

    def keep(self) -> None:
        """What was taken is committed: nothing takes it back any more."""
        self._undo.clear()

    def load(self, kind: str, slot: Sequence[int], observed_ms: Sequence[int]) -> None:
        """What the table holds at start: how new each device's row is."""
        state = self._kinds[kind]
        index = np.array(slot, np.int64)
        state.grow(int(index.max(initial=-1)) + 1)
        state.observed_ms[index] = np.array(observed_ms, np.int64)

    def _rows(self, name: str, slot: Array) -> Rows:
        kind = self._kinds[name]
        columns: dict[str, Any] = {item: column[slot] for item, column in kind.columns.items()}
        return Rows(name, slot, kind.device_id[slot], kind.observed_ms[slot], columns)
