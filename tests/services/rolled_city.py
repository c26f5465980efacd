"""A city in a schema of its own without broker or ingest: rows stored as a flush stores them, the roller's turns, and
what its rollups should be, worked out in Python from every row.
"""

import math
import random
import threading
from collections import defaultdict
from datetime import UTC, datetime

import msgspec
import numpy as np

from contracts import profiles
from ingest_service.columns import Block, empty_columns
from ingest_service.rollups import Roller
from ingest_service.settings import Database as Settings
from ingest_service.store import arrays, copy_rows, rolling, rollup_marks
from ingest_service.store.connection import Connection, connect
from ingest_service.store.migrate import migrate
from ingest_service.store.partitions import HOUR_MS, Partitions
from ingest_service.store.registration import Manifest, register
from tests.database_fixture import Database

DAY_MS = 24 * HOUR_MS
MIDNIGHT = 1_780_012_800_000  # 2026-05-29 00:00 UTC
TOWNS = ("41280", "41480")
LAMP = msgspec.structs.replace(profiles.load(environ={})["streetlight"], rollups=("minute", "hour", "day"))
KINDS = {"streetlight": LAMP}
NUMBERS = [item.name for item in LAMP.numeric]
COLUMNS = ", ".join(f"{name}_mean, {name}_min::float8, {name}_max::float8, {name}_count" for name in NUMBERS)

Row = tuple[int, int, dict[str, float | None], int]  # device_id, observed_ms, numbers, power_state (-1: null)


class City:
    def __init__(self, database: Database, *, lamps: int = 3, partition_hours: int = 24) -> None:
        self.settings = Settings(url=database.url, schema=database.schema, partition_hours=partition_hours)
        self.database = database
        migrate(self.settings, KINDS)
        devices = [
            {"municipality": town, "device": f"sl-{number}", "kind": "streetlight"}
            for town in TOWNS
            for number in range(lamps)
        ]
        content = {
            "municipalities": [{"code": town, "name": {"ko": "", "en": ""}} for town in TOWNS],
            "devices": devices,
        }
        with self.connect() as connection:
            register(connection, msgspec.convert(content, Manifest))
            found = connection.execute("SELECT device_id, municipality FROM device").fetchall()
        self.town_of = {int(device): str(town) for device, town in found}
        self.devices = sorted(self.town_of)
        self.rows: list[Row] = []
        self._partitions = Partitions(KINDS, partition_hours)
        self._lock = threading.Lock()

    def connect(self, name: str = "test") -> Connection:
        connection = connect(self.settings, name=name)
        arrays.register(connection)
        return connection

    def roller(self, grace_s: int = 0) -> Roller:
        roller = Roller(KINDS, grace_s=grace_s, stopping=threading.Event())
        roller._next_retention = float("inf")  # it goes by the clock
        return roller

    def store(self, connection: Connection, rows: list[Row], *, marks_first: bool = False, hold_s: float = 0.0) -> None:
        """Rows in one transaction, as a flush does it; it stays open for `hold_s`."""
        block = block_of(rows)
        with self._lock:
            hours = np.unique(block.observed_ms // HOUR_MS) * HOUR_MS
            self._partitions.ensure(connection, "streetlight", hours.tolist(), MIDNIGHT)
        with connection.transaction():
            if marks_first:
                rollup_marks.put(connection, [block])
            copy_rows.copy(connection, LAMP, block.device_id, block.observed_ms, block.columns)
            if not marks_first:
                rollup_marks.put(connection, [block])
            if hold_s:
                threading.Event().wait(hold_s)
        with self._lock:
            self.rows += rows

    def forget_partitions(self) -> None:
        self._partitions.forget()

    def turn(self, roller: Roller | None = None) -> None:
        with self.connect("roller") as connection:
            rolling.prepare(connection)
            (roller or self.roller()).turn(connection)

    def stored(self) -> int:
        return int(self.database.rows("SELECT count(*) FROM observation_streetlight")[0][0])

    # What the tables hold, and what they should.

    def rolled(self, tier: str) -> dict[tuple[int, int], tuple]:
        found = self.database.rows(
            f"SELECT device_id, extract(epoch FROM bucket)::bigint * 1000, observations, {COLUMNS}, power_state_last "
            f"FROM rollup_{tier}_streetlight"
        )
        return {(row[0], row[1]): row[2:] for row in found}

    def rolled_towns(self) -> dict[tuple[str, int], tuple]:
        found = self.database.rows(
            f"SELECT municipality, extract(epoch FROM bucket)::bigint * 1000, devices, observations, {COLUMNS} "
            "FROM rollup_municipality_hour_streetlight"
        )
        return {(row[0], row[1]): row[2:] for row in found}

    def assert_rolled(self, until_ms: int) -> None:
        """Every rollup of what lies before `until_ms` (days: before its midnight) is what all the rows give."""
        for tier, width, end in (
            ("minute", 60_000, until_ms),
            ("hour", HOUR_MS, until_ms),
            ("day", DAY_MS, until_ms // DAY_MS * DAY_MS),
        ):
            wanted = defaultdict(list)
            for row in self.rows:
                if row[1] < end:
                    wanted[row[0], row[1] // width * width].append(row)
            same(self.rolled(tier), {key: (*figures(rows), last(rows)) for key, rows in wanted.items()}, tier)
        towns = defaultdict(list)
        for row in self.rows:
            if row[1] < until_ms:
                towns[self.town_of[row[0]], row[1] // HOUR_MS * HOUR_MS].append(row)
        same(
            self.rolled_towns(),
            {key: (len({row[0] for row in rows}), *figures(rows)) for key, rows in towns.items()},
            "towns",
        )


def figures(rows: list[Row]) -> tuple:
    found: list = [len(rows)]
    for name in NUMBERS:
        values = [value for row in rows if (value := row[2][name]) is not None]
        mean = math.fsum(values) / len(values) if values else None
        found += [mean, min(values, default=None), max(values, default=None), len(values)]
    return tuple(found)


def last(rows: list[Row]) -> int | None:
    known = [(row[1], row[3]) for row in rows if row[3] >= 0]
    return max(known)[1] if known else None


def same(found: dict, wanted: dict, what: str) -> None:
    assert found.keys() == wanted.keys(), what
    for key, row in wanted.items():
        for one, other in zip(found[key], row, strict=True):
            close = one == other if one is None or other is None else math.isclose(one, other, rel_tol=1e-12)
            assert close, (what, key, found[key], row)


def random_row(rng: random.Random, device: int, at_ms: int) -> Row:
    numbers = {name: None if rng.random() < 0.2 else float(np.float32(rng.uniform(-3, 300))) for name in NUMBERS}
    return device, at_ms, numbers, rng.choice((-1, 0, 1, 2))


def block_of(rows: list[Row]) -> Block:
    columns = empty_columns(LAMP, len(rows))
    for place, (_, _, numbers, state) in enumerate(rows):
        columns["power_state"][place] = state
        for name, value in numbers.items():
            if value is not None:
                columns[name][place] = value
    device = np.array([row[0] for row in rows], np.int32)
    observed_ms = np.array([row[1] for row in rows], np.int64)
    return Block(
        "streetlight", device, np.zeros(len(rows), np.int64), observed_ms, np.zeros(len(rows), np.int32), columns
    )


def at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
