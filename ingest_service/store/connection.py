"""Connections of the ingest service to PostgreSQL: one schema through search_path, UTC, plain autocommit."""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ingest_service.settings import Database

# What may go wrong, for those who may not import psycopg.
DatabaseError = psycopg.Error
DatabaseAway = psycopg.OperationalError
RefusedByDatabase = (psycopg.DataError, psycopg.IntegrityError)

Connection = psycopg.Connection[tuple[Any, ...]]


def check_url(url: str) -> None:
    """Raise ValueError, in libpq's words, when this cannot be a connection URL; opens nothing."""
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ValueError(f"not a connection URL: {str(error).strip()}") from error


def connect(database: Database, *, name: str) -> Connection:
    """An open autocommit connection; raises psycopg.OperationalError."""
    connection = psycopg.connect(database.url, autocommit=True, application_name=f"dure {name}", connect_timeout=5)
    connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(database.schema)))
    connection.execute("SET timezone TO 'UTC'")
    return connection
