"""Rollups on TimescaleDB: continuous aggregates, which the roller refreshes as it closes hours and finds late rows.

Which span is due, and up to when rollups are closed, is the roller's to say (`rolling`): no refresh policy runs beside
it, so what `rollup_watermark` and `rollup_due` tell a reader holds as it does without TimescaleDB. A span is made anew
whatever TimescaleDB's invalidation log says: rows that are committed while a refresh moves the log's threshold are
missing there (seen with 2.29.2: two late rows of 12,000 on a busy machine).
"""

from datetime import UTC, datetime

from contracts.profiles import Profile
from ingest_service.store import engine
from ingest_service.store.connection import Connection


def roll_hours(connection: Connection, profile: Profile, from_ms: int, to_ms: int) -> None:
    """Bring the rollups of full hours in [from, to) up to their observations; on a connection in autocommit."""
    for tier in ("minute", "hour", "municipality_hour"):  # municipalities are made of hours
        if tier == "municipality_hour" or tier in profile.rollups:
            _refresh(connection, f"rollup_{tier}_{profile.kind}", from_ms, to_ms)


def roll_days(connection: Connection, profile: Profile, from_ms: int, to_ms: int) -> None:
    """Bring the rollups of full days in [from, to) up to their hours; on a connection in autocommit."""
    _refresh(connection, f"rollup_day_{profile.kind}", from_ms, to_ms)


def stored_in(connection: Connection, rollup: str) -> str:
    """The hypertable that holds a rollup's rows: rows are deleted from it, the rollup is a view."""
    row = connection.execute(
        "SELECT format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name) "
        "FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema() AND view_name = %s",
        (rollup,),
    ).fetchone()
    assert row is not None, rollup
    return str(row[0])


def _refresh(connection: Connection, rollup: str, from_ms: int, to_ms: int) -> None:
    functions = engine.stored(connection).functions
    connection.execute(
        f"CALL {functions}.refresh_continuous_aggregate(%s::regclass, %s::timestamptz, %s::timestamptz, "
        "force => true)".encode(),
        (rollup, _at(from_ms), _at(to_ms)),
    )


def _at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
