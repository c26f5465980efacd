"""A schema as a whole, for backups: which tables it has, how they are made, their rows in binary, and their way back.

Owns what is left out, the order in which tables are filled, and the moment in which a restored schema takes its place.
Files belong to `lifecycle`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
from psycopg import sql

from contracts.profiles import Profile
from contracts.topics import SHARDS
from ingest_service.settings import Database
from ingest_service.store import engine, migrate, rollup_partitions, snapshot, statements
from ingest_service.store.connection import Connection, connect
from ingest_service.store.partitions import HOUR_MS, Partitions
from ingest_service.store.snapshot import Snapshot, Window
from ingest_service.store.store import LOCK
from ingest_service.store.timescale_rollups import stored_in

# People sign in again; partitions are made anew; the engine is the one that the tables are made for.
LEFT_OUT = ("schema_version", "session", "closed_partition", "schema_engine")
OBSERVATIONS, ROLLUPS = "observation_", "rollup_"


class RestoreRefused(ValueError):
    """A backup cannot be restored here; the message says why and what to do."""


class Table(msgspec.Struct):
    """How a table is made. columns: name -> type."""

    name: str
    columns: dict[str, str]
    ddl: list[str]


class Described(msgspec.Struct):
    """A schema without its rows."""

    versions: list[int]
    engine: str
    server: str
    tables: list[Table]
    sequences: dict[str, int]


def describe(found: Snapshot) -> Described:
    """What there is to save. Sequences are read after the snapshot was taken: ahead of the rows, never behind."""
    tables: dict[str, Table] = {}
    for name, column, type_ in found.rows(_query("backup_columns"), (list(LEFT_OUT),)):
        tables.setdefault(name, Table(name, {}, [])).columns[column] = type_
    for name, statement in found.rows(_query("backup_ddl"), (list(LEFT_OUT),)):
        tables[name].ddl.append(statement)
    sequences = found.rows(
        sql.SQL("SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = current_schema()")
    )
    return Described(
        [int(row[0]) for row in found.rows(sql.SQL("SELECT version FROM schema_version ORDER BY version"))],
        _engine(found),
        str(found.rows(sql.SQL("SELECT current_setting('server_version')"))[0][0]),
        list(tables.values()),
        {str(name): int(value) for name, value in sequences if value is not None},
    )


def _engine(found: Snapshot) -> str:
    """postgresql or timescale; schemas of before there was a choice are PostgreSQL's."""
    if found.rows(sql.SQL("SELECT to_regclass('schema_engine')")) == [(None,)]:
        return engine.POSTGRESQL
    return str(found.rows(sql.SQL("SELECT engine FROM schema_engine"))[0][0])


def windows(found: Snapshot, table: Table) -> list[Window]:
    """The pieces in which a table is saved: observations by partition."""
    return found.windows(table.name) if _observed(table) else [(None, None)]


def _observed(table: Table) -> bool:
    return table.name.startswith(OBSERVATIONS) and "observed_at" in table.columns


def extent(found: Snapshot, table: Table, window: Window) -> Window:
    """A window whose bounds are known, for one that holds rows: a partition of somebody's own making may have none."""
    if None not in window or not _observed(table):
        return window
    statement = sql.SQL("SELECT min(observed_at), max(observed_at) + interval '1 ms' FROM {} WHERE {}").format(
        sql.Identifier(table.name), snapshot.within(window, sql.Identifier("observed_at"))
    )
    begin, end = found.rows(statement)[0]
    return begin, end


def rows_at_once(table: Table) -> int:
    """Rows of a table that memory holds at a time: bodies of the journal or the detectors' state may be large."""
    return 16 if "bytea" in table.columns.values() else snapshot.ROWS_AT_ONCE


def rows_of(table: Table, window: Window) -> sql.Composed:
    """SELECT of a piece of a table."""
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(map(sql.Identifier, table.columns)),
        sql.Identifier(table.name),
        snapshot.within(window, sql.Identifier("observed_at")),
    )


