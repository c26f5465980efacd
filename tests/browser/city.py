"""A small city that runs for real, for tests that look at it: broker, ingest, API, simulator and agents, each the
`dure` command itself, over a database schema of its own. Whoever wants to see something fail kills a process by name.

Beside the simulated agents stands one, `probe`, with one lamp and one bay, that says what a test wants it to say.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import psycopg

from tests.browser import probe
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
READY_S = 90.0
STOP_S = 30.0


class City:
    """Start it with `start`; `url` is its dashboard, `rows` asks its database."""

    name = "minji"
    password = "the password of minji"

    def __init__(
        self, state: Path, database_url: str, *, devices: int = 240, agents: int = 3, speed: str = "60"
    ) -> None:
        self.state = state
        self.devices = devices
        self.agents = agents
        self.speed = speed
        self.schema = f"browser_{secrets.token_hex(6)}"
        self.database_url = database_url
        self.environment = os.environ | {"DURE_DATABASE_URL": database_url, "DURE_DATABASE_SCHEMA": self.schema}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.probe: probe.Probe | None = None
        self.url = ""
        self.port = 0

    def start(self) -> City:
        """Everything up, the clock of the city running."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"create schema {self.schema}".encode())
        self.state.mkdir(parents=True, exist_ok=True)
        fleet = self.state / "fleet.json"
        counts = ["--devices", str(self.devices), "--agents", str(self.agents)]
        self.run("sim", "fleet", *counts, "--seed", "7", "-o", str(fleet))
        manifest = json.loads(fleet.read_text())
        simulated = list(manifest["agents"])
        manifest["agents"].append(probe.ENTRY)
        manifest["devices"] += probe.DEVICES
        everybody = self.state / "everybody.json"
        everybody.write_text(json.dumps(manifest))
        self.run("migrate")
        self.run("register", str(everybody))
        self.run(
            "api",
            "add-account",
            "--name",
            self.name,
            "--role",
            "engineer",
            "--password-file",
            "-",
            given=self.password + "\n",
        )
        broker = self.state / "broker"
        self.run("broker", "credentials", "--state", str(broker), "--fleet", str(everybody))
        self.spawn("broker", "broker", "--state", str(broker), "--port", "0")
        self.run("broker", "credentials", "--state", str(broker), "--fleet", str(everybody))
        services = broker / "credentials" / "services"
        self.spawn("ingest", "ingest", DURE_INGEST_BROKER_FILE=str(services / "ingest.toml"))
        self.start_api()
        socket = self.state / "source.sock"
        world = ["--fleet", str(fleet), "--socket", str(socket), "--state", str(self.state / "sim"), "--seed", "7"]
        self.spawn("sim", "sim", "serve", *world, "--speed", self.speed, "--then-realtime")
        for agent in simulated:
            self.start_agent(agent["municipality"], agent["agent"], broker / "credentials" / "agents", socket)
        newest = "select (extract(epoch from max(observed_at)) * 1000)::bigint from newest_streetlight"
        wait_for(lambda: self.rows(newest)[0][0], READY_S)
        file = broker / "credentials" / "agents" / f"{probe.MUNICIPALITY}.{probe.AGENT}.toml"
        self.probe = probe.Probe(file, self.rows(newest)[0][0])
        self.probe.light("off")
        self.probe.say(probe.BAY, "parking_spot", status="free")
        return self

    def start_agent(self, municipality: str, agent: str, credentials: Path, socket: Path) -> None:
        """One `dure edge` on the simulator's socket."""
        who = f"{municipality}.{agent}"
        self.spawn(
            f"edge {who}",
            "edge",
            DURE_EDGE_MUNICIPALITY=municipality,
            DURE_EDGE_AGENT=agent,
            DURE_EDGE_BROKER_FILE=str(credentials / f"{who}.toml"),
            DURE_EDGE_DRIVER="sim",
            DURE_EDGE_SOURCE=str(socket),
            DURE_EDGE_OUTBOX=str(self.state / f"{who}.db"),
        )

    def start_api(self) -> None:
        """The API and its dashboard; after a kill on the port it had."""
        broker_file = self.state / "broker" / "credentials" / "services" / "api.toml"
        said = self.spawn("api", "api", "--port", str(self.port), "--broker-file", str(broker_file))
        self.url = said["url"].rstrip("/")
        self.port = int(self.url.rsplit(":", 1)[1])

    def run(self, *arguments: str, given: str | None = None) -> str:
        """One command to its end; what it printed."""
        command = [sys.executable, str(ROOT / "dure.py"), *arguments]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, env=self.environment, cwd=ROOT, timeout=120
        )
        assert done.returncode == 0, f"dure {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def spawn(self, name: str, *arguments: str, **variables: str) -> dict[str, str]:
        """A command that serves; the words of its `ready` line. It dies with the tests."""
        tied = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
        log = self.state / f"{name.replace(' ', '-')}.stderr"
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [*tied, sys.executable, str(ROOT / "dure.py"), *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.environment | variables,
                cwd=ROOT,
            )
        self.processes[name] = process
        lines: Queue[str] = Queue()
        threading.Thread(target=_pump, args=(process, lines), daemon=True).start()
        try:
            line = lines.get(timeout=READY_S)
        except Empty:
            line = ""
        assert line.startswith("ready"), f"dure {name} did not start: {line}{log.read_text()[-2000:]}"
        return dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)

    def kill(self, name: str) -> None:
        """kill -9 a process of the city."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(STOP_S)

    def stop(self) -> None:
        """Everything down, the source first, and the schema gone."""
        if self.probe:
            self.probe.stop()
        for name in reversed(list(self.processes)):
            process = self.processes.pop(name)
            if name == "sim":
                process.kill()  # asked nicely, it would first play its day to the end
            else:
                process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(b"set lock_timeout = '20s'")
            connection.execute(f"drop schema {self.schema} cascade".encode())

    def catch_up(self) -> None:
        """Let the probe's clock be the city's, which runs faster than ours."""
        newest = self.rows("select (extract(epoch from max(observed_at)) * 1000)::bigint from newest_streetlight")
        assert self.probe
        self.probe.now_ms = max(self.probe.now_ms, int(newest[0][0]))

    def device_id(self, device: str) -> int:
        """The number of a device by its name."""
        return int(self.rows("select device_id from device where name = %s", device)[0][0])

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, committed."""
        with psycopg.connect(self.database_url, options=f"-csearch_path={self.schema}") as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return list(cursor.fetchall()) if cursor.description else []


def _pump(process: subprocess.Popen[str], lines: Queue[str]) -> None:
    """Read what a process prints, for as long as it prints, so that its pipe never fills."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")
