"""Bytes an observation in the database, after a city's day was stored, rolled up and closed as the product does it.

Why it is hot: a nation's observations are ten billion rows a day, and every byte of one is ten gigabytes of disk a day.

Batches of 100 of an average day are stored flush by flush by the statements of ingest (rows, late marks, newest rows,
journal), then the roller rolls up every hour and the day and rewrites every partition. What is stored is checked
against what was made: rows, the sum of each property, and the sums that the rollups hold. Peers are the tables most
projects would make of the same rows: a row a value, with its b-tree, and a row an observation in float8, with its
b-tree.
With DURE_TEST_TIMESCALE_URL the same is done on TimescaleDB. Rates are of one core and one connection.
"""

import argparse
import os
import secrets
import threading
import time
from collections.abc import Iterator

import numpy as np
import psycopg

from contracts import profiles, topics
from contracts.profiles import Profile
from ingest_service.columns import DTYPES, Array, Block, empty_columns, null_of
from ingest_service.detection import journal
from ingest_service.newest import Newest
from ingest_service.rollups import Roller
from ingest_service.settings import Database as Settings
from ingest_service.store import (
    arrays,
    copy_rows,
    engine,
    partitions,
    rolling,
    rollup_marks,
    statements,
    timescale_chunks,
    timescale_rollups,
)
from ingest_service.store.connection import Connection, connect
from ingest_service.store.migrate import migrate
from ingest_service.store.partitions import HOUR_MS, Partitions
from tests.benchmarks import readings, stack
from tests.benchmarks.load_fleet import KINDS, Fleet, register
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import Database

BEGIN_MS = 1_780_012_800_000  # midnight UTC
BATCH, FLUSH_BATCHES = 100, 120
SIZE = 100  # devices of an outbox
NEWEST_EVERY, NEWEST_ROWS = 20, 5000  # flushes; rows written at a time
TIMESCALE = "DURE_TEST_TIMESCALE_URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--outboxes", type=int, default=70, help=f"of {SIZE} devices each (default: 70)")
    parser.add_argument("--hours", type=int, default=24, help="a multiple of 6 (default: 24)")
    parser.add_argument("--peer-rows", type=int, default=500_000, help="observations the peers' tables get (500,000)")


class Day:
    """Everything the fleet reports, in arrays, in the order in which its batches arrive."""

    def __init__(self, fleet: Fleet, kinds: dict[str, Profile], hours: int) -> None:
        self.fleet, self.kinds, self.hours = fleet, kinds, hours
        parts: dict[str, list[tuple[Array, ...]]] = {kind: [] for kind in KINDS}
        for outbox in range(fleet.outboxes):
            self._read(outbox, parts)
        self.blocks: dict[str, Block] = {}
        self.flush: dict[str, Array] = {}
        sealed = np.sort(np.concatenate([np.unique(part[0]) for kind in KINDS for part in parts[kind]]))
        for kind in KINDS:
            seal, device, observed, agent, *columns = (np.concatenate(item) for item in zip(*parts[kind], strict=True))
            order = np.lexsort((observed, agent, seal))
            held = {name: column[order] for name, column in zip(kinds[kind].properties, columns, strict=True)}
            self.blocks[kind] = Block(
                kind, device[order].astype(np.int32), device[order].astype(np.int64), observed[order],
                agent[order].astype(np.int32), held,
            )  # fmt: skip
            self.flush[kind] = np.searchsorted(np.unique(sealed), seal[order]) // FLUSH_BATCHES
        self.observations = sum(map(len, self.blocks.values()))

    def _read(self, outbox: int, parts: dict[str, list[tuple[Array, ...]]]) -> None:
        found = readings.read(self.fleet, self.kinds, outbox, self.hours * 3600.0)
        times = np.sort(np.concatenate([item.at_s for item in found.values()]))
        ends = times[BATCH - 1 :: BATCH] if len(times) % BATCH == 0 else np.append(times[BATCH - 1 :: BATCH], times[-1])
        for kind, item in found.items():
            place = np.searchsorted(ends, item.at_s)
            device = outbox * SIZE + self.fleet.place(kind) + item.device + 1
            columns = [_column(self.kinds[kind], name, values) for name, values in item.columns.items()]
            observed = BEGIN_MS + np.floor(item.at_s * 1000).astype(np.int64)
            n = len(device)
            seal = np.round(ends[place] * 1e6).astype(np.int64) * 1000 + outbox  # when its batch was sealed, and whose
            parts[kind].append((seal, device, observed, np.full(n, outbox), *columns))

    def flushes(self) -> Iterator[list[Block]]:
        most = max(int(flush[-1]) for flush in self.flush.values()) + 1
        edges = {kind: np.searchsorted(flush, np.arange(most + 1)) for kind, flush in self.flush.items()}
        for number in range(most):
            chosen = {kind: slice(edge[number], edge[number + 1]) for kind, edge in edges.items()}
            yield [self.blocks[kind].take(span) for kind, span in chosen.items() if span.stop > span.start]  # type: ignore[arg-type]


