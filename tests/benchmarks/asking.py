"""Questions over HTTP, timed: `dure api` as a process of its own, real accounts, raw answers.

The client is the standard library's and only reads while it waits; what an answer says is looked at afterwards.
"""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zlib import MAX_WBITS, decompress

from tests.benchmarks.report import Wrong

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
