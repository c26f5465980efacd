# ruff: noqa: E501 - statements that fill tables read better unbroken
"""Days of a province, small but large enough that the planner has a choice, and the plans of the API's statements on it.

`province` is migrated, filled, its partitions closed as ingest closes them, and analysed, once a module. `Explaining` is
the API's own database, which asks for the plan of each statement that a typed function runs; `indexes` and `read_whole`
say what a plan touches.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import DictRow

from contracts import profiles
from ingest_service.store import closing, rollup_partitions
from ingest_service.store.partitions import Partitions, listed
from platform_api.queries.database import Database, statement
from tests.services.api_fixture import City, migrated_only

END_MS = 1_762_560_000_000  # 2025-11-08 00:00 UTC
HOUR_MS = 3_600_000
EDGE_MS = END_MS + 4 * HOUR_MS  # up to where rollups are closed
KINDS = profiles.load(environ={})
TOWNS, DEVICES, DAYS, HOT_HOURS = 20, 12_000, 3, 5

FILL = f"""
INSERT INTO municipality (code, name_ko, name_en, latitude, longitude)
 SELECT '{{t}}' || lpad(i::text, 3, '0'), '', '', 37, 127 FROM generate_series(0, {TOWNS - 1}) i;
INSERT INTO agent (agent_id, municipality, name)
 SELECT i + 1, '{{t}}' || lpad(i::text, 3, '0'), 'a' FROM generate_series(0, {TOWNS - 1}) i;
INSERT INTO device (device_id, municipality, name, kind, agent_id, latitude, longitude)
 SELECT i, '{{t}}' || lpad((i % {TOWNS})::text, 3, '0'), 'd-' || i,
        (ARRAY['streetlight', 'streetlight', 'waste_container', 'parking_spot'])[1 + i / {TOWNS} % 4], 1 + i % {TOWNS},
        35 + i % {TOWNS} * 0.1 + random() * 0.1, 126 + random() * 0.1
 FROM generate_series(1, {DEVICES}) i;
INSERT INTO newest_streetlight (device_id, observed_at, voltage, power_state, as_of)
 SELECT device_id, to_timestamp({END_MS / 1000}), 220 + random() * 10, 1, now() FROM device WHERE kind = 'streetlight';
INSERT INTO newest_parking_spot (device_id, observed_at, status, as_of)
 SELECT device_id, to_timestamp({END_MS / 1000}), random() * 3, now() FROM device WHERE kind = 'parking_spot';
INSERT INTO newest_waste_container (device_id, observed_at, filling_level, as_of)
 SELECT device_id, to_timestamp({END_MS / 1000}), random(), now() FROM device WHERE kind = 'waste_container';
INSERT INTO alarm (municipality, device_id, condition, detector, severity, state, opened_at, last_finding_at)
 SELECT municipality, device_id, 'stuck:voltage', 'stuck', 2, CASE WHEN n % 100 = 0 AND device_id % 4 = 0 THEN 'open' ELSE 'closed' END,
        to_timestamp({END_MS / 1000}), to_timestamp({END_MS / 1000})
 FROM device, generate_series(100, 101) n WHERE device_id % 3 = 0;
INSERT INTO alarm_event (alarm_id, event) SELECT alarm_id, 'opened' FROM alarm, generate_series(1, 3);
INSERT INTO rollup_hour_streetlight (device_id, bucket, observations, voltage_mean, voltage_min, voltage_max)
 SELECT device_id, to_timestamp({EDGE_MS / 1000}) - h * interval '1 hour', 1, 220, 219, 221
 FROM device, generate_series(1, {DAYS * 24}) h WHERE kind = 'streetlight' AND device_id % 5 = 0;
INSERT INTO rollup_municipality_hour_streetlight (municipality, bucket, devices, observations, voltage_mean, voltage_min, voltage_max)
 SELECT code, to_timestamp({EDGE_MS / 1000}) - h * interval '1 hour', 300, 300, 220, 219, 221
 FROM municipality, generate_series(1, 720) h;