def run(options: argparse.Namespace) -> list[Case]:
    if options.hours % 6:
        raise SystemExit("--hours: a multiple of 6, so that every partition closes")
    kinds = {kind: profile for kind, profile in profiles.load(environ={}).items() if kind in KINDS}
    progress("making the day")
    day = Day(Fleet(options.outboxes, SIZE), kinds, options.hours)
    cases: list[Case] = []
    with stack.folder() as place, stack.postgres(place) as server:
        peers = _peers(server.url, day, options.peer_rows)
        cases += _store(Database(server.url, f"bench_{secrets.token_hex(4)}"), day, "PostgreSQL", peers)
    if url := os.environ.get(TIMESCALE):
        cases += _store(Database(url, f"bench_{secrets.token_hex(4)}"), day, "TimescaleDB", peers)
    return cases


def _store(database: Database, day: Day, where: str, peers: dict[str, float]) -> list[Case]:
    """Store the day and close it; its cases."""
    settings = Settings(url=database.url, schema=database.schema)
    migrate(settings, day.kinds)
    with database.connect() as connection:
        register(connection, day.fleet)
    try:
        with connect(settings, name="bench") as connection:
            arrays.register(connection)
            rolling.prepare(connection)
            progress(f"{where}: storing {day.observations:,} observations")
            stored_s = _flushes(connection, day)
            journal_bytes = _one(connection, "SELECT pg_total_relation_size('detector_journal')")
            hot = sum(sum(_sizes(connection, kind)) for kind in day.kinds)
            progress(f"{where}: rolling up and closing")
            roller = Roller(day.kinds, grace_s=0, stopping=threading.Event())
            roller.pause = lambda: None  # type: ignore[method-assign]
            began = time.monotonic()
            for profile in day.kinds.values():
                roller.roll_up(connection, profile)
            rolled_s = time.monotonic() - began
            began = time.monotonic()
            for kind, profile in day.kinds.items():
                roller.close_partitions(connection, kind)
                roller.close_rollups(connection, profile)
            closed_s = time.monotonic() - began
            progress(f"{where}: checking")
            _check(connection, day)
            return _cases(connection, day, where, peers, journal_bytes, hot, (stored_s, rolled_s, closed_s))
    finally:
        with database.connect(autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {database.schema} CASCADE".encode())


def _flushes(connection: Connection, day: Day) -> float:
    """Store the day as ingest does, and one row a kind beyond it, which closes it; seconds."""
    began = time.monotonic()
    maker = Partitions(day.kinds, 6)
    maker.load(connection)
    newest = Newest(day.kinds)
    shards = np.array([topics.shard_of(*day.fleet.agent(outbox)) for outbox in range(day.fleet.outboxes)])
    agents = np.arange(day.fleet.outboxes) + 1
    for number, blocks in enumerate([*day.flushes(), _beyond(day)], start=1):
        for block in blocks:
            hours = (np.unique(block.observed_ms // HOUR_MS) * HOUR_MS).tolist()
            maker.ensure(connection, block.kind, hours, BEGIN_MS)
        newest.take(blocks)
        clocks = {int(agent): int(block.observed_ms[-1]) for block in blocks for agent in np.unique(block.agent)}
        with connection.transaction():
            for block in blocks:
                copy_rows.copy(connection, day.kinds[block.kind], block.device_id, block.observed_ms, block.columns)
            if number % NEWEST_EVERY == 0:
                for rows in newest.due(NEWEST_ROWS):
                    statements.newest_put(connection, day.kinds[rows.kind], rows)
            rollup_marks.put(connection, blocks)
            statements.journal_put(connection, number, journal.entries(blocks, clocks, shards, agents), True)
        newest.keep()
    with connection.transaction():
        for rows in newest.due(1 << 40):
            statements.newest_put(connection, day.kinds[rows.kind], rows)
    return time.monotonic() - began


def _beyond(day: Day) -> list[Block]:
    blocks = []
    for kind, whole in day.blocks.items():
        block = whole.take(np.array([0]))
        block.observed_ms[:] = BEGIN_MS + day.hours * HOUR_MS + 60_000
        block.columns = empty_columns(day.kinds[kind], 1)
        blocks.append(block)
    return blocks


def _check(connection: Connection, day: Day) -> None:
    """Raise Wrong unless rows, sums and rollups are those of the day, and every partition of it is closed."""
    end = f"to_timestamp({(BEGIN_MS + day.hours * HOUR_MS) // 1000})"
    for kind, profile in day.kinds.items():
        block = day.blocks[kind]
        sums = [
            f"coalesce(sum({name}::float8), 0)" for name, item in profile.properties.items() if item.type != "boolean"
        ]
        found = connection.execute(
            f"SELECT count(*), sum(device_id), {', '.join(sums)} FROM observation_{kind} "
            f"WHERE observed_at < {end}".encode()
        ).fetchone()
        wanted = [len(block), int(block.device_id.sum(dtype=np.int64))]
        wanted += [_sum(profile, name, column) for name, column in block.columns.items()]
        if found is None or not np.allclose(np.array(found, float), np.array(wanted, float), rtol=1e-9):
            raise Wrong(f"{kind}: stored {found}, made {wanted}")
        names = [item.name for item in profile.numeric]
        whole = [tier for tier in profile.rollups if tier != "day" or day.hours % 24 == 0]
        tiers = [f"rollup_{tier}_{kind}" for tier in (*whole, "municipality_hour")]
        for table in tiers:
            sums = [f"coalesce(sum({name}_mean * {name}_count), 0)" for name in names]
            rolled = connection.execute(
                f"SELECT {', '.join(['sum(observations)', *sums])} FROM {table} WHERE bucket < {end}".encode()
            ).fetchone()
            held = [len(block), *(_sum(profile, name, block.columns[name]) for name in names)]
            if rolled is None or not np.allclose(np.array(rolled, float), np.array(held, float), rtol=1e-6):
                raise Wrong(f"{table}: holds {rolled}, of {held}")
        ranges = partitions.listed(connection, kind)
        closed = {row[0] for row in connection.execute("SELECT name FROM closed_partition WHERE kind = %s", (kind,))}
        left = [name for _, high, name in ranges if high <= BEGIN_MS + day.hours * HOUR_MS and name not in closed]
        if left and not timescale_in(connection):
            raise Wrong(f"{left} are not closed")


def _cases(
    connection: Connection, day: Day, where: str, peers: dict[str, float], journal_bytes: int, hot: int,
    seconds: tuple[float, float, float],
) -> list[Case]:  # fmt: skip
    everything = day.observations
    of = f"{everything:,} observations of {day.fleet.devices:,} devices, {day.hours} h"
    unit, cases = "B/observation", []
    peer = "a row a value, b-tree"
    totals = (0, 0)
    for kind in day.kinds:
        count, sizes = len(day.blocks[kind]), _sizes(connection, kind)
        totals = (totals[0] + sizes[0], totals[1] + sizes[1])
        against = (peer, peers[f"narrow {kind}"])
        cases.append(case(f"{where}: {kind}", sum(sizes) / count, unit, against=against, of=f"{count:,} rows, closed"))
    cases.append(case(f"{where}: all kinds", sum(totals) / everything, unit, against=(peer, peers["narrow"]), of=of))
    wide = ("a row an observation in float8, b-tree", peers["wide"])
    cases.append(case(f"{where}: all kinds, the same", sum(totals) / everything, unit, against=wide, of=of))
    if not timescale_in(connection):
        cases.append(case(f"{where}: of it heap", totals[0] / everything, unit, of=of))
        cases.append(case(f"{where}: of it indexes", totals[1] / everything, unit, of=of))
    else:
        held = _columnstore(connection, day)
        held["the rest of their files"] = sum(totals) - sum(held.values())
        cases += [case(f"{where}: of it {words}", size / everything, unit, of=of) for words, size in held.items()]
    cases.append(case(f"{where}: before closing", hot / everything, unit, of=of))
    for words, tables in (
        (
            "rollups",
            [
                f"rollup_{tier}_{kind}"
                for kind, item in day.kinds.items()
                for tier in (*item.rollups, "municipality_hour")
            ],
        ),
        ("newest", [f"newest_{kind}" for kind in day.kinds]),
    ):
        size = sum(_table(connection, table) for table in tables)
        cases.append(case(f"{where}: {words}", size / everything, unit, of=f"{size / 1e6:.1f} MB"))
    cases.append(
        case(f"{where}: journal", journal_bytes / everything, unit, of="of every flush; trimmed once states are saved")
    )
    for words, took in zip(("stored", "rolled up", "closed"), seconds, strict=True):
        cases.append(case(f"{where}: {words}", everything / took, "observations/s", of=f"{took:.1f} s"))
    return cases


def timescale_in(connection: Connection) -> bool:
    return engine.stored(connection).timescale


def _sizes(connection: Connection, kind: str) -> tuple[int, int]:
    """(heap with its maps, indexes) of a kind's partitions of the day; of chunks all in the first."""
    *ranges, _ = partitions.listed(connection, kind)  # the last holds what closed the others
    if timescale_in(connection):
        sizes = timescale_chunks.sizes(connection, kind)
        return sum(sizes[name] for _, _, name in ranges), 0
    heap = sum(_one(connection, f"SELECT pg_table_size('{name}')") for _, _, name in ranges)
    return heap, sum(_one(connection, f"SELECT pg_indexes_size('{name}')") for _, _, name in ranges)


def _columnstore(connection: Connection, day: Day) -> dict[str, int]:
    """Bytes of the compressed columns of the day's chunks, by what they hold."""
    sizes = {"instants": 0, "numbers": 0, "other columns": 0}
    for kind, profile in day.kinds.items():
        numbers = {name for name, item in profile.properties.items() if item.type == "number"}
        *ranges, _ = partitions.listed(connection, kind)
        for _, _, chunk in ranges:
            made_of = f"_timescaledb_catalog.compression_settings WHERE relid = '{chunk}'::regclass"
            ((stored,),) = connection.execute(f"SELECT compress_relid::text FROM {made_of}".encode()).fetchall()
            attributes = "pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid"
            for (name,) in connection.execute(
                f"SELECT attname FROM {attributes} = '{stored}'::regclass".encode()
            ).fetchall():
                words = "instants" if name == "observed_at" else "numbers" if name in numbers else "other columns"
                column = f"coalesce(sum(pg_column_size({name})), 0)"
                sizes[words] += int(_one(connection, f"SELECT {column} FROM {stored}"))
    return sizes


def _table(connection: Connection, table: str) -> int:
    if timescale_in(connection) and table.startswith("rollup_"):
        stored = timescale_rollups.stored_in(connection, table)
        return _one(connection, f"SELECT {engine.stored(connection).functions}.hypertable_size('{stored}')")
    return _one(
        connection,
        f"SELECT coalesce((SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('{table}')), "
        f"pg_total_relation_size('{table}'))",
    )


def _peers(url: str, day: Day, most: int) -> dict[str, float]:
    """Bytes an observation of the tables that a project would make first, by their names."""
    found: dict[str, float] = {}
    sizes, counts = {"narrow": 0, "wide": 0}, 0
    progress("the peers' tables")
    with psycopg.connect(url, autocommit=True) as connection:
        for kind, profile in day.kinds.items():
            count = min(len(day.blocks[kind]), max(1000, most * len(day.blocks[kind]) // day.observations))
            block = day.blocks[kind].take(np.arange(count))
            counts += count
            connection.execute(
                "CREATE TABLE narrow (device_id int, property text, observed_at timestamptz, value float8)"
            )
            connection.execute("CREATE INDEX ON narrow (device_id, property, observed_at)")
            listed = ", ".join(
                f"{name} {'float8' if item.numeric else 'int'}" for name, item in profile.properties.items()
            )
            connection.execute(f"CREATE TABLE wide (device_id int, observed_at timestamptz, {listed})".encode())
            connection.execute("CREATE INDEX ON wide (device_id, observed_at)")
            moments = [f"{at}" for at in (block.observed_ms // 1000).tolist()]
            texts = {name: _texts(profile, name, column) for name, column in block.columns.items()}
            with connection.cursor().copy("COPY narrow FROM STDIN") as rows:
                for name, values in texts.items():
                    known = zip(block.device_id.tolist(), moments, values, strict=True)
                    rows.write("".join(
                        f"{device}\t{name}\t{_moment(at)}\t{value}\n" for device, at, value in known if value != "\\N"
                    ))  # fmt: skip
            with connection.cursor().copy("COPY wide FROM STDIN") as rows:
                rows.write("".join(
                    f"{device}\t{_moment(at)}\t" + "\t".join(values) + "\n"
                    for device, at, *values in zip(block.device_id.tolist(), moments, *texts.values(), strict=True)
                ))  # fmt: skip
            for table in sizes:
                size = _one(connection, f"SELECT pg_total_relation_size('{table}')")
                sizes[table] += size * len(day.blocks[kind]) / count
                found[f"{table} {kind}"] = size / count
                connection.execute(f"DROP TABLE {table}".encode())
    return {**found, **{table: size / day.observations for table, size in sizes.items()}}


def _moment(second: str) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(int(second)))


def _texts(profile: Profile, name: str, column: Array) -> list[str]:
    item = profile.properties[name]
    empty = np.isnan(column) if item.type == "number" else column == null_of(item)
    return ["\\N" if none else str(value) for none, value in zip(empty.tolist(), column.tolist(), strict=True)]


def _column(profile: Profile, name: str, values: list[object]) -> Array:
    item = profile.properties[name]
    null = null_of(item)
    if item.type == "enum":
        codes = {value: place for place, value in enumerate(item.values)}
        return np.array([null if value is None else codes[str(value)] for value in values], DTYPES[item.type])
    return np.array([null if value is None else value for value in values], DTYPES[item.type])


def _sum(profile: Profile, name: str, column: Array) -> float:
    item = profile.properties[name]
    known = column[~np.isnan(column)] if item.type == "number" else column[column != null_of(item)]
    return float(known.sum(dtype=np.float64))


def _one(connection: psycopg.Connection, text: str) -> int:
    row = connection.execute(text.encode()).fetchone()
    return int(row[0]) if row and row[0] is not None else 0
