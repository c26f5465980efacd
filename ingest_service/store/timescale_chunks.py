"""Chunks of a hypertable: what partitions are without TimescaleDB. Made by COPY, sorted when they close, dropped.

A hot chunk holds the batches of each flush, sorted within the flush only: 12 bytes an observation of a streetlight, and
a device's day is read from every batch. A closed one is rewritten in (device, time) order: 9 bytes, and two batches a
device and day. TimescaleDB keeps late rows waiting while it rewrites a chunk (half a million rows a second on one core;
measured with 2.29.2, docs/adr/0010), so a chunk should not span more than a city can wait for: `partition_hours`.
"""

from datetime import UTC, datetime

from ingest_service.store import engine
from ingest_service.store.connection import Connection

ROLLUPS_SETTLE_MS = 35 * 24 * 3_600_000  # later corrections rewrite whole batches of a rollup
Range = tuple[int, int, str]  # from, to (ms since 1970 UTC), name of the chunk with its schema
COMPRESSED, UNORDERED, PARTIAL = 1, 2, 8  # bits of chunk_status; unordered and partial call for a rewrite


def listed(connection: Connection, kind: str) -> list[Range]:
    """Chunks of a kind, in time order."""
    rows = connection.execute(
        "SELECT range_start, range_end, format('%%I.%%I', chunk_schema, chunk_name) "
        "FROM timescaledb_information.chunks WHERE hypertable_schema = current_schema() AND hypertable_name = %s "
        "ORDER BY range_start",
        (f"observation_{kind}",),
    )
    return [(_ms(start), _ms(end), str(name)) for start, end, name in rows]


def sizes(connection: Connection, kind: str) -> dict[str, int]:
    """Bytes of each chunk, its columnstore and indexes counted."""
    functions = engine.stored(connection).functions
    rows = connection.execute(
        f"SELECT format('%%I.%%I', chunk_schema, chunk_name), total_bytes "
        f"FROM {functions}.chunks_detailed_size(%s)".encode(),
        (f"observation_{kind}",),
    )
    return {str(name): int(size) for name, size in rows}


def unsorted(connection: Connection, name: str) -> bool:
    """Whether a chunk holds rows that are not in the columnstore, or not in order there."""
    row = connection.execute("SELECT _timescaledb_functions.chunk_status(%s::regclass)", (name,)).fetchone()
    status = int(row[0]) if row else 0
    return status & (COMPRESSED | UNORDERED | PARTIAL) != COMPRESSED


def sort(connection: Connection, name: str) -> None:
    """Rewrite a chunk in (device, time) order, on a connection in autocommit; nothing is done to one that is sorted."""
    functions = engine.stored(connection).functions
    connection.execute(f"CALL {functions}.convert_to_columnstore(%s::regclass)".encode(), (name,))


def compress_rollup(connection: Connection, rollup: str, now_ms: int) -> int:
    """Compress the chunks of a rollup that have settled; how many. Corrections may still come."""
    functions = engine.stored(connection).functions
    rows = connection.execute(
        f"SELECT c::text FROM {functions}.show_chunks(%s::regclass, older_than => %s::timestamptz) c".encode(),
        (rollup, datetime.fromtimestamp((now_ms - ROLLUPS_SETTLE_MS) / 1000, UTC)),
    ).fetchall()
    waiting = [str(name) for (name,) in rows if unsorted(connection, str(name))]
    for name in waiting:
        sort(connection, name)
    return len(waiting)


def drop(connection: Connection, kind: str, name: str) -> None:
    """Drop one chunk; rollups made of it stay."""
    functions = engine.stored(connection).functions
    text = f"SELECT {functions}.drop_chunks(%s, older_than => to_timestamp(%s), newer_than => to_timestamp(%s))"
    for start, end, found in listed(connection, kind):
        if found == name:
            connection.execute(text.encode(), (f"observation_{kind}", end / 1000, start / 1000))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
