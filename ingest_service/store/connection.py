"""Connections of the ingest service to PostgreSQL: one schema through search_path, UTC, plain autocommit; and what its
errors mean.

Promise: a lock is waited for LOCK_WAIT_S, and a dead peer found within PEER_WAIT_MS. The time limits that a server or a
role sets for statements are not taken over: a flush that is cancelled would be tried again, whole, for ever.
"""

from typing import Any

import psycopg
from psycopg import errors as sqlstate
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from contracts.readiness import Reason
from ingest_service.settings import Database
from ingest_service.store import arrays

LOCK_WAIT_S = 10
PEER_WAIT_MS = 30_000
PATIENCE = {  # unless the URL says otherwise
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": PEER_WAIT_MS,
}
NO_LIMIT = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
# What TimescaleDB needs to be told; servers without it know no such settings, and are not told.
# Rows of a COPY go into the columnstore as they come (before 2.24 continuous aggregates keep them from it: they wait in
# the rowstore until their chunk closes). Late rollups and retention may change as many compressed rows as they must.
SESSION = {
    "timescaledb.enable_direct_compress_copy": "on",
    "timescaledb.max_tuples_decompressed_per_dml_transaction": "0",
}

# What may go wrong, for those who may not import psycopg.
DatabaseError = psycopg.Error
DatabaseAway = psycopg.OperationalError
RefusedByDatabase = (  # what the content is to blame for, by SQLSTATE: other content would have been taken
    psycopg.DataError,
    psycopg.IntegrityError,
    sqlstate.RaiseException,  # a trigger's
    sqlstate.WithCheckOptionViolation,
    sqlstate.ProgramLimitExceeded,  # a row that does not fit a page
)
_REASONS: tuple[tuple[type[psycopg.Error], Reason], ...] = (
    (sqlstate.ReadOnlySqlTransaction, Reason.DATABASE_READ_ONLY),
    (sqlstate.DiskFull, Reason.DISK_FULL),
    (sqlstate.TooManyConnections, Reason.TOO_MANY_CONNECTIONS),
    (sqlstate.LockNotAvailable, Reason.LOCKED),
    (sqlstate.DeadlockDetected, Reason.LOCKED),
    (sqlstate.QueryCanceled, Reason.TOO_SLOW),
)
_CONTENT_OF_SCHEMA = ("42", "3F")  # SQLSTATE classes: access rule violation or syntax, invalid schema name

Connection = psycopg.Connection[tuple[Any, ...]]


def check_url(url: str) -> None:
    """Raise ValueError, in libpq's words, when this cannot be a connection URL; opens nothing."""
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ValueError(f"not a connection URL: {str(error).strip()}") from error


def reason_of(error: BaseException) -> Reason:
    """Why the database does not serve, from what it said or what the store made of it."""
    if isinstance(known := getattr(error, "reason", None), Reason):
        return known
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    state = getattr(error, "sqlstate", None) or ""
    if state[:2] in _CONTENT_OF_SCHEMA:
        return Reason.SCHEMA_DIFFERS
    words = str(error)
    if "No space left on device" in words:  # in the words of a server that cannot even start a session
        return Reason.DISK_FULL
    if "too many clients" in words or "connection slots" in words:  # libpq keeps no SQLSTATE of a refused connection
        return Reason.TOO_MANY_CONNECTIONS
    return Reason.NO_DATABASE if isinstance(error, psycopg.OperationalError) else Reason.DATABASE_FAILS


def connect(database: Database, *, name: str, lock_wait_s: int = LOCK_WAIT_S) -> Connection:
    """An open autocommit connection; raises psycopg.OperationalError."""
    where = make_conninfo("", **{**PATIENCE, **conninfo_to_dict(database.url)})
    connection = psycopg.connect(where, autocommit=True, application_name=f"dure {name}")
    arrays.register(connection)
    connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(database.schema)))
    wanted = {"timezone": "UTC", "lock_timeout": f"{lock_wait_s}s", **dict.fromkeys(NO_LIMIT, "0"), **SESSION}
    connection.execute(  # servers differ in which limits they know; who has set one for locks means it
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS wanted (name, value) "
        "WHERE current_setting(name, true) IS NOT NULL AND (name <> 'lock_timeout' OR current_setting(name) = '0')",
        (list(wanted), list(wanted.values())),
    )
    return connection
