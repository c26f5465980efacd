"""Closing a partition: it is rewritten in (device, time) order, with a small index on the device, while rows go on
coming.

Promise: late rows that arrive meanwhile are neither lost nor doubled; readers see the old table or the new one;
whatever is cut short leaves the old one, and is done again. Writers wait for two short steps only, at most LOCK_WAIT.

How: a trigger keeps each late row in <name>_late as well. One snapshot copies the table and forgets those of its late
rows that the copy holds. Then, with the table locked for a moment, the rest of the late rows follow and the new table
takes the old one's place. TimescaleDB rewrites its chunks itself, and lets late rows wait (`timescale_chunks`).
"""

import time
from collections.abc import Callable

import psycopg

from contracts.log import log
from ingest_service.store import engine, timescale_chunks
from ingest_service.store.connection import Connection
from ingest_service.store.partitions import Range, listed

LOCK_WAIT = "200ms"  # ingest stands still behind whoever waits for an exclusive lock
ATTEMPTS, ATTEMPT_EVERY_S = 30, 1.0
SORT_ATTEMPTS = 3  # TimescaleDB asks for the last lock when the work is done, and begins anew
LATE_MOST = 5_000  # late rows that are moved while writers wait
GROWN, GROWN_MUCH = 1.1, 1.5  # a closed partition that grew so much is rewritten: once it is quiet, or at once

Wait = Callable[[float], object]


class Overtaken(Exception):
    """A migration has changed the table since it was copied."""


def due(
    connection: Connection, kind: str, before_ms: int, seen: dict[str, int], ranges: list[Range] | None = None
) -> list[Range]:
    """Partitions to rewrite: ended before `before_ms` and never rewritten, or grown since.

    seen: pages of each grown partition at the last look, kept by the caller. ranges: of the observations by default.
    """
    rows = connection.execute("SELECT name, pages FROM closed_partition WHERE kind = %s", (kind,))
    closed = {str(name): int(pages) for name, pages in rows}
    found = []
    for low, high, name in listed(connection, kind) if ranges is None else ranges:
        if high > before_ms:
            continue
        before, now = closed.get(name), _pages(connection, kind, name)
        if (
            before is None
            or before < 0
            or now > GROWN_MUCH * before + 1
            or (now > GROWN * before + 1 and seen.get(name) == now)
        ):
            found.append((low, high, name))
        seen[name] = now
    return found


def close(connection: Connection, kind: str, partition: Range, wait: Wait = time.sleep) -> bool:
    """Rewrite one partition; whether it was. It is not when somebody reads on and on: the next attempt begins anew.

    wait: called between attempts at the lock, with seconds.
    """
    _, _, name = partition
    began = time.monotonic()
    if engine.stored(connection).timescale:
        sorted_ = again(connection, wait, lambda: _sort(connection, kind, name), attempts=SORT_ATTEMPTS)
        if sorted_:
            log("chunk.closed", chunk=name, seconds=round(time.monotonic() - began, 1))
        return sorted_
    if not _is_copied(connection, kind, name):
        if not again(connection, wait, lambda: _prepare(connection, kind, partition)):
            return False
        _copy(connection, name)
        brin = "USING brin (observed_at) WITH (pages_per_range = 32)"
        connection.execute(f"CREATE INDEX {name}_next_time ON {name}_next {brin}".encode())
        connection.execute(f"VACUUM (FREEZE, ANALYZE) {name}_next".encode())
        connection.execute(
            f"CREATE INDEX {name}_next_device ON {name}_next (device_id) WITH (fillfactor = 100)".encode()
        )
    _follow(connection, name)
    swapped = again(connection, wait, lambda: _swap(connection, kind, partition))
    if swapped:
        log("partition.closed", partition=name, seconds=round(time.monotonic() - began, 1))
    return swapped


def _is_copied(connection: Connection, kind: str, name: str) -> bool:
    """Whether an earlier attempt got as far as the lock: its last index is there. Not of one that was closed before, of
    which retention may have deleted since, nor where a migration has added a column.
    """
    row = connection.execute(
        "SELECT to_regclass(%s) IS NOT NULL AND NOT EXISTS (SELECT FROM closed_partition WHERE name = %s)",
        (f"{name}_next_device", name),
    ).fetchone()
    return row is not None and bool(row[0]) and _same_columns(connection, kind, name)


def _sort(connection: Connection, kind: str, name: str) -> None:
    before = connection.execute("SHOW lock_timeout").fetchone()
    assert before is not None
    try:
        connection.execute(f"SET lock_timeout = '{LOCK_WAIT}'".encode())
        timescale_chunks.sort(connection, name)
    finally:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", (before[0],))
    note(connection, kind, name)


def note(connection: Connection, kind: str, name: str) -> None:
    """Remember that a partition was rewritten, and its size then."""
    connection.execute(
        "INSERT INTO closed_partition (name, kind, pages) VALUES (%s, %s, %s) "
        "ON CONFLICT (name) DO UPDATE SET pages = excluded.pages, closed_at = now()",
        (name, kind, _pages(connection, kind, name)),
    )