class Restoration:
    """A schema being filled under another name; it takes its own only when it is complete."""

    def __init__(self, connection: Connection, database: Database, schema: str) -> None:
        self._connection = connection
        self._partitions: dict[str, Partitions] = {}
        self._apart: set[str] = set()  # rollups whose rows are put back apart
        self.database = msgspec.structs.replace(database, schema=schema)

    def make(self, described: Described, kinds: Mapping[str, Profile], *, anew: bool) -> None:
        """The tables as they were at the backup's version; anew: as `dure migrate` makes them here and now."""
        connection, tables = self._connection, described.tables
        if anew:
            migrate.migrate(self.database, kinds)
        with connection.transaction():
            if not anew:
                self._apply_migrations(described.versions)
            there = set(snapshot.listed(connection)) | self._views()
            for table in tables:
                for statement in table.ddl if table.name not in there else ():
                    connection.execute(statement.encode())
            plain = [sql.Identifier(table.name) for table in tables if table.name not in self._views()]
            # what migrations put there; sessions refer to accounts
            connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(plain)))

    def _apply_migrations(self, versions: Sequence[int]) -> None:
        connection = self._connection
        connection.execute(
            "CREATE TABLE schema_version (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for file in migrate.files():
            if (version := int(file.name[:4])) in versions:
                connection.execute(file.read_bytes())
                connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (version,))

    def _views(self) -> set[str]:
        """Rollups that are continuous aggregates."""
        rows = self._connection.execute(statements.text("restore_views"), {"schema": self.database.schema})
        return {str(row[0]) for row in rows}

    def order(self, tables: Iterable[str]) -> list[str]:
        """Tables so that each comes after those it refers to."""
        rows = self._connection.execute(statements.text("restore_references"))
        wants: dict[str, set[str]] = {}
        for name, referred in rows:
            wants.setdefault(str(name), set()).add(str(referred))
        done: list[str] = []
        left = sorted(tables)
        while left:
            ready = [name for name in left if not wants.get(name, set()) & set(left) - {name}]
            done += ready or left
            left = [name for name in left if name not in done]
        return done

    def fill(self, table: Table, span: tuple[datetime, datetime] | None, pieces: Iterable[bytes]) -> int:
        """Put a piece back, whole or not at all; its rows. span: of a piece of observations."""
        connection = self._connection
        if span is not None:
            kind = table.name.removeprefix(OBSERVATIONS)
            found = self._partitions.get(kind)
            if found is None:
                found = self._partitions[kind] = Partitions([kind], self.database.partition_hours)
                found.load(connection)
            begin, end = (int(at.timestamp() * 1000) for at in span)
            now_ms = int(datetime.now(UTC).timestamp() * 1000)
            found.ensure(connection, kind, range(begin - begin % HOUR_MS, end, HOUR_MS), now_ms)
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        target: sql.Composable = sql.Identifier(table.name)
        if table.name in self._views():
            target = sql.SQL(stored_in(connection, table.name))
        elif table.name.startswith(ROLLUPS) and rollup_partitions.takes(connection, table.name):
            target = sql.Identifier(rollup_partitions.apart(connection, table.name))
            self._apart.add(table.name)
        copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, columns)
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(copy) as stream:
                for piece in pieces:
                    stream.write(piece)
            return cursor.rowcount

    def set_sequences(self, sequences: Mapping[str, int]) -> None:
        for name, value in sequences.items():
            self._connection.execute("SELECT setval(to_regclass(%s), %s)", (name, value))

    def note(self, made_at: datetime, name: str) -> None:
        """Enter the restoration, and tell the planner what there is."""
        for table in sorted(self._apart):
            rollup_partitions.settle(self._connection, table)
        self._connection.execute(statements.text("restoration_note"), {"made_at": made_at, "backup": name})
        self._connection.execute("ANALYZE")

    def take_place(self, schema: str, stamp: str) -> str | None:
        """Give the schema its name, in one step. What holds that name goes aside: under which name, or None."""
        connection, own = self._connection, sql.Identifier(self.database.schema)
        there, aside = sql.Identifier(schema), f"{schema[:40]}_before_{stamp}"
        occupied = bool(_tables(connection, schema))
        with connection.transaction():
            if occupied:
                connection.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(there, sql.Identifier(aside)))
            else:
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} RESTRICT").format(there))
            connection.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(own, there))
        return aside if occupied else None

    def drop(self) -> None:
        """Leave nothing behind. Table by table: many partitions at once would fill the server's table of locks."""
        connection, own = self._connection, sql.Identifier(self.database.schema)
        for name in self._views():
            connection.execute(
                sql.SQL("DROP MATERIALIZED VIEW IF EXISTS {}.{} CASCADE").format(own, sql.Identifier(name))
            )
        for name in _tables(connection, self.database.schema):
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}.{} CASCADE").format(own, sql.Identifier(name)))
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(own))


@contextmanager
def restoring(database: Database, *, replace: bool) -> Iterator[Restoration]:
    """Hold the schema's place against ingest and other restorations; raises RestoreRefused, psycopg.Error."""
    with connect(database, name="restore") as holder:
        for shard in range(SHARDS):
            row = holder.execute("SELECT pg_try_advisory_lock(%s, %s # hashtext(%s))", (LOCK, shard, database.schema))
            if not (row.fetchone() or (False,))[0]:
                raise RestoreRefused(
                    f"cannot restore into schema {database.schema!r}: an ingest (or another restore) works on it; "
                    "stop that first"
                )
        tables = _tables(holder, database.schema)
        if tables and not replace:
            raise RestoreRefused(
                f"cannot restore into schema {database.schema!r}: it is not empty ({len(tables)} tables). Restore into "
                "an empty database, or say --replace: then what is there is moved aside to a schema of another name"
            )
        made = Restoration(holder, database, f"{database.schema[:48]}_restoring")
        holder.execute("SET client_min_messages TO warning")
        made.drop()  # of one that was killed
        holder.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(made.database.schema)))
        holder.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(made.database.schema)))
        try:
            yield made
        except BaseException:
            if not holder.closed:
                made.drop()
            raise


def _tables(connection: Connection, schema: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(statements.text("restore_leftovers"), {"schema": schema})]


def _query(name: str) -> sql.SQL:
    return sql.SQL(statements.text(name).decode())
