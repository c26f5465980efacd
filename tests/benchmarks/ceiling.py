"""The ceiling of ingest: psql's \\copy of the same rows, from ready binary files, into tables of the same kind.

Nothing is decoded, judged, detected or told to anybody. PostgreSQL itself writes the files before; only the copying is
timed, a kind after the other, into a fresh schema whose partitions are there already.
"""

import resource
import shutil
import subprocess
import time
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from contracts import profiles as kinds
from contracts import wire
from contracts.profiles import Profile
from ingest_service.database import programs
from ingest_service.store.partitions import HOUR_MS, Partitions
from tests.benchmarks import stack
from tests.benchmarks.load import Load
from tests.benchmarks.load_fleet import device_id
from tests.benchmarks.report import Wrong, progress
from tests.database_fixture import Database, DatabaseProcess

CHUNK_BATCHES = 2000


class Rows:
    """The rows of a load as one binary file a kind."""

    def __init__(self, load: Load, folder: Path, server: DatabaseProcess, *, most: int) -> None:
        self.profiles = kinds.load(environ={})
        self.folder, self.count = folder, 0
        self.start_ms = load.plan.start_ms
        folder.mkdir(exist_ok=True)
        progress("writing the same rows as binary files")
        with stack.schema(server) as database:
            self._partitions(database)
            with database.connect() as connection:
                bodies = load.bodies(max(1, most // load.plan.observations))
                while some := list(islice(bodies, CHUNK_BATCHES)):
                    for kind, group in joined(body for _, body in some).items():
                        self.count += len(group["device"])
                        with connection.cursor().copy(self._copy(kind).encode()) as rows:
                            rows.write(text(self.profiles[kind], group))
            for kind in self.profiles:
                self._psql(database, f"\\copy observation_{kind} TO '{self._file(kind)}' (FORMAT BINARY)", kind)

    def copy_rate(self, server: DatabaseProcess, seconds_at_least: float = 6.0) -> tuple[float, float]:
        """Rows a second and CPU us a row of \\copy into a fresh schema, again and again for so long; counted."""
        with stack.schema(server) as database:
            self._partitions(database)
            began, used, times = time.monotonic(), self._cpu_s(server), 0
            while (seconds := time.monotonic() - began) < seconds_at_least:
                for kind in self.profiles:
                    self._psql(database, f"\\copy observation_{kind} FROM '{self._file(kind)}' (FORMAT BINARY)", kind)
                times += 1
            used = self._cpu_s(server) - used
            found = sum(database.rows(f"SELECT count(*) FROM observation_{kind}")[0][0] for kind in self.profiles)
        if found != times * self.count:
            raise Wrong(f"\\copy stored {found} of {times} times {self.count} rows")
        return found / seconds, 1e6 * used / found

    def _cpu_s(self, server: DatabaseProcess) -> float:
        psql = resource.getrusage(resource.RUSAGE_CHILDREN)
        return stack.cpu_s(server.postmaster) + psql.ru_utime + psql.ru_stime

    def _file(self, kind: str) -> Path:
        return self.folder / f"{kind}.copy"

    def _copy(self, kind: str) -> str:
        return f"COPY observation_{kind} ({', '.join(_columns(self.profiles[kind]))}) FROM STDIN"

    def _psql(self, database: Database, command: str, kind: str) -> None:
        listed = ", ".join(_columns(self.profiles[kind]))
        if " TO " in command:  # COPY TO wants a query where the table is partitioned
            command = command.replace(f"observation_{kind}", f"(SELECT {listed} FROM observation_{kind})", 1)
        else:
            command = command.replace(f"observation_{kind}", f"observation_{kind} ({listed})", 1)
        psql = shutil.which("psql", path=str(programs.find())) or "psql"
        done = subprocess.run(
            [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", database.url, "-c",
             f"SET search_path TO {database.schema}", "-c", command],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr}")

    def _partitions(self, database: Database) -> None:
        hour = self.start_ms - self.start_ms % HOUR_MS
        with database.connect(autocommit=True) as connection:
            partitions = Partitions(self.profiles, 6)
            partitions.load(connection)
            for kind in self.profiles:
                partitions.ensure(connection, kind, [hour + step * HOUR_MS for step in (-1, 0, 1, 2)], self.start_ms)


def joined(bodies: Iterable[bytes]) -> dict[str, dict[str, list[Any]]]:
    """Groups of many bodies, one after the other."""
    some: dict[str, dict[str, list[Any]]] = {}
    for body in bodies:
        for kind, group in wire.decode_body(body).items():
            held = some.setdefault(kind, {})
            for name, values in group.items():
                held.setdefault(name, []).extend(values)
    return some


def text(profile: Profile, group: dict[str, list[Any]]) -> str:
    """Rows of a kind as COPY's text format."""
    columns: list[list[str]] = [
        [str(device_id(name)) for name in group["device"]],
        [f"{_utc(at // 1000)}.{at % 1000:03d}+00" for at in group["observed_at"]],
    ]
    for name, item in profile.properties.items():
        codes = {value: str(place) for place, value in enumerate(item.values)}
        columns.append(["\\N" if value is None else codes.get(value) or str(value) for value in group[name]])
    return "\n".join(map("\t".join, zip(*columns, strict=True))) + "\n"


@lru_cache(maxsize=100_000)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(second))


def _columns(profile: Profile) -> list[str]:
    return ["device_id", "observed_at", *profile.properties]
