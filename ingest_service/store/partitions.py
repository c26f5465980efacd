"""Time partitions of the observation tables: made when a flush needs one, and dropped when nobody keeps them.

Hot partitions carry BRIN indexes only, which cost ingest nothing: on time, and on (time, device) with a Bloom filter of
the devices of every few pages, by which one device's open hours are found. What becomes of closed ones is in `closing`.
On TimescaleDB they are chunks, and it makes them itself (`timescale_chunks`).
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime

import psycopg

from contracts.readiness import Reason
from ingest_service.store import engine, timescale_chunks
from ingest_service.store.connection import Connection

HOUR_MS = 3_600_000
HISTORY_AGE_MS = (
    60 * 24 * HOUR_MS
)  # recordings and boxes long offline: wider partitions, or a decade costs 15,000 tables
HISTORY_WIDTH_MS = 28 * 24 * HOUR_MS
HOT_PAGES, HOT_DEVICES = 4, 600  # of one Bloom filter: four pages hold some 540 rows; it takes 1.2 B of each
LOCK = 0x44555246  # one maker of partitions at a time
_bound = re.compile(r"FROM \('([^']+)'\) TO \('([^']+)'\)")

Range = tuple[int, int, str]  # from, to (ms since 1970 UTC), name of the table


class PartitionGone(psycopg.OperationalError):
    """A partition was dropped since it was last looked for: the flush is good, and goes in when it is tried again."""

    reason = Reason.DATABASE_FAILS


class Partitions:
    """What partitions exist, and the making of missing ones."""

    def __init__(self, kinds: Iterable[str], partition_hours: int) -> None:
        self._width_ms = partition_hours * HOUR_MS
        self._ranges: dict[str, list[Range]] = {kind: [] for kind in kinds}

    def load(self, connection: Connection) -> None:
        """What there is. Raises EngineError."""
        for kind in self._ranges:
            self._ranges[kind] = listed(connection, kind)

    def forget(self) -> None:
        """Look again before the next flush: one that failed may not have made what it said, or found some gone."""
        for ranges in self._ranges.values():
            ranges.clear()

    def ensure(self, connection: Connection, kind: str, hours_ms: Iterable[int], now_ms: int) -> None:
        """Make the partitions that hold these hours; commits on its own, before the flush that needs them."""
        missing = [hour for hour in sorted(hours_ms) if not self._covered(kind, hour)]
        if not missing or engine.stored(connection).timescale:
            return
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(current_schema()))", (LOCK,))
                self._ranges[kind] = listed(connection, kind)
                for hour in missing:
                    if not self._covered(kind, hour):
                        width_ms = self._width_ms if now_ms - hour < HISTORY_AGE_MS else HISTORY_WIDTH_MS
                        self._make(connection, kind, hour, max(width_ms, self._width_ms))
        except BaseException:
            self._ranges[kind] = []  # what was made is gone again; read anew next time
            raise

    def _covered(self, kind: str, at_ms: int) -> bool:
        ranges = self._ranges[kind]
        place = bisect_right(ranges, at_ms, key=lambda item: item[0]) - 1
        return place >= 0 and at_ms < ranges[place][1]

    def _make(self, connection: Connection, kind: str, hour_ms: int, width_ms: int) -> None:
        start = hour_ms - hour_ms % width_ms
        end = start + width_ms
        for low, high, _ in self._ranges[kind]:  # partitions of another width
            if low < end and high > start:
                start, end = (max(start, high), end) if high <= hour_ms else (start, min(end, low))
        name = f"observation_{kind}_p{_at(start):%Y%m%d%H}"
        connection.execute(
            f"CREATE TABLE {name} (LIKE observation_{kind} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
            f"WITH (autovacuum_vacuum_insert_threshold = -1)".encode()  # a core for minutes; closing freezes all rows
        )
        connection.execute(
            (
                f"ALTER TABLE observation_{kind} ATTACH PARTITION {name} "
                f"FOR VALUES FROM ('{_at(start).isoformat()}') TO ('{_at(end).isoformat()}')"
            ).encode()
        )
        connection.execute(
            f"CREATE INDEX {name}_hot ON {name} USING brin (observed_at, device_id "
            f"int4_bloom_ops (n_distinct_per_range = {HOT_DEVICES})) WITH (pages_per_range = {HOT_PAGES})".encode()
        )
        self._ranges[kind] = sorted([*self._ranges[kind], (start, end, name)])


def listed(connection: Connection, kind: str) -> list[Range]:
    """Partitions of a kind, in time order."""
    if engine.stored(connection).timescale:
        return timescale_chunks.listed(connection, kind)
    return of_table(connection, f"observation_{kind}")


def of_table(connection: Connection, table: str) -> list[Range]:
    """Partitions of a table, in time order."""
    rows = connection.execute(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = to_regclass(%s)",
        (table,),
    )
    found: list[Range] = []
    for name, bound in rows:
        match = _bound.search(str(bound))
        if match:
            found.append((_ms(match[1]), _ms(match[2]), str(name)))
    return sorted(found)


def was_gone(error: psycopg.Error) -> bool:
    """Whether rows were refused because no partition takes them; a CHECK that refuses a row has a name."""
    return isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name is None


def drop(connection: Connection, kind: str, name: str) -> None:
    """Drop a partition with all its rows. Waits a moment for the lock: raises psycopg.errors.LockNotAvailable."""
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '200ms'")
        if engine.stored(connection).timescale:
            timescale_chunks.drop(connection, kind, name)
        else:
            connection.execute(f"LOCK TABLE ONLY observation_{kind} IN ACCESS EXCLUSIVE MODE".encode())
            connection.execute("SET LOCAL client_min_messages TO warning")
            connection.execute(f"DROP TABLE {name}".encode())
            connection.execute(f"DROP TABLE IF EXISTS {name}_next, {name}_late".encode())  # of a closing under way
        connection.execute("DELETE FROM closed_partition WHERE name = %s", (name,))


def _at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text if "+" in text[10:] else text + "+00").timestamp() * 1000)
