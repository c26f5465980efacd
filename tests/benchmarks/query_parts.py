# ruff: noqa: E501 - statements and questions read better unbroken
"""What `query` asks besides the map: a device, a municipality, the first of many, the newest of all; each with its check."""

import time
from typing import Any

import numpy as np
import psycopg

from platform_api.queries import fleet, ranked, series
from platform_api.queries.database import Database
from platform_api.queries.ranked import Condition
from tests.benchmarks import month as made
from tests.benchmarks.asking import Api, Asking, Times
from tests.benchmarks.month import EDGE_MS, END_MS, KINDS, TOWNS
from tests.benchmarks.report import Case, Wrong, progress

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NAIVE_S = 300
HAVERSINE = (
    "SELECT d.device_id, 2 * 6371000 * asin(sqrt(sin(radians(d.latitude - {north}) / 2) ^ 2 + cos(radians({north}))"
    " * cos(radians(d.latitude)) * sin(radians(d.longitude - {east}) / 2) ^ 2)) AS metres"
    " FROM device d JOIN newest_parking_spot n USING (device_id) WHERE n.status = 0 ORDER BY metres LIMIT 5"
)


# --- one device


def device(asking: Asking, api: Api) -> list[Case]:
    cases = []
    for name, days, points in (
        ("30 days", 30, 600),
        ("7 days", 7, 600),
        ("3 days, raw", 3, 600),
        ("a day, raw", 1, 600),
    ):
        paths = [_series(asking, asking.device(), days, points) for _ in range(asking.requests)]
        alone, four = api.times(paths), api.times(paths, abreast=4)
        naive = _naive_device(asking) if days == 30 else None
        baseline = ("SQL: hourly mean, min, max over the raw rows", naive) if naive else None
        cases += asking.cases(f"one device, {name}", alone, four, baseline, asking.of)
    for device_id in [int(number) for kind in KINDS for number in asking.ids[asking.kinds == kind][:3]]:
        _check_device(asking, api, device_id)

    async def ask(database: Database, device_id: int) -> object:
        profile = KINDS[str(asking.kinds[device_id - 1])]
        items = list(profile.properties.values())
        asked = series.Buckets(device_id, "hour", 7200, END_MS - 30 * DAY_MS, END_MS, EDGE_MS)
        return await series.series_rollup(database, profile, items, asked)

    return [*cases, asking.at_database("one device, 30 days", ask)]


def _series(asking: Asking, device_id: int, days: int, points: int) -> str:
    return f"/devices/{device_id}/series?from={END_MS - days * DAY_MS}&to={END_MS}&points={points}"


