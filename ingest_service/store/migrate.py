"""Brings a schema up to the code and the profiles, from any earlier version.

Promise: all of it in one transaction, on either database, so one that is killed leaves what was there and runs again.
Two at once: one waits for the other. A lock that another session holds is waited for LOCK_WAIT_S; then everything is
let go and tried again, saying who holds it, until PATIENCE_S have gone by. What exists already is not touched, so a
migration with nothing to do waits for nobody.
"""

import random
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from contracts.log import log
from contracts.profiles import Profile
from ingest_service.settings import Database
from ingest_service.store import engine, rollup_partitions, schema, timescale_schema
from ingest_service.store.connection import Connection, connect
from ingest_service.store.engine import Engine

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x44555245  # "DURE"
LOCK_WAIT_S = 5  # ingest's flushes wait behind a waiting ALTER TABLE: no longer than this
PATIENCE_S = 120.0
_PRESENT = re.compile(r"(?:CREATE INDEX IF NOT EXISTS (\w+)|ALTER TABLE (\w+) ADD COLUMN IF NOT EXISTS (\w+)) ")


class MigrationBlocked(RuntimeError):
    """Another session held a lock for too long; the message says which."""


def migrate(database: Database, profiles: Mapping[str, Profile], *, patience_s: float = PATIENCE_S) -> list[str]:
    """Apply what is missing, whole or not at all; what was done, a line each. Raises SchemaError, EngineError,
    MigrationBlocked, psycopg.Error.
    """
    give_up_at = time.monotonic() + patience_s
    chosen = _choose(database)
    with connect(database, name="migrate", lock_wait_s=LOCK_WAIT_S) as connection:
        connection.execute("SET client_min_messages TO warning")
        connection.execute("SET client_connection_check_interval TO '2s'")  # one that was killed lets go soon
        while True:
            try:
                with connection.transaction():
                    _lock(connection)
                    return _apply(connection, database, profiles, chosen)
            except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
                holders = _holders(connection, database.schema)
                if time.monotonic() >= give_up_at:
                    raise MigrationBlocked(
                        f"another session holds what has to be changed ({str(error).strip()}): {holders}. Nothing was "
                        "changed; end that session or wait for it, and run `dure migrate` again"
                    ) from error
                log("migrate.waiting", level="warning", error=str(error).strip().split("\n")[0], held_by=holders)
                time.sleep(random.uniform(0.2, 1.0))


def _lock(connection: Connection) -> None:
    """One migration of a schema at a time; however long the other takes."""
    said = False
    while True:
        row = connection.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(current_setting('search_path')))", (LOCK,)
        ).fetchone()
        if row and row[0]:
            return
        if not said:
            log("migrate.waiting", held_by="another dure migrate")
            said = True
        time.sleep(0.2)


def _choose(database: Database) -> tuple[Engine, str] | None:
    """The engine of a schema that has none yet, and why; on connections of its own, one after the other."""
    with connect(database, name="migrate") as connection:
        if engine.stored_name(connection) is not None:
            return None
        row = connection.execute("SELECT to_regclass('schema_version')").fetchone()
        if row and row[0] and connection.execute("SELECT version FROM schema_version").fetchone():
            return Engine(timescale=False), "made before there was a choice"
    return engine.decide(database)


def _apply(
    connection: Connection, database: Database, profiles: Mapping[str, Profile], chosen: tuple[Engine, str] | None
) -> list[str]:
    done: list[str] = []
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(database.schema)))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version int PRIMARY KEY, applied_at timestamptz NOT NULL "
        "DEFAULT now())"
    )
    applied = {row[0] for row in connection.execute("SELECT version FROM schema_version")}
    made_for = _engine(connection, database, chosen, done)
    for file in files():
        version = int(file.name[:4])
        if version not in applied:
            connection.execute(file.read_bytes())
            connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (version,))
            done.append(f"migration {file.name}")
    stored = {str(row[0]): row[1] for row in connection.execute("SELECT kind, definition FROM profile")}
    for kind, profile in profiles.items():
        definition = schema.definition(profile)
        if kind in stored:
            schema.check_change(dict(stored[kind]), profile)
        if made_for.timescale:
            _make(connection, schema.newest_statements(profile))
            timescale_schema.bring_up(connection, profile, made_for, chunk_hours=database.partition_hours)
        else:
            done += [f"partitions of {table}" for table in rollup_partitions.take_over(connection, profile)]
            _make(connection, schema.statements(profile))
        if stored.get(kind) != definition:
            connection.execute(
                "INSERT INTO profile (kind, definition) VALUES (%s, %s) ON CONFLICT (kind) DO UPDATE SET "
                "definition = profile.definition || excluded.definition",
                (kind, Jsonb(definition)),
            )
            done.append(f"kind {kind}")
    return done


def _engine(connection: Connection, database: Database, chosen: tuple[Engine, str] | None, done: list[str]) -> Engine:
    """What the schema was made for; written into it the first time."""
    name = engine.stored_name(connection)
    if name is None:
        assert chosen is not None, "no migration takes the engine away"
        name, why = chosen[0].name, chosen[1]
        connection.execute(
            "CREATE TABLE schema_engine (engine text PRIMARY KEY CHECK (engine IN ('postgresql', 'timescale')), "
            "decided_at timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("INSERT INTO schema_engine (engine) VALUES (%s)", (name,))
        done.append(f"engine {name} ({why})")
    if (name == engine.TIMESCALE and database.timescale == "off") or (
        name == engine.POSTGRESQL and database.timescale == "require"
    ):
        raise engine.EngineError(
            f"[database] timescale = {database.timescale!r}: schema {database.schema!r} was made for {name}, and stays "
            "so; to go over, `dure backup`, and `dure restore --convert` into an empty one"
        )
    return engine.stored(connection)


def _make(connection: Connection, statements: Iterable[str]) -> None:
    """Run those statements whose work is not done yet: even IF NOT EXISTS waits for a lock."""
    columns = {
        (str(table), str(column))
        for table, column in connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
        )
    }
    indexes = {
        str(row[0])
        for row in connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")
    }
    for statement in statements:
        present = _PRESENT.match(statement)
        if present and (present[1] in indexes or (present[2], present[3]) in columns):
            continue
        connection.execute(statement.encode())


def _holders(connection: Connection, schema_name: str) -> str:
    """Which sessions hold locks on the schema's tables, in words."""
    rows = connection.execute(
        "SELECT DISTINCT a.xact_start, a.pid, a.application_name, a.state FROM pg_locks l JOIN pg_stat_activity a "
        "USING (pid) JOIN pg_class c ON c.oid = l.relation WHERE l.granted AND a.pid <> pg_backend_pid() "
        "AND c.relnamespace = to_regnamespace(%s) ORDER BY 1 LIMIT 3",
        (schema_name,),
    ).fetchall()
    said = [
        f"pid {pid} ({name or 'no name'!r}, {state}, since {since:%H:%M:%S} UTC)" for since, pid, name, state in rows
    ]
    return "; ".join(said) or "it has let go by now"


def files() -> list[Path]:
    return sorted(MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql"))


def newest_version() -> int:
    return int(files()[-1].name[:4])
