"""Where ingest's time goes between a message and COMMIT: microseconds of a core an observation, stage by stage.

Why it is hot: what a worker can carry is what these add up to. The pipeline runs in this process, without a broker,
against a PostgreSQL that keeps what it confirms; each stage's CPU time is that of the thread which runs it, so that
neighbours on the machine disturb the figures little. Stages contain one another as the indentation shows.
"""

import argparse
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from contracts import profiles as kinds
from contracts import wire
from contracts.topics import Channel
from ingest_service import admission, live, memory, pipeline, warm_up
from ingest_service.admission import Admission, Message
from ingest_service.detection import journal, saving
from ingest_service.detection.fleet import Fleet
from ingest_service.health import Health
from ingest_service.newest import Newest
from ingest_service.pipeline import Pipeline
from ingest_service.scan import Scanner
from ingest_service.settings import Database, Settings, parse_shards
from ingest_service.store import copy_rows, statements
from ingest_service.store.store import Store
from tests.benchmarks import stack
from tests.benchmarks.load import Load, Plan, make
from tests.benchmarks.report import Case, Wrong, case, progress

RATE, WHOLE = "observations a second, without a broker", "the whole worker"
# (what holds it, its name there, what to call it)
STAGES: tuple[tuple[Any, str, str], ...] = (
    (Pipeline, "_prepare", "prepare"),
    (Admission, "admit", "  admit"),
    (Scanner, "scan", "    read bodies (kernel)"),
    (admission, "scanned", "    columns"),
    (admission, "judge", "    judge rows"),
    (Fleet, "examine", "  detect"),
    (Newest, "take", "  newest: take"),
    (Newest, "due", "  newest: choose"),
    (memory.Memory, "saves_due", "  copy detectors"),
    (journal, "entries", "make journal"),
    (saving, "pack", "pack detectors"),
    (live, "messages", "live channel"),
    (Pipeline, "_commit", "commit"),
    (Store, "commit", "  store"),
    (copy_rows, "copy", "    COPY"),
    (statements, "newest_put", "    newest rows"),
    (statements, "cursor_advance", "    cursors"),
    (statements, "journal_put", "    journal"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--outboxes", type=int, default=5_000, help="agents with an outbox (default: 5000)")
    parser.add_argument("--devices", type=int, default=1_000_000, help="of all agents (default: 1000000)")
    parser.add_argument("--observations", type=int, default=2_000_000, help="carried (default: 2000000)")
    parser.add_argument("--batch", type=int, default=100, help="observations a message (default: 100)")


class Messages:
    """Stands where the inbox stands: a load from memory, and nobody to answer."""

    shed = 0
    connected_since = None

    def __init__(self, load: Load, done: threading.Event) -> None:
        fleet = load.plan.fleet
        topics = [fleet.topic(outbox, Channel.BATCH) for outbox in range(fleet.outboxes)]
        starts = (load.offset + load.length - load.body - wire.HEADER_BYTES).tolist()
        ends = (load.offset + load.length).tolist()
        self._messages = [
            Message(topics[outbox], load.packets[start:end], load.plan.observations)
            for outbox, start, end in zip(load.outbox.tolist(), starts, ends, strict=True)
        ]
        self._at = 0
        self._done = done

    def take(self, _enough: int, _wait_s: float, *, most: int) -> list[Message]:
        if self._at >= len(self._messages):
            self._done.set()
            return []
        n = max(1, most // self._messages[0].observations)
        taken = self._messages[self._at : self._at + n]
        self._at += n
        return taken

    def reply(self, cursors: Iterable[Any]) -> None:
        list(cursors)

    def publish_live(self, contents: Iterable[Any]) -> None:
        list(contents)

    def stop(self) -> None:
        pass


def run(options: argparse.Namespace) -> list[Case]:
    plan = Plan(
        outboxes=options.outboxes,
        size=options.devices // options.outboxes,
        batches=max(1, options.observations // options.outboxes // options.batch),
        observations=options.batch,
        rate=120_000,
        start_ms=int(time.time() * 1000) - 3_600_000,
    )
    with stack.folder() as place, stack.postgres(place) as server, stack.schema(server, plan.fleet) as database:
        progress(f"encoding {plan.total:,} observations")
        load = make(place / "load", plan)
        return carry(load, Database(url=database.url, schema=database.schema), place)


def carry(load: Load, database: Database, place: Path) -> list[Case]:
    """The load through a pipeline of its own into an empty schema; what each stage took."""
    profiles, done = kinds.load(environ={}), threading.Event()
    settings = Settings(broker_file=place / "nobody.toml")
    store = Store(database, profiles, worker="bench", shards=parse_shards(settings.shards), quarantine_bytes=1 << 24)
    source: Any = Messages(load, done)
    carried = Pipeline(settings, profiles, store, source, Health())
    warm_up.compile_kernels(profiles)
    carried.load()
    progress("carrying")
    spent: dict[str, float] = defaultdict(float)
    with ExitStack() as patches:
        for holder, name, title in STAGES:
            patches.enter_context(mock.patch.object(holder, name, _timed(getattr(holder, name), title, spent)))
        patches.enter_context(mock.patch.object(pipeline.Pipeline, "save_everything", lambda _: None))
        began, worker = time.monotonic(), time.process_time()
        carried.run(done)
        seconds, worker = time.monotonic() - began, time.process_time() - worker
    store.close()
    if carried.counters.committed != load.plan.total:
        raise Wrong(f"{load.plan.total:,} observations sent, {carried.counters.committed:,} committed")
    total, plan = load.plan.total, load.plan
    of = f"{plan.outboxes:,} outboxes, {plan.fleet.devices:,} devices, {plan.observations} a batch, {total:,} in all"
    whole = worker / total * 1e6
    cases = [
        case(RATE, total / seconds, "observations/s", of=of),
        case(WHOLE, whole, "CPU us/observation", of=of),
    ]
    return cases + [
        case(title, spent[title] / total * 1e6, "CPU us/observation", against=("whole worker", whole))
        for *_, title in STAGES
    ]


def _timed(call: Callable[..., Any], title: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return call(*arguments, **named)
        finally:
            spent[title] += time.thread_time() - began

    return timed
