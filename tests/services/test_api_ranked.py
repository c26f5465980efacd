"""The first of many: top by a property, nearest to a point; and a municipality's hourly means, held against Python."""

import math
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.services.api_fixture import NOON, City, city, client_of
from tests.services.geodesic import metres

__all__ = ["city"]
HOUR_MS = 3_600_000
BAYS = 1500
STATES = ("free", "occupied", "closed", "unknown")


@pytest.fixture(scope="module")
def bays(city: City) -> Iterator[list[dict[str, Any]]]:
    """Bays all over the globe, most of them in a town, some at the poles and on both sides of the antimeridian."""
    rng = random.Random(7)
    found = []
    centres = [(37.65, 126.83), (69.0, 33.0), (-54.8, -68.3), (0.0, 179.999), (89.99, 10.0), (-89.999, 0.0)]
    for number in range(BAYS):
        latitude, longitude = centres[0] if number % 2 else rng.choice(centres)
        latitude = max(-90.0, min(90.0, latitude + rng.gauss(0, 0.02)))
        longitude = (longitude + rng.gauss(0, 0.03) + 540) % 360 - 180
        found.append(
            {
                "device_id": 20_000 + number,
                "municipality": "41280" if number % 3 else "41480",
                "latitude": round(latitude, 6),
                "longitude": round(longitude, 6),
                "status": rng.randrange(4) if number % 10 else None,
            }
        )
    with city.connect() as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO device (device_id, municipality, name, kind, latitude, longitude) VALUES (%(device_id)s,"
            " %(municipality)s, 'bay-' || %(device_id)s, 'parking_spot', %(latitude)s, %(longitude)s)",
            found,
        )
        cursor.executemany(
            "INSERT INTO newest_parking_spot (device_id, observed_at, status, as_of) VALUES (%(device_id)s,"
            f" to_timestamp({NOON / 1000} + %(device_id)s), %(status)s, now())",
            [bay for bay in found if bay["status"] is not None],
        )
    yield found
    city.run("DELETE FROM device WHERE device_id >= 20000")
    city.run("DELETE FROM newest_parking_spot")


async def nearest(client: httpx.AsyncClient, **query: Any) -> list[tuple[int, float]]:
    answer = await client.get("/api/v1/devices/nearest", params={"kind": "parking_spot", **query})
    assert answer.status_code == 200, answer.text
    return [(item["device_id"], item["distance_m"]) for item in answer.json()["items"]]


def by_hand(bays: list[dict[str, Any]], latitude: float, longitude: float, within_m: float) -> list[tuple[int, float]]:
    """All within within_m, nearest first, by Vincenty."""
    apart = [
        (bay["device_id"], metres(latitude, longitude, bay["latitude"], bay["longitude"]))
        for bay in bays
        if abs(bay["latitude"] - latitude) < 10
    ]
    return sorted((item for item in apart if item[1] <= within_m), key=lambda item: item[1])


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(37.65, 126.83), (37.7, 126.9), (69.01, 33.02), (-54.81, -68.29), (0.01, -179.99), (89.995, 100.0), (-90.0, 5.0)],
)
async def test_the_nearest_are_those_that_the_geodesic_says(
    city: City, bays: list[dict[str, Any]], latitude: float, longitude: float
) -> None:
    async with client_of(city, "viewer") as client:
        for within_m, most in ((2_000.0, 10), (20_000.0, 1000), (150.0, 5)):
            found = await nearest(client, latitude=latitude, longitude=longitude, within_m=within_m, limit=most)
            expected = by_hand(bays, latitude, longitude, within_m)[:most]
            assert len(found) == len(expected)
            for (_, distance_m), (_, exact_m) in zip(found, expected, strict=True):
                assert math.isclose(distance_m, exact_m, rel_tol=1e-5, abs_tol=0.01)
            apart = dict(by_hand(bays, latitude, longitude, within_m + 1))
            assert all(
                math.isclose(distance_m, apart[number], rel_tol=1e-5, abs_tol=0.01) for number, distance_m in found
            )


