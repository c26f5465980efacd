"""The map in columns: the same as the plain statement says, whatever changes, for whoever may see it."""

import asyncio
import gzip
from typing import Any

import httpx
import pytest

from tests.services.api_fixture import NOON, City, city, client_of

__all__ = ["city"]


def as_features(columns: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Columns as the features of /devices.geojson, by device_id."""
    found = {}
    for part in columns["parts"]:
        lists = {name: column for name, column in part.items() if isinstance(column, list)} | part["values"]
        assert {len(column) for column in lists.values()} == {len(part["device_id"])}
        for row, device_id in enumerate(part["device_id"]):
            flat = {name: column[row] for name, column in lists.items()}
            place = [flat.pop("longitude"), flat.pop("latitude")]
            del flat["device_id"]
            found[device_id] = {"place": place, "municipality": part["municipality"], "kind": part["kind"], **flat}
    return found


async def both(client: httpx.AsyncClient, **query: str) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """(the map in columns, the plain statement's) as features by device_id; as_of is compared here."""
    columns = (await client.get("/api/v1/map", params=query)).raise_for_status().json()
    plain = (await client.get("/api/v1/devices.geojson", params=query)).raise_for_status().json()
    if "kind" not in query and "bbox" not in query:
        assert columns["as_of"] == plain["as_of"]
    return as_features(columns), {
        feature["id"]: {"place": feature["geometry"]["coordinates"], **feature["properties"]}
        for feature in plain["features"]
    }


async def test_the_map_in_columns_is_the_plain_statements_map(city: City) -> None:
    for account in ("viewer", "operator"):
        async with client_of(city, account) as client:
            for query in (
                {},
                {"kind": "streetlight"},
                {"municipality": "41480"},
                {"bbox": "126.76,37.6,126.85,37.765"},
            ):
                columns, plain = await both(client, **query)
                assert columns == plain
                assert plain
            assert await both(client, kind="airship") == ({}, {})


async def test_every_change_reaches_a_map_that_is_held_in_memory(city: City) -> None:
    changes = [
        "UPDATE newest_streetlight SET voltage = 218.75, power_state = null, as_of = now() WHERE device_id = 9004",
        "INSERT INTO newest_streetlight (device_id, observed_at, voltage, as_of) VALUES (9002, now(), 220.123, now())",
        "INSERT INTO newest_waste_container (device_id, observed_at, filling_level, status, as_of)"
        " VALUES (9003, now(), 1e-7, 3, now())",
        "UPDATE alarm SET state = 'closed', changed_at = clock_timestamp() WHERE alarm_id = 990001",
        "UPDATE alarm SET state = 'open', changed_at = clock_timestamp() WHERE alarm_id = 990003",
        "INSERT INTO device (device_id, municipality, name, kind, agent_id, latitude, longitude)"
        " VALUES (9009, '41480', 'pj-\"9\"', 'streetlight', null, -37.7, 126.7)",
        "UPDATE device SET latitude = 37.9 WHERE device_id = 9001",
        "UPDATE device SET latitude = null WHERE device_id = 9004",
    ]
    async with client_of(city, "operator") as client:
        before, _ = await both(client)
        for change in changes:
            city.run(change)
            columns, plain = await both(client)
            assert columns == plain, change
            assert columns != before, change
            before = columns
    city.run("DELETE FROM device WHERE device_id = 9009")
    city.run("UPDATE device SET latitude = 37.75 WHERE device_id = 9001")
    city.run("UPDATE device SET latitude = 37.78 WHERE device_id = 9004")


async def test_the_map_is_whole_compressed_or_not_and_304_while_nothing_changes(city: City) -> None:
    async with client_of(city) as client:
        packed = await client.get("/api/v1/map")
        async with client.stream("GET", "/api/v1/map") as raw:
            sent = b"".join([chunk async for chunk in raw.aiter_raw()])
        plain = await client.get("/api/v1/map", headers={"Accept-Encoding": "identity"})
        known = {"If-None-Match": packed.headers["etag"]}
        again = await client.get("/api/v1/map", headers=known)
        city.run("UPDATE newest_streetlight SET voltage = 219.5, as_of = now() WHERE device_id = 9001")
        changed = await client.get("/api/v1/map", headers=known)
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent) == packed.content == plain.content
    assert (again.status_code, again.content) == (304, b"")
    assert changed.status_code == 200
    assert changed.headers["etag"] != packed.headers["etag"]


async def test_two_accounts_have_different_maps_and_tags(city: City) -> None:
    async with client_of(city, "operator") as client:
        mine = await client.get("/api/v1/map")
    assert {part["municipality"] for part in mine.json()["parts"]} == {"41480"}
    async with client_of(city, "viewer") as client:
        everything = await client.get("/api/v1/map")
        other = await client.get("/api/v1/map", headers={"If-None-Match": mine.headers["etag"]})
    assert {part["municipality"] for part in everything.json()["parts"]} == {"41280", "41480"}
    assert other.status_code == 200


async def test_a_late_as_of_that_was_committed_late_is_still_read(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that began before the last read and committed after it: its as_of lies in the past."""
    async with client_of(city, "operator") as client:
        await both(client)
        city.run("UPDATE newest_streetlight SET voltage = 215.5, as_of = now() - interval '8 s' WHERE device_id = 9001")
        columns, plain = await both_ignoring_as_of(client)
        assert columns == plain
        city.run("UPDATE newest_streetlight SET voltage = 214.5, as_of = now() - interval '1 h' WHERE device_id = 9001")
        stale, plain = await both_ignoring_as_of(client)
        assert stale != plain, "this far back only the reading of everything finds it"
        monkeypatch.setattr("platform_api.fleet.WHOLE_S", 0.0)
        for _ in range(100):  # beside the answers
            columns, plain = await both_ignoring_as_of(client)
            if columns == plain:
                break
            await asyncio.sleep(0.05)
        assert columns == plain


async def both_ignoring_as_of(client: httpx.AsyncClient) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    columns = (await client.get("/api/v1/map")).json()
    plain = (await client.get("/api/v1/devices.geojson")).json()
    return as_features(columns), {
        feature["id"]: {"place": feature["geometry"]["coordinates"], **feature["properties"]}
        for feature in plain["features"]
    }


async def test_the_map_refuses_what_the_plain_one_refuses(city: City) -> None:
    async with client_of(city) as client:
        for query in ("bbox=1,2,3", "bbox=10,0,5,1", "colour=red"):
            assert (await client.get(f"/api/v1/map?{query}")).status_code == 422
    async with client_of(city, None) as client:
        assert (await client.get("/api/v1/map")).status_code == 401


async def test_a_kept_map_serves_while_the_next_is_made(city: City) -> None:
    async with client_of(city, map_max_age_s=10.0) as client:
        first = await client.get("/api/v1/map")
        city.run("UPDATE newest_streetlight SET voltage = 213.25, as_of = now() WHERE device_id = 9004")
        second = await client.get("/api/v1/map")
    assert second.headers["etag"] == first.headers["etag"]
    assert first.json()["as_of"] >= NOON
