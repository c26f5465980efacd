"""Alarms that people closed with a cause, held against what detectors say of the same time.

A mark is found again by an episode of the same device that overlaps it, give or take QUIET_MS: of the same condition
(`same`), or of another (`other`: the operator would still have been told). Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from ingest_service.replay.episodes import QUIET_MS, Episode

CAUSES = ("real", "false", "planned_work")


class Mark(msgspec.Struct):
    alarm_id: int
    device_id: int
    condition: str
    opened_ms: int
    ended_ms: int
    cause: str
    found: list[str | None]  # same, other or None, for each set of parameters


class Marks:
    """Marks of a process's devices."""

    def __init__(self, marks: Iterable[Mark]) -> None:
        self._of_device: dict[int, list[Mark]] = defaultdict(list)
        for mark in marks:
            self._of_device[mark.device_id].append(mark)

    def take(self, episode: Episode) -> None:
        """An episode that is over."""
        for mark in self._of_device.get(episode.device_id, ()):
            for number, side in enumerate(episode.sides):
                if side is None or side.began_ms > mark.ended_ms + QUIET_MS:
                    continue
                if side.ended_ms is not None and side.ended_ms < mark.opened_ms - QUIET_MS:
                    continue
                if mark.condition == episode.condition:
                    mark.found[number] = "same"
                elif mark.found[number] is None:
                    mark.found[number] = "other"

    def all(self) -> list[Mark]:
        return [mark for marks in self._of_device.values() for mark in marks]


def counted(marks: Iterable[Mark], number: int) -> dict[str, Counter[str]]:
    """By cause: how many there are (`all`), found again (`same`), by another detector (`other`), and `gone`, with one
    set of parameters.
    """
    found: dict[str, Counter[str]] = {cause: Counter() for cause in CAUSES}
    for mark in marks:
        count = found.setdefault(mark.cause, Counter())
        count["all"] += 1
        count[mark.found[number] or "gone"] += 1
    return {cause: count for cause, count in found.items() if count}
