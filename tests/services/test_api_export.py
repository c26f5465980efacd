"""Exports through the API: the file of `dure export`, of what the account may see, a few at a time, without growing."""

import io
from collections.abc import Iterator

import httpx
import pyarrow.parquet as pq
import pytest

from tests.services.api_fixture import (
    MINE,
    NOON,
    OTHER,
    OTHERS_MARKS,
    City,
    application,
    city,
    client_of,
    problem,
    serving,
    sign_in,
    until,
)

__all__ = ["city"]

HOURS = 6


@pytest.fixture(scope="module", autouse=True)
def observed(city: City) -> Iterator[None]:
    """Six hours of all street lights of both towns, one reading in twenty seconds."""
    city.partition("streetlight", "2025-10-09T00:00Z", "2025-10-10T00:00Z")
    city.run(
        "INSERT INTO observation_streetlight (device_id, observed_at, power_state, voltage) "
        "SELECT device_id, to_timestamp(%s) + t * interval '20 s', 1, 220 + t %% 10 "
        "FROM generate_series(0, %s) t, device WHERE kind = 'streetlight'",
        NOON / 1000,
        HOURS * 180 - 1,
    )
    yield


async def test_an_account_of_one_municipality_exports_that_one_only(city: City) -> None:
    async with client_of(city, "operator") as client:
        everything = await client.get("/api/v1/export", params={"kind": "streetlight"})
        assert everything.status_code == 200
        assert everything.headers["content-disposition"] == 'attachment; filename="streetlight.csv"'
        lines = everything.text.splitlines()
        assert len(lines) == 3 + 3 * HOURS * 180
        assert {line.split(",")[0] for line in lines[3:]} == {MINE}
        assert not [mark for mark in OTHERS_MARKS if mark in everything.text and not mark.isdigit()]
        same = await client.get("/api/v1/export", params={"kind": "streetlight", "municipality": MINE})
        assert same.content == everything.content
        for more in (
            {"municipality": OTHER},
            {"device": "gy-sl-1"},
            {"municipality": OTHER, "device": "gy-sl-1"},
            {"municipality": f"{MINE},{OTHER}"},
            {"device": "--municipality=41280"},
        ):
            told = problem(await client.get("/api/v1/export", params={"kind": "streetlight", **more}), 404)
            assert "고양" not in str(told)


async def test_an_export_is_of_the_span_and_devices_that_were_asked_for(city: City) -> None:
    async with client_of(city, "viewer") as client:
        asked = {"kind": "streetlight", "device": "gy-sl-1,pj-sl-2", "from": NOON + 20_000, "to": NOON + 60_000}
        found = await client.get("/api/v1/export", params=asked)
        assert [line.split(",")[:3] for line in found.text.splitlines()[3:]] == [
            [town, device, f"2025-10-09T12:00:{second}.000Z"]
            for second in (20, 40)
            for town, device in ((OTHER, "gy-sl-1"), (MINE, "pj-sl-2"))
        ]
        columnar = await client.get("/api/v1/export", params={**asked, "format": "parquet"})
        table = pq.read_table(io.BytesIO(columnar.content))
        assert table.column("voltage").to_pylist() == [221.0, 221.0, 222.0, 222.0]
        for wrong in ({"kind": "lamp"}, {"format": "xml"}, {"from": 9, "to": 9}, {"gzip": 1}):
            problem(await client.get("/api/v1/export", params={**asked, **wrong}), 422)


async def test_only_so_many_exports_run_at_a_time_and_a_reader_that_leaves_frees_its_place(city: City) -> None:
    async with application(city, exports=1) as app:
        exports = app.state.exports
        process, first = await exports.begin(["--kind=streetlight", "--format=csv"])
        stream = exports.stream(process, first)
        assert (await anext(stream)).startswith(b"# dure observations 1")
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://dure.test") as client:
            await sign_in(client, "viewer")
            asked = {"kind": "streetlight"}
            refused = await client.get("/api/v1/export", params=asked)
            assert problem(refused, 503)["type"].endswith("exports-full") and refused.headers["retry-after"]
            await stream.aclose()
            assert process.returncode is not None
            assert (await client.get("/api/v1/export", params=asked)).status_code == 200


async def test_an_export_that_fails_in_the_middle_breaks_the_connection(
    city: City, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader must not take half a file for a whole one."""
    from platform_api import exports

    half = f"{tmp_path}/half.py"
    with open(half, "w") as program:  # noqa: PTH123, ASYNC230
        program.write("import sys\nprint('x' * 300000, flush=True)\nsys.exit('the server is gone')\n")
    monkeypatch.setattr(exports, "DURE", half)
    async with application(city) as app:
        process, first = await app.state.exports.begin([])
        with pytest.raises(OSError, match="failed in the middle"):
            _ = [piece async for piece in app.state.exports.stream(process, first)]


@pytest.mark.slow
async def test_the_api_does_not_grow_with_what_it_exports(city: City) -> None:
    rows = "INSERT INTO observation_streetlight (device_id, observed_at, voltage) SELECT 7001, to_timestamp(%s) + t * interval '50 ms', 220 FROM generate_series(1, 400000) t"  # noqa: E501
    city.run(rows, NOON / 1000)
    with serving(city) as served:
        async with httpx.AsyncClient(base_url=served.url, timeout=60) as client:
            await sign_in(client, "viewer")
            await client.get("/api/v1/export", params={"kind": "streetlight", "municipality": MINE})
            before, size = served.memory_kb(), 0
            async with client.stream("GET", "/api/v1/export", params={"kind": "streetlight"}) as answer:
                async for piece in answer.aiter_bytes():
                    size += len(piece)
            assert size > 18_000_000
            assert served.memory_kb() - before < 10_000

            async with client.stream("GET", "/api/v1/export", params={"kind": "streetlight"}) as answer:
                await anext(answer.aiter_bytes())  # and leaves

            async def free() -> bool:
                found = await client.get("/api/v1/export", params={"kind": "streetlight", "municipality": MINE})
                return found.status_code == 200

            await until(free)
