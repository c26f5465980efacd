"""The newest observation of each device, kept in memory and written to its table within a budget.

Promise: an older observation never replaces a newer one; a flush that failed is taken back whole, however many flushes
were taken after it. Devices whose state (an enumeration, a switch) changed are written first, then those that wait
longest.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numba
import numpy as np

from contracts.profiles import Profile
from ingest_service.columns import Array, Block, empty_columns

NEVER = np.iinfo(np.int64).min
SHARE = 0.2  # of a worker's time that may go into newest rows
LEAST_ROWS = 500  # written in a flush however slow the database is
FIRST_RATE = 50_000.0  # rows/s assumed before the first measurement
LONGEST_S = 1.0  # a pause before a flush earns no more than this


class Budget:
    """How many newest rows a flush may write: a share of the time since the last one, at the measured rate."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rate = FIRST_RATE
        self._last_s = 0.0

    def rows(self, now_s: float) -> int:
        """Rows for a flush that begins now."""
        earned_s = min(LONGEST_S, now_s - self._last_s)
        self._last_s = now_s
        return max(LEAST_ROWS, min(self._most, int(SHARE * earned_s * self._rate)))

    def note(self, rows: int, seconds: float) -> None:
        """What writing so many rows took."""
        if rows >= LEAST_ROWS and seconds > 0:
            self._rate += 0.2 * (rows / seconds - self._rate)


class Rows(msgspec.Struct):
    """Rows of one kind: (n,) slots, device_id, observed_ms and columns; agent indices where they come from a flush."""

    kind: str
    slot: Array
    device_id: Array
    observed_ms: Array
    columns: dict[str, Array]
    agent: Array | None = None

    def __len__(self) -> int:
        return len(self.slot)


class _Kind:
    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.states = [item.name for item in profile.properties.values() if item.type in ("enum", "boolean")]
        self.observed_ms = np.zeros(0, np.int64)
        self.columns = empty_columns(profile, 0)
        self.device_id = np.zeros(0, np.int32)
        self.waiting = np.zeros(0, np.int64)  # tick of the queue's entry that will write it; 0: written
        self.place = np.zeros(0, np.int32)  # scratch of `_newer`
        self.changed: deque[tuple[int, Array]] = deque()  # (tick, slots) to be written before all others
        self.others: deque[tuple[int, Array]] = deque()

    def grow(self, n: int) -> None:
        size = len(self.observed_ms)
        if n <= size:
            return
        more = max(n, 2 * size, 64) - size
        self.observed_ms = np.concatenate([self.observed_ms, np.full(more, NEVER, np.int64)])
        self.device_id = np.concatenate([self.device_id, np.zeros(more, np.int32)])
        self.waiting = np.concatenate([self.waiting, np.zeros(more, np.int64)])
        self.place = np.concatenate([self.place, np.full(more, -1, np.int32)])
        fresh = empty_columns(self.profile, more)
        self.columns = {name: np.concatenate([column, fresh[name]]) for name, column in self.columns.items()}

    def rows(self, slot: Array, agent: Array | None = None) -> Rows:
        columns: dict[str, Any] = {item: column[slot] for item, column in self.columns.items()}
        return Rows(self.profile.kind, slot, self.device_id[slot], self.observed_ms[slot], columns, agent)


class _Undo(msgspec.Struct):
    """What one flush did: values before, in the order they were replaced, and slots taken from queues."""

    values: list[tuple[_Kind, str, Array, Array]] = []  # kind, array's name ("/x": column x), index, values before
    taken: list[tuple[deque[tuple[int, Array]], int, Array]] = []


