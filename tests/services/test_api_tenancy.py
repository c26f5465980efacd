# ruff: noqa: E501
"""An account of one municipality sees nothing of another's: all routes of the OpenAPI document, answered in full, byte by byte."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from contracts import profiles
from platform_api.app import create_app
from platform_api.queries import database as database_module
from platform_api.settings import Database, Settings
from tests.services.api_fixture import MINE, NOON, OTHER, OTHERS_MARKS, City, city, client_of

__all__ = ["city"]

NUMBERS = {
    "code": (OTHER, MINE),
    "device_id": (7001, 9001),
    "alarm_id": (770001, 990001),
    "quarantine_id": (880001, 880003, 880002),
    "window_id": (550001, 950001),
}
QUERIES: dict[str, tuple[object, ...]] = {
    "municipality": (OTHER, MINE), "agent": ("gy-pole-1",), "device_id": (7001,), "q": ("gy", "고양"), "state": (), "kind": ("streetlight",),
    "group": (770002,), "folded": ("true",), "assigned_to": ("gy-minji",), "bbox": ("126,37,127,38",), "from": (NOON - 3_600_000,), "to": (NOON + 3_600_000,),
}  # fmt: skip
REQUIRED: dict[str, dict[str, object]] = {  # without these a question is refused before it could show anything
    "get_top_devices": {"kind": "streetlight", "property": "voltage"},
    "get_nearest_devices": {"kind": "streetlight", "latitude": 37.65, "longitude": 126.83, "within_m": 50_000},
    "get_assignees": {"municipality": OTHER},
    "get_municipality_series": {"kind": "streetlight", "from": NOON - 3_600_000, "to": NOON + 3_600_000},
}
BODIES: dict[str, dict[str, Any]] = {
    "close_alarm": {"cause": "real"}, "comment_alarm": {"text": "seen"}, "assign_alarm": {"account": "gy-minji"},
    "add_window": {"municipality": OTHER, "scope": "circuit", "target": "gy-c1", "from": NOON, "to": NOON + 1, "reason": "x"},
    "change_window": {"municipality": OTHER, "scope": "circuit", "target": "gy-c1", "from": NOON, "to": NOON + 1, "reason": "x"},
    "post_device": {
        "municipality": OTHER, "device": "gy-sl-1", "kind": "streetlight", "agent": "gy-pole-1",
        "label": {"ko": "", "en": ""}, "latitude": 37.6, "longitude": 126.8,
    },
}  # fmt: skip
WINDOW_AGAIN = (
    "INSERT INTO maintenance_window (window_id, municipality, scope, target, begins_at, ends_at, reason, created_by, changed_by)"
    " VALUES (950001, '41480', 'circuit', 'pj-c1', now() + interval '1 hour', now() + interval '2 hours', 'Paju works', 'operator', 'operator')"
    " ON CONFLICT DO NOTHING"
)
ENDLESS, ENDING = {"get_stream"}, {"sign_out"}  # the stream has a test of its own; a sign-out would end the walk


def operations() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    document = create_app(Settings(), Database(url="postgresql://"), profiles.load()).openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield operation["operationId"], method, path, operation


def requests_of(
    name: str, method: str, path: str, operation: dict[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Requests that try hard to be shown 41280: its numbers in the path, its names in the query and body."""
    named = [item["name"] for item in operation.get("parameters", []) if item["in"] == "path"]
    queries = [item["name"] for item in operation.get("parameters", []) if item["in"] == "query"]
    for numbers in itertools.product(*(NUMBERS[item] for item in named)):
        filled = path.format(**dict(zip(named, numbers, strict=True)))
        required = REQUIRED.get(name, {})
        body = {"json": BODIES[name]} if name in BODIES else {}
        if required:
            body = {**body, "params": required}
        yield method, filled, body
        for query in queries:
            for value in QUERIES.get(query, ()):
                yield method, filled, {**body, "params": {**required, query: value}}


def leaks(answer: httpx.Response, sent: dict[str, Any]) -> list[str]:
    """Marks of 41280 in an answer, but for those that the request itself named."""
    named = str(sent) + str(answer.request.url)
    text = answer.text + str(dict(answer.headers))
    return [mark for mark in OTHERS_MARKS if shows(text, mark) and mark not in named]


def shows(text: str, mark: str) -> bool:
    """Whether a text holds a mark; a number only as a number of its own, not as digits of a time."""
    return re.search(rf"(?<![\d.]){mark}(?![\d.])" if mark.isdigit() else re.escape(mark), text) is not None


async def walk(city: City, name: str, *, most: int = 1000) -> list[str]:
    """The leaks that an account finds over all operations; no further than the operation that makes them `most`."""
    found = []
    async with client_of(city, name) as client:
        for operation_id, method, path, operation in operations():
            if operation_id in ENDLESS | ENDING | {"sign_in"}:
                continue
            for verb, filled, sent in requests_of(operation_id, method, path, operation):
                answer = await client.request(verb, filled, **sent)
                assert answer.status_code < 500 or path == "/ready", (filled, answer.text)
                found += [f"{verb} {filled} {sent}: {mark}" for mark in leaks(answer, sent)]
                if len(found) >= most:
                    return found
                if any(str(number) in filled for number in (7001, 770001, 880001, 880003, 550001, "/41280/")):
                    assert answer.status_code in (403, 404), (filled, answer.text)
    return found


