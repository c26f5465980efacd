"""What breaks things for tests, and what is looked at meanwhile: a proxy that cuts, a small disk; readiness, log, RSS.

`Town` is a street with a real ingest on a server that may be broken: it knows all that was generated, and proves at the
end of each fault that the database has it, row by row, once.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.database_fixture import ROOT, Database, DatabaseProcess
from tests.services.broker_fixture import RunningBroker
from tests.services.ingest_fixture import (
    LIGHTS,
    START_MS,
    Agent,
    Ingest,
    KeepSending,
    Row,
    agent,
    assert_exactly_once,
    lights,
    settle,
)
from tests.waiting import wait_for

INGEST = "application_name = 'dure ingest ingest-0'"
Change = tuple[str, str, str]  # part, "not_ready" or "ready", reason


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def changes_in(text: str) -> list[Change]:
    """What a log tells of readiness, in order."""
    found = re.findall(r"^\S+ \w+ (\w+)\.(not_ready|ready) (.*)$", text, re.MULTILINE)
    return [(part, state, re.search(r"reason=(\w+)", rest)[1]) for part, state, rest in found]  # type: ignore[index]


class Watched:
    """A running ingest with what it says of itself."""

    def __init__(self, ingest: Ingest, port: int) -> None:
        self.ingest = ingest
        self.port = port
        self._mark = 0

    def report(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def reasons(self) -> dict[str, str]:
        """Reason -> words, as /ready tells them now; 200 exactly when there are none."""
        status, told = self.report()
        assert (status == 200) == told["ready"] == (not told["reasons"])
        return {item["reason"]: item["words"] for item in told["reasons"]}

    def wait_reason(self, *wanted: str, seconds: float = 20.0) -> str:
        """Until /ready is 503 for one of these; the words."""

        def seen() -> list[str]:
            found = self.reasons()
            return [found[reason] or reason for reason in wanted if reason in found]

        return wait_for(seen, seconds)[0]

    def wait_ready(self, seconds: float = 30.0) -> None:
        wait_for(lambda: self.report()[0] == 200, seconds)

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        assert found, name
        return float(found[1])

    def new_log(self) -> str:
        """The log since the last time this was asked."""
        text = self.ingest.log.read_text()
        fresh, self._mark = text[self._mark :], len(text)
        return fresh

    def rss_bytes(self) -> int:
        pages = Path(f"/proc/{self.ingest.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def watched_ingest(database: Database, broker: RunningBroker, folder: Path, **settings: object) -> Iterator[Watched]:
    """An ingest with its port for /ready; it must stop in order."""
    port = free_port()
    ingest = Ingest(database, broker, folder / f"{database.schema}.log", metrics_port=port, **settings)
    try:
        yield Watched(ingest, port)
    finally:
        with suppress(ProcessLookupError):
            ingest.stop()


def batches_of(count: int, start_ms: int, *, reports: int = 1, lamps: int = LIGHTS) -> list[list[Row]]:
    """Batches of a street, each of `reports` reports of every lamp a second apart; no two rows alike."""
    return [
        [
            (
                f"sl-{lamp}",
                start_ms + 1000 * (batch * reports + report) + lamp,
                221.0 + (batch + report + lamp) % 7 / 10,
            )
            for report in range(reports)
            for lamp in range(lamps)
        ]
        for batch in range(count)
    ]


class Town:
    """A street, its ingest, and everything that was ever generated for it."""

    def __init__(self, database: Database, broker: RunningBroker, watched: Watched) -> None:
        self.database = database
        self.broker = broker
        self.watched = watched
        self.generated: list[Row] = []
        self._next_ms = START_MS

    def seal(self, sender: Agent, count: int, *, reports: int = 1) -> None:
        """Give an agent so many new batches to deliver."""
        batches = batches_of(count, self._next_ms, reports=reports)
        self._next_ms += 1000 * count * reports
        for rows in batches:
            sender.seal(lights(rows), clock_ms=rows[-1][1])
            self.generated += rows

    @contextmanager
    def sending(self, count: int, *, reports: int = 1, within_s: float = 60.0) -> Iterator[Agent]:
        """An agent delivers beside the test; in the end all that this town ever generated is stored once."""
        with agent(self.broker) as sender:
            self.seal(sender, count, reports=reports)
            running = KeepSending(sender, within_s)
            yield sender
            running.finish()
        assert_exactly_once(self.database, self.generated)

    def changes(self, *, of: str = "database") -> list[Change]:
        """What one part said of its readiness since the last time any was asked for, once all is well again."""
        self.watched.wait_ready()
        found = [change for change in changes_in(self.watched.new_log()) if change[0] == of]
        assert all(one != next_one for one, next_one in pairwise(found)), f"said twice: {found}"
        return found

    def backends(self) -> list[int]:
        """Process numbers of the ingest's own connection."""
        with self.database.connect(autocommit=True) as connection:
            return [row[0] for row in connection.execute(f"SELECT pid FROM pg_stat_activity WHERE {INGEST}".encode())]


