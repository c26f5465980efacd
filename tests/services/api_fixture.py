# ruff: noqa: E501 - tables of seeded rows read better unbroken
"""A small city for tests of the API: two municipalities whose every name and number can be told apart, in a migrated schema.

`city` is shared by a module's tests; `client_of` is the real application without a socket, `serving` the real command.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from contracts import profiles
from ingest_service.settings import Database as IngestDatabase
from ingest_service.store import rollup_partitions
from ingest_service.store.connection import connect
from platform_api import passwords
from platform_api.app import create_app
from platform_api.settings import Database as DatabaseSettings
from platform_api.settings import Settings

ROOT = Path(__file__).parents[2]
NOON = 1_760_011_200_000  # 2025-10-09 12:00 UTC
PASSWORD = "a long enough password"
MINE, OTHER = "41480", "41280"
# Whatever of these an account of 41480 is shown is a leak: codes, names, labels, and numbers of 41280.
OTHERS_MARKS = (
    "41280",
    "Goyang",
    "고양",
    "gy-",
    "7001",
    "7002",
    "7101",
    "770001",
    "770002",
    "880001",
    "880003",
    "550001",
    "660001",
)

SEED = f"""
INSERT INTO municipality (code, name_ko, name_en, latitude, longitude, time_zone) VALUES
 ('41280', '고양시', 'Goyang-si', 37.658, 126.832, 'Asia/Seoul'), ('41480', '파주시', 'Paju-si', 37.76, 126.78, 'Asia/Seoul');
INSERT INTO agent (agent_id, municipality, name, replay) VALUES
 (7101, '41280', 'gy-pole-1', false), (9101, '41480', 'pj-pole-1', false), (9102, '41480', 'pj-pole-2', true);
INSERT INTO device (device_id, municipality, name, kind, agent_id, label_ko, label_en, latitude, longitude, attributes) VALUES
 (7001, '41280', 'gy-sl-1', 'streetlight', 7101, '고양 가로등 1', 'Goyang light 1', 37.65, 126.83, '{{"circuit":"gy-c1"}}'),
 (7002, '41280', 'gy-bin-1', 'waste_container', 7101, '고양 수거함', 'Goyang bin', 37.66, 126.84, '{{}}'),
 (9001, '41480', 'pj-sl-1', 'streetlight', 9101, '파주 가로등 1', 'Paju light 1', 37.75, 126.77, '{{"circuit":"pj-c1"}}'),
 (9002, '41480', 'pj-sl-2', 'streetlight', 9101, '파주 가로등 2', 'Paju light 2', 37.76, 126.78, '{{}}'),
 (9003, '41480', 'pj-bin-1', 'waste_container', 9102, '파주 수거함', 'Paju bin 100%', 37.77, 126.79, '{{}}'),
 (9004, '41480', 'pj-sl-4', 'streetlight', 9102, '파주 가로등 4', 'Paju light 4', 37.78, 126.80, '{{}}');
INSERT INTO newest_streetlight (device_id, observed_at, power_state, voltage, power_consumption, as_of) VALUES
 (7001, to_timestamp({NOON}/1000.0), 1, 230.5, 70.1, to_timestamp({NOON}/1000.0)),
 (9001, to_timestamp({NOON}/1000.0), 1, 221.3, 71.2, to_timestamp({NOON}/1000.0)),
 (9004, to_timestamp({NOON}/1000.0), 0, 219.9, null, to_timestamp({NOON}/1000.0));
INSERT INTO agent_status (agent_id, seen_at, clock_at, backlog) VALUES
 (7101, now(), now(), 0), (9101, now(), now(), 12), (9102, now() - interval '1 day', now() - interval '1 day', 3);
INSERT INTO cursor (agent_id, epoch, seq, next_number, received, committed, duplicate, out_of_order, quarantined, lost) VALUES
 (7101, 71, 5, 501, 710, 700, 4, 3, 3, 1), (9101, 91, 5, 501, 100, 90, 5, 3, 2, 0), (9101, 92, 5, 501, 50, 50, 0, 0, 0, 7);
