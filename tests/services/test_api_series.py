# ruff: noqa: E501 - tables of seeded rows read better unbroken
"""One device's series: resolution, extremes, gaps, and devices that report changes only."""

from typing import Any

import pytest

from platform_api.models.series import Series
from tests.services.api_fixture import NOON, City, city, client_of, problem

__all__ = ["city"]

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MORNING = NOON // DAY * DAY  # 2025-10-09 00:00 UTC


@pytest.fixture(scope="module", autouse=True)
def observed(city: City) -> None:
    """Device 9001, a report a minute for three days, but 90 minutes missing; one extreme value; then hourly rollups of 40 days."""
    city.partition("streetlight", "2025-09-01", "2025-11-01")
    city.partition("off_street_parking", "2025-10-01", "2025-11-01")
    city.run(
        "INSERT INTO observation_streetlight (device_id, observed_at, power_state, voltage, power_consumption)"
        " SELECT 9001, at, CASE WHEN extract(hour FROM at) < 12 THEN 0 ELSE 1 END,"
        "  CASE WHEN at = '2025-10-08 07:13' THEN 399 ELSE 220 + extract(minute FROM at) / 60 END,"
        "  CASE WHEN extract(minute FROM at) = 30 THEN null ELSE 70.1 END"
        " FROM generate_series('2025-10-07'::timestamptz, '2025-10-09 23:59', '1 minute') at"
        " WHERE NOT (at > '2025-10-09 03:00' AND at < '2025-10-09 04:30')"
    )
    city.run("UPDATE newest_streetlight SET observed_at = '2025-10-09 23:59' WHERE device_id = 9001")
    # What ingest's roller would have made, up to the watermark; the hour before it is marked as not up to date.
    city.make_rollup_partitions("streetlight", 1_755_648_000_000, 1_760_054_400_000)  # August 20 to October 10
    for unit in ("hour", "day"):
        city.run(
            f"INSERT INTO {city.held_in(f'rollup_{unit}_streetlight')} (device_id, bucket, observations, power_state_last, voltage_mean, voltage_min, voltage_max,"
            f" power_consumption_mean, power_consumption_min, power_consumption_max)"
            f" SELECT device_id, date_trunc('{unit}', observed_at), count(*), (array_agg(power_state ORDER BY observed_at DESC))[1],"
            f" avg(voltage), min(voltage), max(voltage), avg(power_consumption), min(power_consumption), max(power_consumption)"
            f" FROM observation_streetlight WHERE observed_at < '2025-10-09 12:00' GROUP BY 1, 2"
        )
    city.run(
        f"INSERT INTO {city.held_in('rollup_hour_streetlight')} (device_id, bucket, observations, power_state_last, voltage_mean, voltage_min, voltage_max)"
        " SELECT 9001, at, 60, 1, 225, 210, 240 FROM generate_series('2025-08-20'::timestamptz, '2025-10-06 23:00', '1 hour') at"
    )
    city.run("INSERT INTO rollup_watermark VALUES ('streetlight', '2025-10-09 12:00')")


async def series(city: City, device_id: int = 9001, raw_span_h: int = 72, **parameters: object) -> dict[str, Any]:
    async with client_of(city, "operator", raw_span_h=raw_span_h) as client:
        answer = await client.get(f"/api/v1/devices/{device_id}/series", params=parameters)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    assert Series.model_validate(shown).model_dump(mode="json", by_alias=True) == shown  # as the interface says
    count = len(shown["observed_at"])
    assert shown["observed_at"] == sorted(shown["observed_at"])
    assert count <= int(str(parameters.get("points", 600)))
    for columns in shown["properties"].values():
        assert all(len(column) == count for column in columns.values() if column is not None)
    return shown


def nulls(shown: dict[str, Any]) -> list[int]:
    """Times of the rows in which every property is null: gaps."""
    columns = [column for item in shown["properties"].values() for column in item.values() if column is not None]
    return [at for index, at in enumerate(shown["observed_at"]) if all(column[index] is None for column in columns)]


