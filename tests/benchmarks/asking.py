"""Questions, timed: over HTTP of `dure api` as a process of its own, by a real account; and at the database alone.

The client is the standard library's and only reads while it waits; what an answer says is looked at afterwards.
"""

import argparse
import asyncio
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zlib import MAX_WBITS, decompress

import numpy as np

from ingest_service.store.connection import connect
from platform_api.queries.database import Database
from tests.benchmarks import month as made
from tests.benchmarks.report import Case, Wrong, case, progress

ROOT = Path(__file__).parents[2]
PASSWORD = "a long enough password"


@dataclass(frozen=True)
class Times:
    """Milliseconds of many requests."""

    ms: list[float]

    def share(self, share: float) -> float:
        """The time within which that share of the requests was answered."""
        found = sorted(self.ms)
        return found[min(len(found) - 1, int(share * len(found)))]


class Api:
    """`dure api` on a schema, and an account that sees everything."""

    def __init__(self, url: str, schema: str, **settings: str) -> None:
        environment = {**os.environ, "DURE_DATABASE_URL": url, "DURE_DATABASE_SCHEMA": schema, **settings}
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "dure.py"), "api", "--port", "0"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("ready url="):
            raise RuntimeError(f"dure api did not start: {line!r}")
        self.address = urlsplit(line.removeprefix("ready url=").strip())
        self.token = self._sign_in()

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=30)

    def connection(self) -> http.client.HTTPConnection:
        assert self.address.hostname is not None
        return http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=60)

    def get(
        self, path: str, connection: http.client.HTTPConnection | None = None, **headers: str
    ) -> tuple[float, int, bytes, str]:
        """(ms until the last byte, status, the answer as sent, its ETag)."""
        opened = connection or self.connection()
        sent = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "gzip", **headers}
        began = time.perf_counter()
        opened.request("GET", f"/api/v1{path}", headers=sent)
        answer = opened.getresponse()
        body = answer.read()
        took_ms = (time.perf_counter() - began) * 1000
        if answer.status not in (200, 304):
            raise Wrong(f"{path}: {answer.status} {body[:300]!r}")
        return took_ms, answer.status, body, answer.headers.get("ETag", "")

    def ask(self, path: str) -> Any:
        """What the answer says."""
        return json.loads(unpacked(self.get(path)[2]))

    def times(self, paths: Sequence[str], abreast: int = 1, pause_s: float = 0.0) -> Times:
        """Ask each path once, over `abreast` connections that are kept."""
        found: list[list[float]] = [[] for _ in range(abreast)]
        failed: list[BaseException] = []

        def run(place: int) -> None:
            try:
                opened = self.connection()
                self.get("/session", opened)
                for path in paths[place::abreast]:
                    found[place].append(self.get(path, opened)[0])
                    if pause_s:
                        time.sleep(random.uniform(0, 2 * pause_s))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=(place,)) for place in range(abreast)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        return Times([ms for some in found for ms in some])

    def _sign_in(self) -> str:
        opened = self.connection()
        body = json.dumps({"name": "bench", "password": PASSWORD})
        opened.request("POST", "/api/v1/sign-in", body, {"Content-Type": "application/json"})
        answer = opened.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200:
            raise Wrong(f"cannot sign in: {said}")
        return str(said["token"])


def unpacked(body: bytes) -> bytes:
    return decompress(body, MAX_WBITS | 16) if body[:2] == b"\x1f\x8b" else body


Baseline = tuple[str, Times]  # whose time, and the times


class Asking:
    """Whom to ask, about what, how often; and what becomes a case."""

    def __init__(self, url: str, schema: str, month: made.Month, options: argparse.Namespace) -> None:
        self.url, self.schema, self.month = url, schema, month
        self.requests: int = options.requests
        self.naive: bool = not options.no_naive
        self.rng = random.Random(20261101)
        self.ids = np.arange(1, month.devices + 1)
        self.kinds, self.towns = made.kind_of(self.ids), made.town_of(self.ids)
        self.of = f"{month.observations:,} observations of {month.devices:,} devices in {month.days} days"

    def device(self) -> int:
        """Some device."""
        return self.rng.randrange(1, self.month.devices + 1)

    def point(self) -> tuple[float, float]:
        """Some place in one of the towns: latitude, longitude."""
        north = 37.4 + self.rng.randrange(5) * 0.15 + self.rng.uniform(0, 0.1)
        return round(north, 6), round(126.7 + self.rng.uniform(0, 0.1), 6)

    def connect(self) -> Any:
        return connect(made.settings(self.url, self.schema), name="bench")

    def sql_times(self, statements: Sequence[str]) -> Times:
        """Statements that a project would write, with their rows fetched."""
        found = []
        with self.connect() as connection:
            for text in statements:
                began = time.perf_counter()
                connection.execute(text.encode()).fetchall()
                found.append((time.perf_counter() - began) * 1000)
        return Times(found)

    def cases(
        self, name: str, alone: Times, four: Times | None, baseline: Baseline | None, of: str | None = None
    ) -> list[Case]:
        """p50, p95 and p99 of a question at the API; p95 beside its baseline's median, and with four asking at once."""
        against = (baseline[0], baseline[1].share(0.5)) if baseline else None
        progress(f"{name}: p50 {alone.share(0.5):.1f}, p95 {alone.share(0.95):.1f} ms")
        of = of or self.of
        found = [
            case(f"{name}, p95", alone.share(0.95), "ms", against=against, of=f"{of}; {len(alone.ms)} requests"),
            case(f"{name}, p50", alone.share(0.5), "ms", of=of),
            case(f"{name}, p99", alone.share(0.99), "ms", of=of),
        ]
        if four:
            found.append(case(f"{name}, 4 at once, p95", four.share(0.95), "ms", of=f"{of}; {len(four.ms)} requests"))
        return found

    def at_database(
        self, name: str, ask: Callable[[Database, int], Awaitable[object]], baseline: Baseline | None = None
    ) -> Case:
        """p95 of the statement alone, by its typed function; ask: of a random device."""

        async def run() -> Times:
            database = Database(self.url, self.schema, size=2, statement_timeout_s=60)
            await database.open()
            found = []
            try:
                for _ in range(min(100, self.requests)):
                    device_id = self.device()
                    began = time.perf_counter()
                    await ask(database, device_id)
                    found.append((time.perf_counter() - began) * 1000)
            finally:
                await database.close()
            return Times(found)

        times = asyncio.run(run())
        against = (baseline[0], baseline[1].share(0.5)) if baseline else None
        return case(f"{name}, at the database, p95", times.share(0.95), "ms", against=against, of=self.of)