class Newest:
    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._kinds = {kind: _Kind(profile) for kind, profile in profiles.items()}
        self._undo: deque[_Undo] = deque()  # of flushes not committed yet, oldest first
        self._tick = 0

    def take(self, blocks: Sequence[Block]) -> list[Rows]:
        """Take a flush's blocks; the rows that became the newest of their device, for the live channel."""
        undo = _Undo([], [])
        self._undo.append(undo)
        changed = []
        for block in blocks:
            kind = self._kinds[block.kind]
            kind.grow(int(block.slot.max(initial=-1)) + 1)
            n = len(block)
            rows, before = np.empty(n, np.int64), np.empty(n, np.int64)
            found = _newer(kind.observed_ms, kind.place, block.slot, block.observed_ms, rows, before)
            rows = rows[:found]
            slot = block.slot[rows]
            undo.values.append((kind, "observed_ms", slot, before[:found]))
            undo.values += [(kind, name, slot, getattr(kind, name)[slot]) for name in ("device_id", "waiting")]
            kind.device_id[slot] = block.device_id[rows]
            news = np.zeros(found, bool)
            for name, column in block.columns.items():
                values, old = column[rows], kind.columns[name][slot]
                if name in kind.states:
                    news |= values != old
                undo.values.append((kind, f"/{name}", slot, old))
                kind.columns[name][slot] = values
            self._queue(kind.changed, kind, slot[news])
            self._queue(kind.others, kind, slot[~news & (kind.waiting[slot] == 0)])
            changed.append(kind.rows(slot, block.agent[rows]))
        return changed

    def _queue(self, queue: deque[tuple[int, Array]], kind: _Kind, slots: Array) -> None:
        if len(slots):
            self._tick += 1
            kind.waiting[slots] = self._tick
            queue.append((self._tick, slots))

    def due(self, most: int) -> list[Rows]:
        """Rows to write now, at most `most` in all; marks them written."""
        undo = self._undo[-1] if self._undo else _Undo([], [])
        chosen: dict[str, list[Array]] = {}
        for queues in ("changed", "others"):
            for name, kind in self._kinds.items():
                queue = getattr(kind, queues)
                while queue and most > 0:
                    tick, slots = queue.popleft()
                    slots = slots[kind.waiting[slots] == tick]  # others were queued again, written or taken back
                    if len(slots) > most:
                        queue.appendleft((tick, slots[most:]))
                        slots = slots[:most]
                    if len(slots) == 0:
                        continue
                    most -= len(slots)
                    undo.taken.append((queue, tick, slots))
                    undo.values.append((kind, "waiting", slots, np.full(len(slots), tick, np.int64)))
                    kind.waiting[slots] = 0
                    chosen.setdefault(name, []).append(slots)
        return [self._kinds[name].rows(np.sort(np.concatenate(parts))) for name, parts in chosen.items()]

    def undo(self) -> None:
        """Take back every flush that is not committed."""
        while self._undo:
            undo = self._undo.pop()
            for kind, name, index, before in reversed(undo.values):
                array = kind.columns[name[1:]] if name.startswith("/") else getattr(kind, name)
                array[index] = before
            for queue, tick, slots in reversed(undo.taken):
                queue.appendleft((tick, slots))

    def keep(self) -> None:
        """The oldest flush is committed: nothing takes it back any more."""
        self._undo.popleft()

    def load(self, kind: str, slot: Sequence[int], observed_ms: Sequence[int]) -> None:
        """What the table holds at start: how new each device's row is."""
        state = self._kinds[kind]
        index = np.array(slot, np.int64)
        state.grow(int(index.max(initial=-1)) + 1)
        state.observed_ms[index] = np.array(observed_ms, np.int64)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _newer(observed_ms: Array, place: Array, slot: Array, at_ms: Array, rows: Array, before: Array) -> int:
    """Take times in arrival order; how many slots changed. Of one time, the last to arrive counts.

    observed_ms : (slots,) int64 newest time, brought up to date. place : (slots,) int32 scratch, -1 before and after.
    rows, before : (n,) int64 get the row that is now the newest of each slot that changed, and the slot's time before.
    """
    found = 0
    for row in range(len(slot)):
        i = slot[row]
        if at_ms[row] >= observed_ms[i]:
            if place[i] < 0:
                place[i] = found
                before[found] = observed_ms[i]
                found += 1
            rows[place[i]] = row
            observed_ms[i] = at_ms[row]
    for k in range(found):
        place[slot[rows[k]]] = -1
    return found
