"""PostgreSQL for tests: one server a session, run by `dure database` itself, and an empty schema for each test.

`postgres_url` is the session's server, `database` a fresh schema in it. A test that wants to kill or restart a server
takes `DatabaseProcess` and a state directory of its own. With DURE_TEST_DATABASE_URL set, that server is used instead.
With DURE_TEST_TIMESCALE_URL set, whatever asks for one of the two runs on that TimescaleDB server as well.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

ROOT = Path(__file__).parent.parent
START_S = 60.0
TIMESCALE_URL = os.environ.get("DURE_TEST_TIMESCALE_URL", "")


class DatabaseProcess:
    """`dure database` on a state directory, as a process of its own that dies with the tests."""

    def __init__(self, state: Path, *arguments: str, command: list[str] | None = None) -> None:
        self.state = state
        self.arguments = arguments
        self.command = command or [sys.executable, str(ROOT / "dure.py")]
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> str:
        """Start it; the URL once it is ready. Fails with what it said."""
        tied = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
        self.state.parent.mkdir(parents=True, exist_ok=True)
        errors_path = self.state.parent / f"{self.state.name}.stderr"
        with errors_path.open("ab") as errors:
            self.process = subprocess.Popen(
                [*tied, *self.command, "database", "--state", str(self.state), *self.arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.fullmatch(r"ready url=(\S+)\n", line)
        if found is None:
            self.process.wait(START_S)
            raise RuntimeError(f"dure database did not start: {line}{errors_path.read_text()}")
        self.url = found[1]
        return self.url

    @property
    def postmaster(self) -> int:
        """The process number of PostgreSQL itself."""
        return int((self.state / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def kill_postgres(self) -> int:
        """kill -9 PostgreSQL; the supervisor will start it again. Returns the number that was killed."""
        killed = self.postmaster
        os.kill(killed, signal.SIGKILL)
        return killed

    def kill(self) -> None:
        """kill -9 the supervisor."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(START_S)

    def stop(self) -> int:
        """Stop in order; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(START_S)


@dataclass(frozen=True)
class Database:
    """An empty schema of a test's own."""

    url: str
    schema: str

    @property
    def environment(self) -> dict[str, str]:
        """What a `dure` command needs in its environment to work in this schema."""
        return {"DURE_DATABASE_URL": self.url, "DURE_DATABASE_SCHEMA": self.schema}

    def connect(self, **arguments: Any) -> psycopg.Connection[Any]:
        """A connection whose search_path is the schema; takes the arguments of psycopg.connect."""
        import psycopg

        return psycopg.connect(self.url, options=f"-csearch_path={self.schema}", **arguments)

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, run and committed on a connection of its own."""
        with self.connect() as connection:
            cursor = connection.execute(statement, parameters or None)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture(scope="session")
def native_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL without TimescaleDB, started once a session by `dure database`."""
    if given := os.environ.get("DURE_TEST_DATABASE_URL"):
        yield given
        return
    server = DatabaseProcess(tmp_path_factory.mktemp("database") / "state")
    yield server.start()
    assert server.stop() == 0


@pytest.fixture(scope="session", params=["postgresql", *(["timescale"] if TIMESCALE_URL else [])])
def postgres_url(request: pytest.FixtureRequest) -> str:
    """The address of a real PostgreSQL: `native_url`, and DURE_TEST_TIMESCALE_URL where it is set."""
    return TIMESCALE_URL if request.param == "timescale" else str(request.getfixturevalue("native_url"))


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """A fresh, empty schema in the session's server, dropped after the test."""
    with _schema(postgres_url) as fresh:
        yield fresh


@pytest.fixture
def native_database(native_url: str) -> Iterator[Database]:
    """The same for what exists without TimescaleDB only: partitions, and what keeps them."""
    with _schema(native_url) as fresh:
        yield fresh


@contextmanager
def _schema(url: str) -> Iterator[Database]:
    import psycopg

    fresh = Database(url, f"test_{secrets.token_hex(6)}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create schema {fresh.schema}")  # type: ignore[call-overload]
    yield fresh
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set lock_timeout = '20s'")
        connection.execute(f"drop schema {fresh.schema} cascade")  # type: ignore[call-overload]
