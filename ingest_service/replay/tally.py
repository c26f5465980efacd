"""Counts of episodes for the report's table, and the examples worth a look. Constant memory: numbers, a device's
number once a row, and EXAMPLES episodes of each sort a row. Those of several processes add up, as no device is in two.
"""

import heapq
import math
from collections.abc import Iterable

import msgspec

from ingest_service.replay.episodes import Episode, Side, begin_of, end_of, number_of, order_of

EXAMPLES = 3

Key = tuple[str, str, str]  # kind, property or "", detector


class Row(msgspec.Struct):
    """What was found by one detector of one property; lists have an entry for each set of parameters."""

    episodes: list[int]
    devices: list[int]
    open: list[int]
    alone: list[int]  # alarms that only this set of parameters gives
    both: int = 0
    examples: dict[str, list[Episode]] = {}  # by sort, the worst first


class Tally:
    def __init__(self, sides: int, until_ms: int) -> None:
        self.rows: dict[Key, Row] = {}
        self._sides = sides
        self._until_ms = until_ms  # for how long what is still at work has lasted
        self._devices: dict[Key, list[set[int]]] = {}

    def add(self, episode: Episode) -> None:
        key = episode.kind, episode.property or "", episode.detector
        none = [0] * self._sides
        row = self.rows.setdefault(key, Row(list(none), list(none), list(none), list(none)))
        devices = self._devices.setdefault(key, [set() for _ in none])
        for number, side in enumerate(episode.sides):
            if side is None:
                continue
            devices[number].add(episode.device_id)
            row.episodes[number] += side.episodes
            row.devices[number] = len(devices[number])
            row.open[number] += side.ended_ms is None
        sort = sort_of(episode)
        if sort.isdigit():
            row.alone[int(sort)] += 1
        elif self._sides > 1:
            row.both += 1
        row.examples[sort] = worst([*row.examples.get(sort, []), episode], self._until_ms)


def sort_of(episode: Episode) -> str:
    """`both`, or the number of the one set of parameters that it is an alarm of; `all` where there is but one."""
    said = [number for number, side in enumerate(episode.sides) if side is not None]
    if len(episode.sides) == 1:
        return "all"
    return "both" if len(said) > 1 else str(said[0])


def joined(tallies: Iterable[dict[Key, Row]], until_ms: int) -> dict[Key, Row]:
    """Rows of several processes as one, by kind, property and detector."""
    found: dict[Key, Row] = {}
    for rows in tallies:
        for key, row in rows.items():
            if key not in found:
                found[key] = row
                continue
            mine = found[key]
            for name in ("episodes", "devices", "open", "alone"):
                setattr(mine, name, [a + b for a, b in zip(getattr(mine, name), getattr(row, name), strict=True)])
            mine.both += row.both
            for sort, examples in row.examples.items():
                mine.examples[sort] = worst([*mine.examples.get(sort, []), *examples], until_ms)
    return dict(sorted(found.items()))


def worst(episodes: Iterable[Episode], until_ms: int) -> list[Episode]:
    """The EXAMPLES furthest outside what was expected, else the longest."""
    return heapq.nsmallest(EXAMPLES, episodes, key=lambda item: (*_calmness(item, until_ms), order_of(item)))


def _calmness(episode: Episode, until_ms: int) -> tuple[float, int]:
    beyond = max(_beyond(side) for side in episode.sides if side is not None)
    ended_ms = end_of(episode)
    return -beyond, begin_of(episode) - (until_ms if ended_ms is None else ended_ms)


def _beyond(side: Side) -> float:
    """How far the value lies outside its band, in widths of the band; 0 where there is no band."""
    values = side.evidence.get("values")
    value = values[-1] if values else None
    edges = [(edge, sign) for key, sign in (("low", 1), ("high", -1)) if (edge := number_of(side, key)) is not None]
    if not isinstance(value, int | float) or not edges:
        return 0.0
    over = max(sign * (edge - value) for edge, sign in edges)
    width = edges[1][0] - edges[0][0] if len(edges) == 2 else abs(edges[0][0])
    return over / max(width, 1e-9) if math.isfinite(over) and over > 0 else 0.0