def _prepare(connection: Connection, kind: str, partition: Range) -> None:
    """An empty new table, and the trigger that keeps late rows; what an earlier attempt left goes."""
    low, high, name = partition
    with connection.transaction():
        hurry(connection)
        connection.execute("SET LOCAL client_min_messages TO warning")
        connection.execute(f"DROP TRIGGER IF EXISTS keep_late ON {name}".encode())
        connection.execute(f"DROP TABLE IF EXISTS {name}_next, {name}_late".encode())
        connection.execute(f"CREATE TABLE {name}_late (LIKE {name})".encode())
        connection.execute(
            f"CREATE TABLE {name}_next (LIKE observation_{kind} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)".encode()
        )
        bounds = f"observed_at >= to_timestamp({low / 1000}) AND observed_at < to_timestamp({high / 1000})"
        connection.execute(f"ALTER TABLE {name}_next ADD CONSTRAINT bounds CHECK ({bounds})".encode())
        connection.execute(
            f"CREATE TRIGGER keep_late AFTER INSERT ON {name} FOR EACH ROW "
            f"EXECUTE FUNCTION keep_late('{columns_of(connection, f'{name}_next')}')".encode()
        )


def _copy(connection: Connection, name: str) -> None:
    """Copy the table as one snapshot sees it, and forget those late rows that the snapshot sees."""
    columns = columns_of(connection, f"{name}_next")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(f"DELETE FROM {name}_late".encode())
        connection.execute(
            f"INSERT INTO {name}_next ({columns}) SELECT {columns} FROM {name} ORDER BY device_id, observed_at".encode()
        )


def _follow(connection: Connection, name: str) -> None:
    """Bring the late rows of the meantime over, but for the last few."""
    columns = columns_of(connection, f"{name}_next")
    while True:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            row = connection.execute(f"SELECT count(*) FROM {name}_late".encode()).fetchone()
            if row is None or row[0] <= LATE_MOST:
                return
            connection.execute(_move(name, columns))


def _swap(connection: Connection, kind: str, partition: Range) -> None:
    low, high, name = partition
    with connection.transaction():
        hurry(connection)
        connection.execute(f"LOCK TABLE ONLY observation_{kind} IN ACCESS EXCLUSIVE MODE".encode())
        connection.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE".encode())
        if not _same_columns(connection, kind, name):
            raise Overtaken
        connection.execute(_move(name, columns_of(connection, f"{name}_next")))
        connection.execute(f"ALTER TABLE observation_{kind} DETACH PARTITION {name}".encode())
        connection.execute(f"DROP TABLE {name}, {name}_late".encode())
        connection.execute(f"ALTER TABLE {name}_next RENAME TO {name}".encode())
        connection.execute(f"ALTER INDEX {name}_next_device RENAME TO {name}_device".encode())
        connection.execute(f"ALTER INDEX {name}_next_time RENAME TO {name}_time".encode())
        connection.execute(
            f"ALTER TABLE observation_{kind} ATTACH PARTITION {name} FOR VALUES FROM (to_timestamp({low / 1000})) "
            f"TO (to_timestamp({high / 1000}))".encode()
        )
        connection.execute(f"ALTER TABLE {name} DROP CONSTRAINT bounds".encode())
        note(connection, kind, name)


def columns_of(connection: Connection, name: str) -> str:
    """The columns of a table, in its order, with commas between."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (name,),
    )
    return ", ".join(str(row[0]) for row in rows)


def _same_columns(connection: Connection, kind: str, name: str) -> bool:
    mine, whole = (columns_of(connection, table).split(", ") for table in (f"{name}_next", f"observation_{kind}"))
    return set(mine) == set(whole)


def _move(name: str, columns: str) -> bytes:
    return (
        f"WITH moved AS (DELETE FROM {name}_late RETURNING {columns}) "
        f"INSERT INTO {name}_next ({columns}) SELECT {columns} FROM moved ORDER BY device_id, observed_at"
    ).encode()


def again(connection: Connection, wait: Wait, step: Callable[[], None], *, attempts: int | None = None) -> bool:
    """Try a step that needs a lock until it is had, ingest going on in between; whether it was."""
    for _ in range(attempts or ATTEMPTS):
        try:
            step()
            return True
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            wait(ATTEMPT_EVERY_S)
        except Overtaken:
            return False
    return False


def hurry(connection: Connection) -> None:
    """In a transaction: wait for no lock longer than LOCK_WAIT."""
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'".encode())


def _pages(connection: Connection, kind: str, name: str) -> int:
    if engine.stored(connection).timescale:
        return timescale_chunks.sizes(connection, kind).get(name, 0) // 8192
    row = connection.execute("SELECT pg_relation_size(to_regclass(%s)) / 8192", (name,)).fetchone()
    return int(row[0] or 0) if row else 0
