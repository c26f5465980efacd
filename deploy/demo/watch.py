"""What the running city says of itself: the API's status, asked as anybody signed in may, and the simulator's clock.

Answers may fail while something is being started again; then the last one stands.
"""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from deploy.demo.state import Account

Json = dict[str, Any]
TIMEOUT_S = 10.0


class Api:
    """The HTTP API, signed in."""

    def __init__(self, url: str, account: Account) -> None:
        self.url = url
        self._account = account
        self._token: str | None = None

    def get(self, path: str) -> Json:
        """One answer; OSError when there is none."""
        if self._token is None:
            given = {"name": self._account.name, "password": self._account.password}
            self._token = str(self._ask("/api/v1/sign-in", json.dumps(given).encode())["token"])
        try:
            return self._ask(path)
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self._token = None
            raise

    def alarms(self) -> list[Json]:
        """Every alarm there ever was, newest first."""
        found: list[Json] = []
        after = ""
        while True:
            page = self.get(f"/api/v1/alarms?folded=true&limit=500{after}")
            found += page["items"]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    def _ask(self, path: str, body: bytes | None = None) -> Json:
        request = urllib.request.Request(self.url + path, data=body)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token is not None:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            found: Json = json.load(answer)
            return found


class Watch:
    """The newest status that could be had."""

    def __init__(self, api: Api, sim_state: Path, time_zone: str) -> None:
        self.time_zone = time_zone
        self.status: Json = {}
        self.backlog = 0
        self.fresh = False
        self._api = api
        self._account = sim_state / "account.json"

    def look(self) -> None:
        """Ask again."""
        try:
            self.status = self._api.get("/api/v1/status")
            self.backlog = sum(agent["backlog"] or 0 for agent in self._api.get("/api/v1/agents")["items"])
            self.fresh = True
        except (OSError, ValueError, KeyError):
            self.fresh = False

    def alarms(self) -> list[Json]:
        """Every alarm; OSError when the API does not answer."""
        return self._api.alarms()

    def simulator(self) -> Json:
        """The simulator's own account; empty while there is none."""
        try:
            found: Json = json.loads(self._account.read_bytes())
            return found
        except (OSError, ValueError):
            return {}

    def count(self, name: str) -> int:
        return int(self.status.get("observations", {}).get(name, 0))

    def histograms(self) -> dict[str, list[int]]:
        """Latency histogram of each ingest worker."""
        workers = self.status.get("workers", [])
        return {row["worker"]: row["counters"].get("latency_ms_histogram", {}).get("counts", []) for row in workers}
