"""Stored history, read for detectors: rows in time order, marks that people left on alarms, single series for charts.

Promise: nothing is written. Each statement is a read-only transaction on the caller's snapshot. Where the statement is
not made from a profile it is a file of `sql/`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from contracts.profiles import Profile
from ingest_service.columns import DTYPES, Array
from ingest_service.registry import Registry
from ingest_service.settings import Database
from ingest_service.store import snapshot
from ingest_service.store.arrays import EPOCH_2000_MS
from ingest_service.store.snapshot import Snapshot, Window
from ingest_service.store.statements import text
from ingest_service.store.store import Store


class Marked(NamedTuple):
    """An alarm of a device that somebody closed with a cause."""

    alarm_id: int
    device_id: int
    condition: str
    opened_ms: int
    ended_ms: int  # when the condition cleared, else when the alarm was closed
    cause: str  # real, false, planned_work


def fill(registry: Registry, database: Database, profiles: Mapping[str, Profile]) -> None:
    """What the registry's tables say, as ingest reads them; raises psycopg.Error, and SchemaMissing where the schema
    was not made by this version from these profiles.
    """
    store = Store(database, profiles, worker="detect", shards=(), quarantine_bytes=0)
    try:
        store.connection.execute("SELECT 1")
        store.refresh(registry)
    finally:
        store.close()


def in_time_order(profile: Profile, window: Window, device_ids: Sequence[int]) -> sql.Composed:
    """SELECT of one window of these devices' rows as `snapshot.record`, by time, device and values.

    Expects BRIN or b-tree on observed_at; reads a window whole and sorts it.
    """
    order = [sql.SQL(", o.{}").format(sql.Identifier(name)) for name in profile.properties]
    return sql.SQL(
        "SELECT {record} FROM {table} o WHERE {within} AND o.device_id = ANY({ids}::int[]) "
        "ORDER BY o.observed_at, o.device_id{order}"
    ).format(
        record=snapshot.record(profile),
        table=sql.Identifier(f"observation_{profile.kind}"),
        within=snapshot.within(window, sql.SQL("o.observed_at")),
        ids=sql.Literal(list(device_ids)),
        order=sql.Composed(order),
    )


def expected_rows(found: Snapshot, kind: str, window: Window) -> int:
    """About how many rows of a kind lie in a window, as the planner thinks: nothing is read."""
    statement = sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {} o WHERE {}").format(
        sql.Identifier(f"observation_{kind}"), snapshot.within(window, sql.SQL("o.observed_at"))
    )
    plan: Any = found.rows(statement)[0][0]
    return int(plan[0]["Plan"]["Plan Rows"])


def free_connections(found: Snapshot) -> int:
    """How many more connections the server takes."""
    statement = "SELECT current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity)"
    return int(found.rows(sql.SQL(statement))[0][0])


def marked(found: Snapshot, window: Window, device_ids: Sequence[int]) -> list[Marked]:
    """Alarms of these devices that opened in a window and were closed with a cause, by number."""
    begin, end = window
    rows = found.rows(
        sql.SQL(text("history_marks").decode()),
        {"begin": begin, "end": end, "devices": list(device_ids)},
    )
    return [Marked(*row) for row in rows]


def series(
    found: Snapshot, profile: Profile, device_id: int, begin_ms: int, end_ms: int, limit: int
) -> tuple[Array, dict[str, Array]]:
    """(observed_ms, columns) of one device in [begin_ms, end_ms), by time, the first `limit` rows.

    Expects BRIN or b-tree on observed_at.
    """
    window = tuple(datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in (begin_ms, end_ms))
    select = sql.SQL("{} LIMIT {}").format(
        in_time_order(profile, window, [device_id]),  # type: ignore[arg-type]
        sql.Literal(limit),
    )
    type_ = snapshot.record_type(profile)
    pieces = [snapshot.records(piece, type_) for _, piece in found.copy(select)]
    rows = np.concatenate(pieces)
    return observed_ms(rows), columns(profile, rows)


def observed_ms(rows: Array) -> Array:
    """(n,) int64: time of each record."""
    at_ms: Array = rows["value1"].astype(np.int64) // 1000 + EPOCH_2000_MS
    return at_ms


def columns(profile: Profile, rows: Array) -> dict[str, Array]:
    """The properties of records, in the types of `ingest_service.columns`."""
    items = profile.properties.items()
    return {name: rows[f"value{number}"].astype(DTYPES[item.type]) for number, (name, item) in enumerate(items, 2)}