@pytest.mark.parametrize("name", ["operator", "engineer"])
async def test_no_route_shows_another_municipality(city: City, name: str) -> None:
    assert await walk(city, name) == []


async def test_the_walk_sees_everything_there_is_to_see_for_an_account_of_all(city: City) -> None:
    """What the walk looks for is really shown, by the routes that should; so its silence means something."""
    async with client_of(city, "viewer") as client:
        shown = ""
        for path in (
            "municipalities",
            "devices",
            "devices.geojson",
            "map",
            "alarms",
            "quarantine",
            "agents",
            "alarms/770001",
            "maintenance-windows",
        ):
            shown += (await client.get(f"/api/v1/{path}")).text
    assert [mark for mark in OTHERS_MARKS if not shows(shown, mark)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "devices",
        "device_features",
        "alarms",
        "municipalities",
        "agents",
        "quarantine",
        "quarantine_refused",
        "windows",
    ],
)
async def test_a_statement_without_its_filter_is_caught(
    city: City, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeded violation: one statement forgets whose things may be seen."""
    real = database_module.text_of

    def without_filter(name: str) -> str:
        text = real(name)
        return (
            text.replace("%(permitted)s::text[] IS NULL", "(%(permitted)s::text[] IS NULL OR true)")
            if name == statement
            else text
        )

    monkeypatch.setattr(database_module, "text_of", without_filter)
    with pytest.raises(AssertionError):
        assert await walk(city, "operator", most=1) == []


async def test_counts_are_of_the_accounts_municipality_only(city: City) -> None:
    async with client_of(city, "operator") as client:
        status = (await client.get("/api/v1/status")).json()
        alarms = (await client.get("/api/v1/alarms")).json()
    assert status["observations"] == {
        "received": 150, "committed": 140, "duplicate": 5, "out_of_order": 3, "quarantined": 2, "lost": 7
    }  # fmt: skip
    assert status["open_alarms"] == {"info": 0, "warning": 2, "critical": 1, "total": 3}
    assert status["agents"] == {"ok": 1, "silent": 1, "behind": 0, "never": 0}
    assert (status["devices"], status["workers"], status["database"]["size_bytes"]) == (4, [], None)
    assert alarms["counts"] == {"open": 2, "acknowledged": 1, "suppressed": 0, "cleared": 1, "closed": 0}
    async with client_of(city, "viewer") as client:
        everything = (await client.get("/api/v1/status")).json()
    assert everything["observations"]["committed"] == 840
    assert everything["open_alarms"]["total"] == 5
    assert everything["observations_per_s"] == 120.5
    assert everything["latency_p99_ms"] == 300
    assert everything["database"]["size_bytes"] > 1_000_000


async def test_nothing_of_another_municipality_can_be_changed(city: City) -> None:
    before = (
        city.run("SELECT alarm_id, state FROM alarm ORDER BY 1"),
        city.run("SELECT admit_requested_at FROM quarantine WHERE quarantine_id = 880001"),
        city.run("SELECT window_id, scope, target, ends_at FROM maintenance_window ORDER BY 1"),
        city.run("SELECT count(*) FROM alarm_event"),
    )
    async with client_of(city, "engineer") as client:
        assert (await client.post("/api/v1/alarms/770001/acknowledge")).status_code == 404
        assert (await client.post("/api/v1/alarms/770001/close", json={"cause": "real"})).status_code == 404
        assert (await client.post("/api/v1/alarms/770001/comment", json={"text": "x"})).status_code == 404
        assert (await client.post("/api/v1/alarms/770001/assign", json={"account": "engineer"})).status_code == 404
        assert (await client.post("/api/v1/quarantine/880001/admit")).status_code == 404
        window = BODIES["change_window"]
        assert (await client.post("/api/v1/maintenance-windows", json=window)).status_code == 403
        assert (await client.put("/api/v1/maintenance-windows/550001", json=window)).status_code == 404
        assert (await client.put("/api/v1/maintenance-windows/950001", json=window)).status_code == 403
        assert (await client.delete("/api/v1/maintenance-windows/550001")).status_code == 404
    after = (
        city.run("SELECT alarm_id, state FROM alarm ORDER BY 1"),
        city.run("SELECT admit_requested_at FROM quarantine WHERE quarantine_id = 880001"),
        city.run("SELECT window_id, scope, target, ends_at FROM maintenance_window ORDER BY 1"),
        city.run("SELECT count(*) FROM alarm_event"),
    )
    assert after == before


@pytest.fixture(autouse=True)
def as_seeded(city: City) -> Iterator[None]:
    """The walk also acknowledges, closes and admits in its own municipality: put that back. The worker goes on."""
    city.run("UPDATE ingest_worker SET seen_at = now()")
    yield
    city.run("UPDATE alarm SET state = 'open', acknowledged_by = null WHERE alarm_id IN (990001, 770001, 770002)")
    city.run("DELETE FROM alarm_event WHERE event_id NOT IN (660001, 990101)")
    city.run(WINDOW_AGAIN)
    city.run("UPDATE quarantine SET admit_requested_at = null, admit_requested_by = null")
