"""Each of the API's reads is answered by the index that its file names, and reads no big table from end to end.

The plans are PostgreSQL's own, of the typed functions' statements, on data that leaves it a choice. Dropping the index
turns the check red: `test_without_its_index_the_check_is_red`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contracts import profiles
from platform_api.queries import alarms, devices, fleet, ranked, series
from platform_api.queries.alarms import ALL, Filters
from platform_api.queries.database import Database
from platform_api.queries.ranked import Condition
from tests.services.api_fixture import City
from tests.services.plans_fixture import DAYS, EDGE_MS, END_MS, HOUR_MS, Plan, explaining, province

__all__ = ["province"]

KINDS = profiles.load()
LIGHT, BAY = KINDS["streetlight"], KINDS["parking_spot"]
VOLTAGE = [LIGHT.properties["voltage"]]
DAY_MS = 24 * HOUR_MS
TOWN = "41007"
BIG = {"observation_streetlight", "rollup_hour_streetlight", "rollup_municipality_hour_streetlight", "device", "alarm"}

Question = Callable[[Database], Awaitable[Any]]


def raw(from_ms: int, to_ms: int) -> Question:
    return lambda database: series.series_raw(database, LIGHT, VOLTAGE, 20, from_ms, to_ms, 5000)


def rolled(from_ms: int, to_ms: int, edge_ms: int) -> Question:
    asked = series.Buckets(20, "hour", 3600, from_ms, to_ms, edge_ms)
    return lambda database: series.series_rollup(database, LIGHT, VOLTAGE, asked)


def municipality_hours(to_ms: int) -> Question:
    return lambda database: series.municipality_series(
        database, LIGHT, VOLTAGE, TOWN, width_s=3600, from_at=END_MS - 30 * DAY_MS, to_at=to_ms, edge=EDGE_MS
    )


def nearest(permitted: list[str] | None) -> Question:
    return lambda database: ranked.nearest(
        database, BAY, permitted, latitude=35.75, longitude=126.05, municipality=None,
        conditions=[Condition(BAY.properties["status"], "=", 0)], since_ms=None, within_m=500.0, most=3,
    )  # fmt: skip


def top(permitted: list[str] | None, municipality: str | None = None) -> Question:
    return lambda database: ranked.top(
        database, LIGHT, VOLTAGE[0], permitted, municipality=municipality, lowest=False, since_ms=0, most=10
    )


BOX = (126.02, 35.72, 126.03, 35.73)
# statement, question, indexes that it has to use, tables that it may read whole
CASES: list[tuple[str, Question, set[str], set[str]]] = [
    ("series_raw", raw(END_MS - 3 * DAY_MS, END_MS - DAY_MS), {"observation_streetlight_device"}, set()),
    ("series_raw", raw(END_MS + HOUR_MS, END_MS + 4 * HOUR_MS), {"observation_streetlight_hot"}, set()),
    (
        "series_rollup",
        rolled(END_MS - DAYS * DAY_MS, EDGE_MS, EDGE_MS),
        {"rollup_hour_streetlight_pkey"},
        set(),
    ),
    (
        "series_rollup",
        rolled(END_MS - DAYS * DAY_MS, EDGE_MS + HOUR_MS, EDGE_MS),
        {"rollup_hour_streetlight_pkey", "observation_streetlight_hot"},
        set(),
    ),
    (
        "municipality_series",
        municipality_hours(EDGE_MS),
        {"rollup_municipality_hour_streetlight_pkey"},
        set(),
    ),
    (
        "municipality_series",
        municipality_hours(EDGE_MS + HOUR_MS),
        {"rollup_municipality_hour_streetlight_pkey", "device_town", "observation_streetlight_time"},
        set(),
    ),
    (
        "series_rollup_late",
        lambda database: series.series_rollup_late(
            database,
            LIGHT,
            VOLTAGE,
            series.Buckets(20, "hour", 3600, END_MS - DAYS * DAY_MS, EDGE_MS + HOUR_MS, EDGE_MS),
        ),
        {"rollup_hour_streetlight_pkey", "observation_streetlight_hot", "observation_streetlight_device"},
        set(),
    ),
    (
        "series_edge",
        lambda database: series.series_edge(database, "streetlight", "hour", 20, END_MS - DAY_MS, EDGE_MS),
        set(),
        set(),
    ),
    ("top", top(None), set(), {"newest_streetlight"}),
    ("top", top([TOWN]), {"device_town"}, {"newest_streetlight"}),
    ("nearest", nearest(None), {"device_place", "newest_parking_spot_pkey"}, set()),
    ("nearest", nearest([TOWN]), {"device_place", "newest_parking_spot_pkey"}, set()),
    ("device_features", lambda d: devices.device_features(d, LIGHT, None, None, BOX), {"device_place"}, set()),
    (
        "device_features",
        lambda d: devices.device_features(d, LIGHT, [TOWN], None, None),
        {"device_town"},
        {"newest_streetlight"},
    ),
    ("devices", lambda d: devices.devices(d, KINDS, [TOWN], device_ids=[8], page=1), {"device_pkey"}, set()),
    ("fleet_registry", lambda d: fleet.fleet_registry(d, 11_990), {"device_change"}, set()),
    ("fleet_places", lambda d: fleet.fleet_places(d, "streetlight", [TOWN]), {"device_town"}, set()),
    ("fleet_alarms", lambda d: fleet.fleet_alarms(d, [TOWN]), {"alarm_state"}, set()),
    ("fleet_newest", lambda d: fleet.fleet_newest(d, LIGHT, [TOWN], None), {"device_town"}, {"newest_streetlight"}),
    ("alarms", lambda d: alarms.alarms(d, [TOWN], Filters(), states=["open"]), {"alarm_state"}, {"agent"}),
    ("alarms", lambda d: alarms.alarms(d, None, ALL, alarm_ids=[5]), {"alarm_pkey"}, set()),
    ("alarms", lambda d: alarms.alarms(d, None, Filters(member_of=7, folded=True)), {"alarm_parent"}, {"device"}),
    ("alarms", lambda d: alarms.alarms(d, None, Filters(device_id=30, folded=True)), {"alarm_device"}, set()),
    ("alarm_events", lambda d: alarms.alarm_events(d, 5, 100), {"alarm_event_alarm"}, set()),
]  # fmt: skip
IDS = [f"{name}-{place}" for place, (name, *_) in enumerate(CASES)]


def faults(plan: Plan, wanted: set[str], may_read_whole: set[str]) -> list[str]:
    """What is wrong with a plan."""
    lacking = sorted(wanted - plan.indexes())
    whole = sorted((plan.read_whole() & (BIG | {"newest_streetlight", "newest_parking_spot"})) - may_read_whole)
    return [f"{plan.name} does not use {name}, but {sorted(plan.indexes())}" for name in lacking] + [
        f"{plan.name} reads {name} whole" for name in whole
    ]


@pytest.mark.parametrize(("name", "question", "wanted", "whole"), CASES, ids=IDS)
async def test_a_read_uses_the_index_that_it_names(
    province: City, name: str, question: Question, wanted: set[str], whole: set[str]
) -> None:
    async with explaining(province) as database:
        await question(database)
        assert faults(database.plan(name), wanted, whole) == []


@pytest.mark.parametrize(
    ("index", "restored", "case"),
    [
        ("device_place", "CREATE INDEX device_place ON device USING gist (point(longitude, latitude))", "nearest-10"),
        ("device_town", "CREATE INDEX device_town ON device (municipality, kind, device_id)", "top-9"),
        ("device_change", "CREATE INDEX device_change ON device (change)", "fleet_registry-15"),
        ("alarm_state", "CREATE INDEX alarm_state ON alarm (state, municipality, alarm_id)", "fleet_alarms-17"),
    ],
)
async def test_without_its_index_the_check_is_red(province: City, index: str, restored: str, case: str) -> None:
    name, question, wanted, whole = CASES[IDS.index(case)]
    province.run(f"DROP INDEX {index}")
    try:
        async with explaining(province) as database:
            await question(database)
            assert faults(database.plan(name), wanted, whole) != []
    finally:
        province.run(restored)
        province.run("ANALYZE device")


async def test_without_its_bloom_filter_the_open_hours_of_a_device_are_seen_to_be_those_of_the_fleet(
    province: City,
) -> None:
    name, question, wanted, whole = CASES[1]
    index = "observation_streetlight_p2025110800_hot"
    (definition,) = province.run("SELECT indexdef FROM pg_indexes WHERE indexname = %s", index)[0]
    province.run(f"DROP INDEX {index}")
    try:
        async with explaining(province) as database:
            await question(database)
            assert faults(database.plan(name), wanted, whole) != []
    finally:
        province.run(definition)


async def test_a_partition_without_its_index_is_seen(province: City) -> None:
    """The seeded violation for partitions: one of those that are read has lost its index."""
    name, question, *_ = CASES[0]
    index = "observation_streetlight_p2025110606_device"
    async with explaining(province) as database:
        await question(database)
        every = database.plan(name).partitions()
        assert len(every) == 8  # two days
        assert index in every
        province.run(f"DROP INDEX {index}")
        try:
            await question(database)
            assert database.plan(name).partitions() == every - {index}
        finally:
            province.run(f"CREATE INDEX {index} ON {index.removesuffix('_device')} (device_id)")