async def test_the_nearest_free_bay_is_free_and_heard_of_lately(city: City, bays: list[dict[str, Any]]) -> None:
    point = {"latitude": 37.65, "longitude": 126.83}
    async with client_of(city, "viewer") as client:
        for status in STATES:
            wanted = [bay for bay in bays if bay["status"] is not None and STATES[bay["status"]] == status]
            found = await nearest(client, **point, having=f"status={status}", limit=7)
            assert [number for number, _ in found] == [n for n, _ in by_hand(wanted, 37.65, 126.83, 2000)[:7]]
        answer = await client.get(
            "/api/v1/devices/nearest", params={"kind": "parking_spot", **point, "having": "status=free", "limit": 1}
        )
        (only,) = answer.json()["items"]
        assert only["values"] == {"status": "free"}
        assert (only["kind"], only["state"]) == ("parking_spot", "ok")
        late = await nearest(client, **point, since=NOON + 20_700_000, limit=1000)
    assert late
    assert all(number >= 20_700 for number, _ in late)


async def test_rankings_are_of_the_accounts_municipality_only(city: City, bays: list[dict[str, Any]]) -> None:
    point = {"latitude": 37.65, "longitude": 126.83}
    mine = [bay for bay in bays if bay["municipality"] == "41480"]
    async with client_of(city, "operator") as client:
        found = await nearest(client, **point, limit=50)
        assert [number for number, _ in found] == [number for number, _ in by_hand(mine, 37.65, 126.83, 2000)[:50]]
        assert await nearest(client, **point, municipality="41280") == []
        top = (await client.get("/api/v1/devices/top?kind=streetlight&property=voltage")).json()["items"]
        assert [(item["device_id"], item["value"]) for item in top] == [(9001, 221.3), (9004, 219.9)]
        assert (await client.get("/api/v1/municipalities/41280/series?kind=streetlight")).status_code == 404


async def test_the_top_are_the_highest_or_lowest_with_a_value(city: City) -> None:
    async with client_of(city, "viewer") as client:

        async def top(**query: Any) -> list[int]:
            answer = await client.get("/api/v1/devices/top", params={"kind": "streetlight", **query})
            assert answer.status_code == 200, answer.text
            return [item["device_id"] for item in answer.json()["items"]]

        assert await top(property="voltage") == [7001, 9001, 9004]
        assert await top(property="voltage", order="lowest", limit=2) == [9004, 9001]
        assert await top(property="power_consumption") == [9001, 7001]
        assert await top(property="voltage", municipality="41280") == [7001]
        assert await top(property="voltage", since=NOON + 1) == []
        answer = (await client.get("/api/v1/devices/top?kind=streetlight&property=voltage&limit=1")).json()
    assert answer["property"] == "voltage"
    assert answer["items"][0]["state"] == "critical"
    assert answer["items"][0]["label"]["en"] == "Goyang light 1"


async def test_questions_that_make_no_sense_are_refused_with_what_would(city: City) -> None:
    async with client_of(city) as client:

        async def refused(path: str, **query: Any) -> str:
            answer = await client.get(f"/api/v1/{path}", params=query)
            assert answer.status_code == 422, answer.text
            return str(answer.json()["detail"])

        point = {"kind": "parking_spot", "latitude": 1, "longitude": 1}
        assert "airship" in await refused("devices/top", kind="airship", property="voltage")
        assert "voltage" in await refused("devices/top", kind="streetlight", property="power_state")
        await refused("devices/top", kind="streetlight")
        assert "free, occupied" in await refused("devices/nearest", **point, having="status=green")
        assert "status" in await refused("devices/nearest", **point, having="mood=good")
        assert "name=value" in await refused("devices/nearest", **point, having="status")
        await refused("devices/nearest", **point, having="status>=1")
        light = {**point, "kind": "streetlight"}
        assert "number" in await refused("devices/nearest", **light, having="voltage>=much")
        await refused("devices/nearest", **light, having="voltage>=nan")
        await refused("devices/nearest", **{**point, "latitude": 91})
        await refused("devices/nearest", **point, within_m=0)
        await refused("municipalities/41480/series", kind="airship")
        await refused("municipalities/41480/series", kind="streetlight", properties="mood")
        await refused("municipalities/41480/series", kind="streetlight", properties="power_state")
        await refused("municipalities/41480/series", **{"kind": "streetlight", "from": 5, "to": 5})
        assert (await client.get("/api/v1/municipalities/99999/series?kind=streetlight")).status_code == 404


# --- a municipality's hours


