"""Storage goes on while detection catches up; whatever dies meanwhile, the alarms are those of an undisturbed run."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from contracts import profiles, topics, wire
from contracts.topics import Channel
from ingest_service import catch_up, warm_up
from ingest_service.admission import Message
from ingest_service.health import Health
from ingest_service.pipeline import Pipeline
from ingest_service.settings import Database as Settings
from ingest_service.settings import Settings as Ingest
from ingest_service.settings import parse_shards
from ingest_service.store.store import Store
from tests.services.ingest_fixture import lights, schema, settle
from tests.services.test_ingest import ALARMS, faulty_street
from tests.waiting import wait_for

NEVER = threading.Event()


class Lot:
    """Stands where the inbox stands: nobody sends, nobody hears."""

    shed = 0
    connected_since = None

    def reply(self, cursors: Any) -> None:
        list(cursors)

    def publish_live(self, contents: Any) -> None:
        list(contents)


class Worker:
    """Ingest's own pipeline, its rounds turned by hand."""

    def __init__(self, database: Any, folder: Any) -> None:
        kinds = profiles.load(environ={})
        settings = Ingest(broker_file=folder / "nobody.toml", save_period_s=64_000)
        shards = parse_shards(settings.shards)
        where = Settings(url=database.url, schema=database.schema)
        self.store = Store(where, kinds, worker="w", shards=shards, quarantine_bytes=1 << 20)
        source: Any = Lot()
        self.pipeline = Pipeline(settings, kinds, self.store, source, Health())
        self.pipeline.load()

    def carry(self, batches: list[Any], first: int) -> None:
        for number, rows in enumerate(batches, first):
            header = wire.Header(
                epoch=5, seq=number + 1, floor=1, nonce=1, first=20 * number + 1, count=len(rows),
                clock_ms=rows[-1][1], taken_ms=rows[-1][1], backlog=0,
            )  # fmt: skip
            payload = wire.pack(header, wire.encode_body(lights(rows)))
            topic = topics.of_agent("41280", "pole-01", Channel.BATCH)
            self.pipeline.round([Message(topic, payload, len(rows))], NEVER)
        self.pipeline._settle(NEVER)

    def catch_up(self) -> None:
        def reached() -> bool:
            self.pipeline._next_check = 0.0
            self.pipeline.round([], NEVER)
            return self.pipeline.memory.behind is None

        wait_for(reached)
        self.pipeline._settle(NEVER)

    def die(self) -> None:
        """Nothing is saved; the database sees a connection that breaks off."""
        self.pipeline.memory.stop()
        self.store.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Detection that catches up waits until the event is set."""
    event, run = threading.Event(), catch_up.CatchUp._run

    def waiting(self: catch_up.CatchUp) -> None:
        while not (event.is_set() or self._stopping.wait(0.01)):
            pass
        run(self)

    monkeypatch.setattr(catch_up.CatchUp, "_run", waiting)
    warm_up.compile_kernels(profiles.load(environ={}))
    event.set()
    yield event
    event.set()


def rows_of(database: Any) -> int:
    return int(database.rows("SELECT count(*) FROM observation_streetlight")[0][0])


def alarms_of(database: Any) -> list[Any]:
    return list(database.rows(ALARMS))


@pytest.fixture(scope="module")
def expected(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Alarms of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with schema(postgres_url) as database:
        settle(database)
        worker = Worker(database, folder)
        worker.catch_up()
        worker.carry(faulty_street(), 0)
        worker.die()
        return alarms_of(database)


@pytest.mark.parametrize("deaths", [0, 1, 2])
def test_what_is_stored_while_detection_is_behind_is_examined_later_and_once(
    database, held, tmp_path, expected, deaths
):
    street = faulty_street()
    assert len(expected) >= 4
    settle(database)
    worker = Worker(database, tmp_path)
    worker.catch_up()
    worker.carry(street[:35], 0)
    worker.die()
    before, committed = alarms_of(database), rows_of(database)

    held.clear()
    worker = Worker(database, tmp_path)
    worker.carry(street[35:70], 35)
    assert rows_of(database) > committed, "storage waited"
    assert alarms_of(database) == before, "detection did not wait"
    assert database.rows("SELECT count(DISTINCT flush) FROM detector_journal WHERE NOT examined") == [(35,)]
    if deaths:
        worker.die()
        held.set()
        worker = Worker(database, tmp_path)
    held.set()
    worker.catch_up()
    assert database.rows("SELECT count(*) FROM detector_journal WHERE NOT examined") == [(0,)]
    if deaths > 1:  # what was found late is not found again
        worker.die()
        worker = Worker(database, tmp_path)
    worker.carry(street[70:], 70)
    worker.catch_up()
    worker.die()
    assert alarms_of(database) == expected