async def test_an_hour_is_shown_raw_with_names_of_states_and_nulls_kept(city: City) -> None:
    shown = await series(city, **{"from": MORNING + 11 * HOUR + 30 * MINUTE, "to": MORNING + 12 * HOUR + 30 * MINUTE})
    assert (shown["resolution"], shown["bucket_s"], shown["gap_after_s"], shown["reports"]) == (
        "raw",
        None,
        180,
        "period",
    )
    assert len(shown["observed_at"]) == 60
    assert shown["properties"]["power_state"]["value"][:30] == ["off"] * 30
    assert shown["properties"]["power_state"]["value"][30:] == ["on"] * 30
    power = shown["properties"]["power_consumption"]["value"]
    assert power[0] is None
    assert power[1] == 70.1
    assert nulls(shown) == []
    assert shown["as_of"] == MORNING + 23 * HOUR + 59 * MINUTE


async def test_a_gap_is_a_row_of_nulls_in_raw_and_in_buckets(city: City) -> None:
    raw = await series(city, **{"from": MORNING, "to": MORNING + 6 * HOUR})
    assert raw["resolution"] == "raw"
    assert nulls(raw) == [MORNING + 3 * HOUR + 3 * MINUTE]
    hours = await series(city, **{"from": MORNING - 2 * DAY, "to": MORNING + DAY, "points": 300})
    assert (hours["resolution"], hours["bucket_s"]) == ("hour", 3600)
    assert nulls(hours) == []  # each hour has observations


async def test_extremes_survive_thinning_and_rolling_up(city: City) -> None:
    for points in (600, 300, 60, 10):
        shown = await series(
            city, **{"from": MORNING - 2 * DAY, "to": MORNING, "points": points, "properties": "voltage"}
        )
        voltage = shown["properties"]["voltage"]
        highest = voltage["value"] or voltage["max"]
        assert max(value for value in highest if value is not None) == 399, points


async def test_a_month_comes_from_hour_rollups_and_the_open_tail_from_observations(city: City) -> None:
    shown = await series(
        city, **{"from": MORNING - 30 * DAY, "to": MORNING + DAY, "points": 1000, "properties": "voltage,power_state"}
    )
    assert (shown["resolution"], shown["bucket_s"]) == ("hour", 3600)
    at = {time: index for index, time in enumerate(shown["observed_at"])}
    voltage = shown["properties"]["voltage"]
    assert voltage["mean"][at[MORNING - 10 * DAY]] == 225
    tail = at[MORNING + 20 * HOUR]  # beyond the watermark: worked out now
    assert voltage["mean"][tail] == pytest.approx(220 + 29.5 / 60, abs=1e-3)
    assert (voltage["min"][tail], voltage["max"][tail]) == (220, pytest.approx(220 + 59 / 60, abs=1e-3))
    assert shown["properties"]["power_state"]["value"][tail] == "on"
    assert len(shown["observed_at"]) == 31 * 24


async def test_an_hour_whose_rollup_is_not_up_to_date_is_worked_out_from_observations(city: City) -> None:
    span = {"from": MORNING - 5 * DAY, "to": MORNING + DAY, "points": 200, "properties": "voltage"}
    city.run(
        f"UPDATE {city.held_in('rollup_hour_streetlight')} SET voltage_max = 999 WHERE device_id = 9001 AND bucket = '2025-10-08 07:00'"
    )
    try:
        stale = await series(city, **span)
        city.run("INSERT INTO rollup_due (kind, hour) VALUES ('streetlight', '2025-10-08 07:00')")
        fresh = await series(city, **span)
    finally:
        city.run("DELETE FROM rollup_due")
        city.run(
            f"UPDATE {city.held_in('rollup_hour_streetlight')} SET voltage_max = 399 WHERE device_id = 9001 AND bucket = '2025-10-08 07:00'"
        )
    at = MORNING - DAY + 7 * HOUR
    assert stale["properties"]["voltage"]["max"][stale["observed_at"].index(at)] == 999
    assert fresh["properties"]["voltage"]["max"][fresh["observed_at"].index(at)] == 399
    assert fresh["observed_at"] == stale["observed_at"]


async def test_rollups_serve_where_observations_are_gone(city: City) -> None:
    shown = await series(
        city, **{"from": MORNING - 4 * DAY, "to": MORNING - DAY, "properties": "voltage"}
    )  # raw starts two days before
    assert shown["resolution"] != "raw"
    hours = await series(city, **{"from": MORNING - 40 * DAY, "to": MORNING - 30 * DAY})
    assert hours["resolution"] == "hour"
    assert len(hours["observed_at"]) == 240