INSERT INTO alarm (alarm_id, municipality, device_id, agent_id, kind, condition, detector, property, severity, state, opened_at, last_finding_at, evidence)
VALUES
 (770001, '41280', 7001, 7101, 'streetlight', 'stuck:voltage', 'stuck', 'voltage', 3, 'open', to_timestamp({NOON}/1000.0), to_timestamp({NOON}/1000.0), '{{"values":[230.5]}}'),
 (770002, '41280', null, 7101, null, 'agent_silent', 'agent_silent', null, 2, 'open', to_timestamp({NOON}/1000.0), to_timestamp({NOON}/1000.0), '{{}}'),
 (990001, '41480', 9001, 9101, 'streetlight', 'out_of_range:voltage', 'out_of_range', 'voltage', 3, 'open', to_timestamp({NOON}/1000.0), to_timestamp({NOON}/1000.0), '{{"values":[400.0]}}'),
 (990002, '41480', 9001, 9101, 'streetlight', 'silent', 'silent', null, 2, 'acknowledged', to_timestamp({NOON}/1000.0), to_timestamp({NOON}/1000.0), '{{}}'),
 (990003, '41480', 9002, 9101, 'streetlight', 'spike:current', 'spike', 'current', 1, 'cleared', to_timestamp({NOON}/1000.0), to_timestamp({NOON}/1000.0), '{{}}'),
 (990004, '41480', null, 9102, null, 'agent_silent', 'agent_silent', null, 2, 'open', to_timestamp({NOON}/1000.0), to_timestamp({NOON}/1000.0), '{{}}');
INSERT INTO alarm_event (event_id, alarm_id, event, who, detail) VALUES
 (660001, 770001, 'commented', 'gy-minji', '{{"text":"Goyang"}}'), (990101, 990001, 'commented', 'viewer', '{{"text":"Paju"}}');
INSERT INTO maintenance_window (window_id, municipality, scope, target, begins_at, ends_at, reason, created_by, changed_by) VALUES
 (550001, '41280', 'circuit', 'gy-c1', now() - interval '1 hour', now() + interval '1 hour', 'Goyang works', 'gy-minji', 'gy-minji'),
 (950001, '41480', 'circuit', 'pj-c1', now() + interval '1 hour', now() + interval '2 hours', 'Paju works', 'operator', 'operator');
INSERT INTO quarantine (quarantine_id, municipality, agent_id, topic, epoch, seq, reason, detail, kind, device, content, observations, bytes) VALUES
 (880001, '41280', 7101, 'dure/v1/00/41280/gy-pole-1/batch', 71, 6, 'unknown_device', 'gy-sl-9', 'streetlight', 'gy-sl-9', '{{"device":"gy-sl-9"}}', 1, 90),
 (880002, '41480', 9101, 'dure/v1/00/41480/pj-pole-1/batch', 9100000000000000001, 6, 'unknown_device', 'pj-sl-9', 'streetlight', 'pj-sl-9', '{{"device":"pj-sl-9"}}', 1, 90),
 (880003, null, null, 'dure/v1/00/41999/gy-ghost/batch', null, null, 'unknown_municipality', '41999', null, null, null, 0, 40),
 (880004, '41480', 9101, 'dure/v1/00/41480/pj-pole-1/batch', 91, 8, 'malformed_body', 'truncated', null, null, null, 10, 400);
INSERT INTO quarantine_refused VALUES (7101, 'unknown_device', 5), (9101, 'unknown_device', 6);
INSERT INTO ingest_worker (worker, counters) VALUES ('ingest-0', '{{"observations_per_s": 120.5, "latency_p50_ms": 80, "latency_p99_ms": 300}}');
"""


@dataclass(frozen=True)
class City:
    """A migrated schema with the seed in it."""

    url: str
    schema: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DURE_DATABASE_URL": self.url, "DURE_DATABASE_SCHEMA": self.schema}

    def connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self.url, options=f"-csearch_path={self.schema} -cTimeZone=UTC", autocommit=True)

    def run(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            found = connection.execute(statement, parameters or None)  # type: ignore[call-overload]
            return list(found.fetchall()) if found.description else []

    @property
    def timescale(self) -> bool:
        return self.run("SELECT engine FROM schema_engine") == [("timescale",)]

    def make_rollup_partitions(self, kind: str, from_ms: int, to_ms: int) -> None:
        """What the roller makes before it writes hours and days of a span; nothing on TimescaleDB."""
        if self.timescale:
            return
        with connect(IngestDatabase(url=self.url, schema=self.schema), name="test") as connection:
            for tier in ("hour", "day"):
                begins = range(from_ms, to_ms, 3_600_000)
                rollup_partitions.ensure(connection, profiles.load(environ={})[kind], tier, begins, to_ms)

    def held_in(self, rollup: str) -> str:
        """The table that holds a rollup's rows: with TimescaleDB the rollup is a view."""
        found = self.timescale and self.run(
            "SELECT format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name)"
            " FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema() AND view_name = %s",
            rollup,
        )
        return str(found[0][0]) if found else rollup

    def partition(self, kind: str, begin: str, end: str) -> None:
        """Room for a kind's observations in [begin, end); TimescaleDB makes its own."""
        if self.timescale:
            return
        name = f"observation_{kind}_{secrets.token_hex(4)}"
        self.run(f"CREATE TABLE {name} PARTITION OF observation_{kind} FOR VALUES FROM ('{begin}') TO ('{end}')")


