"""Changes of alarms become episodes: what of one device and condition an operator would have seen as one matter.

Promise: an episode depends on its own device's changes alone. Two changes with less than QUIET_MS between them are one
episode. Where two sets of parameters are run side by side, an episode holds what each of them said: with None for one
that said nothing, it is an alarm of the other alone.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from ingest_service.alarms import Change

QUIET_MS = 3_600_000  # as the scores count: an alarm after less quiet belongs to the episode before it


class Side(msgspec.Struct):
    """What one set of parameters said in an episode."""

    began_ms: int
    ended_ms: int | None  # None: at work to the end
    severity: int
    evidence: dict[str, Any]  # of the first finding, as the alarm would carry it
    episodes: int = 1  # more than one where the other set's alarm bridges the quiet between them
    findings: int = 1


class Episode(msgspec.Struct):
    kind: str
    municipality: str
    device: str
    device_id: int
    condition: str
    detector: str
    property: str | None
    sides: list[Side | None]  # in the order of the sets of parameters


def number_of(side: Side, key: str) -> float | None:
    """A number of the evidence: low, high, expected. None where it has none, or a word."""
    found = side.evidence.get(key)
    return float(found) if isinstance(found, int | float) else None


def begin_of(episode: Episode) -> int:
    return min(side.began_ms for side in episode.sides if side is not None)


def end_of(episode: Episode) -> int | None:
    """None: at work to the end."""
    ends = [side.ended_ms for side in episode.sides if side is not None]
    return None if None in ends else max(end for end in ends if end is not None)


def order_of(episode: Episode) -> tuple[int, str, str, str]:
    """By which episodes are sorted."""
    return begin_of(episode), episode.municipality, episode.device, episode.condition


class Tracker:
    """Episodes at work, by device and condition; those that are over go to `over`."""

    def __init__(self, sides: int, over: Callable[[Episode], None]) -> None:
        self._sides = sides
        self._over = over
        self._at_work: dict[tuple[int, str], Episode] = {}

    def take(self, number: int, change: Change, device: str) -> None:
        """One change that the set of parameters `number` makes of an alarm of a device."""
        assert change.device_id is not None and change.kind is not None
        key = change.device_id, change.condition
        episode = self._at_work.get(key)
        if not change.begins:
            side = episode.sides[number] if episode else None
            if side is not None and side.ended_ms is None:
                side.ended_ms = max(side.began_ms, change.at_ms)
            return
        if episode is not None:
            ended_ms = end_of(episode)
            if ended_ms is not None and change.at_ms - ended_ms >= QUIET_MS:
                self._over(self._at_work.pop(key))
                episode = None
        if episode is None:
            episode = Episode(
                change.kind, change.municipality, device, change.device_id, change.condition, change.detector,
                change.property, [None] * self._sides,
            )  # fmt: skip
            self._at_work[key] = episode
        side = episode.sides[number]
        if side is None:
            episode.sides[number] = Side(change.at_ms, None, change.severity, change.evidence)
            return
        if side.ended_ms is not None:
            side.episodes += change.at_ms - side.ended_ms >= QUIET_MS
            side.ended_ms = None
        side.findings += 1

    def end(self) -> None:
        """Nothing comes any more: what is at work stays so."""
        for key in sorted(self._at_work):
            self._over(self._at_work[key])
        self._at_work.clear()
