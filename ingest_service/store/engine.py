"""Which database a schema lives on: PostgreSQL with TimescaleDB, or PostgreSQL alone.

Decided when `dure migrate` first makes the schema, written into it (`schema_engine`), and never changed afterwards: the
observation tables are hypertables, or they are native partitions. Names and columns are the same on both. What a
writer's session needs is in `connection.SESSION`.
"""

from weakref import WeakKeyDictionary

import msgspec
import psycopg

from contracts.readiness import Reason
from ingest_service.settings import Database
from ingest_service.store.connection import Connection, connect

OLDEST = (2, 22)  # direct compress on COPY came with 2.21, and its chunks are known as unordered from 2.22 on
POSTGRESQL, TIMESCALE = "postgresql", "timescale"


_stored: "WeakKeyDictionary[Connection, Engine]" = WeakKeyDictionary()


class EngineError(RuntimeError):
    """The database is not what the settings or the schema ask for."""

    reason = Reason.SCHEMA_DIFFERS


class Engine(msgspec.Struct, frozen=True):
    """What a schema was made for."""

    timescale: bool
    functions: str = ""  # schema that holds TimescaleDB's functions, quoted for SQL

    @property
    def name(self) -> str:
        return TIMESCALE if self.timescale else POSTGRESQL


class Extension(msgspec.Struct, frozen=True):
    """TimescaleDB as it is in a database."""

    version: str
    functions: str
    loaded: bool
    licence: str

    @property
    def complaint(self) -> str:
        """Why it cannot be used; empty when it can."""
        if not self.loaded:
            return f"TimescaleDB {self.version} is not loaded: shared_preload_libraries lacks timescaledb"
        if tuple(int(part) for part in self.version.split("-")[0].split(".")[:2]) < OLDEST:
            return f"TimescaleDB {self.version} is older than {'.'.join(map(str, OLDEST))}"
        if self.licence != "timescale":
            return (
                f"timescaledb.license is {self.licence!r}: the columnstore and continuous aggregates need 'timescale'"
            )
        return ""


def decide(database: Database) -> tuple[Engine, str]:
    """The engine of a schema that is about to be made, and why. Creates the extension where that is asked for and may
    be done; raises EngineError when `timescale = "require"` cannot be had.
    """
    if database.timescale == "off":
        return Engine(timescale=False), "[database] timescale is off"
    try:
        with connect(database, name="migrate") as connection:
            extension, words = _created(connection)
    except psycopg.OperationalError as error:  # a server may end the session that asks for what it has not preloaded
        extension, words = None, _first_line(error)
    words = extension.complaint if extension else words
    if extension and not words:
        return Engine(timescale=True, functions=extension.functions), f"TimescaleDB {extension.version}"
    if database.timescale == "require":
        raise EngineError(f'[database] timescale = "require": {words}')
    return Engine(timescale=False), words


def stored(connection: Connection) -> Engine:
    """The engine that the schema in the search_path was made for. Raises EngineError when the database lacks it now.

    A connection asks once.
    """
    if known := _stored.get(connection):
        return known
    name, found = stored_name(connection), Engine(timescale=False)
    if name == TIMESCALE:
        found = Engine(timescale=True, functions=_usable(connection).functions)
    if name:
        _stored[connection] = found
    return found


def _usable(connection: Connection) -> Extension:
    extension = _extension(connection)
    words = extension.complaint if extension else "this database has no extension timescaledb"
    if words:
        raise EngineError(f"the tables of this schema are TimescaleDB's, and {words}")
    assert extension is not None
    return extension


def stored_name(connection: Connection) -> str | None:
    """`postgresql` or `timescale`; None where no migration has said so yet."""
    row = connection.execute("SELECT to_regclass('schema_engine')").fetchone()
    found = connection.execute("SELECT engine FROM schema_engine").fetchone() if row and row[0] else None
    return str(found[0]) if found else None


def _created(connection: Connection) -> tuple[Extension | None, str]:
    """The extension, made if need be; or why there is none."""
    if extension := _extension(connection):
        return extension, ""
    available = connection.execute(
        "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    if available is None:
        return None, "this PostgreSQL has no TimescaleDB"
    try:
        connection.execute("SET search_path TO public")
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except psycopg.Error as error:
        if connection.closed or not (extension := _extension(connection)):  # unless somebody else made it just now
            return None, f"cannot create the extension: {_first_line(error)}"
        return extension, ""
    return _extension(connection), ""


def _extension(connection: Connection) -> Extension | None:
    row = connection.execute(
        "SELECT extversion, quote_ident(nspname), current_setting('timescaledb.license', true) "
        "FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'timescaledb'"
    ).fetchone()
    return Extension(str(row[0]), str(row[1]), row[2] is not None, str(row[2])) if row else None


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().split("\n")[0]