INSERT INTO rollup_watermark (kind, closed_until) VALUES ('streetlight', to_timestamp({EDGE_MS / 1000}));
"""


@dataclass(frozen=True)
class Plan:
    """One statement's plan, as EXPLAIN (FORMAT JSON) gives it."""

    name: str
    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
            yield node
            for part in node.get("Plans", []):
                yield from walk(part)

        return walk(self.root)

    def indexes(self) -> set[str]:
        """Names of the indexes it uses; those of a partition under its parent's name and columns."""
        return {_index(node["Index Name"]) for node in self.nodes() if "Index Name" in node}

    def partitions(self) -> set[str]:
        """Names of the indexes on a device of single partitions that it uses."""
        return {node["Index Name"] for node in self.nodes() if str(node.get("Index Name", "")).endswith("_device")}

    def read_whole(self) -> set[str]:
        """Tables that it reads from end to end."""
        return {_table(node["Relation Name"]) for node in self.nodes() if node["Node Type"] == "Seq Scan"}


def _table(name: str) -> str:
    return re.sub(r"_p\d{10}$", "", name)


def _index(name: str) -> str:
    return re.sub(r"_p\d{10}(?=_)", "", name).replace("_observed_at_idx", "_time")


class Explaining(Database):
    """The API's database; keeps the plan of each statement it runs."""

    def __init__(self, url: str, schema: str) -> None:
        super().__init__(url, schema, size=2)
        self.plans: list[Plan] = []

    async def rows(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> list[DictRow]:
        await self._explain(name, parameters, parts)
        return await super().rows(name, parameters, **parts)

    async def row(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> DictRow | None:
        await self._explain(name, parameters, parts)
        return await super().row(name, parameters, **parts)

    async def packed(
        self, name: str, parameters: Mapping[str, Any] | None = None, **parts: sql.Composable
    ) -> list[DictRow]:
        await self._explain(name, parameters, parts)
        return await super().packed(name, parameters, **parts)

    async def _explain(
        self, name: str, parameters: Mapping[str, Any] | None, parts: Mapping[str, sql.Composable]
    ) -> None:
        text = sql.SQL("EXPLAIN (FORMAT JSON) {}").format(statement(name, parts))
        async with self._pool.connection() as connection:
            found = await (await connection.execute(text, parameters)).fetchone()
            assert found is not None
            self.plans.append(Plan(name, found["QUERY PLAN"][0]["Plan"]))

    def plan(self, name: str) -> Plan:
        """The last plan of a statement."""
        return next(plan for plan in reversed(self.plans) if plan.name == name)


@asynccontextmanager
async def explaining(city: City):  # type: ignore[no-untyped-def]
    database = Explaining(city.url, city.schema)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def at(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


@pytest.fixture(scope="module")
def province(native_url: str) -> Iterator[City]:
    """Observations of DAYS days in closed partitions, and HOT_HOURS in the hot one."""
    made = migrated_only(native_url, f"test_{secrets.token_hex(6)}")
    made.make_rollup_partitions("streetlight", EDGE_MS - DAYS * 24 * HOUR_MS, EDGE_MS)
    made.run(FILL.format(t="41"))
    with made.connect() as connection:
        kept = Partitions(["streetlight"], 6)
        hours = range(END_MS - DAYS * 24 * HOUR_MS, END_MS + HOUR_MS, HOUR_MS)
        kept.ensure(connection, "streetlight", hours, END_MS)
        for begin, end, every in (
            (END_MS - DAYS * 24 * HOUR_MS, END_MS, "60 min"),
            (END_MS, END_MS + HOT_HOURS * HOUR_MS, "3 min"),
        ):
            connection.execute(
                "INSERT INTO observation_streetlight (device_id, observed_at, voltage) SELECT device_id, at, 220 FROM"
                f" generate_series('{at(begin)}', '{at(end - 1000)}'::timestamptz, interval '{every}') at, device"
                " WHERE kind = 'streetlight'"
            )
        for partition in listed(connection, "streetlight"):
            if partition[1] <= END_MS:
                assert closing.close(connection, "streetlight", partition)
        for partition in rollup_partitions.listed(connection, "rollup_hour_streetlight"):
            assert rollup_partitions.close(connection, KINDS["streetlight"], "hour", partition, EDGE_MS)
        connection.execute("VACUUM ANALYZE")
    yield made
    with psycopg.connect(native_url, autocommit=True) as connection:
        connection.execute("set lock_timeout = '20s'")
        connection.execute(f"drop schema {made.schema} cascade")  # type: ignore[call-overload]
