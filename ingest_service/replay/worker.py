"""One process of a replay: its share of the devices through the very detectors of ingest, in time order.

Time goes in steps on a fixed grid. What of a step is stored is one flush; after it, the clock of each part that was
heard stands at its newest observation (see `division`). Several sets of parameters examine the same flushes.
"""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from types import FrameType

import msgspec
import numpy as np

from contracts.profiles import Profile
from ingest_service import alarms
from ingest_service.columns import Array, Block
from ingest_service.detection.fleet import Fleet
from ingest_service.replay import tally
from ingest_service.replay.city import City
from ingest_service.replay.division import Share
from ingest_service.replay.episodes import Episode, Tracker, begin_of
from ingest_service.replay.marks import Mark, Marks
from ingest_service.replay.reading import Stream
from ingest_service.replay.spool import Spool
from ingest_service.replay.tally import Tally
from ingest_service.settings import Database
from ingest_service.store import history, snapshot
from ingest_service.store.connection import DatabaseError
from ingest_service.store.snapshot import Snapshot, Window

TOLD_S = 0.25
DAY_MS = 86_400_000
LONG_AGO, NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Task(msgspec.Struct):
    """What a process is to do."""

    number: int
    database: Database
    snapshot: str  # name of the one that the parent holds open
    profiles: list[dict[str, Profile]]  # sets of parameters
    windows: dict[str, list[Window]]  # by kind
    share: Share
    marks: list[Mark]
    begin_ms: int  # episodes that begin earlier are of the warm-up
    end_ms: int
    step_ms: int
    folder: Path  # for episodes


class Outcome(msgspec.Struct):
    """What became of a task."""

    observations: int
    until_ms: int  # how far it came: all before it was examined
    complete: bool
    devices: dict[str, int]  # heard, by kind
    device_days: dict[str, float]  # by kind
    rows: dict[tally.Key, tally.Row]
    marks: list[Mark]
    files: list[Path]


Told = tuple[int, int] | Outcome | str  # observations since the last, how far (ms); the end; what went wrong


