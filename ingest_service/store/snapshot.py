"""One instant of a schema, read while others go on writing: registry, windows of time, and COPY in constant memory.

Promise: everything read through one Snapshot is of the same instant, and none of the tables it was opened on is
dropped, truncated or rewritten before it ends. Each statement is a transaction of its own on that snapshot, so
that a year of partitions does not fill the server's table of locks. What becomes of the bytes belongs to `lifecycle`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from contracts.profiles import Profile
from ingest_service.columns import Array, null_of
from ingest_service.settings import Database
from ingest_service.store.connection import Connection, connect

ROWS_AT_ONCE = 65_536
HEADER_BYTES = 19  # of a binary COPY: signature, flags, length of the extension
SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
TRAILER = b"\xff\xff"
LAYOUT_LOCK = 0x4455524C  # held shared while a snapshot is read; whoever rewrites or drops partitions tries it first
PATIENCE_S = 3600  # a partition that is being rewritten is waited for

# Of each type of property: with its null filled, so that records are of one width; and as it travels.
_FILLED = {
    "number": "coalesce(o.{0}, ({1})::float4)",
    "integer": "coalesce(o.{0}, ({1})::int)",
    "enum": "coalesce(o.{0}, ({1})::smallint)",
    "boolean": "coalesce(o.{0}::int, {1})::smallint",
}
_WIRE = {"number": ">f4", "integer": ">i4", "enum": ">i2", "boolean": ">i2"}

Bound = datetime | None
Window = tuple[Bound, Bound]  # from, to (not included); None: no bound


class Place(NamedTuple):
    device_id: int
    municipality: str
    name: str


class Snapshot:
    """What a schema held at one instant."""

    def __init__(self, reader: Connection, name: str) -> None:
        self.name = name  # by which other connections join it
        self._reader = reader

    def cancel(self) -> None:
        """Break off what is being read, from a signal's handler or another thread; the reader gets a psycopg.Error."""
        self._reader.cancel_safe(timeout=5.0)

    def rows(
        self, statement: sql.SQL | sql.Composed, parameters: Sequence[object] | Mapping[str, object] = ()
    ) -> list[tuple[Any, ...]]:
        with self._transaction():
            found: list[tuple[Any, ...]] = self._reader.execute(statement, parameters).fetchall()
            return found

    def copy(self, select: sql.Composable, rows_at_once: int = ROWS_AT_ONCE) -> Iterator[tuple[int, bytes]]:
        """(rows, bytes) of a binary COPY, piece by piece, header and trailer included in the first and the last."""
        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(select)
        with self._transaction(), self._reader.cursor() as cursor, cursor.copy(statement) as stream:
            messages = map(bytes, stream)  # one a row, and one of the trailer
            while piece := list(islice(messages, rows_at_once)):
                ends = piece[-1] == TRAILER or len(piece[-1]) == HEADER_BYTES + len(TRAILER)  # the latter: no row
                yield len(piece) - ends, b"".join(piece)

    def devices(self, kind: str, municipalities: Sequence[str] | None, names: Sequence[str] | None) -> list[Place]:
        """Registered devices of a kind, by device_id; None: all."""
        found = self.rows(
            sql.SQL(
                "SELECT device_id, municipality, name FROM device WHERE kind = %s AND (%s::text[] IS NULL OR "
                "municipality = ANY(%s)) AND (%s::text[] IS NULL OR name = ANY(%s)) ORDER BY device_id"
            ),
            (kind, *(2 * (None if municipalities is None else list(municipalities),)), *(2 * (names and list(names),))),
        )
        return [Place(*row) for row in found]

    def municipalities(self) -> list[str]:
        return [str(row[0]) for row in self.rows(sql.SQL("SELECT code FROM municipality ORDER BY code"))]

    def windows(self, table: str, begin: Bound = None, end: Bound = None) -> list[Window]:
        """Time in pieces that each lie in one partition (or chunk, or in none), oldest first, without a gap."""
        cuts = sorted({at for at in self._bounds(table) if (not begin or at > begin) and (not end or at < end)})
        edges: list[Bound] = [begin, *cuts, end]
        return list(pairwise(edges))

    def _bounds(self, table: str) -> list[datetime]:
        (kind,) = self.rows(sql.SQL("SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)"), (table,))[0]
        if _text(kind) != "p":
            found = self.rows(
                sql.SQL(
                    "SELECT range_start, range_end FROM timescaledb_information.chunks "
                    "WHERE hypertable_schema = current_schema() AND hypertable_name = %s"
                ),
                (table,),
            )
            return [at for row in found for at in row]
        found = self.rows(
            sql.SQL(
                r"SELECT unnest(regexp_matches(pg_get_expr(c.relpartbound, c.oid), '''([^'']+)''', 'g'))::timestamptz "
                "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(%s)"
            ),
            (table,),
        )
        return [row[0] for row in found]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reader.transaction():
            self._reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._reader.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self.name)))
            self._reader.execute("SET LOCAL work_mem = '64MB'")
            yield