@contextmanager
def town_on(
    url: str, broker: RunningBroker, folder: Path, *, through: str | None = None, **settings: object
) -> Iterator[Town]:
    """A town in a schema of its own; `through`: another URL of the same server for the ingest alone."""
    from tests.services.ingest_fixture import schema

    with schema(url) as database:
        settle(database)
        seen = Database(through or url, database.schema)
        with watched_ingest(seen, broker, folder, **settings) as watched:
            town = Town(database, broker, watched)
            yield town
            assert watched.ingest.process.poll() is None, watched.ingest.log.read_text()


@contextmanager
def altered(url: str, **values: str) -> Iterator[None]:
    """Settings of a whole server for a while."""

    def run(*statements: str) -> None:
        with psycopg.connect(url, autocommit=True, options="-cdefault_transaction_read_only=off") as connection:
            for statement in statements:
                connection.execute(statement.encode())
            connection.execute(b"SELECT pg_reload_conf()")

    run(*(f"ALTER SYSTEM SET {name} = {value}" for name, value in values.items()))
    try:
        yield
    finally:
        run(*(f"ALTER SYSTEM RESET {name}" for name in values))


class Proxy:
    """Between the ingest and its server's socket; hands bytes on until told where to cut.

    cut(seen): called with every byte that went by in one direction of one connection so far; how many of them may
    pass before both ends are closed, or None to go on.
    """

    def __init__(self, url: str, folder: Path) -> None:
        parts = psycopg.conninfo.conninfo_to_dict(url)
        self._target = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        folder.mkdir(mode=0o700, exist_ok=True)
        self.url = url.replace(str(url.split("host=")[1].split("&")[0]), str(folder).replace("/", "%2F"))
        path = folder / f".s.PGSQL.{parts['port']}"
        self.cut_request: Callable[[bytes], int | None] | None = None
        self.cut_answer: Callable[[bytes], int | None] | None = None
        self.cuts = 0
        self.refusing = False
        self._closing = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                continue
            for source, sink, name in ((client, server, "cut_request"), (server, client, "cut_answer")):
                threading.Thread(target=self._pass, args=(source, sink, name), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        recent = b""
        try:
            while data := source.recv(65536):
                cut = getattr(self, name)
                if cut is not None:
                    recent = (recent + data)[-(1 << 20) :]
                    let = cut(recent)
                    if let is not None:
                        setattr(self, name, None)
                        self.cuts += 1
                        sink.sendall(data[: max(0, let - (len(recent) - len(data)))])
                        break
                else:
                    recent = b""
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class SmallDisk:
    """Small tmpfs mounts in a mount namespace of their own; nobody else sees them, and they end with it."""

    def __init__(self, *mounts: tuple[Path, int]) -> None:
        script = "".join(
            f"mount -t tmpfs -o size={size} tmpfs '{path}' && chmod 777 '{path}' && " for path, size in mounts
        )
        for path, _ in mounts:
            path.mkdir(parents=True, exist_ok=True)
        tied = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
        self._holder = subprocess.Popen(
            [*tied, "unshare", "-m", "sh", "-c", f"{script} echo mounted && exec sleep 600"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            self._holder.wait()
            pytest.skip("mounts are refused here: this wants root")

    @property
    def inside(self) -> list[str]:
        """Put before a command so that it sees the mounts."""
        return ["nsenter", "-t", str(self._holder.pid), "-m", "--"]

    def run(self, script: str) -> None:
        subprocess.run([*self.inside, "sh", "-c", script], check=True, timeout=60)

    def fill(self, path: Path) -> None:
        """Not a byte is left."""
        self.run(f"cat /dev/zero > '{path}/ballast' 2>/dev/null || true")

    def relieve(self, path: Path) -> None:
        self.run(f"rm '{path}/ballast'")

    def database(self, state: Path) -> DatabaseProcess:
        return DatabaseProcess(state, command=[*self.inside, sys.executable, str(ROOT / "dure.py")])

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@contextmanager
def frozen(processes: Sequence[int]) -> Iterator[None]:
    """They answer nothing for a while."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def hold_for(seconds: float, condition: Callable[[], object]) -> None:
    """It stays true for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), condition
        time.sleep(0.05)


@pytest.fixture(scope="session")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseProcess]:
    """A server that tests may stop and start, alter and fill, if they leave it running and as it was."""
    server = DatabaseProcess(tmp_path_factory.mktemp("breakable") / "state")
    server.start()
    yield server
    assert server.stop() == 0
