"""Brings a schema up to the code and the profiles. Safe to run twice and by two processes at once."""

from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from contracts.profiles import Profile
from ingest_service.settings import Database
from ingest_service.store import schema

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x44555245  # "DURE"


def migrate(database: Database, profiles: Mapping[str, Profile]) -> list[str]:
    """Apply what is missing, in one transaction; what was done, a line each. Raises SchemaError, psycopg.Error."""
    done: list[str] = []
    with psycopg.connect(database.url, application_name="dure migrate", connect_timeout=5) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (LOCK, database.schema))
        connection.execute("SET LOCAL client_min_messages TO warning")
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(database.schema)))
        connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(database.schema)))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version int PRIMARY KEY, applied_at timestamptz NOT NULL "
            "DEFAULT now())"
        )
        applied = {row[0] for row in connection.execute("SELECT version FROM schema_version")}
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
            for statement in schema.statements(profile):
                connection.execute(statement.encode())
            if stored.get(kind) != definition:
                connection.execute(
                    "INSERT INTO profile (kind, definition) VALUES (%s, %s) ON CONFLICT (kind) DO UPDATE SET "
                    "definition = profile.definition || excluded.definition",
                    (kind, Jsonb(definition)),
                )
                done.append(f"kind {kind}")
    return done


def files() -> list[Path]:
    return sorted(MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql"))


def newest_version() -> int:
    return int(files()[-1].name[:4])