@contextmanager
def opened(database: Database, tables: Sequence[str] | None, *, name: str) -> Iterator[Snapshot]:
    """A snapshot of these tables (None: all of the schema); raises psycopg.Error."""
    with (
        connect(database, name=name, lock_wait_s=PATIENCE_S) as holder,
        connect(database, name=name, lock_wait_s=PATIENCE_S) as reader,
    ):
        holder.execute("SELECT pg_advisory_lock_shared(%s, hashtext(current_schema()))", (LAYOUT_LOCK,))
        with holder.transaction():
            holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            chosen = tables if tables is not None else listed(holder)
            if chosen:  # before the snapshot is taken: a table rewritten in between would look empty
                names = sql.SQL(", ").join(map(sql.Identifier, chosen))
                holder.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
            row = holder.execute("SELECT pg_export_snapshot()").fetchone()
            assert row is not None
            yield Snapshot(reader, str(row[0]))


@contextmanager
def joined(database: Database, snapshot: str, *, name: str) -> Iterator[Snapshot]:
    """A snapshot that somebody else holds open, on a connection of its own; raises psycopg.Error."""
    with connect(database, name=name, lock_wait_s=PATIENCE_S) as reader:
        yield Snapshot(reader, snapshot)


@contextmanager
def rewriting(connection: Connection) -> Iterator[bool]:
    """Whether partitions may be rewritten or dropped now: not while a snapshot is read, which would hold them up."""
    lock = (LAYOUT_LOCK,)
    row = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))", lock).fetchone()
    if not row or not row[0]:
        yield False
        return
    yield True
    connection.execute("SELECT pg_advisory_unlock(%s, hashtext(current_schema()))", lock)


def listed(connection: Connection) -> list[str]:
    """Tables of the schema, partitions apart."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') "
        "AND NOT relispartition ORDER BY relname"
    )
    return [str(row[0]) for row in rows]


def observations(profile: Profile, window: Window, device_ids: Sequence[int] | None) -> sql.Composed:
    """SELECT of one window as records of one width, in an order that depends on nothing but the data.

    Columns: device_id, observed_at, properties in the profile's order; null is NaN, the least integer or -1, as in
    `ingest_service.columns`. Expects BRIN or b-tree on observed_at; sorts a window at a time.
    """
    order = [sql.SQL(", o.{}").format(sql.Identifier(name)) for name in profile.properties]
    devices = [sql.SQL("o.device_id = ANY({}::int[])").format(sql.Literal(list(device_ids)))] if device_ids else []
    return sql.SQL(
        "SELECT {chosen} FROM {table} o JOIN device d USING (device_id) WHERE {where} "
        'ORDER BY o.observed_at, d.municipality COLLATE "C", d.name COLLATE "C"{order}'
    ).format(
        chosen=record(profile),
        table=sql.Identifier(f"observation_{profile.kind}"),
        where=sql.SQL(" AND ").join([within(window, sql.SQL("o.observed_at")), *devices]),
        order=sql.Composed(order),
    )


def record(profile: Profile) -> sql.Composable:
    """What `records` reads of each row of observation_<kind> o."""
    chosen = [
        sql.SQL(_FILLED[item.type]).format(sql.Identifier(name), sql.Literal(null_of(item)))
        for name, item in profile.properties.items()
    ]
    return sql.SQL(", ").join([sql.SQL("o.device_id"), sql.SQL("o.observed_at"), *chosen])


def record_type(profile: Profile) -> np.dtype[Any]:
    """A row of a binary COPY of `record`: value0 is device_id, value1 observed_at, then the properties."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for number, dtype in enumerate([">i4", ">i8", *(_WIRE[item.type] for item in profile.properties.values())]):
        fields += [(f"length{number}", ">i4"), (f"value{number}", dtype)]
    return np.dtype(fields)


def records(piece: bytes, type_: np.dtype[Any]) -> Array:
    """(n,) of record_type: the rows in a piece of the stream."""
    begin = HEADER_BYTES if piece.startswith(SIGNATURE) else 0
    end = len(piece) - (len(TRAILER) if (len(piece) - begin) % type_.itemsize else 0)
    found: Array = np.frombuffer(piece[begin:end], type_)
    return found


def within(window: Window, column: sql.Composable) -> sql.Composable:
    """The condition that a time lies in a window."""
    begin, end = window
    parts = [sql.SQL("{} >= {}").format(column, sql.Literal(begin))] if begin else []
    parts += [sql.SQL("{} < {}").format(column, sql.Literal(end))] if end else []
    return sql.SQL(" AND ").join(parts) if parts else sql.SQL("true")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
