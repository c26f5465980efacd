# ruff: noqa: E501, SIM117, ASYNC210
"""The live stream through a real broker and a real server: who sees what, slow clients, a broker that goes and comes back."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import topics
from tests.services.api_fixture import NOON, City, Served, city, problem, serving, sign_in
from tests.services.broker_fixture import Connection, RunningBroker, connect, running_broker

__all__ = ["city"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker("nats", tmp_path_factory.mktemp("broker") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def served(city: City, broker: RunningBroker) -> Iterator[Served]:
    with serving(city, "--broker-file", str(broker.file_of("api"))) as running:
        yield running


@pytest.fixture(scope="module")
def ingest(broker: RunningBroker) -> Iterator[Connection]:
    with connect(broker.credentials("ingest")) as connection:
        yield connection


def tell(ingest: Connection, town: str, device_ids: list[int], at: int, alarms: list[int] | None = None) -> None:
    """What ingest publishes after a COMMIT."""
    live = {
        "observations": {
            "streetlight": {
                "device_id": device_ids,
                "observed_at": [at] * len(device_ids),
                "voltage": [at % 1000] * len(device_ids),
            }
        },
        "alarms": [{"alarm_id": number, "municipality": town, "severity": 2} for number in alarms or []],
    }
    ingest.publish(topics.of_agent(town, "pole-01", topics.Channel.LIVE), json.dumps(live).encode())


class Stream:
    """The events of one stream, as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self.events: list[tuple[str, Any]] = []
        self._response = response

    async def read(self) -> None:
        name = ""
        async for line in self._response.aiter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                self.events.append((name, json.loads(line[6:])))

    def voltages(self) -> dict[int, float]:
        """The newest voltage of each device that was seen."""
        newest = {}
        for name, data in self.events:
            for columns in data.values() if name == "observations" else ():
                newest.update(zip(columns["device_id"], columns["voltage"], strict=True))
        return newest

    def named(self, name: str) -> list[Any]:
        return [data for found, data in self.events if found == name]

    async def until(self, condition: Any, seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.events[-5:]
            await asyncio.sleep(0.02)


@asynccontextmanager
async def streaming(url: str, name: str, query: str = "") -> AsyncIterator[Stream]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        await sign_in(client, name)
        async with client.stream("GET", f"/api/v1/stream{query}") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            stream = Stream(response)
            reading = asyncio.create_task(stream.read())
            try:
                await stream.until(lambda: stream.named("hello"))
                yield stream
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def test_what_ingest_commits_reaches_those_who_may_see_it_and_nobody_else(
    served: Served, ingest: Connection
) -> None:
    async with streaming(served.url, "operator") as mine, streaming(served.url, "viewer") as all_of_it:
        tell(ingest, "41280", [7001], NOON + 280, alarms=[770001])
        tell(ingest, "41480", [9001, 9002], NOON + 480, alarms=[990001])
        await all_of_it.until(lambda: {7001, 9001, 9002} <= set(all_of_it.voltages()))
        await all_of_it.until(lambda: len(all_of_it.named("alarms")) >= 1 and "770001" in str(all_of_it.events))
        await mine.until(lambda: {9001, 9002} <= set(mine.voltages()) and mine.named("alarms"))
        await asyncio.sleep(0.5)
    assert mine.voltages() == {9001: 480, 9002: 480}
    alarms = [alarm for event in mine.named("alarms") for alarm in event]
    assert {alarm["alarm_id"] for alarm in alarms} == {990001}
    assert (alarms[0]["device"], alarms[0]["label"]["ko"]) == (
        "pj-sl-1",
        "파주 가로등 1",
    )  # whole, as the list shows it
    assert "7001" not in json.dumps([data for name, data in mine.events if name != "hello"])


async def test_a_stream_is_narrowed_to_one_municipality_but_never_widened(served: Served, ingest: Connection) -> None:
    async with streaming(served.url, "viewer", "?municipality=41280") as narrow:
        async with streaming(served.url, "operator", "?municipality=41280") as nothing:
            tell(ingest, "41480", [9001], NOON + 1500)
            tell(ingest, "41280", [7001], NOON + 1600)
            await narrow.until(lambda: narrow.voltages().get(7001) == 600)
            await asyncio.sleep(0.5)
    assert set(narrow.voltages()) == {7001}
    assert nothing.voltages() == {}


async def test_an_acknowledgement_is_pushed_to_all_processes(served: Served, city: City, broker: RunningBroker) -> None:
    with serving(city, "--broker-file", str(broker.file_of("api"))) as second:
        async with streaming(served.url, "viewer") as here, streaming(second.url, "viewer") as there:
            async with httpx.AsyncClient(base_url=second.url) as client:
                await sign_in(client, "operator")
                assert (await client.post("/api/v1/alarms/990004/acknowledge")).status_code == 200
            for stream in (here, there):
                await stream.until(lambda stream=stream: any(
                    (alarm["alarm_id"], alarm["state"]) == (990004, "acknowledged") for event in stream.named("alarms") for alarm in event
                ))  # fmt: skip


async def test_a_client_that_never_reads_holds_nobody_up_and_costs_no_memory(
    served: Served, ingest: Connection
) -> None:
    async with httpx.AsyncClient(base_url=served.url) as client:
        token = await sign_in(client, "viewer")
    host, port = served.url.removeprefix("http://").split(":")
    sleepers = []
    for _ in range(20):
        sleeper = socket.socket()
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeper.connect((host, int(port)))
        sleeper.sendall(
            f"GET /api/v1/stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        sleepers.append(sleeper)
    try:
        async with streaming(served.url, "viewer") as awake:
            tell(ingest, "41480", list(range(20_000, 21_000)), NOON)
            await awake.until(lambda: len([d for d in awake.voltages() if d >= 20_000]) == 1000)
            before_kb = served.memory_kb()
            for step in range(1, 201):  # 200 flushes of 1,000 devices; each sleeper would be owed 200,000 rows
                tell(ingest, "41480", list(range(20_000, 21_000)), NOON + step)
                await asyncio.sleep(0.02)
            began = time.monotonic()
            await awake.until(lambda: awake.voltages().get(20_999) == (NOON + 200) % 1000)
            assert time.monotonic() - began < 5
            grown_kb = served.memory_kb() - before_kb
        assert grown_kb < 30_000, f"grew by {grown_kb} kB; 20 sleepers owed 200,000 rows each would be hundreds of MB"
        # One that reads on now is given the newest, and not the backlog.
        chunk, last = b"", sleepers[0]
        last.settimeout(10)
        deadline = time.monotonic() + 15
        while f"{(NOON + 200) % 1000},".encode() not in chunk[-60_000:] and time.monotonic() < deadline:
            chunk += last.recv(65_536)
        assert len(chunk) < 5_000_000
        metrics = httpx.get(f"{served.url}/metrics").text
        coalesced = next(line for line in metrics.splitlines() if line.startswith("dure_api_stream_coalesced_total"))
        assert float(coalesced.split()[1]) > 10_000
    finally:
        for sleeper in sleepers:
            sleeper.close()


async def test_the_stream_ends_with_the_session(served: Served, city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    async with httpx.AsyncClient(base_url=served.url, timeout=40) as client:
        await sign_in(client, "viewer")
        async with client.stream("GET", "/api/v1/stream") as response:
            city.run("DELETE FROM session")
            await asyncio.wait_for(response.aread(), 35)


async def test_a_broker_that_dies_is_told_and_its_return_too(city: City, tmp_path: Path) -> None:
    with (
        running_broker("nats", tmp_path / "state") as own,
        serving(city, "--broker-file", str(own.file_of("api"))) as served,
    ):
        async with streaming(served.url, "viewer") as stream, httpx.AsyncClient(base_url=served.url) as client:
            deadline = time.monotonic() + 15
            while (await client.get("/ready")).status_code != 200:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            own.kill_supervisor()
            own.kill_broker()
            await stream.until(lambda: stream.named("stale"))
            assert "broker" in problem(await client.get("/ready"), 503)["detail"]
            hellos = len(stream.named("hello"))
            own.restart()
            await stream.until(lambda: len(stream.named("hello")) > hellos, 40)
            assert stream.named("hello")[-1]["missed"] is True
            with connect(own.credentials("ingest")) as ingest:
                tell(ingest, "41480", [9001], NOON + 2777)
                await stream.until(lambda: stream.voltages().get(9001) == 777)
            assert (await client.get("/ready")).status_code == 200
