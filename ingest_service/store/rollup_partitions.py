"""Partitions of the rollups of devices: a day each (28 of days, and of what is old), and those that are over lie in
(device, bucket) order, so that a device's month is some thirty pages instead of one for each of its hours.

Promise: the roller alone writes rollups, and only between these steps, so a partition is copied, indexed and put in
place without a trigger; readers see the old one or the new one, and wait for at most LOCK_WAIT. Whatever is cut short
leaves the old one, and is done again. Rows that are there before partitions are (of a schema of before, of a backup)
stand in one partition, `<rollup>_before`, until the roller has cut it up. TimescaleDB has chunks instead.
"""

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from contracts.log import log
from contracts.profiles import Profile
from ingest_service.store import closing, partitions
from ingest_service.store.closing import Wait
from ingest_service.store.connection import Connection
from ingest_service.store.partitions import HISTORY_AGE_MS, HISTORY_WIDTH_MS, HOUR_MS, Range

DAY_MS = 24 * HOUR_MS
WIDTHS_MS = {"minute": DAY_MS, "hour": DAY_MS, "day": HISTORY_WIDTH_MS}
KEY = "PRIMARY KEY (device_id, bucket)"
_settled = re.compile(r"_p\d{10}$")


def name_of(kind: str, tier: str) -> str:
    return f"rollup_{tier}_{kind}"


def listed(connection: Connection, table: str) -> list[Range]:
    """Partitions of a rollup, in time order; none on TimescaleDB."""
    return partitions.of_table(connection, table)


def ensure(connection: Connection, profile: Profile, tier: str, begins: Iterable[int], closing_ms: int) -> None:
    """Make the partitions that hold these buckets. closing_ms: the kind's newest hour, by which others are old."""
    table = name_of(profile.kind, tier)
    found = listed(connection, table)
    for begin in sorted(begins):
        if any(low <= begin < high for low, high, _ in found):
            continue
        start, end = _piece(tier, begin, closing_ms)
        start = max([start, *(high for _, high, _ in found if high <= begin)])
        end = min([end, *(low for low, _, _ in found if low > begin)])
        name = f"{table}_p{_at(start):%Y%m%d%H}"
        with connection.transaction():
            connection.execute(f"CREATE TABLE {name} (LIKE {table}, {KEY})".encode())
            _attach(connection, table, name, start, end)
            _index_by_time(connection, name)
        found = sorted([*found, (start, end, name)])


def due(connection: Connection, profile: Profile, tier: str, until_ms: int, seen: dict[str, int]) -> list[Range]:
    """Partitions to rewrite: what stood there before, and what ended before `until_ms` as `closing.due` says."""
    found = listed(connection, name_of(profile.kind, tier))
    before = [item for item in found if not _settled.search(item[2])]
    return before or closing.due(connection, profile.kind, until_ms, seen, found)