def main(task: Task, pipe: Pipe) -> None:
    """Run a task, telling the parent. SIGTERM ends it early; Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopping = Stopping()
    signal.signal(signal.SIGTERM, stopping.stop)
    try:
        pipe.send(run(task, lambda rows, at_ms: pipe.send((rows, at_ms)), stopping))
    except DatabaseError as error:
        pipe.send(str(error).strip())
    except BrokenPipeError:
        pass  # the parent is gone


class Stopping:
    """Whether to stop, and what is to be broken off then."""

    def __init__(self) -> None:
        self.asked = False
        self.readers: list[Snapshot] = []

    def stop(self, signal: int = 0, frame: FrameType | None = None) -> None:
        self.asked = True
        for reader in self.readers:
            with suppress(DatabaseError):
                reader.cancel()


def run(task: Task, tell: Callable[[int, int], None], stopping: Stopping) -> Outcome:
    """Replay a share; raises psycopg.Error."""
    first = task.profiles[0]
    share = task.share
    city = City(first, None, {kind: frozenset(ids) for kind, ids in share.devices.items()})
    history.fill(city, task.database, first)
    replay = _Replay(task, city)
    told_s, rows, step = time.monotonic(), 0, None
    with ExitStack() as stack:
        try:
            streams = []
            for kind, ids in share.devices.items():
                found = stack.enter_context(snapshot.joined(task.database, task.snapshot, name="detect"))
                stopping.readers.append(found)
                streams.append(_stream(found, first[kind], task.windows[kind], city, ids, share.parts[kind]))
            while not stopping.asked:
                times = [at_ms for stream in streams if (at_ms := stream.next_ms) is not None]
                if not times:
                    break
                step = min(times) // task.step_ms
                end_ms = (step + 1) * task.step_ms
                blocks = [block for stream in streams if (block := stream.take(end_ms)) is not None]
                replay.examine(blocks)
                rows += sum(map(len, blocks))
                if time.monotonic() - told_s >= TOLD_S:
                    tell(rows, end_ms)
                    told_s, rows = time.monotonic(), 0
        except DatabaseError:
            if not stopping.asked:
                raise
        stopping.readers.clear()
    until_ms = max(task.begin_ms, 0) if step is None else (step + 1) * task.step_ms
    tell(rows, until_ms)
    return replay.outcome(until_ms, complete=not stopping.asked)


class _Replay:
    """Detectors, and what they have found so far."""

    def __init__(self, task: Task, city: City) -> None:
        self._task, self._city = task, city
        self._fleets: list[tuple[dict[str, Profile], Fleet]] = [
            (profiles, city.fleet(profiles)) for profiles in task.profiles
        ]
        self._heard_ms = np.full(1 + max(map(max, task.share.parts.values())), LONG_AGO, np.int64)  # by part
        self._first_ms = {kind: np.full(slots, NEVER, np.int64) for kind, slots in city.slots_in.items()}
        self._last_ms = {kind: np.full(slots, LONG_AGO, np.int64) for kind, slots in city.slots_in.items()}
        self._observations = 0
        self._spool = Spool(task.folder, str(task.number))
        self._tally = Tally(len(task.profiles), task.end_ms)
        self._marks = Marks(task.marks)
        self._tracker = Tracker(len(task.profiles), self._over)

    def examine(self, blocks: Sequence[Block]) -> None:
        """One flush, in time order."""
        clocks = self._clocks(blocks)
        for block in blocks:
            self._count(block)
        for number, (profiles, fleet) in enumerate(self._fleets):
            found = fleet.examine(blocks, clocks)
            fleet.keep()
            if not found:
                continue
            for change in alarms.changes(found, fleet, self._city, profiles):
                if change.device_id is not None:
                    self._tracker.take(number, change, self._city.name_of[change.device_id])

    def _clocks(self, blocks: Sequence[Block]) -> Mapping[int, int]:
        before = self._heard_ms.copy()
        for block in blocks:
            newest = before.copy()
            newest[block.agent] = block.observed_ms  # rows rise in time: the last one stays
            np.maximum(self._heard_ms, newest, out=self._heard_ms)
        heard = np.flatnonzero(self._heard_ms > before)
        return dict(zip(heard.tolist(), self._heard_ms[heard].tolist(), strict=True))

    def _count(self, block: Block) -> None:
        counted = slice(int(np.searchsorted(block.observed_ms, self._task.begin_ms)), None)
        slot, at_ms = block.slot[counted], block.observed_ms[counted]
        self._observations += len(block)
        first = self._first_ms[block.kind]
        new = first[slot] == NEVER
        if new.any():
            first[slot[new][::-1]] = at_ms[new][::-1]
        self._last_ms[block.kind][slot] = at_ms

    def _over(self, episode: Episode) -> None:
        self._marks.take(episode)
        if begin_of(episode) >= self._task.begin_ms:
            self._spool.add(episode)
            self._tally.add(episode)

    def outcome(self, until_ms: int, *, complete: bool) -> Outcome:
        self._tracker.end()
        self._spool.close()
        spans = {kind: (self._last_ms[kind] - first)[first != NEVER] for kind, first in self._first_ms.items()}
        return Outcome(
            self._observations,
            until_ms,
            complete,
            {kind: len(span) for kind, span in spans.items()},
            {kind: float(span.sum() / DAY_MS) for kind, span in spans.items()},
            self._tally.rows,
            self._marks.all(),
            self._spool.files,
        )


def _stream(
    found: Snapshot, profile: Profile, windows: Sequence[Window], city: City, ids: Sequence[int], parts: Sequence[int]
) -> Stream:
    known: Array = np.array(ids, np.int32)
    slots = np.array([city.slot_of_id(device_id, profile.kind) for device_id in ids], np.int64)
    return Stream(found, profile, windows, known, slots, np.array(parts, np.int32))
