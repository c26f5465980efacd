"""The demo's whole story: prepare, start, play, drain, account, stop.

Everything that matters lies in the folder (database, outboxes, the simulator's clock), so the story can be cut off
anywhere and begun again. Services are started as early as what they need is there. At the end the clock is frozen
first, then the agents end by themselves once all they hold is committed, and only when ingest has stopped too does the
account count: nothing can move any more.
"""

import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from contracts.log import log
from deploy.demo import account, processes
from deploy.demo.line import Line, describe
from deploy.demo.processes import ROOT, Child, StartError
from deploy.demo.state import Account, Folder
from deploy.demo.watch import Api, Watch

READY_S = 120.0
TICK_S = 0.1
NO_PROGRESS_S = 60.0  # so long without a commit, and draining is given up
STOP_S = 30.0


class Interrupted(Exception):
    """Asked to stop before the city was running."""


class AtOnce(BaseException):
    """Asked to stop a second time."""


class Options(msgspec.Struct, frozen=True):
    """How it runs; what is played is the folder's configuration."""

    broker: str
    port: int
    headless: bool
    for_s: float | None
    report: Path | None
    database_url: str | None  # somebody's own PostgreSQL instead of the embedded one


class City:
    def __init__(self, folder: Folder, options: Options, asked_to_stop: Callable[[], bool]) -> None:
        self.folder = folder
        self.options = options
        self.services: list[Child] = []  # in the order they were started
        self.agents: list[Child] = []
        self._asked_to_stop = asked_to_stop
        self._line = Line()
        self._environment = {
            **os.environ,
            "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR") or str(ROOT / ".dure" / "cache" / "numba"),
            "DURE_DATABASE_SCHEMA": folder.begun.schema,
            "PYTHONUNBUFFERED": "1",
        }
        self._stopping = False
        self._cpu_s: dict[str, float] = {}

    def run(self) -> int:
        """The story; the exit code."""
        begun_s = time.monotonic()
        self._say_what()
        self._clean_up()
        self.start_platform()
        accounts = self.folder.accounts()
        time_zone = self.folder.fleet()["municipalities"][0].get("time_zone", "UTC")
        watch = Watch(Api(self._url, accounts[0]), self._sim_state, time_zone)
        watch.look()
        self._start_city()
        self._announce(accounts, time.monotonic() - begun_s)
        before = watch.histograms(), watch.count("committed")
        played_s = time.monotonic()
        self._play(watch, played_s)
        drained = self._drain(watch)
        seconds = time.monotonic() - played_s
        self._line.end()
        return self._close(watch, before, seconds, drained)

    # Starting.

    def _say_what(self) -> None:
        what = self.folder.begun.configuration
        playing = (
            f"recording {Path(what.recording).name}"
            if what.recording
            else f"{what.devices:,} devices behind {what.agents} agents"
        )
        print(f"{playing}, at {what.speed:g}x; state in {_shown(self.folder.path)}")
        if not self.folder.is_new:
            print(f"going on with what was begun {_when(self.folder.begun.begun_at)} (--fresh begins anew)")

    def _clean_up(self) -> None:
        """End what a killed demo left running; clear the folder when this one begins anew."""
        left = processes.end_leftovers(self._record)
        if left:
            log("leftovers_ended", level="warning", processes=left, reason="an earlier demo was killed")
        self.folder.clear()

    def start_platform(self) -> None:
        """Database and fleet, then tables and broker, then ingest and API; each as soon as it can."""
        prepared = self.folder.begun.prepared
        step = Step("database, fleet, broker")
        if self.options.database_url:
            self._environment["DURE_DATABASE_URL"] = self.options.database_url
        else:
            database = self._service("database", "database", "--state", self._path("database"))
        if not prepared:
            self._finish(self._command("sim-fleet", "sim", "fleet", *self._fleet_arguments(), "-o", self._fleet))
        if not (prepared and (self.folder.path / "broker" / "registry.json").exists()):
            self._finish(
                self._command(
                    "credentials", "broker", "credentials", "--fleet", self._fleet, "--state", self._path("broker")
                )
            )
        broker = self._service(
            "broker", "broker", "--state", self._path("broker"), "--broker", self.options.broker, "--port", "0"
        )
        if not self.options.database_url:
            self._environment["DURE_DATABASE_URL"] = self._wait(database)["url"]
        step.done()
        step = Step("tables and registry")
        self._finish(self._command("migrate", "migrate"))
        if not prepared:
            self._finish(self._command("register", "register", self._fleet))
        self._wait(broker)
        step.done()
        step = Step("ingest and API")
        services = self.folder.path / "broker" / "credentials" / "services"
        self._environment["DURE_INGEST_BROKER_FILE"] = str(services / "ingest.toml")
        ingest = self._service("ingest", "ingest")
        port = str(self.options.port)
        api = self._service("api", "api", "--port", port, "--broker-file", str(services / "api.toml"))
        self._url = self._wait(api)["url"]
        api.arguments[api.arguments.index("--port") + 1] = self._url.rpartition(":")[2]  # keeps it when started again
        if not prepared:
            self._add_accounts()
            self.folder.begun.prepared = True
            self.folder.save()
        self._wait(ingest)
        step.done()

    def _start_city(self) -> None:
        """The agents, then the simulator that feeds them."""
        step = Step("agents and simulator")
        names = [(row["municipality"], row["agent"]) for row in self.folder.fleet()["agents"]]
        self.agents = [self._agent(municipality, name) for municipality, name in names]
        sim = self._service(
            "sim", "sim", "serve", *self._played_arguments(), "--socket", "agents.sock",
            "--state", self._path("sim"), may_end=self._run_ended,
        )  # fmt: skip
        processes.wait_ready([*self.agents, sim], READY_S, self._pulse)
        step.done()

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
            adding.append((secret, self._command(f"account-{one.name}", "api", "add-account", *given)))
        for secret, child in adding:
            try:
                self._finish(child)
            except StartError:
                if "already" not in child.last_words():
                    raise
            finally:
                secret.unlink(missing_ok=True)

    def _announce(self, accounts: list[Account], seconds: float) -> None:
        now = {
            "url": self._url,
            "pid": os.getpid(),
            "accounts": accounts,
            "database_url": self._environment["DURE_DATABASE_URL"],
            "schema": self.folder.begun.schema,
        }
        self.folder.write("now.json", msgspec.json.format(msgspec.json.encode(now), indent=1))
        if not self.options.headless:
            width = max(len(one.name) for one in accounts)
            print(f"\n  The city:  {self._url}\n  Sign in:")
            for one in accounts:
                sees = f"operator of {one.municipality}" if one.municipality else f"{one.role}, sees everything"
                print(f"    {one.name:<{width}}  {one.password}   {sees}")
            print("  Ctrl-C stops in order and prints the account.\n")
        print(f"ready url={self._url} seconds={seconds:.1f} state={self.folder.path}", flush=True)

    # Running.

    def _play(self, watch: Watch, begun_s: float) -> None:
        """Until asked to stop, the time is over, or a recording has ended and everything of it is committed."""
        until_s = begun_s + self.options.for_s if self.options.for_s is not None else float("inf")
        recording = self.folder.begun.configuration.recording is not None
        self._line.due(begun_s)
        while not self._asked_to_stop() and time.monotonic() < until_s:
            self._tend()
            if recording and self.options.for_s is None and all(agent.ended for agent in self.agents):
                return
            if self._line.due(time.monotonic()):
                watch.look()
                self._line.show(describe(watch))
            time.sleep(TICK_S)

    def _drain(self, watch: Watch) -> bool:
        """Freeze the clock and wait until every agent has ended, which it does when all it had is committed."""
        self._line.end()
        self._sample_cpu()
        print("stopping: the clock is frozen, agents send what they hold", flush=True)
        self._freeze()
        progress, since_s, next_look_s = -1, time.monotonic(), 0.0
        while not all(agent.ended for agent in self.agents):
            self._tend()
            now_s = time.monotonic()
            if now_s >= next_look_s:
                next_look_s = now_s + 1.0
                watch.look()
                done = watch.count("received") + sum(agent.ended for agent in self.agents)
                if done != progress:
                    progress, since_s = done, now_s
            if self._line.due(now_s):
                self._line.show(describe(watch))
            if now_s - since_s > NO_PROGRESS_S:
                left = [agent.name for agent in self.agents if not agent.ended]
                print(
                    f"\ngiving up: {NO_PROGRESS_S:.0f} s without progress; not done: {', '.join(left)}. Their outboxes "
                    "keep what they hold, and the same command goes on",
                    flush=True,
                )
                return False
            time.sleep(TICK_S)
        return True

    def _freeze(self) -> None:
        """Freeze the simulator's clock; from now on it is only started again to hand out what was numbered."""
        sim = self._named("sim")
        give_up_s = time.monotonic() + READY_S
        while not sim.ended:
            asking = self._command("sim-stop", "sim", "stop", "--state", self._path("sim"))
            while asking.exit_code is None:
                self._tend()
                time.sleep(processes.PAUSE_S)
            if asking.exit_code == 0:
                sim.arguments.append("--finish")
                return
            self._tend()
            if time.monotonic() > give_up_s:
                raise StartError(f"cannot freeze the simulator's clock:\n{asking.last_words()}")
            time.sleep(0.5)

    # The end.

    def _close(self, watch: Watch, before: tuple[dict[str, list[int]], int], seconds: float, drained: bool) -> int:
        """Stop ingest, count, stop the rest; the exit code."""
        self._sample_cpu()
        self._stopping = True
        for child in self.agents:  # those that were given up
            child.ask_to_stop()
        for child in (*self.agents, self._named("sim"), self._named("ingest")):
            child.stop(STOP_S)
        step = Step("counting")
        counted = json.loads(self._finish(self._command("account", "account")))
        generated = json.loads(self._finish(self._command("sim-account", "sim", "account", "--state", self._sim_path)))
        figures = account.report(
            generated=generated,
            counted=counted,
            latency_before=before[0],
            committed_before=before[1],
            seconds=seconds,
            labels=self._labels(),
            alarms=self._alarms(watch),
            drained=drained,
        )
        step.done()
        begun = self.folder.begun
        figures["continued"] = not self.folder.is_new
        figures["begun_at"] = begun.begun_at
        figures["configuration"] = msgspec.to_builtins(begun.configuration)
        figures["processes"] = {
            child.name: {"starts": child.starts, "cpu_s": self._cpu_s.get(child.name)} for child in self.services
        }
        self.stop_in_order()
        print(account.text(figures, continued_since=None if self.folder.is_new else _when(begun.begun_at)), flush=True)
        if self.options.report:
            self.options.report.parent.mkdir(parents=True, exist_ok=True)
            self.options.report.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"written to {self.options.report}", flush=True)
        if not account.good(figures):
            print("NOT good: see lost, committed twice, and whether everything was drained", flush=True)
            return 1
        return 0

    def stop_in_order(self) -> None:
        """Stop what still runs: agents and simulator, then ingest, API, broker, database."""
        self._stopping = True
        for child in (*self.agents, *(child for child in self.services if child.name == "sim")):
            child.ask_to_stop()
        for child in reversed(self.services):
            child.stop(2.0 if child.name == "sim" else STOP_S)
        self._record.unlink(missing_ok=True)
        (self.folder.path / "now.json").unlink(missing_ok=True)

    def kill(self) -> None:
        """End whatever still runs, at once."""
        for child in self.services:
            child.kill()

    # Parts.

    @property
    def _record(self) -> Path:
        return self.folder.path / "processes.json"

    @property
    def _fleet(self) -> str:
        return str(self.folder.path / "fleet.json")

    @property
    def _sim_state(self) -> Path:
        return self.folder.path / "sim"

    @property
    def _sim_path(self) -> str:
        return str(self._sim_state)

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
            return bool(json.loads((self._sim_state / "account.json").read_bytes())["ended"])
        except (OSError, ValueError, KeyError):
            return False

    def _labels(self) -> list[dict[str, Any]]:
        file = self._sim_state / "labels.json"
        found: list[dict[str, Any]] = json.loads(file.read_bytes()) if file.exists() else []
        return found

    def _alarms(self, watch: Watch) -> list[dict[str, Any]]:
        try:
            return watch.alarms()
        except OSError as error:
            log("alarms_unknown", level="warning", reason=error)
            return []

    def _sample_cpu(self) -> None:
        """CPU time of the present life of each that runs."""
        running = [(child.name, child.pid) for child in self.services]
        self._cpu_s |= {name: round(processes.cpu_seconds(pid), 1) for name, pid in running if pid is not None}

    def _named(self, name: str) -> Child:
        return next(child for child in self.services if child.name == name)

    def _service(self, name: str, *arguments: str, may_end: Callable[[], bool] = lambda: False) -> Child:
        child = Child(name, arguments, folder=self.folder.path, environment=self._environment, may_end=may_end)
        child.start()
        self.services.append(child)
        processes.remember(self.services, self._record)
        return child

    def _command(self, name: str, *arguments: str) -> Child:
        child = Child(name, arguments, folder=self.folder.path, environment=self._environment)
        child.start()
        return child

    def _finish(self, child: Child) -> str:
        return processes.finish(child, self._pulse)

    def _wait(self, child: Child) -> dict[str, str]:
        return processes.wait_ready([child], READY_S, self._pulse)[child.name]

    def _pulse(self) -> None:
        if self._asked_to_stop() and not self._stopping:
            raise Interrupted

    def _tend(self) -> None:
        """Start again what died; remember who runs when that changed."""
        starts = sum(child.starts for child in self.services)
        for child in self.services:
            child.tend()
        if sum(child.starts for child in self.services) != starts:
            processes.remember(self.services, self._record)


class Step:
    """One line of progress with its seconds."""

    def __init__(self, title: str) -> None:
        self._title, self._begun_s = title, time.monotonic()
        print(f"  {title} ...", end="", flush=True)

    def done(self) -> None:
        print(f" {time.monotonic() - self._begun_s:.1f} s", flush=True)


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M}"


def _shown(path: Path) -> str:
    """Relative to where the user stands, when that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
