"""`dure demo` as a process of its own, and what a journey does to it: kill a part, hold it, look, read the account."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from deploy.demo.processes import DURE, ROOT
from tests.database_fixture import DatabaseProcess
from tests.waiting import wait_for

READY_S, END_S = 100.0, 100.0


class DemoProcess:
    """One demo on one state folder; may be started more than once."""

    def __init__(self, state: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.state = state
        self.arguments = arguments
        self.environment = os.environ | {"PYTHONUNBUFFERED": "1"} | dict(environment or {})
        self.report_file = state.parent / f"{state.name}.report.json"
        self.output_file = state.parent / f"{state.name}.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        tied = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
        own = ["--headless", "--port", "0", "--state", str(self.state), "--report", str(self.report_file)]
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                [*tied, *DURE, "demo", *own, *self.arguments, *more],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=ROOT,
            )

    def said(self) -> str:
        return self.output_file.read_text(errors="replace")

    def wait_ready(self) -> dict[str, str]:
        """The fields of its `ready` line."""
        assert self.process is not None

        def ready() -> re.Match[str] | None:
            assert self.process is not None and self.process.poll() is None, self.said()
            return re.search(r"^ready (.*)\n", self.said(), re.MULTILINE)

        fields = wait_for(ready, READY_S)
        assert fields is not None
        return dict(part.partition("=")[::2] for part in fields[1].split())

    def wait_end(self) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(END_S)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            time.sleep(0.2)
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.process.kill()
            self.process.wait()

    # Parts.

    def pid(self, name: str) -> int:
        """Process number of a part; of the broker and the database themselves rather than of their supervisors."""
        if name == "nats":
            return int(json.loads((self.state / "broker" / "process.json").read_text())["pid"])
        if name == "postgres":
            return int((self.state / "database" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        return int(json.loads((self.state / "processes.json").read_text())[name][0])

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    def parts(self) -> dict[str, int]:
        """Every child by name."""
        return {name: row[0] for name, row in json.loads((self.state / "processes.json").read_text()).items()}

    @contextmanager
    def without(self, name: str, supervisor: str) -> Iterator[None]:
        """The broker or the database is gone for a while: killed, and its supervisor held so that it stays so."""
        held = self.pid(supervisor)
        os.kill(held, signal.SIGSTOP)
        try:
            self.kill(name)
            yield
        finally:
            os.kill(held, signal.SIGCONT)

    def agents(self) -> list[str]:
        return sorted(path.name for path in (self.state / "agents").iterdir())

    def backlog(self, agent: str) -> int:
        """Observations that wait in an agent's outbox, as `dure edge status` tells."""
        config = self.state / "agents" / agent / "edge.toml"
        told = subprocess.run(
            [*DURE, "edge", "status", "--config", str(config)],
            capture_output=True,
            check=True,
            cwd=self.state,
            env=self.environment,
        )
        found = json.loads(told.stdout)
        return int(found["pending"] + sum(epoch["observations_waiting"] for epoch in found["epochs"]))

    def get(self, path: str) -> Any:
        """One answer of the API, asked as admin."""
        now = json.loads((self.state / "now.json").read_text())
        admin = next(one for one in now["accounts"] if one["role"] == "admin")
        given = json.dumps({"name": admin["name"], "password": admin["password"]}).encode()
        signing_in = urllib.request.Request(now["url"] + "/api/v1/sign-in", given, {"Content-Type": "application/json"})
        with urllib.request.urlopen(signing_in, timeout=20) as answer:
            token = json.load(answer)["token"]
        asking = urllib.request.Request(now["url"] + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asking, timeout=20) as answer:
            return json.load(answer)

    def wait_committed(self, observations: int) -> None:
        """Until the load is on its way: so many were committed."""
        wait_for(lambda: self.get("/api/v1/status")["observations"]["committed"] >= observations, 60, pause_s=0.3)

    # Afterwards.

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.report_file.read_text())
        return found

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection to the demo's database, started for it."""
        server = DatabaseProcess(self.state / "database")
        with psycopg.connect(server.start(), options="-csearch_path=dure") as connection:
            yield connection
            connection.rollback()
        assert server.stop() == 0


def dure(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, str(ROOT / "dure.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | dict(environment or {}),
        cwd=ROOT,
    )
