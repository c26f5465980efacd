# ruff: noqa: E501 - statements and questions read better unbroken
"""Milliseconds of the API's questions over a province's month: 11,600 devices, an observation each 300 s, 100 million rows.

Why it is hot: a control centre opens a map and expects the city; whoever looks at a lamp expects its month; both while
everything else goes on. Asked over HTTP of `dure api` as it is shipped, signed in, to the last byte; random devices,
municipalities, spans and places. Beside each what a project would write first: DISTINCT ON and aggregates over the raw
rows, a scan for the nearest; beside the map psycopg fetching the same rows.

The rows are made in place (`month`), kept in --place and used again; --fresh makes them anew, --rows fewer of them, --drop
takes them away afterwards. The map has 100,000 devices of its own, of which 1,667 report each second meanwhile. What an
answer says is held against numpy's own computation of the same values.
"""

import argparse
import asyncio
import json
import random
import shutil
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from ingest_service.store.connection import connect
from ingest_service.store.migrate import migrate
from platform_api import passwords
from platform_api.queries import fleet, ranked, series
from platform_api.queries.database import Database
from platform_api.queries.ranked import Condition
from tests.benchmarks import month
from tests.benchmarks.asking import PASSWORD, ROOT, Api, Times, unpacked
from tests.benchmarks.month import BEGIN_MS, EDGE_MS, END_MS, KINDS, PERIOD_S, SLOTS, TOWNS
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import DatabaseProcess

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MAP_DEVICES, MAP_PERIOD_S = 100_000, 60
PARTS = ("map", "device", "municipality", "top", "nearest", "newest")
NAIVE_S = 300
HAVERSINE = (
    "SELECT d.device_id, 2 * 6371000 * asin(sqrt(sin(radians(d.latitude - {north}) / 2) ^ 2 + cos(radians({north}))"
    " * cos(radians(d.latitude)) * sin(radians(d.longitude - {east}) / 2) ^ 2)) AS metres"
    " FROM device d JOIN newest_parking_spot n USING (device_id) WHERE n.status = 0 ORDER BY metres LIMIT 5"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=11_600 * SLOTS, help="observations, about (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=300, help="of each question (default: %(default)s)")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run (default: %(default)s)")
    parser.add_argument(
        "--place", type=Path, default=ROOT / ".dure" / "bench" / "query", help="default: .dure/bench/query"
    )
    parser.add_argument("--fresh", action="store_true", help="make the rows anew")
    parser.add_argument("--drop", action="store_true", help="remove them afterwards (about 10 GB)")
    parser.add_argument("--no-naive", action="store_true", help="leave out what takes minutes: the naive statements")


def run(options: argparse.Namespace) -> list[Case]:
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"--only {options.only}: no part {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    devices = max(100, options.rows // SLOTS)
    if options.fresh:
        shutil.rmtree(options.place, ignore_errors=True)
    server = DatabaseProcess(options.place / "db")
    url = server.start()
    try:
        schema = prepared(url, options.place, devices)
        cases = Questions(url, schema, devices, options).run(chosen)
    finally:
        server.stop()
        if options.drop:
            shutil.rmtree(options.place, ignore_errors=True)
    return cases


def prepared(url: str, place: Path, devices: int) -> str:
    """The schema of the month, made where it is not there yet; and beside it that of the map."""
    schema = f"month_{devices}"
    done = place / f"{schema}.json"
    if not done.exists():
        needed = devices * SLOTS * 100
        if shutil.disk_usage(place).free < needed:
            raise SystemExit(f"./run bench query: {place} needs {needed / 1e9:.0f} GB free; see --rows and --place")
        with psycopg.connect(url, autocommit=True) as connection:
            for name in (schema, "map"):
                connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
        progress(f"making {devices * SLOTS:,} observations of {devices:,} devices")
        took_s = month.build(url, schema, devices)
        migrate(month.settings(url, "map"), KINDS)
        with connect(month.settings(url, "map"), name="map") as connection:
            month.register(connection, MAP_DEVICES)
        for name in (schema, "map"):
            with connect(month.settings(url, name), name="bench") as connection:
                connection.execute(
                    "INSERT INTO account (name, password_hash, role) VALUES ('bench', %s, 'admin')",
                    (passwords.hashed(PASSWORD),),
                )
        done.write_text(json.dumps({"devices": devices, "seconds": round(took_s, 1)}))
        progress(f"made in {took_s:.0f} s")
    return schema