def _check_device(asking: Asking, api: Api, device_id: int) -> None:
    """A month's buckets and a day's rows against numpy."""
    name = {"streetlight": "voltage", "waste_container": "filling_level", "off_street_parking": "available_spot_number"}.get(
        str(asking.kinds[device_id - 1])
    )  # fmt: skip
    slots = np.arange(asking.month.slots)
    answer = api.ask(_series(asking, device_id, 30, 600))
    bucket = (
        (np.array([asking.month.slot_ms(device_id, int(s)) for s in slots]) // (answer["bucket_s"] * 1000))
        * answer["bucket_s"]
        * 1000
    )
    if answer["observed_at"] != np.unique(bucket).tolist():
        raise Wrong(f"device {device_id}: buckets are missing")
    day = api.ask(_series(asking, device_id, 1, 600))
    if day["resolution"] != "raw" or len(day["observed_at"]) != 288:
        raise Wrong(f"device {device_id}: {len(day['observed_at'])} rows of a day")
    if name is None:
        return
    values = made.value(name, np.int64(device_id), slots).astype(np.float32).astype(float)
    if not np.allclose(_known(day["properties"][name]["value"]), values[-288:], rtol=1e-6, equal_nan=True):
        raise Wrong(f"device {device_id}: {name} of a day")
    column = answer["properties"][name]
    for row, begin in enumerate(answer["observed_at"]):
        mine = values[(bucket == begin) & ~np.isnan(values)]
        said = (column["mean"][row], column["min"][row], column["max"][row])
        if not np.allclose(said, (mine.mean(), mine.min(), mine.max()), rtol=1e-5):
            raise Wrong(f"device {device_id}, {name} at {begin}: {said}, not {mine.mean(), mine.min(), mine.max()}")


def _naive_device(asking: Asking) -> Times | None:
    if not asking.naive:
        return None
    found = []
    with asking.connect() as connection:
        for _ in range(10):
            device_id = asking.device()
            kind = str(asking.kinds[device_id - 1])
            numbers = [item.name for item in KINDS[kind].numeric]
            columns = "".join(f", avg({name}), min({name}), max({name})" for name in numbers)
            found.append(_timed(connection, f"SELECT date_trunc('hour', observed_at){columns} FROM observation_{kind}"
                                f" WHERE device_id = {device_id} AND observed_at >= to_timestamp({asking.month.begin_ms // 1000}) GROUP BY 1 ORDER BY 1"))  # fmt: skip
    return Times(found)


# --- a municipality


def municipality(asking: Asking, api: Api) -> list[Case]:
    kinds = [kind for kind in KINDS if KINDS[kind].numeric]
    paths = [
        f"/municipalities/{asking.rng.choice(list(TOWNS))}/series?kind={asking.rng.choice(kinds)}&from={asking.month.begin_ms}&to={END_MS}"
        for _ in range(asking.requests)
    ]
    alone, four = api.times(paths), api.times(paths, abreast=4)
    largest = [f"/municipalities/41280/series?kind=streetlight&from={asking.month.begin_ms}&to={END_MS}"] * min(
        100, asking.requests
    )
    greatest = api.times(largest)
    _check_municipality(asking, api)
    naive = None
    if asking.naive:
        with asking.connect() as connection:
            naive = Times([_timed(connection, "SELECT date_trunc('hour', observed_at), avg(voltage), min(voltage), max(voltage)"
                                  " FROM observation_streetlight JOIN device USING (device_id) WHERE municipality = '41280' GROUP BY 1 ORDER BY 1")])  # fmt: skip
    lights = int(((asking.kinds == "streetlight") & (asking.towns == "41280")).sum())

    async def ask(database: Database, _: int) -> object:
        return await series.municipality_series(
            database, KINDS["streetlight"], KINDS["streetlight"].numeric, "41280",
            width_s=3600, from_at=asking.month.begin_ms, to_at=END_MS, edge=EDGE_MS,
        )  # fmt: skip

    return [
        *asking.cases("a municipality's hourly means of 30 days", alone, four, None, asking.of),
        *asking.cases(
            "the same of the most devices",
            greatest,
            None,
            ("SQL: mean over the raw rows", naive) if naive else None,
            f"{lights:,} streetlights of {asking.of}",
        ),
        asking.at_database("a municipality's hourly means of 30 days, the most devices", ask),
    ]


def _check_municipality(asking: Asking, api: Api) -> None:
    """All hours of a municipality's voltage against numpy, the open one included."""
    answer = api.ask(
        f"/municipalities/41280/series?kind=streetlight&from={asking.month.begin_ms}&to={END_MS}&properties=voltage"
    )
    mine = asking.ids[(asking.kinds == "streetlight") & (asking.towns == "41280")]
    column = answer["properties"]["voltage"]
    if answer["observed_at"] != list(range(asking.month.begin_ms, END_MS, HOUR_MS)):
        raise Wrong("hours of a municipality are missing")
    for hour in range(0, asking.month.slots // 12, 7):
        values = (
            made.value("voltage", mine[:, None], np.arange(hour * 12, hour * 12 + 12)[None, :])
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


def top(asking: Asking, api: Api) -> list[Case]:
    asked = [
        ("waste_container", "filling_level"),
        ("streetlight", "voltage"),
        ("off_street_parking", "available_spot_number"),
    ]
    paths = []
    for _ in range(asking.requests):
        kind, name = asking.rng.choice(asked)
        town = asking.rng.choice(["", *(f"&municipality={code}" for code in TOWNS)])
        paths.append(f"/devices/top?kind={kind}&property={name}&order={asking.rng.choice(['highest', 'lowest'])}{town}")
    alone, four = api.times(paths), api.times(paths, abreast=4)
    answer = api.ask("/devices/top?kind=waste_container&property=filling_level&municipality=41280&limit=50")
    bins = asking.ids[(asking.kinds == "waste_container") & (asking.towns == "41280")]
    levels = made.value("filling_level", bins, np.int64(asking.month.slots - 1))
    if not np.allclose([item["value"] for item in answer["items"]], np.sort(levels)[::-1][:50], rtol=1e-6):
        raise Wrong("the fullest bins are others")

    async def ask(database: Database, _: int) -> object:
        item = KINDS["streetlight"].properties["voltage"]
        return await ranked.top(
            database, KINDS["streetlight"], item, None, municipality=None, lowest=True, since_ms=0, most=20
        )

    return [
        *asking.cases("the first 20 by a property", alone, four, None, asking.of),
        asking.at_database("the first 20 by a property", ask),
    ]


def nearest(asking: Asking, api: Api) -> list[Case]:
    points = [asking.point() for _ in range(asking.requests)]
    paths = [
        f"/devices/nearest?kind=parking_spot&latitude={north}&longitude={east}&having=status=free&limit=5&within_m=5000"
        for north, east in points
    ]
    alone, four = api.times(paths), api.times(paths, abreast=4)
    bays = asking.ids[asking.kinds == "parking_spot"]
    bays = bays[made.value("free", bays, np.int64(asking.month.slots - 1)) == 1]
    latitude, longitude = made.place_of(bays)
    for (north, east), path in list(zip(points, paths, strict=True))[:20]:
        said = [item["distance_m"] for item in api.ask(path)["items"]]
        # on the sphere that fits here: a check of the choice; the formula itself is held against Vincenty elsewhere
        apart = 6_371_000 * np.hypot(
            np.radians(latitude - north), np.radians(longitude - east) * np.cos(np.radians(north))
        )
        if not np.allclose(said, np.sort(apart[apart < 5000])[:5], rtol=0.01):
            raise Wrong(f"nearest to {north}, {east}: {said}, not {np.sort(apart)[:5]}")

    async def ask(database: Database, _: int) -> object:
        north, east = asking.point()
        bay = KINDS["parking_spot"]
        return await ranked.nearest(
            database, bay, None, latitude=north, longitude=east, municipality=None,
            conditions=[Condition(bay.properties["status"], "=", 0)], since_ms=None, within_m=5000, most=5,
        )  # fmt: skip

    with asking.connect() as connection:
        naive = Times([_timed(connection, HAVERSINE.format(north=north, east=east)) for north, east in points[:20]])
    return [
        *asking.cases("the nearest 5 free bays", alone, four, None, asking.of),
        asking.at_database("the nearest 5 free bays", ask, baseline=("SQL: haversine of all bays, sorted", naive)),
    ]


# --- the newest of all


def newest(asking: Asking, _: Api) -> list[Case]:
    """The newest observation of each streetlight, beside DISTINCT ON over its history."""

    async def ask(database: Database, _: int) -> object:
        return await fleet.fleet_newest(database, KINDS["streetlight"], list(TOWNS), None)

    lights = int((asking.kinds == "streetlight").sum())
    naive = None
    if asking.naive:
        with asking.connect() as connection:
            connection.execute(f"SET statement_timeout = '{NAIVE_S}s'".encode())
            began = time.perf_counter()
            try:
                connection.execute("SELECT DISTINCT ON (device_id) * FROM observation_streetlight ORDER BY device_id, observed_at DESC").fetchall()  # fmt: skip
            except psycopg.errors.QueryCanceled:
                progress(f"DISTINCT ON was stopped after {NAIVE_S} s")
            naive = Times([(time.perf_counter() - began) * 1000])
    found = asking.at_database(
        "newest of each streetlight", ask, baseline=("SQL: DISTINCT ON over history", naive) if naive else None
    )
    return [
        Case(
            **{
                **{name: getattr(found, name) for name in found.__struct_fields__},
                "input": f"{lights:,} of {asking.of}",
            }
        )
    ]


def _known(column: list[float | None]) -> np.ndarray[Any, Any]:
    return np.array([np.nan if item is None else item for item in column])


def _timed(connection: Any, statement: str) -> float:
    """Milliseconds of a statement with its rows."""
    began = time.perf_counter()
    connection.execute(statement.encode()).fetchall()
    return (time.perf_counter() - began) * 1000
