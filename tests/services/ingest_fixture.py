"""A town with a broker, a schema and the real `dure ingest`, and an agent that keeps what it sent until it is
committed.

The agent is the test's own: paho and the contracts only. It knows what it generated; the database knows what it took.
"""

import contextlib
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import psycopg
import pytest

from contracts import profiles, topics, wire
from contracts.cursor import Sender
from contracts.topics import Channel
from ingest_service.settings import Database as Settings
from ingest_service.store.connection import connect
from ingest_service.store.migrate import migrate
from ingest_service.store.registration import Manifest, register
from tests.database_fixture import ROOT, Database
from tests.services.broker_fixture import AGENTS, Connection, RunningBroker, running_broker
from tests.waiting import wait_for

STRANGERS = (("41280", "pole-99"), ("99999", "pole-01"))  # known to the broker, not to the registry
LIGHTS = 20
WINDOW = 20
HOUR_MS = 3_600_000
START_MS = (time.time_ns() // 1_000_000 // HOUR_MS - 30) * HOUR_MS  # a full hour, more than a day ago

Row = tuple[str, int, float | None]  # device, observed_ms, voltage


def manifest() -> dict[str, Any]:
    devices = [
        {"municipality": town, "device": f"{prefix}-{number}", "kind": kind, "agent": "pole-01"}
        for town, prefix, kind, count in (
            ("41280", "sl", "streetlight", LIGHTS),
            ("41280", "bin", "waste_container", 3),
            ("41480", "paju", "streetlight", 3),
        )
        for number in range(count)
    ]
    return {
        "municipalities": [
            {"code": "41280", "name": {"ko": "고양시", "en": "Goyang-si"}},
            {"code": "41480", "name": {"ko": "파주시", "en": "Paju-si"}},
        ],
        "agents": [{"municipality": town, "agent": agent} for town, agent in AGENTS],
        "devices": devices,
    }


def dure(*arguments: object, environment: dict[str, str], expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a `dure` command to its end."""
    done = subprocess.run(
        [sys.executable, "dure.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def settle(database: Database, content: dict[str, Any] | None = None) -> None:
    """Migrate the schema and register the town, as the commands do."""
    settings = Settings(url=database.url, schema=database.schema)
    migrate(settings, profiles.load(environ={}))
    with connect(settings, name="test") as connection:
        register(connection, msgspec.convert(content or manifest(), Manifest))


@contextmanager
def schema(url: str) -> Iterator[Database]:
    """A schema of its own in a running server."""
    fresh = Database(url, f"test_{secrets.token_hex(6)}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create schema {fresh.schema}".encode())
    yield fresh
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"drop schema {fresh.schema} cascade".encode())


class Ingest:
    """`dure ingest` as a process of its own."""

    def __init__(self, database: Database, broker: RunningBroker, log: Path, **settings: object) -> None:
        self.log = log
        self._environment = {
            **os.environ,
            **database.environment,
            "DURE_INGEST_BROKER_FILE": str(broker.file_of("ingest")),
            **{f"DURE_INGEST_{key.upper()}": str(value) for key, value in settings.items()},
        }
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        with self.log.open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, "dure.py", "ingest"],
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready worker=ingest-0 "), self.log.read_text()
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.process = self._start()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0, self.log.read_text()


@contextmanager
def running_ingest(database: Database, broker: RunningBroker, folder: Path, **settings: object) -> Iterator[Ingest]:
    """Ingest until the end of the test; it must stop in order."""
    ingest = Ingest(database, broker, folder / f"{database.schema}.log", **settings)
    try:
        yield ingest
    finally:
        with contextlib.suppress(ProcessLookupError):
            ingest.stop()


class Agent:
    """One epoch of an agent: seals, sends, resends from the cursor, keeps everything."""

    def __init__(self, broker: RunningBroker, name: str = "41280.pole-01") -> None:
        self.town, self.agent = name.split(".")
        self.epoch = random.getrandbits(63)
        self.sender = Sender(self.epoch)
        self.batches: dict[int, tuple[bytes, int, int, int]] = {}  # body, first, count, clock
        self.cursors: list[wire.CursorMessage] = []
        self._next = 1
        self._read = self._connects = 0
        self.connection = Connection(broker.credentials(name), mqtt.MQTTv311)
        self.connection.subscribe(topics.of_agent(self.town, self.agent, Channel.CURSOR))
        self.topic = topics.of_agent(self.town, self.agent, Channel.BATCH)

    def close(self) -> None:
        self.connection.close()

    def seal(self, groups: wire.Groups | bytes, *, count: int | None = None, clock_ms: int | None = None) -> None:
        """A batch; `groups` may be a body's bytes, whatever they are."""
        body = groups if isinstance(groups, bytes) else wire.encode_body(groups)
        number = count if count is not None else 1 if isinstance(groups, bytes) else wire.count_of(groups)
        seq = self.sender.top + 1
        self.batches[seq] = (body, self._next, number, clock_ms or time.time_ns() // 1_000_000)
        self._next += number
        self.sender.seal(seq)

    def payload(self, seq: int) -> bytes:
        body, first, count, clock_ms = self.batches[seq]
        header = wire.Header(
            epoch=self.epoch, seq=seq, floor=1, nonce=self.sender.nonce or 0, first=first, count=count,
            clock_ms=clock_ms, taken_ms=time.time_ns() // 1_000_000, backlog=self.sender.top - seq,
        )  # fmt: skip
        return wire.pack(header, body)

    def heartbeat(self, clock_ms: int | None = None) -> None:
        self.pump()
        clock = clock_ms or time.time_ns() // 1_000_000
        header = wire.Header(self.epoch, 0, 0, self.sender.nonce or 0, self._next, 0, clock, clock, 0)
        self.connection.publish(self.topic, wire.pack(header, b""))

    def pump(self) -> None:
        """Hear cursors, and send what the window grants."""
        now_ms = int(time.monotonic() * 1000)
        if len(self.connection.connects) > self._connects:
            self._connects = len(self.connection.connects)
            self.sender.connect(random.getrandbits(32), now_ms)
        for topic, payload in self.connection.messages[self._read :]:
            self._read += 1
            cursor = wire.decode_cursor(payload)
            if topic.endswith("/cursor") and cursor.epoch == self.epoch:
                self.cursors.append(cursor)
                self.sender.on_cursor(cursor.seq, cursor.nonce, now_ms, gap=cursor.gap)
        while seq := self.sender.next_to_send(now_ms, random.random):
            if seq > self.sender.sent and self.sender.in_flight >= WINDOW:
                break
            self.connection.publish(self.topic, self.payload(seq))
            self.sender.mark_sent(seq, now_ms)

    def deliver(self, upto: int | None = None, within_s: float = 45.0) -> None:
        """Send until the store has committed everything (or up to a batch)."""
        give_up = time.monotonic() + within_s
        self.pump()
        while self.sender.acked < (upto or self.sender.top):
            assert time.monotonic() < give_up, f"committed {self.sender.acked} of {self.sender.top}"
            time.sleep(0.005)
            self.pump()


@contextmanager
def agent(broker: RunningBroker, name: str = "41280.pole-01") -> Iterator[Agent]:
    found = Agent(broker, name)
    try:
        yield found
    finally:
        found.close()


def lights(rows: list[Row]) -> wire.Groups:
    return {
        "streetlight": {
            "device": [device for device, _, _ in rows],
            "observed_at": [at for _, at, _ in rows],
            "voltage": [value for _, _, value in rows],
        }
    }


def load(minutes: int, *, from_minute: int = 0, lamps: int = LIGHTS, seed: int = 1) -> list[list[Row]]:
    """Batches of a quiet street: a report a minute of each lamp, a batch a minute."""
    rng = random.Random(f"{seed} {from_minute}")
    return [
        [(f"sl-{lamp}", START_MS + 60_000 * minute + lamp, round(221 + rng.gauss(0, 0.8), 1)) for lamp in range(lamps)]
        for minute in range(from_minute, from_minute + minutes)
    ]


def seal_load(sender: Agent, batches: list[list[Row]]) -> list[Row]:
    for rows in batches:
        sender.seal(lights(rows), clock_ms=rows[-1][1])
    return [row for rows in batches for row in rows]


def stored(database: Database, prefix: str = "sl-") -> list[Row]:
    """Every row in the database, doubles and all."""
    rows = database.rows(
        "SELECT d.name, (extract(epoch FROM o.observed_at) * 1000)::bigint, o.voltage "
        "FROM observation_streetlight o JOIN device d USING (device_id) WHERE d.name LIKE %s ORDER BY 2, 1",
        prefix + "%",
    )
    return [(name, int(at), None if value is None else round(value, 1)) for name, at, value in rows]


def account(database: Database, epoch: int) -> dict[str, int]:
    names = ("received", "committed", "duplicate", "out_of_order", "quarantined", "lost")
    ((*counts,),) = database.rows(f"SELECT {', '.join(names)} FROM cursor WHERE epoch = %s", epoch)
    found = dict(zip(names, counts, strict=True))
    assert found["received"] == sum(found[name] for name in names[1:5]), found
    return found


def assert_exactly_once(database: Database, generated: list[Row]) -> None:
    """The checker of the promise; it is itself tested for turning red."""
    expected = sorted(generated, key=lambda row: (row[1], row[0]))
    found = stored(database)
    assert len(found) == len(expected), f"{len(expected)} generated, {len(found)} stored"
    assert found == expected


class KeepSending(threading.Thread):
    """Delivers beside the test until done; `failure` tells what went wrong."""

    def __init__(self, sender: Agent, within_s: float = 60.0) -> None:
        super().__init__(daemon=True)
        self._sender, self._within_s = sender, within_s
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._sender.deliver(within_s=self._within_s)
        except BaseException as error:
            self.failure = error

    def finish(self) -> None:
        self.join(self._within_s + 5)
        assert self.failure is None, self.failure
        assert not self.is_alive()


def wait_for_rows(database: Database, statement: str, *parameters: object, seconds: float = 20.0) -> Any:
    """Rows of a statement once there are some."""
    return wait_for(lambda: database.rows(statement, *parameters), seconds, 0.1)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A broker whose agents include two that the registry does not know."""
    with running_broker("nats", tmp_path_factory.mktemp("broker") / "state") as found:
        found.register((*AGENTS, *STRANGERS))
        yield found