class Questions:
    """The parts, each its cases."""

    def __init__(self, url: str, schema: str, devices: int, options: argparse.Namespace) -> None:
        self.url, self.schema, self.devices, self.options = url, schema, devices, options
        self.rng = random.Random(20261101)
        self.ids = np.arange(1, devices + 1)
        self.kinds, self.towns = month.kind_of(self.ids), month.town_of(self.ids)
        self.of = f"{devices * SLOTS:,} observations of {devices:,} devices in 30 days"

    def run(self, chosen: list[str]) -> list[Case]:
        cases: list[Case] = [*self.sizes()]
        if "map" in chosen:
            cases += self.map_kept() + self.map_anew()
        if set(chosen) - {"map"}:
            with Api(self.url, self.schema) as api:
                for part in ("device", "municipality", "top", "nearest", "newest"):
                    if part in chosen:
                        cases += getattr(self, f"of_{part}")(api)
        return cases

    def sizes(self) -> list[Case]:
        """How many rows there are, and what they take, so that nobody measures an empty table."""
        with self._connect() as connection:
            count, size = 0, 0
            for kind in KINDS:
                for part in connection.execute(
                    "SELECT inhrelid::regclass::text, pg_total_relation_size(inhrelid) FROM pg_inherits"
                    " WHERE inhparent = to_regclass(%s)",
                    (f"observation_{kind}",),
                ).fetchall():
                    size += part[1]
            if self.options.no_naive:
                return [case("observations and their indexes", size / (self.devices * SLOTS), "B/row", of=self.of)]
            for kind in KINDS:
                count += connection.execute(f"SELECT count(*) FROM observation_{kind}".encode()).fetchone()[0]
        if count != self.devices * SLOTS:
            raise Wrong(f"{count:,} observations are there, not {self.devices * SLOTS:,}")
        return [case("observations and their indexes", size / count, "B/row", of=self.of)]

    # --- the map

    def map_kept(self) -> list[Case]:
        """As it is shipped, while devices report."""
        of = f"{MAP_DEVICES:,} devices, {MAP_DEVICES // MAP_PERIOD_S:,} of them reporting each second"
        bare = self._bare_select()
        with Api(self.url, "map") as api, Reporting(self.url):
            first_ms, _, body, _ = api.get("/map")
            self._check_map(api)
            alone = api.times(["/map"] * self.options.requests, pause_s=0.1)
            four = api.times(["/map"] * self.options.requests, abreast=4, pause_s=0.1)
            boxes = [f"/map?bbox={self._box()}" for _ in range(self.options.requests)]
            boxed = api.times(boxes)
            geo_ms = statistics.median(api.get("/devices.geojson")[0] for _ in range(1))
        progress(f"map: first {first_ms:.0f} ms, p95 {alone.share(0.95):.1f} ms, {len(body):,} bytes")
        cases = self._cases("map", alone, four, ("psycopg: SELECT of the same rows, fetchall", bare), of)
        cases.append(
            case(
                "map, first request after the start", first_ms, "ms", against=("GeoJSON, first request", geo_ms), of=of
            )
        )
        cases.append(case("map, sent", len(body) / MAP_DEVICES, "B/device", of=f"{of}; gzip"))
        cases += self._cases("map of a random box of 2 km", boxed, None, None, of)
        return cases

    def map_anew(self) -> list[Case]:
        """Read and written anew for each request, and unchanged."""
        of = f"{MAP_DEVICES:,} devices"
        bare = self._bare_select()
        with Api(self.url, "map", DURE_API_MAP_MAX_AGE_S="0") as api:
            _, _, _, etag = api.get("/map")
            same = Times([api.get("/map", **{"If-None-Match": etag})[0] for _ in range(20)])
            reports = Reporting(self.url)
            found = []
            for _ in range(min(60, self.options.requests)):
                reports.report(MAP_DEVICES // MAP_PERIOD_S)
                found.append(api.get("/map")[0])
            reports.close()
        anew = Times(found)
        cases = self._cases(
            "map made anew for each request, 1,667 devices changed", anew, None, ("psycopg: SELECT of the same rows, fetchall", bare), of
        )  # fmt: skip
        return [*cases, case("map made anew, unchanged: 304, p95", same.share(0.95), "ms", of=of)]

    def _bare_select(self) -> Times:
        """What a project would write: all rows of the map, as psycopg gives them."""
        with connect(month.settings(self.url, "map"), name="bench") as connection:
            found = []
            for _ in range(5):
                began, rows = time.perf_counter(), 0
                for kind, profile in KINDS.items():
                    columns = ", ".join(f"n.{name}" for name in profile.properties)
                    rows += len(
                        connection.execute(
                            f"SELECT d.device_id, d.name, d.municipality, d.agent_id, d.longitude, d.latitude, n.observed_at, {columns}"
                            f" FROM device d LEFT JOIN newest_{kind} n USING (device_id) WHERE d.kind = '{kind}'".encode()
                        ).fetchall()
                    )
                found.append((time.perf_counter() - began) * 1000)
        if rows != MAP_DEVICES:
            raise Wrong(f"{rows:,} devices on the map, not {MAP_DEVICES:,}")
        return Times(found)

    def _check_map(self, api: Api) -> None:
        """Every device is there, in its place; those that did not report since the beginning have the values of numpy."""
        answer = json.loads(unpacked(api.get("/map")[2]))
        seen = 0
        for part in answer["parts"]:
            ids = np.array(part["device_id"])
            seen += len(ids)
            latitude, longitude = month.place_of(ids)
            if not (np.array_equal(part["latitude"], latitude) and np.array_equal(part["longitude"], longitude)):
                raise Wrong(f"{part['kind']} in {part['municipality']}: wrong places")
            if set(month.kind_of(ids)) != {part["kind"]} or set(month.town_of(ids)) != {part["municipality"]}:
                raise Wrong("devices in the wrong part")
            quiet = np.array(part["observed_at"]) < END_MS
            for name, column in part["values"].items():
                if name in ("status", "power_state", "occupied_spot_number"):
                    continue
                said = np.array([np.nan if item is None else item for item in column])[quiet]
                if not np.allclose(said, month.value(name, ids, np.int64(SLOTS - 1))[quiet], atol=1e-9, equal_nan=True):
                    raise Wrong(f"{part['kind']}: {name} is not what was stored")
            alarmed = np.array(part["state"])[ids % 100 == 7]
            expected = np.array(["info", "warning", "critical"])[ids[ids % 100 == 7] // 100 % 3]
            if not np.array_equal(alarmed, expected):
                raise Wrong(f"{part['kind']}: wrong states")
        if seen != MAP_DEVICES:
            raise Wrong(f"the map shows {seen:,} devices")

    def _box(self) -> str:
        south = 37.4 + self.rng.randrange(5) * 0.15 + self.rng.uniform(0, 0.08)
        west = 126.7 + self.rng.uniform(0, 0.08)
        return f"{west:.5f},{south:.5f},{west + 0.0226:.5f},{south + 0.018:.5f}"

    # --- one device

    def of_device(self, api: Api) -> list[Case]:
        cases = []
        for name, days, points in (
            ("30 days", 30, 600),
            ("7 days", 7, 600),
            ("3 days, raw", 3, 600),
            ("a day, raw", 1, 600),
        ):
            paths = [
                self._series(self.rng.randrange(1, self.devices + 1), days, points)
                for _ in range(self.options.requests)
            ]
            alone, four = api.times(paths), api.times(paths, abreast=4)
            naive = self._naive_device() if days == 30 else None
            baseline = ("SQL: hourly mean, min, max over the raw rows", naive) if naive else None
            cases += self._cases(f"one device, {name}", alone, four, baseline, self.of)
        for device_id in [int(number) for kind in KINDS for number in self.ids[self.kinds == kind][:3]]:
            self._check_device(api, device_id)

        async def ask(database: Database, device_id: int) -> object:
            profile = KINDS[str(self.kinds[device_id - 1])]
            items = list(profile.properties.values())
            asked = series.Buckets(device_id, "hour", 7200, END_MS - 30 * DAY_MS, END_MS, EDGE_MS)
            return await series.series_rollup(database, profile, items, asked)

        return [*cases, self._at_database("one device, 30 days", ask)]

    def _series(self, device_id: int, days: int, points: int) -> str:
        return f"/devices/{device_id}/series?from={END_MS - days * DAY_MS}&to={END_MS}&points={points}"

    def _check_device(self, api: Api, device_id: int) -> None:
        """A month's buckets and a day's rows against numpy."""
        name = {"streetlight": "voltage", "waste_container": "filling_level", "off_street_parking": "available_spot_number"}.get(
            str(self.kinds[device_id - 1])
        )  # fmt: skip
        slots = np.arange(SLOTS)
        answer = api.ask(self._series(device_id, 30, 600))
        bucket = (
            (np.array([month.slot_ms(device_id, int(s)) for s in slots]) // (answer["bucket_s"] * 1000))
            * answer["bucket_s"]
            * 1000
        )
        if answer["observed_at"] != np.unique(bucket).tolist():
            raise Wrong(f"device {device_id}: buckets are missing")
        day = api.ask(self._series(device_id, 1, 600))
        if day["resolution"] != "raw" or len(day["observed_at"]) != 288:
            raise Wrong(f"device {device_id}: {len(day['observed_at'])} rows of a day")
        if name is None:
            return
        values = month.value(name, np.int64(device_id), slots).astype(np.float32).astype(float)
        if not np.allclose(_known(day["properties"][name]["value"]), values[-288:], rtol=1e-6, equal_nan=True):
            raise Wrong(f"device {device_id}: {name} of a day")
        column = answer["properties"][name]
        for row, begin in enumerate(answer["observed_at"]):
            mine = values[(bucket == begin) & ~np.isnan(values)]
            said = (column["mean"][row], column["min"][row], column["max"][row])
            if not np.allclose(said, (mine.mean(), mine.min(), mine.max()), rtol=1e-5):
                raise Wrong(f"device {device_id}, {name} at {begin}: {said}, not {mine.mean(), mine.min(), mine.max()}")

    def _naive_device(self) -> Times | None:
        if self.options.no_naive:
            return None
        found = []
        with self._connect() as connection:
            for _ in range(10):
                device_id = self.rng.randrange(1, self.devices + 1)
                kind = str(self.kinds[device_id - 1])
                numbers = [item.name for item in KINDS[kind].numeric]
                columns = "".join(f", avg({name}), min({name}), max({name})" for name in numbers)
                found.append(_timed(connection, f"SELECT date_trunc('hour', observed_at){columns} FROM observation_{kind}"
                                    f" WHERE device_id = {device_id} AND observed_at >= to_timestamp({BEGIN_MS // 1000}) GROUP BY 1 ORDER BY 1"))  # fmt: skip
        return Times(found)

    # --- a municipality

    def of_municipality(self, api: Api) -> list[Case]:
        kinds = [kind for kind in KINDS if KINDS[kind].numeric]
        paths = [
            f"/municipalities/{self.rng.choice(list(TOWNS))}/series?kind={self.rng.choice(kinds)}&from={BEGIN_MS}&to={END_MS}"
            for _ in range(self.options.requests)
        ]
        alone, four = api.times(paths), api.times(paths, abreast=4)
        largest = [f"/municipalities/41280/series?kind=streetlight&from={BEGIN_MS}&to={END_MS}"] * min(
            100, self.options.requests
        )
        greatest = api.times(largest)
        self._check_municipality(api)
        naive = None
        if not self.options.no_naive:
            with self._connect() as connection:
                naive = Times([_timed(connection, "SELECT date_trunc('hour', observed_at), avg(voltage), min(voltage), max(voltage)"
                                      " FROM observation_streetlight JOIN device USING (device_id) WHERE municipality = '41280' GROUP BY 1 ORDER BY 1")])  # fmt: skip
        lights = int(((self.kinds == "streetlight") & (self.towns == "41280")).sum())

        async def ask(database: Database, _: int) -> object:
            return await series.municipality_series(
                database, KINDS["streetlight"], KINDS["streetlight"].numeric, "41280",
                width_s=3600, from_at=BEGIN_MS, to_at=END_MS, edge=EDGE_MS,
            )  # fmt: skip

        return [
            *self._cases("a municipality's hourly means of 30 days", alone, four, None, self.of),
            *self._cases(
                "the same of the most devices",
                greatest,
                None,
                ("SQL: mean over the raw rows", naive) if naive else None,
                f"{lights:,} streetlights of {self.of}",
            ),
            self._at_database("a municipality's hourly means of 30 days, the most devices", ask),
        ]

    def _check_municipality(self, api: Api) -> None:
        """All hours of a municipality's voltage against numpy, the open one included."""
        answer = api.ask(
            f"/municipalities/41280/series?kind=streetlight&from={BEGIN_MS}&to={END_MS}&properties=voltage"
        )
        mine = self.ids[(self.kinds == "streetlight") & (self.towns == "41280")]
        column = answer["properties"]["voltage"]
        if answer["observed_at"] != list(range(BEGIN_MS, END_MS, HOUR_MS)):
            raise Wrong("hours of a municipality are missing")
        for hour in range(0, SLOTS // 12, 7):
            values = (
                month.value("voltage", mine[:, None], np.arange(hour * 12, hour * 12 + 12)[None, :])
                .astype(np.float32)
                .astype(float)
            )
            values = values[~np.isnan(values)]
            said = (column["mean"][hour], column["min"][hour], column["max"][hour])
            if not np.allclose(said, (values.mean(), values.min(), values.max()), rtol=1e-5):
                raise Wrong(f"41280, hour {hour}: {said}, not {values.mean(), values.min(), values.max()}")
            if (answer["devices"][hour], answer["observations"][hour]) != (len(mine), 12 * len(mine)):
                raise Wrong(f"41280, hour {hour}: {answer['devices'][hour]} devices")

    # --- the first of many

    def of_top(self, api: Api) -> list[Case]:
        asked = [
            ("waste_container", "filling_level"),
            ("streetlight", "voltage"),
            ("off_street_parking", "available_spot_number"),
        ]
        paths = []
        for _ in range(self.options.requests):
            kind, name = self.rng.choice(asked)
            town = self.rng.choice(["", *(f"&municipality={code}" for code in TOWNS)])
            paths.append(
                f"/devices/top?kind={kind}&property={name}&order={self.rng.choice(['highest', 'lowest'])}{town}"
            )
        alone, four = api.times(paths), api.times(paths, abreast=4)
        answer = api.ask("/devices/top?kind=waste_container&property=filling_level&municipality=41280&limit=50")
        bins = self.ids[(self.kinds == "waste_container") & (self.towns == "41280")]
        levels = month.value("filling_level", bins, np.int64(SLOTS - 1))
        if not np.allclose([item["value"] for item in answer["items"]], np.sort(levels)[::-1][:50], rtol=1e-6):
            raise Wrong("the fullest bins are others")

        async def ask(database: Database, _: int) -> object:
            item = KINDS["streetlight"].properties["voltage"]
            return await ranked.top(
                database, KINDS["streetlight"], item, None, municipality=None, lowest=True, since_ms=0, most=20
            )

        return [
            *self._cases("the first 20 by a property", alone, four, None, self.of),
            self._at_database("the first 20 by a property", ask),
        ]

    def of_nearest(self, api: Api) -> list[Case]:
        points = [self._point() for _ in range(self.options.requests)]
        paths = [
            f"/devices/nearest?kind=parking_spot&latitude={north}&longitude={east}&having=status=free&limit=5&within_m=5000"
            for north, east in points
        ]
        alone, four = api.times(paths), api.times(paths, abreast=4)
        bays = self.ids[self.kinds == "parking_spot"]
        bays = bays[month.value("free", bays, np.int64(SLOTS - 1)) == 1]
        latitude, longitude = month.place_of(bays)
        for (north, east), path in list(zip(points, paths, strict=True))[:20]:
            said = [item["distance_m"] for item in api.ask(path)["items"]]
            # on the sphere that fits here: a check of the choice; the formula itself is held against Vincenty elsewhere
            apart = 6_371_000 * np.hypot(
                np.radians(latitude - north), np.radians(longitude - east) * np.cos(np.radians(north))
            )
            if not np.allclose(said, np.sort(apart[apart < 5000])[:5], rtol=0.01):
                raise Wrong(f"nearest to {north}, {east}: {said}, not {np.sort(apart)[:5]}")

        async def ask(database: Database, _: int) -> object:
            north, east = self._point()
            bay = KINDS["parking_spot"]
            return await ranked.nearest(
                database, bay, None, latitude=north, longitude=east, municipality=None,
                conditions=[Condition(bay.properties["status"], "=", 0)], since_ms=None, within_m=5000, most=5,
            )  # fmt: skip

        with self._connect() as connection:
            naive = Times([_timed(connection, HAVERSINE.format(north=north, east=east)) for north, east in points[:20]])
        return [
            *self._cases("the nearest 5 free bays", alone, four, None, self.of),
            self._at_database("the nearest 5 free bays", ask, against=("SQL: haversine of all bays, sorted", naive)),
        ]

    def _point(self) -> tuple[float, float]:
        north = 37.4 + self.rng.randrange(5) * 0.15 + self.rng.uniform(0, 0.1)
        return round(north, 6), round(126.7 + self.rng.uniform(0, 0.1), 6)

    # --- the newest of all

    def of_newest(self, _: Api) -> list[Case]:
        """The newest observation of each streetlight, beside DISTINCT ON over its history."""

        async def ask(database: Database, _: int) -> object:
            return await fleet.fleet_newest(database, KINDS["streetlight"], list(TOWNS), None)

        lights = int((self.kinds == "streetlight").sum())
        naive = None
        if not self.options.no_naive:
            with self._connect() as connection:
                connection.execute(f"SET statement_timeout = '{NAIVE_S}s'".encode())
                began = time.perf_counter()
                try:
                    connection.execute("SELECT DISTINCT ON (device_id) * FROM observation_streetlight ORDER BY device_id, observed_at DESC").fetchall()  # fmt: skip
                except psycopg.errors.QueryCanceled:
                    progress(f"DISTINCT ON was stopped after {NAIVE_S} s")
                naive = Times([(time.perf_counter() - began) * 1000])
        found = self._at_database(
            "newest of each streetlight", ask, against=("SQL: DISTINCT ON over history", naive) if naive else None
        )
        return [
            Case(
                **{
                    **{name: getattr(found, name) for name in found.__struct_fields__},
                    "input": f"{lights:,} of {self.of}",
                }
            )
        ]

    # --- shared

    def _cases(
        self, name: str, alone: Times, four: Times | None, baseline: tuple[str, Times] | None, of: str
    ) -> list[Case]:
        """p50, p95 and p99 of a question at the API; p95 beside its baseline, and with four asking at once."""
        against = (baseline[0], baseline[1].share(0.5)) if baseline else None
        progress(f"{name}: p50 {alone.share(0.5):.1f}, p95 {alone.share(0.95):.1f} ms")
        found = [
            case(f"{name}, p95", alone.share(0.95), "ms", against=against, of=f"{of}; {len(alone.ms)} requests"),
            case(f"{name}, p50", alone.share(0.5), "ms", of=of),
            case(f"{name}, p99", alone.share(0.99), "ms", of=of),
        ]
        if four:
            found.append(case(f"{name}, 4 at once, p95", four.share(0.95), "ms", of=f"{of}; {len(four.ms)} requests"))
        return found

    def _at_database(
        self, name: str, ask: Callable[[Database, int], Awaitable[object]], against: tuple[str, Times] | None = None
    ) -> Case:
        """p95 of the statement alone, by its typed function."""

        async def run() -> Times:
            database = Database(self.url, self.schema, size=2, statement_timeout_s=60)
            await database.open()
            found = []
            try:
                for _ in range(min(100, self.options.requests)):
                    device_id = self.rng.randrange(1, self.devices + 1)
                    began = time.perf_counter()
                    await ask(database, device_id)
                    found.append((time.perf_counter() - began) * 1000)
            finally:
                await database.close()
            return Times(found)

        times = asyncio.run(run())
        beside = (against[0], against[1].share(0.5)) if against else None
        return case(f"{name}, at the database, p95", times.share(0.95), "ms", against=beside, of=self.of)

    def _connect(self) -> Any:
        return connect(month.settings(self.url, self.schema), name="bench")


class Reporting:
    """Devices of the map that report, each once a minute, as a worker writes it."""

    def __init__(self, url: str) -> None:
        self._connection = connect(month.settings(url, "map"), name="reporting")
        self._stopping, self._at = threading.Event(), 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def report(self, devices: int) -> None:
        """The next `devices` in turn."""
        first, self._at = self._at, (self._at + devices) % MAP_DEVICES
        for kind, formulas in month.FORMULAS.items():
            name, formula = next((n, f) for n, f in formulas.items() if n != "power_state")
            self._connection.execute(
                f"UPDATE newest_{kind} SET observed_at = to_timestamp({END_MS // 1000 + PERIOD_S} + extract(epoch FROM now())::bigint % 86400), as_of = now(),"
                f" {name} = {formula} FROM (SELECT {SLOTS} + floor(random() * 100)::int AS s) slot"
                f" WHERE device_id > {first} AND device_id <= {first + devices}".encode()
            )

    def __enter__(self) -> "Reporting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.close()

    def close(self) -> None:
        self._connection.close()

    def _run(self) -> None:
        while not self._stopping.wait(1.0):
            self.report(MAP_DEVICES // MAP_PERIOD_S)


def _known(column: list[float | None]) -> np.ndarray[Any, Any]:
    return np.array([np.nan if item is None else item for item in column])


def _timed(connection: Any, statement: str) -> float:
    """Milliseconds of a statement with its rows."""
    began = time.perf_counter()
    connection.execute(statement.encode()).fetchall()
    return (time.perf_counter() - began) * 1000
