"""What alarms cost a flush, and what a storm of them does.

Why it is hot: alarms are part of ingest's one transaction, so whatever they take, rows and cursors wait for; and when a
network goes, all devices of a city fall silent in one flush.

A flush is the COPY of 20,000 observations and its COMMIT, with no changes of alarms, with some, and with many; the
storm is every device falling silent in one transaction, and then all of them coming back. The peer is one statement a
change, `INSERT … ON CONFLICT` on the same table without groups, windows or history. What is stored is checked: each
alarm once, groups that know their members, one alarm left to show.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from contracts import profiles
from ingest_service.alarms import Change
from ingest_service.columns import empty_columns
from ingest_service.settings import Database as Settings
from ingest_service.store import alarm_rows, arrays, copy_rows
from ingest_service.store.connection import Connection, connect
from ingest_service.store.migrate import migrate
from ingest_service.store.partitions import Partitions
from tests.benchmarks import stack
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import Database

FLUSH = 20_000
LAMPS, CIRCUITS = 50, 2  # of a circuit, of an agent
TOWN = "41280"
NOON = 1_780_056_000_000
ONE = (
    b"INSERT INTO alarm (municipality, device_id, kind, condition, detector, severity, opened_at, last_finding_at) "
    b"VALUES (%s, %s, 'streetlight', %s, 'noise', 2, to_timestamp(%s), to_timestamp(%s)) "
    b"ON CONFLICT (subject, condition) WHERE state IN ('open', 'acknowledged', 'suppressed') "
    b"DO UPDATE SET findings = alarm.findings + 1"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=100_000, help="that fall silent at once (default: 100,000)")
    parser.add_argument("--flushes", type=int, default=15, help="of which the median is told (default: 15)")


def run(options: argparse.Namespace) -> list[Case]:
    kinds = profiles.load(environ={})
    with stack.folder() as place, stack.postgres(place) as server, stack.schema(server) as database:
        migrate(Settings(url=database.url, schema=database.schema), kinds)
        _register(database, options.devices)
        with connect(Settings(url=database.url, schema=database.schema), name="bench") as connection:
            arrays.register(connection)
            return _measure(database, connection, options)


def _measure(database: Database, connection: Connection, options: argparse.Namespace) -> list[Case]:
    kinds, sizes = profiles.load(environ={}), alarm_rows.Sizes()
    parts = Partitions(kinds, 6)
    parts.ensure(connection, "streetlight", [NOON // 3_600_000 * 3_600_000], NOON)
    columns = empty_columns(kinds["streetlight"], FLUSH) | {"voltage": np.full(FLUSH, 221.5, np.float32)}
    devices, at_ms = np.arange(1, FLUSH + 1, dtype=np.int32), np.full(FLUSH, NOON)

    def flush(changes: list[Change]) -> float:
        """Seconds of one flush."""
        began = time.perf_counter()
        with connection.transaction():
            copy_rows.copy(connection, kinds["streetlight"], devices, at_ms, columns)
            alarm_rows.change(connection, changes, kinds, sizes)
        return time.perf_counter() - began

    def median(changes: Callable[[int], list[Change]]) -> float:
        return statistics.median(flush(changes(turn)) for turn in range(options.flushes))

    progress("flushes with and without changes of alarms")
    spread = max(1, options.devices // 1000)
    flush([])
    bare = median(lambda turn: [])
    cases = [case("a flush without changes", bare * 1000, "ms", of=f"{FLUSH:,} observations")]
    for number in (1, 20, 200):
        found = median(
            lambda turn, n=number: [_change(1 + i * spread, turn, f"noise:{n}", turn % 2 == 0) for i in range(n)]
        )  # type: ignore[misc]
        of = f"{number} change{'s' * (number > 1)} of {FLUSH:,} observations"
        cases.append(
            case(f"a flush with {number}", found * 1000, "ms", against=("a flush without", bare * 1000), of=of)
        )
    progress("one statement a change")
    some = min(5_000, options.devices)
    began = time.perf_counter()
    with connection.transaction():
        for number in range(1, some + 1):
            connection.execute(ONE, (TOWN, number, "peer:x", NOON / 1000, NOON / 1000))
    peer = (time.perf_counter() - began) / some * 1e6
    progress(f"a storm of {options.devices:,}")
    for name, begins in (("storm", True), ("its end", False)):
        began = time.perf_counter()
        storm = [_change(number, number / 1000, "silent", begins) for number in range(1, options.devices + 1)]
        with connection.transaction():
            alarm_rows.change(connection, storm, kinds, sizes)
        spent = (time.perf_counter() - began) / options.devices * 1e6
        cases.append(
            case(name, spent, "us/alarm", against=("a statement each", peer), of=f"{options.devices:,} alarms")
        )
        _check(database, options.devices, begins)
    return cases


def _check(database: Database, devices: int, begins: bool) -> None:
    state = "open" if begins else "cleared"
    lamps = "SELECT count(*) FROM alarm WHERE condition = 'silent' AND device_id IS NOT NULL AND state = %s"
    found = database.rows(lamps, state)
    if found != [(devices,)]:
        raise Wrong(f"{devices} lamps fell silent, {found[0][0]} alarms are {state}")
    shown = database.rows("SELECT group_scope, state FROM alarm WHERE condition = 'silent' AND parent_id IS NULL")
    if shown != [("municipality", state)]:
        raise Wrong(f"a town that is dark is one alarm of the town, not {shown}")
    lost = database.rows(
        "SELECT count(*) FROM alarm g WHERE group_scope IS NOT NULL AND members_open <> "
        "(SELECT count(*) FROM alarm m WHERE m.parent_id = g.alarm_id AND m.state IN ('open', 'acknowledged'))"
    )
    if lost != [(0,)]:
        raise Wrong(f"{lost[0][0]} group alarms do not know their members")


def _change(device_id: int, after_s: float, condition: str, begins: bool) -> Change:
    detector, _, name = condition.partition(":")
    at_ms = NOON + int(after_s * 1000)
    evidence = {"values": [221.5], "observed_at": [at_ms], "low": 187.0, "high": 253.0, "parameters": {"low": 187.0}}
    return Change(TOWN, device_id, None, "streetlight", condition, detector, name or None, 2, begins, at_ms, evidence)


def _register(database: Database, devices: int) -> None:
    with database.connect() as connection:
        connection.execute("INSERT INTO municipality (code, name_ko, name_en) VALUES (%s, '', '')", (TOWN,))
        agents = devices // (LAMPS * CIRCUITS) + 1
        connection.execute(
            "INSERT INTO agent (agent_id, municipality, name) SELECT i, %s, 'pole-' || i FROM generate_series(1, %s) i",
            (TOWN, agents),
        )
        connection.execute(
            "INSERT INTO device (device_id, municipality, name, kind, agent_id, attributes) SELECT i, %s, 'sl-' || i, "
            "'streetlight', 1 + i / %s, jsonb_build_object('circuit', 'c' || (i - 1) / %s) "
            "FROM generate_series(1, %s) i",
            (TOWN, LAMPS * CIRCUITS, LAMPS, devices),
        )
    with database.connect(autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