def migrated_only(url: str, schema: str) -> City:
    """Make the schema by `dure migrate`; nothing in it."""
    made = City(url, schema)
    command = [sys.executable, str(ROOT / "dure.py"), "migrate"]
    subprocess.run(command, env=made.environment, check=True, capture_output=True, timeout=60)
    return made


def migrated(url: str, schema: str) -> City:
    """Make the schema, and fill it with the small city."""
    made = migrated_only(url, schema)
    made.run(SEED)
    with made.connect() as connection:
        for name, role, municipality in (
            ("admin", "admin", None), ("viewer", "operator", None), ("operator", "operator", MINE), ("engineer", "engineer", MINE),
        ):  # fmt: skip
            connection.execute(
                "INSERT INTO account (name, password_hash, role, municipality) VALUES (%s, %s, %s, %s)",
                (name, passwords.hashed(PASSWORD), role, municipality),
            )
    return made


@pytest.fixture(scope="module")
def city(postgres_url: str) -> Iterator[City]:
    """The city, shared by the tests of a module."""
    made = migrated(postgres_url, f"test_{secrets.token_hex(6)}")
    yield made
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("set lock_timeout = '20s'")
        connection.execute(f"drop schema {made.schema} cascade")  # type: ignore[call-overload]


@asynccontextmanager
async def application(city: City, **changes: Any) -> AsyncIterator[Any]:
    """The started application without a socket."""
    settings = Settings(**{"map_max_age_s": 0.0, "pool_size": 4, **changes})
    app = create_app(settings, DatabaseSettings(url=city.url, schema=city.schema), profiles.load())
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def client_of(city: City, name: str | None = "admin", **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, signed in by bearer token unless name is None."""
    async with application(city, **changes) as app, connected(app) as client:
        if name is not None:
            await sign_in(client, name)
        yield client


def connected(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://dure.test")


async def sign_in(client: httpx.AsyncClient, name: str) -> str:
    """Sign in and use the token, not the cookie, from now on."""
    answer = await client.post("/api/v1/sign-in", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    token = str(answer.json()["token"])
    client.cookies.clear()
    client.headers["Authorization"] = f"Bearer {token}"
    return token


class Served:
    """`dure api` as a process of its own."""

    def __init__(self, city: City, *arguments: str) -> None:
        command = [sys.executable, str(ROOT / "dure.py"), "api", "--port", "0", *arguments]
        environment = {**city.environment, "DURE_API_MAP_MAX_AGE_S": "0"}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready url=http://127.0.0.1:"), line + (self.process.stderr.read() if not line else "")
        self.url = line.removeprefix("ready url=").strip()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)
        return self.process.returncode

    def memory_kb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


@contextmanager
def serving(city: City, *arguments: str) -> Iterator[Served]:
    served = Served(city, *arguments)
    try:
        yield served
    finally:
        assert served.stop() == 0


async def until(condition: Any, seconds: float = 20.0) -> Any:
    """Await condition() until it is true."""
    deadline = time.monotonic() + seconds
    while True:
        if result := await condition():
            return result
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        await asyncio.sleep(0.1)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The answer's problem details; fails when it is not one of this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert body["status"] == status
    return body
