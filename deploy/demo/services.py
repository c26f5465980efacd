"""The demo's services: what is started with which arguments, in which order, and how they are kept up and stopped.

Promise: each is started as soon as what it needs is there; a prepared folder (fleet registered, credentials and
accounts made) is not prepared again; whoever dies is started again until told to stop. When all of that happens, and
what comes of it, belongs to `city`.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from contracts.log import log
from deploy.demo import processes
from deploy.demo.processes import ROOT, Child, StartError
from deploy.demo.state import Folder

READY_S = 120.0
STOP_S = 30.0


class Interrupted(Exception):
    """Asked to stop before the city was running."""


class Options(msgspec.Struct, frozen=True):
    """How it runs; what is played is the folder's configuration."""

    broker: str
    port: int
    headless: bool
    for_s: float | None
    report: Path | None
    database_url: str | None  # somebody's own PostgreSQL instead of the embedded one


class Services:
    """The children of one demo."""

    def __init__(self, folder: Folder, options: Options, asked_to_stop: Callable[[], bool]) -> None:
        self.folder = folder
        self.options = options
        self.all: list[Child] = []  # in the order they were started
        self.agents: list[Child] = []
        self.stopping = False  # from then on a request to stop interrupts nothing
        self.cpu_s: dict[str, float] = {}
        self.url = ""
        self._asked_to_stop = asked_to_stop
        self._environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR") or str(ROOT / ".dure" / "cache" / "numba"),
            "DURE_DATABASE_SCHEMA": folder.begun.schema,
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def sim_state(self) -> Path:
        return self.folder.path / "sim"

    @property
    def database_url(self) -> str:
        return self._environment["DURE_DATABASE_URL"]

    # Starting.

    def start_platform(self) -> None:
        """Database and fleet, then tables and broker, then ingest and API; each as soon as it can."""
        prepared = self.folder.begun.prepared
        with step("database, fleet, broker"):
            if self.options.database_url:
                self._environment["DURE_DATABASE_URL"] = self.options.database_url
            else:
                database = self._service("database", "database", "--state", self._path("database"))
            if not prepared:
                self.finish(self.command("sim-fleet", "sim", "fleet", *self._fleet_arguments(), "-o", self._fleet))
            if not (prepared and (self.folder.path / "broker" / "registry.json").exists()):
                self.finish(
                    self.command(
                        "credentials", "broker", "credentials", "--fleet", self._fleet, "--state", self._path("broker")
                    )
                )
            broker = self._service(
                "broker", "broker", "--state", self._path("broker"), "--broker", self.options.broker, "--port", "0"
            )
            if not self.options.database_url:
                self._environment["DURE_DATABASE_URL"] = self._wait(database)["url"]
        with step("tables and registry"):
            self.finish(self.command("migrate", "migrate"))
            if not prepared:
                self.finish(self.command("register", "register", self._fleet))
            self._wait(broker)
        with step("ingest and API"):
            services = self.folder.path / "broker" / "credentials" / "services"
            self._environment["DURE_INGEST_BROKER_FILE"] = str(services / "ingest.toml")
            ingest = self._service("ingest", "ingest")
            port = str(self.options.port)
            api = self._service("api", "api", "--port", port, "--broker-file", str(services / "api.toml"))
            self.url = self._wait(api)["url"]
            chosen = self.url.rpartition(":")[2]
            api.arguments[api.arguments.index("--port") + 1] = chosen  # it keeps it when it is started again
            if not prepared:
                self._add_accounts()
                self.folder.begun.prepared = True
                self.folder.save()
            self._wait(ingest)

    def start_city(self) -> None:
        """The agents, then the simulator that feeds them."""
        with step("agents and simulator"):
            names = [(row["municipality"], row["agent"]) for row in self.folder.fleet()["agents"]]
            self.agents = [self._agent(municipality, name) for municipality, name in names]
            sim = self._service(
                "sim", "sim", "serve", *self._played_arguments(), "--socket", "agents.sock",
                "--state", self._path("sim"), may_end=self._run_ended,
            )  # fmt: skip
            processes.wait_ready([*self.agents, sim], READY_S, self._pulse)

    def _agent(self, municipality: str, name: str) -> Child:
        """One agent, with the configuration file that a box on a pole would have."""
        folder = self.folder.path / "agents" / f"{municipality}.{name}"
        folder.mkdir(parents=True, exist_ok=True)
        broker_file = self.folder.path / "broker" / "credentials" / "agents" / f"{municipality}.{name}.toml"
        settings = {
            "municipality": municipality,
            "agent": name,
            "broker_file": str(broker_file),
            "driver": "sim",
            "source": "agents.sock",  # relative to the folder, for a socket's path must be short
            "outbox": str(folder / "outbox.db"),
            "reconnect_max_s": 3.0,  # the broker is on this machine: nobody else is waiting for it
        }
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
        (folder / "edge.toml").write_text("\n".join(["[edge]", *lines, ""]), encoding="utf-8")
        return self._service(
            f"agent-{municipality}-{name}", "edge", "--config", str(folder / "edge.toml"), "--until-drained",
            may_end=self._run_ended,
        )  # fmt: skip

    def _add_accounts(self) -> None:
        """Both accounts at once; those that are there already (we were killed in between) stay."""
        adding = []
        for one in self.folder.accounts():
            self.folder.write("password", one.password.encode())
            secret = self.folder.path / f"password-{one.name}"
            (self.folder.path / "password").replace(secret)
            town = ["--municipality", one.municipality] if one.municipality else []
            given = ["--name", one.name, "--role", one.role, *town, "--password-file", str(secret)]
            adding.append((secret, self.command(f"account-{one.name}", "api", "add-account", *given)))
        for secret, child in adding:
            try:
                self.finish(child)
            except StartError:
                if "already" not in child.last_words():
                    raise
            finally:
                secret.unlink(missing_ok=True)

    # Keeping up and stopping.

    def sample_cpu(self) -> None:
        """CPU time of the present life of each that runs."""
        running = [(child.name, child.pid) for child in self.all]
        self.cpu_s |= {name: round(processes.cpu_seconds(pid), 1) for name, pid in running if pid is not None}

    def named(self, name: str) -> Child:
        return next(child for child in self.all if child.name == name)

    def _service(self, name: str, *arguments: str, may_end: Callable[[], bool] = lambda: False) -> Child:
        child = Child(name, arguments, folder=self.folder.path, environment=self._environment, may_end=may_end)
        child.start()
        self.all.append(child)
        processes.remember(self.all, self.record)
        return child

    def command(self, name: str, *arguments: str) -> Child:
        child = Child(name, arguments, folder=self.folder.path, environment=self._environment)
        child.start()
        return child

    def finish(self, child: Child) -> str:
        return processes.finish(child, self._pulse)

    def _wait(self, child: Child) -> dict[str, str]:
        return processes.wait_ready([child], READY_S, self._pulse)[child.name]

    def _pulse(self) -> None:
        if self._asked_to_stop() and not self.stopping:
            raise Interrupted

    def tend(self) -> None:
        """Start again what died; remember who runs when that changed."""
        starts = sum(child.starts for child in self.all)
        for child in self.all:
            child.tend()
        sim = self.named("sim")
        if sim.ended and any(not agent.ended and agent.started_s > sim.started_s for agent in self.agents):
            log("started_again", process="sim", reason="an agent died after its source had left")
            sim.start()
        if sum(child.starts for child in self.all) != starts:
            processes.remember(self.all, self.record)

    def stop_in_order(self) -> None:
        """Stop what still runs: agents and simulator, then ingest, API, broker, database."""
        self.stopping = True
        for child in (*self.agents, *(child for child in self.all if child.name == "sim")):
            child.ask_to_stop()
        for child in reversed(self.all):
            child.stop(2.0 if child.name == "sim" else STOP_S)
        self.record.unlink(missing_ok=True)
        (self.folder.path / "now.json").unlink(missing_ok=True)

    def kill(self) -> None:
        """End whatever still runs, at once."""
        for child in self.all:
            child.kill()

    # Parts.

    @property
    def record(self) -> Path:
        return self.folder.path / "processes.json"

    @property
    def _fleet(self) -> str:
        return str(self.folder.path / "fleet.json")

    def _path(self, name: str) -> str:
        return str(self.folder.path / name)

    def _fleet_arguments(self) -> list[str]:
        what = self.folder.begun.configuration
        if what.recording and what.map:
            return ["--recording", what.recording, "--map", what.map]
        return ["--devices", str(what.devices), "--agents", str(what.agents), "--seed", str(what.seed)]

    def _played_arguments(self) -> list[str]:
        what = self.folder.begun.configuration
        if what.recording and what.map:
            return ["--recording", what.recording, "--map", what.map, "--speed", str(what.speed)]
        return ["--fleet", self._fleet, "--seed", str(what.seed), "--speed", str(what.speed), "--then-realtime"]

    def _run_ended(self) -> bool:
        """Whether the simulator's clock stands: only then may agents and simulator end."""
        try:
            return bool(json.loads((self.sim_state / "account.json").read_bytes())["ended"])
        except (OSError, ValueError, KeyError):
            return False


@contextmanager
def step(title: str) -> Iterator[None]:
    """One line of progress with its seconds; the line is ended whatever happens."""
    begun_s = time.monotonic()
    print(f"  {title} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f" {time.monotonic() - begun_s:.1f} s", flush=True)
