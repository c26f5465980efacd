"""A replay from its wish to what was found: the city is divided, processes read one snapshot, findings are joined.

Promise: nothing is written to the database; everything is of the instant at which the replay began, live alarms and
their marks included. The result does not depend on the number of processes.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contracts.profiles import Profile
from ingest_service.lifecycle.progress import Progress
from ingest_service.replay import crew, tally
from ingest_service.replay.city import City
from ingest_service.replay.division import Share, divide
from ingest_service.replay.episodes import Episode
from ingest_service.replay.marks import Mark
from ingest_service.replay.spool import read
from ingest_service.replay.worker import Outcome, Task
from ingest_service.settings import Database
from ingest_service.store import history, snapshot
from ingest_service.store.snapshot import Snapshot, Window

Number = TypeVar("Number", int, float)

LONG_AGO_MS = -(1 << 62)
STEP_MS = 60_000  # the longest; half the shortest report period where that is less


class Refused(ValueError):
    """What was asked for cannot be replayed; the message says why."""


class Wish(msgspec.Struct, frozen=True):
    """What to replay: [begin, end), None is without bound; municipalities None are all."""

    kinds: Sequence[str]
    municipalities: Sequence[str] | None = None
    begin: datetime | None = None
    end: datetime | None = None
    warm_up: timedelta = timedelta()
    processes: int = 1
    changed: Sequence[tuple[str, Any, Any]] = ()  # what the parameters to try change: key, value before, value after


class Result(msgspec.Struct):
    """What was found; `episodes` and `snapshot` last as long as `replayed` does."""

    names: list[str]  # of the sets of parameters
    profiles: list[Mapping[str, Profile]]  # the sets
    wish: Wish
    complete: bool
    until_ms: int  # how far all processes came
    observations: int
    devices: dict[str, int]  # heard, by kind
    device_days: dict[str, float]  # by kind
    rows: dict[tally.Key, tally.Row]
    marks: list[Mark]
    processes: int
    seconds: float
    snapshot: Snapshot
    files: list[Path]

    def episodes(self) -> Iterator[Episode]:
        """All, by their begin."""
        return read(self.files)


@contextmanager
def replayed(
    database: Database,
    wish: Wish,
    sets: Mapping[str, Mapping[str, Profile]],
    progress_of: Callable[[int], Progress],
) -> Iterator[Result]:
    """Run the sets of parameters, by name, over what is wished for. progress_of: given how many rows to expect.
    Raises Refused, crew.Failed, psycopg.Error, SchemaMissing.
    """
    began_s = time.monotonic()
    profiles = {kind: next(iter(sets.values()))[kind] for kind in wish.kinds}
    city = City(wish.kinds, wish.municipalities)
    history.fill(city, database, profiles)
    _check(wish, city)
    with (
        tempfile.TemporaryDirectory(prefix="dure-detect-") as folder,
        snapshot.opened(database, [f"observation_{kind}" for kind in wish.kinds], name="detect") as found,
    ):
        begin = wish.begin - wish.warm_up if wish.begin else None
        end = wish.end or datetime.now(UTC)  # for how long what is still at work has lasted
        windows = {kind: found.windows(f"observation_{kind}", begin, wish.end) for kind in wish.kinds}
        expected = sum(
            history.expected_rows(found, kind, (begin, wish.end)) * len(ids) // max(1, city.registered[kind])
            for kind, ids in city.devices_of.items()
        )
        free = history.free_connections(found) // (2 * max(1, len(city.devices_of)))
        shares = divide(city.placed(list(sets.values())), max(1, min(wish.processes, free)))
        marks = _marks(found, wish, city, len(sets))
        tasks = [
            Task(
                number, database, found.name, [_chosen(chosen, share.devices) for chosen in sets.values()], windows,
                share, _of(share, marks),
                _ms(wish.begin) if wish.begin else LONG_AGO_MS, _ms(end), step_ms(profiles), Path(folder),
            )
            for number, share in enumerate(shares)
        ]  # fmt: skip
        outcomes = crew.run(tasks, progress_of(expected))
        yield Result(
            names=list(sets),
            profiles=list(sets.values()),
            wish=wish,
            complete=all(outcome.complete for outcome in outcomes),
            until_ms=_until_ms(wish, outcomes),
            observations=sum(outcome.observations for outcome in outcomes),
            devices=_summed([outcome.devices for outcome in outcomes]),
            device_days=_summed([outcome.device_days for outcome in outcomes]),
            rows=tally.joined([outcome.rows for outcome in outcomes], _ms(end)),
            marks=sorted((mark for outcome in outcomes for mark in outcome.marks), key=lambda mark: mark.alarm_id),
            processes=len(tasks),
            seconds=time.monotonic() - began_s,
            snapshot=found,
            files=[file for outcome in outcomes for file in outcome.files],
        )


def _until_ms(wish: Wish, outcomes: Sequence[Outcome]) -> int:
    """How far everything was examined."""
    cut_short = [outcome.until_ms for outcome in outcomes if not outcome.complete]
    if cut_short:
        return min(cut_short)
    return _ms(wish.end) if wish.end else max((outcome.until_ms for outcome in outcomes), default=0)


def step_ms(profiles: Mapping[str, Profile]) -> int:
    """How long a step of time is, ms: short enough that a clock is never behind by more than half a report."""
    return max(1000, min(STEP_MS, *(profile.report_period_s * 500 for profile in profiles.values())))


def _check(wish: Wish, city: City) -> None:
    if wish.begin and wish.end and wish.begin >= wish.end:
        raise Refused(f"cannot replay: --from {wish.begin} is not before --to {wish.end}")
    for town in wish.municipalities or ():
        if town not in city.municipalities:
            known = ", ".join(sorted(city.municipalities)) or "none"
            raise Refused(f"cannot replay: no municipality {town!r}; there are {known}")


def _marks(found: Snapshot, wish: Wish, city: City, sides: int) -> list[Mark]:
    window: Window = (wish.begin, wish.end)
    ids = [device_id for ids in city.devices_of.values() for device_id in ids]
    return [Mark(*mark, [None] * sides) for mark in history.marked(found, window, ids)]


def _chosen(profiles: Mapping[str, Profile], devices: Mapping[str, Sequence[int]]) -> dict[str, Profile]:
    return {kind: profiles[kind] for kind in devices}


def _of(share: Share, marks: Sequence[Mark]) -> list[Mark]:
    ids = {device_id for chosen in share.devices.values() for device_id in chosen}
    return [mark for mark in marks if mark.device_id in ids]


def _summed(parts: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    kinds = sorted({kind for part in parts for kind in part})
    return {kind: sum(part[kind] for part in parts if kind in part) for kind in kinds}


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
