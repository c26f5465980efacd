"""The processes of a benchmark: PostgreSQL by `dure database`, a broker, `dure ingest`, and what each of them costs.

The broker is configured by Dure's own rendering with one account more: `bench` may publish as every agent and read
every cursor, so that a few connections can stand for thousands of outboxes. PostgreSQL keeps what it confirms: fsync,
full_page_writes and synchronous_commit are asked for before anything is measured.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from broker import mosquitto, nats, passwords, registry
from broker.permissions import Permissions
from broker.registry import Credentials, User
from broker.state import State, free_port
from contracts import profiles, topics
from contracts.topics import Channel
from ingest_service.settings import Database as Settings
from ingest_service.store.migrate import migrate
from tests.benchmarks.load_fleet import Fleet, register
from tests.benchmarks.report import Wrong
from tests.database_fixture import ROOT, Database, DatabaseProcess
from tests.waiting import wait_for

PLACE = ROOT / ".dure" / "bench"  # loads, databases and installed peers; `./run clean` removes it
_ALL_TOPICS = [*topics.filters(Channel.BATCH), *topics.filters(Channel.CURSOR), *topics.filters(Channel.LIVE)]
BROKERS = {nats.NAME: nats, mosquitto.NAME: mosquitto}
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
BENCH = "bench"  # the broker's account of the load
HERTZ = os.sysconf("SC_CLK_TCK")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder of this run's own, removed at its end."""
    PLACE.mkdir(parents=True, exist_ok=True)
    found = Path(tempfile.mkdtemp(prefix="run-", dir=PLACE))
    try:
        yield found
    finally:
        shutil.rmtree(found, ignore_errors=True)


@contextmanager
def postgres(place: Path) -> Iterator[DatabaseProcess]:
    """A PostgreSQL of this run's own; raises Wrong when it would not keep what it confirms."""
    server = DatabaseProcess(place / "database")
    url = server.start()
    try:
        with psycopg.connect(url) as connection:
            for name in DURABLE:
                (value,) = connection.execute(f"SHOW {name}".encode()).fetchone() or ("?",)
                if value != "on":
                    raise Wrong(f"{name} is {value}: what is measured would not be durable")
        yield server
    finally:
        server.stop()


@contextmanager
def schema(server: DatabaseProcess, fleet: Fleet | None = None) -> Iterator[Database]:
    """A migrated schema with the fleet registered."""
    fresh = Database(server.url, f"bench_{secrets.token_hex(4)}")
    migrate(Settings(url=fresh.url, schema=fresh.schema), profiles.load(environ={}))
    if fleet is not None:
        with fresh.connect() as connection:
            register(connection, fleet)
    yield fresh
    drop(fresh)


def drop(database: Database) -> None:
    """Away with a schema, table by table: all at once would take more locks than there are."""
    with database.connect(autocommit=True) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p') "
            "AND NOT relispartition",
            (database.schema,),
        ).fetchall()
        for (name,) in rows:
            connection.execute(f"DROP TABLE IF EXISTS {name} CASCADE".encode())
        connection.execute(f"DROP SCHEMA {database.schema} CASCADE".encode())
        connection.execute("CHECKPOINT")


class Broker:
    """A broker as a child of ours, with Dure's configuration, the account `bench`, and credentials of some agents."""

    def __init__(self, name: str, place: Path, agents: Iterable[tuple[str, str]] = ()) -> None:
        self.name = name
        self.state = State(place / f"broker-{name}")
        self.port = free_port("127.0.0.1")
        registry.issue(self.state, agents, host="127.0.0.1", port=self.port)
        password = passwords.new_password()
        self.account = Credentials("127.0.0.1", self.port, BENCH, password, f"bench-{secrets.token_hex(4)}")
        peers = ["bench", "bench/#"]  # NATS takes `bench/#` for both
        everything = Permissions([*topics.filters(Channel.BATCH), *peers], [*_ALL_TOPICS, *peers])
        bench = User(BENCH, passwords.for_nats(password), passwords.for_mosquitto(password), everything)
        directory = self.state.directory / name
        directory.mkdir()
        users = [*registry.users(registry.load(self.state).values()), bench]
        module = BROKERS[name]
        for file, text in module.render(users, host="127.0.0.1", port=self.port, directory=directory).items():
            (directory / file).write_text(text)
            (directory / file).chmod(0o600)
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                module.command(module.find(), directory), stdout=log, stderr=log, start_new_session=True
            )
        self.log = directory / "log"
        wait_for(self._listens, 20)

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def file_of(self, service: str) -> Path:
        """Credential file of a service, or of an agent by its user name."""
        return (self.state.agents if "." in service else self.state.services) / f"{service}.toml"

    def stop(self) -> None:
        end(self.process)