async def test_points_bound_the_answer_whatever_is_asked(city: City) -> None:
    for points in (10, 11, 37, 100, 599):
        for days in (0.01, 0.3, 1, 3, 9, 40, 4000):
            begin = MORNING + DAY - int(days * DAY)
            await series(city, **{"from": begin, "to": MORNING + DAY, "points": points})  # asserts the bound itself


async def test_a_device_that_never_spoke_has_an_empty_series(city: City) -> None:
    shown = await series(city, 9002, **{"from": MORNING, "to": MORNING + DAY})
    assert shown["observed_at"] == []
    assert shown["properties"]["voltage"]["value"] == []


async def test_alarms_that_overlap_the_span_come_along(city: City) -> None:
    inside = await series(city, **{"from": NOON - HOUR, "to": NOON + HOUR})
    assert [alarm["alarm_id"] for alarm in inside["alarms"]] == [990002, 990001]
    before = await series(city, **{"from": NOON - 2 * HOUR, "to": NOON - HOUR})
    assert before["alarms"] == []
    after = await series(city, **{"from": NOON + HOUR, "to": NOON + 2 * HOUR})
    assert [alarm["alarm_id"] for alarm in after["alarms"]] == [990002, 990001]  # still active


async def test_wrong_spans_and_properties_are_refused(city: City) -> None:
    async with client_of(city) as client:
        for wrong in ({"from": NOON, "to": NOON}, {"to": 10**18}, {"points": 5}, {"properties": "mood"}, {"from": -1}):
            problem(await client.get("/api/v1/devices/9001/series", params=wrong), 422)


@pytest.fixture(scope="module")
def garages(city: City) -> None:
    """A recording: an agent polls every 5 (at night 15) minutes and passes on changes; 135 minutes are lost for all."""
    city.run("INSERT INTO agent (agent_id, municipality, name, replay) VALUES (9200, '41480', 'garages', true)")
    city.run(
        "INSERT INTO device (device_id, municipality, name, kind, agent_id, attributes)"
        " SELECT 9200 + n, '41480', 'garage-' || n, 'off_street_parking', 9200, '{\"reports\":\"changes\"}' FROM generate_series(1, 5) n"
    )
    polls = (
        "SELECT at FROM generate_series('2025-10-24'::timestamptz, '2025-10-26 23:55', '5 minutes') at"
        " WHERE (extract(hour FROM at) BETWEEN 4 AND 18 OR extract(minute FROM at)::int % 15 = 0)"
        " AND NOT (at > '2025-10-26 00:45' AND at < '2025-10-26 03:00')"
    )
    city.run(  # garage n changes at every n-th poll: garage 5 is still for up to 75 minutes while others speak
        "INSERT INTO observation_off_street_parking (device_id, observed_at, available_spot_number)"
        f" SELECT 9200 + n, at, 100 + i % 50 FROM (SELECT at, row_number() OVER (ORDER BY at) AS i FROM ({polls}) p) q, generate_series(1, 5) n"
        " WHERE i % n = 0"
    )


LOST = 1_761_439_500_000  # 2025-10-26 00:45 UTC


@pytest.mark.parametrize("device_id", [9201, 9205])
async def test_a_still_garage_has_no_gap_but_a_silent_recorder_has_one(
    city: City, garages: None, device_id: int
) -> None:
    shown = await series(city, device_id, **{"from": LOST - 30 * HOUR, "to": LOST + 12 * HOUR})
    assert (shown["resolution"], shown["reports"], shown["gap_after_s"]) == ("raw", "changes", 2700)
    assert nulls(shown) == [LOST + 2_700_000]


async def test_the_recorders_gap_is_in_the_buckets_too(city: City, garages: None) -> None:
    shown = await series(city, 9201, raw_span_h=24, **{"from": LOST - 40 * HOUR, "to": LOST + 20 * HOUR, "points": 270})
    assert (shown["resolution"], shown["bucket_s"]) == ("hour", 3600)
    assert len(nulls(shown)) == 1
    assert LOST < nulls(shown)[0] < LOST + 135 * MINUTE