def close(
    connection: Connection, profile: Profile, tier: str, partition: Range, until_ms: int, wait: Wait = time.sleep
) -> bool:
    """Rewrite a partition in (device, bucket) order, cut into those that it should be; whether it was. It is not when
    somebody reads on and on. until_ms: what ends later is not over yet.
    """
    began, (low, high, name), table = time.monotonic(), partition, name_of(profile.kind, tier)
    columns = closing.columns_of(connection, table)
    pieces = [partition] if _settled.search(name) else _pieces(table, tier, low, high, until_ms)
    for begin, end, piece in pieces:
        connection.execute(f"DROP TABLE IF EXISTS {piece}_next".encode())  # of an attempt that was cut short
        connection.execute(f"CREATE TABLE {piece}_next (LIKE {table})".encode())
        connection.execute(
            f"INSERT INTO {piece}_next ({columns}) SELECT {columns} FROM {name} WHERE bucket >= {_sql(begin)} "
            f"AND bucket < {_sql(end)} ORDER BY device_id, bucket".encode()
        )
        bounds = f"bucket >= {_sql(begin)} AND bucket < {_sql(end)}"
        connection.execute(f"ALTER TABLE {piece}_next ADD {KEY}, ADD CONSTRAINT bounds CHECK ({bounds})".encode())
        if end > until_ms:
            _index_by_time(connection, f"{piece}_next")
        connection.execute(f"VACUUM (FREEZE, ANALYZE) {piece}_next".encode())

    def swap() -> None:
        with connection.transaction():
            closing.hurry(connection)
            connection.execute(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE".encode())
            connection.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE".encode())
            if set(closing.columns_of(connection, table).split(", ")) != set(columns.split(", ")):
                raise closing.Overtaken
            connection.execute(f"ALTER TABLE {table} DETACH PARTITION {name}".encode())
            connection.execute(f"DROP TABLE {name}".encode())
            for begin, end, piece in pieces:
                connection.execute(f"ALTER TABLE {piece}_next RENAME TO {piece}".encode())
                connection.execute(f"ALTER INDEX {piece}_next_pkey RENAME TO {piece}_pkey".encode())
                connection.execute(f"ALTER INDEX IF EXISTS {piece}_next_bucket RENAME TO {piece}_bucket".encode())
                _attach(connection, table, piece, begin, end)
                connection.execute(f"ALTER TABLE {piece} DROP CONSTRAINT bounds".encode())
                if end <= until_ms:
                    closing.note(connection, profile.kind, piece)

    swapped = closing.again(connection, wait, swap)
    if swapped:
        log("rollup.closed", partition=name, pieces=len(pieces), seconds=round(time.monotonic() - began, 1))
    else:
        for _, _, piece in pieces:
            connection.execute(f"DROP TABLE IF EXISTS {piece}_next".encode())
    return swapped


def drop(connection: Connection, table: str, name: str) -> None:
    """Drop a partition with all its rows. Waits a moment for the lock: raises psycopg.errors.LockNotAvailable."""
    with connection.transaction():
        closing.hurry(connection)
        connection.execute(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE".encode())
        connection.execute(f"DROP TABLE {name}".encode())
        connection.execute("DELETE FROM closed_partition WHERE name = %s", (name,))


def take_over(connection: Connection, profile: Profile) -> list[str]:
    """Make rollups that have no partitions yet into ones that do, in the caller's transaction; which. Their rows stay
    where they are.
    """
    done = []
    for tier in profile.rollups:
        table = name_of(profile.kind, tier)
        if _relkind(connection, table) != "r":
            continue
        before = _before(table)
        connection.execute(f"ALTER TABLE {table} RENAME TO {before}".encode())
        connection.execute(f"ALTER INDEX {table}_pkey RENAME TO {before}_pkey".encode())
        connection.execute(f"ALTER INDEX IF EXISTS {table}_bucket RENAME TO {before}_bucket".encode())
        connection.execute(f"CREATE TABLE {table} (LIKE {before}, {KEY}) PARTITION BY RANGE (bucket)".encode())
        settle(connection, table)
        done.append(table)
    return done


def takes(connection: Connection, table: str) -> bool:
    """Whether a table is one of those with partitions."""
    return _relkind(connection, table) == "p"


def apart(connection: Connection, table: str) -> str:
    """Where rows of a rollup are put that come all at once, in no order: beside it, until `settle`."""
    before = _before(table)
    connection.execute(f"CREATE TABLE IF NOT EXISTS {before} (LIKE {table}, {KEY})".encode())
    return before


def settle(connection: Connection, table: str) -> None:
    """Make what stands apart a part of the rollup; it has no partitions yet."""
    before = _before(table)
    row = connection.execute(f"SELECT min(bucket), max(bucket) FROM {before}".encode()).fetchone()
    if row is None or row[0] is None:
        connection.execute(f"DROP TABLE {before}".encode())
        return
    low, high = (int(at.timestamp() * 1000) // DAY_MS * DAY_MS for at in row)
    _attach(connection, table, before, low, high + DAY_MS)


def _pieces(table: str, tier: str, low: int, high: int, until_ms: int) -> list[Range]:
    found, begin = [], low
    while begin < high:
        end = min(_piece(tier, begin, until_ms)[1], high)
        found.append((begin, end, f"{table}_p{_at(begin):%Y%m%d%H}"))
        begin = end
    return found


def _piece(tier: str, at_ms: int, closing_ms: int) -> tuple[int, int]:
    """The span of the partition that holds a bucket."""
    width = HISTORY_WIDTH_MS if closing_ms - at_ms > HISTORY_AGE_MS else WIDTHS_MS[tier]
    return at_ms // width * width, (at_ms // width + 1) * width


def _relkind(connection: Connection, table: str) -> str | None:
    row = connection.execute("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", (table,)).fetchone()
    return None if row is None else str(row[0])


def _before(table: str) -> str:
    return f"{table}_before"


def _attach(connection: Connection, table: str, name: str, low: int, high: int) -> None:
    connection.execute(
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({_sql(low)}) TO ({_sql(high)})".encode()
    )


def _index_by_time(connection: Connection, name: str) -> None:
    """Of a partition that is not over: its hours lie one after the other."""
    connection.execute(f"CREATE INDEX {name}_bucket ON {name} USING brin (bucket)".encode())


def _sql(at_ms: int) -> str:
    return f"timestamptz '{_at(at_ms).isoformat()}'"


def _at(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
