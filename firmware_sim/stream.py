"""The numbered stream of one agent: observations in a canonical order, number N always the same one.

Time is cut into blocks, blocks into groups of `group_ms`. The order is (group, kind, observed_at, device), so that
one line of the source protocol, which lists kinds one after the other, holds consecutive numbers. A group is due when
the clock has passed its end. A `Blocks` makes any block on its own; the numbers before a block are the sum of the
counts before it. Sockets, the clock's speed and the account's file are elsewhere.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import msgspec
import numpy as np

from firmware_sim.randomness import I8

MAX_LINE = 500  # observations a line of the source protocol
Column = list[Any]


@dataclass(frozen=True)
class Block:
    """Observations of one stretch of time in canonical order."""

    kinds: list[str]
    kind: I8  # (n,) index into kinds
    due_ms: I8  # (n,) end of each one's group, not falling
    columns: list[dict[str, Column]]  # per kind: device, observed_at, properties; rows in canonical order
    rank: I8  # (n,) row within the kind's columns

    def __len__(self) -> int:
        return len(self.kind)


class Blocks(Protocol):
    """What makes the blocks of one agent."""

    first: int  # number of the first block

    def block(self, number: int) -> Block: ...
    def due(self, number: int) -> I8: ...  # due_ms of that block, without the values
    def end_ms(self, number: int) -> int: ...  # no observation of the block is later
    def last(self) -> int | None: ...  # the last block, or None: endless


def canonical(kinds: list[str], kind: I8, device: I8, at_ms: I8, group_ms: int) -> tuple[I8, I8]:
    """(order, due_ms in that order) of rows."""
    due = (at_ms // group_ms + 1) * group_ms
    order = np.lexsort((device, at_ms, kind, due))
    return order, due[order]


def ranks(kind: I8, kinds: int) -> I8:
    """Row of each observation within its kind."""
    rank = np.empty(len(kind), dtype=np.int64)
    for number in range(kinds):
        here = kind == number
        rank[here] = np.arange(int(here.sum()))
    return rank


class Position:
    """A reader's place in an agent's stream: the number handed out last."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.block = -1
        self.row = 0


class Stream:
    """One agent's observations by number; keeps a few blocks and the counts of those passed."""

    def __init__(self, blocks: Blocks, keep: int = 3) -> None:
        self._source = blocks
        self._counts = [0]  # numbers before block first + i
        self._blocks: dict[int, Block] = {}
        self._due: dict[int, I8] = {}
        self._keep = keep

    def numbered(self, clock_ms: int) -> int:
        """How many observations are numbered when the clock shows clock_ms."""
        number = self._source.first + len(self._counts) - 1
        while not self._beyond(number) and self._source.end_ms(number) <= clock_ms:
            self._counts.append(self._counts[-1] + len(self._due_of(number)))
            number += 1
        while number > self._source.first and self._source.end_ms(number - 1) > clock_ms:
            number -= 1
        if self._beyond(number):
            return self._counts[number - self._source.first]
        return self._counts[number - self._source.first] + int(
            np.searchsorted(self._due_of(number), clock_ms, side="right")
        )

    def seek(self, after: int, clock_ms: int) -> Position:
        """The place after number `after`; raises ValueError when that number isn't out yet."""
        if after < 0 or after > self.numbered(clock_ms):
            raise ValueError(f"cannot go on after {after}: only {self.numbered(clock_ms)} observations are numbered")
        return self.place(after)

    def place(self, after: int) -> Position:
        """The place after number `after`, due or not."""
        number = self._source.first + len(self._counts) - 1
        while not self._beyond(number) and self._counts[-1] <= after:
            self._counts.append(self._counts[-1] + len(self._due_of(number)))
            number += 1
        position = Position(after)
        position.block = self._source.first + int(np.searchsorted(np.array(self._counts), after, side="right")) - 1
        position.row = after - self._counts[position.block - self._source.first]
        return position

    def read(self, position: Position, clock_ms: int) -> tuple[dict[str, dict[str, Column]], int, int] | None:
        """The next (observations, count, clock they bring the reader to), moving the position; None when nothing is
        due.
        """
        while True:
            if self._beyond(position.block):
                return None
            due = self._due_of(position.block)
            ready = int(np.searchsorted(due, clock_ms, side="right"))
            if position.row < ready:
                break
            if position.row < len(due) or self._source.end_ms(position.block) > clock_ms:
                return None
            position.block, position.row = position.block + 1, 0
        block = self._block(position.block)
        observations, count = _take(block, position.row, min(ready, position.row + MAX_LINE))
        last = position.row + count - 1
        complete = last + 1 == len(block) or block.due_ms[last + 1] > block.due_ms[last]
        clock = (
            int(block.due_ms[last])
            if complete
            else max(max(columns["observed_at"]) for columns in observations.values())
        )
        position.row += count
        position.after += count
        return observations, count, clock

    def _beyond(self, number: int) -> bool:
        last = self._source.last()
        return last is not None and number > last

    def _due_of(self, number: int) -> I8:
        if number in self._blocks:
            return self._blocks[number].due_ms
        if number not in self._due:
            self._due[number] = self._source.due(number)
            while len(self._due) > self._keep:
                self._due.pop(next(iter(self._due)))
        return self._due[number]

    def _block(self, number: int) -> Block:
        if number not in self._blocks:
            self._blocks[number] = self._source.block(number)
            while len(self._blocks) > self._keep:
                self._blocks.pop(next(iter(self._blocks)))
        return self._blocks[number]


def _take(block: Block, row: int, end: int) -> tuple[dict[str, dict[str, Column]], int]:
    """As many rows from `row` as one line may hold: no kind appears twice in it."""
    kind = block.kind[row:end]
    turns = np.flatnonzero(np.diff(kind)) + 1
    edges = [0, *turns.tolist(), len(kind)]
    observations: dict[str, dict[str, Column]] = {}
    taken = 0
    for start, stop in pairwise(edges):
        number = int(kind[start])
        name = block.kinds[number]
        if name in observations:
            break
        first = int(block.rank[row + start])
        observations[name] = {
            key: column[first : first + stop - start] for key, column in block.columns[number].items()
        }
        taken = stop
    return observations, taken


def line(first: int, clock_ms: int, observations: dict[str, dict[str, Column]]) -> bytes:
    """One line of the source protocol."""
    return msgspec.json.encode({"first": first, "clock_ms": clock_ms, "observations": observations}) + b"\n"