@contextmanager
def broker(name: str, place: Path, agents: Iterable[tuple[str, str]] = ()) -> Iterator[Broker]:
    running = Broker(name, place, agents)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(running.state.directory, ignore_errors=True)


@contextmanager
def ingest(database: Database, broker: Broker, place: Path, **settings: object) -> Iterator[subprocess.Popen[str]]:
    """`dure ingest` with every monitor of the shipped profiles; it must stop in order."""
    log = place / "ingest.log"
    environment = {
        **os.environ,
        **database.environment,
        "DURE_INGEST_BROKER_FILE": str(broker.file_of("ingest")),
        **{f"DURE_INGEST_{key.upper()}": str(value) for key, value in settings.items()},
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "dure.py", "ingest"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors,
            text=True, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        if not process.stdout.readline().startswith("ready "):
            raise RuntimeError(f"dure ingest did not start: {log.read_text()[-3000:]}")
        yield process
        process.terminate()
        if process.wait(120) != 0:
            raise Wrong(f"dure ingest ended with {process.returncode}: {log.read_text()[-3000:]}")
        if failed := [line for line in log.read_text().splitlines() if "flush.failed" in line]:
            raise Wrong(f"flushes failed: {failed[0]}")
    finally:
        end(process)


class Sending:
    """The outboxes of a load, in a process of their own."""

    def __init__(self, load: Path, broker: Broker, *arguments: object) -> None:
        account = broker.state.directory / "bench.json"
        account.write_bytes(msgspec.json.encode(broker.account))
        account.chmod(0o600)
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.outboxes", str(load), str(account), *map(str, arguments)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def grant(self, upto: int) -> None:
        """Let a load without cursors go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{upto}\n")
        self.process.stdin.flush()

    def finish(self, within_s: float) -> dict[str, Any]:
        """Its last word, once it has ended by itself."""
        if self.process.wait(within_s) != 0:
            raise RuntimeError(f"the outboxes ended with {self.process.returncode}")
        self._reader.join(10)
        return self.lines[-1]

    def stop(self) -> None:
        end(self.process)


class Costs:
    """CPU seconds by process, counted over a span; and one process's memory, sampled each second."""

    def __init__(self, processes: dict[str, int], watch: str = "") -> None:
        self._processes = processes
        self._before = {name: cpu_s(pid) for name, pid in processes.items()}
        self.rss_mb: list[float] = []
        self._stopping = threading.Event()
        self._watched = processes.get(watch)
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while self._watched and not self._stopping.wait(1.0):
            with contextlib.suppress(OSError):
                self.rss_mb.append(rss_mb(self._watched))

    def stop(self) -> dict[str, float]:
        """CPU seconds since the beginning."""
        self._stopping.set()
        self._thread.join()
        return {name: cpu_s(pid) - self._before[name] for name, pid in self._processes.items()}


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and all its children, those included that have ended."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    family, found = {pid}, True
    while found:
        found = {child for child, (parent, _) in parents.items() if parent in family} - family
        family |= found
    return sum(parents[one][1] for one in family if one in parents) / HERTZ


def rss_mb(pid: int) -> float:
    """Resident megabytes of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def end(process: subprocess.Popen[Any]) -> None:
    """Stop a process of ours, in order and then at once."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