@pytest.fixture(scope="module")
def hours(city: City) -> Iterator[list[tuple[int, int, float | None]]]:
    """Six hours of four lights, (device_id, ms, voltage); the first four hours are rolled up."""
    city.partition("streetlight", "2025-10-09", "2025-10-10")
    rng = random.Random(11)
    rows = [
        (device_id, NOON + at_s * 1000, None if rng.random() < 0.1 else round(rng.uniform(210, 230), 1))
        for device_id in (7001, 9001, 9002, 9004)
        for at_s in range(0, 6 * 3600, 300)
        if not (device_id == 9002 and at_s < 7200)
    ]
    with city.connect() as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO observation_streetlight (device_id, observed_at, voltage) VALUES (%s, to_timestamp(%s), %s)",
            [(device_id, at_ms / 1000, voltage) for device_id, at_ms, voltage in rows],
        )
    roll(city, NOON, NOON + 4 * HOUR_MS)
    yield rows
    city.run("TRUNCATE observation_streetlight, rollup_municipality_hour_streetlight, rollup_watermark")


def roll(city: City, from_ms: int, to_ms: int) -> None:
    """Municipality rollups of [from_ms, to_ms), as plain SQL says them."""
    city.run(
        "INSERT INTO rollup_municipality_hour_streetlight"
        " (municipality, bucket, devices, observations, voltage_mean, voltage_min, voltage_max, voltage_count)"
        " SELECT municipality, date_trunc('hour', observed_at), count(DISTINCT device_id), count(*), avg(voltage),"
        " min(voltage), max(voltage), count(voltage) FROM observation_streetlight JOIN device USING (device_id)"
        " WHERE observed_at >= to_timestamp(%s) AND observed_at < to_timestamp(%s) GROUP BY 1, 2",
        from_ms / 1000, to_ms / 1000,
    )  # fmt: skip
    city.run("INSERT INTO rollup_watermark (kind, closed_until) VALUES ('streetlight', to_timestamp(%s))", to_ms / 1000)


async def test_a_municipalitys_hours_are_those_of_its_observations(
    city: City, hours: list[tuple[int, int, float | None]]
) -> None:
    def check(answer: dict[str, Any], devices: tuple[int, ...], width_ms: int) -> None:
        begins = sorted({at_ms - at_ms % width_ms for device_id, at_ms, _ in hours if device_id in devices})
        assert answer["observed_at"] == begins
        for row, begin in enumerate(begins):
            mine = [item for item in hours if item[0] in devices and item[1] - item[1] % width_ms == begin]
            values = [value for _, _, value in mine if value is not None]
            voltage = answer["properties"]["voltage"]
            assert answer["observations"][row] == len(mine)
            assert math.isclose(voltage["mean"][row], sum(values) / len(values), rel_tol=1e-6)
            assert (voltage["min"][row], voltage["max"][row]) == (min(values), max(values))

    span = {"kind": "streetlight", "properties": "voltage", "from": NOON, "to": NOON + 6 * HOUR_MS}
    async with client_of(city, "viewer") as client:
        paju = (await client.get("/api/v1/municipalities/41480/series", params=span)).json()
        goyang = (await client.get("/api/v1/municipalities/41280/series", params=span)).json()
        wide = (
            await client.get(
                "/api/v1/municipalities/41480/series", params={**span, "to": NOON + 11 * HOUR_MS, "points": 10}
            )
        ).json()
        everything = await client.get("/api/v1/municipalities/41480/series", params={**span, "properties": ""})
        bays = await client.get("/api/v1/municipalities/41480/series", params={"kind": "parking_spot"})
    check(paju, (9001, 9002, 9004), HOUR_MS)
    check(goyang, (7001,), HOUR_MS)
    check(wide, (9001, 9002, 9004), 2 * HOUR_MS)
    assert (paju["bucket_s"], wide["bucket_s"]) == (3600, 7200)
    assert paju["devices"] == [2, 2, 3, 3, 3, 3]
    assert paju["closed_until"] == NOON + 4 * HOUR_MS
    assert set(everything.json()["properties"]) == {"illuminance_level", "power_consumption", "voltage", "current"}
    assert (bays.status_code, bays.json()["properties"], bays.json()["observed_at"]) == (200, {}, [])


async def test_the_closed_hours_come_from_the_rollup_and_are_not_read_again(
    city: City, hours: list[tuple[int, int, float | None]]
) -> None:
    span = {"kind": "streetlight", "properties": "voltage", "from": NOON, "to": NOON + 6 * HOUR_MS}
    city.run("UPDATE rollup_municipality_hour_streetlight SET voltage_mean = 1 WHERE municipality = '41480'")
    async with client_of(city, "viewer") as client:
        answer = (await client.get("/api/v1/municipalities/41480/series", params=span)).json()
    means = answer["properties"]["voltage"]["mean"]
    assert means[:4] == [1.0] * 4
    assert all(mean > 200 for mean in means[4:])
