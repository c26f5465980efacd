"""Retention: how long observations and rollups of a kind are kept, for all municipalities and for one.

Promise: a partition goes whole when nobody keeps it; a municipality that keeps less has its rows deleted from closed
partitions in bounded steps, and those partitions are rewritten. What is going is noted before it goes, so that no hour
is rolled up from what is left of it: rollups stay for their own, longer span. Cursors and alarms are not touched.
Nothing goes that is not rolled up yet, and nothing where no span is set.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import psycopg

from contracts.log import log
from contracts.profiles import Profile
from ingest_service.store import engine, partitions, rollup_partitions, schema, timescale_rollups
from ingest_service.store.connection import Connection
from ingest_service.store.rolling import DAY_MS, at, watermarks

STEP_DEVICES = 500  # whose rows are deleted in one transaction
ALL = ""  # municipality of the row that holds for all without one of their own

Pause = Callable[[], None]


class Span(msgspec.Struct, frozen=True):
    """What is kept of a kind: days back from now; None for ever."""

    kind: str
    municipality: str
    keep: timedelta | None
    keep_rollups: timedelta | None


class Gone(msgspec.Struct, frozen=True):
    """What a run took, or would take."""

    what: str  # a partition, or a rollup
    municipality: str  # "" for all
    before_ms: int
    rows: int


def spans(connection: Connection, kind: str | None = None) -> list[Span]:
    rows = connection.execute(
        "SELECT kind, municipality, keep, keep_rollups FROM retention WHERE %(kind)s::text IS NULL OR kind = %(kind)s "
        "ORDER BY kind, municipality",
        {"kind": kind},
    )
    return [Span(*row) for row in rows]


def put(connection: Connection, span: Span) -> None:
    """Set a span; raises psycopg.errors.CheckViolation when rollups would go before what they are made of."""
    connection.execute(
        "INSERT INTO retention (kind, municipality, keep, keep_rollups) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (kind, municipality) DO UPDATE SET keep = excluded.keep, keep_rollups = excluded.keep_rollups, "
        "changed_at = now()",
        (span.kind, span.municipality, span.keep, span.keep_rollups),
    )


def forget(connection: Connection, kind: str, municipality: str) -> bool:
    """Take a row of settings away; whether there was one."""
    return (
        connection.execute("DELETE FROM retention WHERE kind = %s AND municipality = %s", (kind, municipality)).rowcount
        > 0
    )


def knows(connection: Connection, municipality: str) -> bool:
    """Whether a municipality is registered."""
    return _count(connection, "SELECT count(*) FROM municipality WHERE code = %s", municipality) > 0


def would_go(connection: Connection, profile: Profile, now_ms: int) -> list[Gone]:
    """What `apply` would take now, with counted rows. Reads every row that would go."""
    kind, found = profile.kind, []
    whole, towns = _cutoffs(connection, kind, now_ms)
    for _, high, name in _ended(connection, kind):
        if whole is not None and high <= whole:
            found.append(Gone(name, ALL, high, _count(connection, f"SELECT count(*) FROM {name}")))
            continue
        for town, cutoff in towns.items():
            if high <= cutoff:
                text = f"SELECT count(*) FROM {name} JOIN device USING (device_id) WHERE municipality = %s"
                found.append(Gone(name, town, high, _count(connection, text, town)))
    whole, towns = _rollup_cutoffs(connection, kind, now_ms)
    for table, key in _rollups(profile):
        first = at(0)
        for _, high, name in _rollups_over(connection, table, whole):
            found.append(Gone(name, ALL, high, _count(connection, f"SELECT count(*) FROM {name}")))
            first = at(high)
        text = f"SELECT count(*) FROM {table} WHERE {key} AND bucket < %s AND bucket >= %s"
        for town, cutoff in towns.items():
            found.append(Gone(table, town, cutoff, _count(connection, text, town, at(cutoff), first)))
    return [gone for gone in found if gone.rows or gone.municipality == ALL]


def apply(connection: Connection, profile: Profile, now_ms: int, pause: Pause) -> list[Gone]:
    """Take what nobody keeps any more; what went."""
    kind = profile.kind
    whole, towns = _cutoffs(connection, kind, now_ms)
    found = []
    for _, high, name in _ended(connection, kind):
        if whole is None or high > whole:
            break
        _note(connection, kind, ALL, high)
        try:
            partitions.drop(connection, kind, name)
        except psycopg.errors.LockNotAvailable:  # somebody reads: next time
            break
        found.append(Gone(name, ALL, high, -1))
        log("retention.dropped", partition=name)
        pause()
    for town, cutoff in towns.items():
        found += _delete_municipality(connection, kind, town, cutoff, pause)
    whole, towns = _rollup_cutoffs(connection, kind, now_ms)
    for table, key in _rollups(profile):
        for _, high, name in _rollups_over(connection, table, whole):
            try:
                rollup_partitions.drop(connection, table, name)
            except psycopg.errors.LockNotAvailable:  # somebody reads: next time
                break
            found.append(Gone(name, ALL, high, -1))
            log("retention.dropped", partition=name)
            pause()
        for town, cutoff in towns.items():
            rows = _delete_rollups(connection, table, key, town, cutoff, pause)
            if rows:
                found.append(Gone(table, town, cutoff, rows))
    return found


def _delete_municipality(connection: Connection, kind: str, town: str, cutoff: int, pause: Pause) -> list[Gone]:
    """Delete one municipality's rows from closed partitions that ended before the cutoff, a few devices at a time."""
    row = connection.execute(
        "SELECT (extract(epoch FROM deleted_until) * 1000)::bigint FROM observation_gone "
        "WHERE kind = %s AND municipality = %s",
        (kind, town),
    ).fetchone()
    done_ms = row[0] if row else None
    closed = {str(row[0]) for row in connection.execute("SELECT name FROM closed_partition WHERE kind = %s", (kind,))}
    devices = [
        int(row[0])
        for row in connection.execute(
            "SELECT device_id FROM device WHERE municipality = %s AND kind = %s ORDER BY 1", (town, kind)
        )
    ]
    found = []
    text = f"DELETE FROM observation_{kind} WHERE device_id = ANY(%s) AND observed_at >= %s AND observed_at < %s"
    for low, high, name in _ended(connection, kind):
        if high > cutoff or (done_ms is not None and high <= done_ms):
            continue
        if name not in closed:
            break  # without its index every step would read it whole
        _note(connection, kind, town, high)
        rows = 0
        for start in range(0, len(devices), STEP_DEVICES):
            some = devices[start : start + STEP_DEVICES]
            rows += connection.execute(text.encode(), (some, at(low), at(high))).rowcount
            pause()
        if rows:  # rewritten at the next look, without the holes
            connection.execute("UPDATE closed_partition SET pages = -1 WHERE name = %s", (name,))
            found.append(Gone(name, town, high, rows))
            log("retention.deleted", partition=name, municipality=town, rows=rows)
        connection.execute(
            "UPDATE observation_gone SET deleted_until = greatest(deleted_until, %s) "
            "WHERE kind = %s AND municipality = %s",
            (at(high), kind, town),
        )
    return found


def _delete_rollups(connection: Connection, table: str, key: str, town: str, cutoff: int, pause: Pause) -> int:
    """Delete rollups from before the cutoff, a day at a time. Index: the partitions by time."""
    rows = 0
    stored = timescale_rollups.stored_in(connection, table) if engine.stored(connection).timescale else table
    while True:
        first = connection.execute(
            f"SELECT date_trunc('day', min(bucket)) FROM {table} WHERE {key} AND bucket < %s".encode(),
            (town, at(cutoff)),
        ).fetchone()
        if first is None or first[0] is None:
            return rows
        until = min(first[0] + timedelta(days=1), at(cutoff))
        rows += connection.execute(f"DELETE FROM {stored} WHERE {key} AND bucket < %s".encode(), (town, until)).rowcount
        pause()


def _cutoffs(connection: Connection, kind: str, now_ms: int) -> tuple[int | None, dict[str, int]]:
    """(before when nobody keeps observations, or None; before when a municipality does not, where that is later)."""
    own = {span.municipality: span.keep for span in spans(connection, kind)}
    towns = [str(row[0]) for row in connection.execute("SELECT code FROM municipality ORDER BY code")]
    kept = {town: own.get(town, own.get(ALL)) for town in towns}
    cutoff = {town: now_ms - _in_ms(keep) for town, keep in kept.items() if keep is not None}
    whole = min(cutoff.values()) if cutoff and len(cutoff) == len(towns) else None
    return whole, {town: at_ms for town, at_ms in cutoff.items() if whole is None or at_ms > whole}


def _rollup_cutoffs(connection: Connection, kind: str, now_ms: int) -> tuple[int | None, dict[str, int]]:
    """(before when nobody keeps rollups, or None; before when a municipality does not): full days."""
    own = {span.municipality: span.keep_rollups for span in spans(connection, kind)}
    towns = [str(row[0]) for row in connection.execute("SELECT code FROM municipality ORDER BY code")]
    kept = {town: own.get(town, own.get(ALL)) for town in towns}
    cutoff = {town: (now_ms - _in_ms(keep)) // DAY_MS * DAY_MS for town, keep in kept.items() if keep is not None}
    return (min(cutoff.values()) if cutoff and len(cutoff) == len(towns) else None), cutoff


def _rollups_over(connection: Connection, table: str, whole: int | None) -> list[partitions.Range]:
    """Partitions of a rollup that nobody keeps, oldest first."""
    return [item for item in rollup_partitions.listed(connection, table) if whole is not None and item[1] <= whole]


def _ended(connection: Connection, kind: str) -> Sequence[partitions.Range]:
    """Partitions whose hours are all rolled up, oldest first."""
    closed, _, _ = watermarks(connection, kind)
    return [item for item in partitions.listed(connection, kind) if closed is not None and item[1] <= closed]


def _rollups(profile: Profile) -> list[tuple[str, str]]:
    """(table, condition that takes the municipality) of each rollup."""
    by_device = "device_id IN (SELECT device_id FROM device WHERE municipality = %s)"
    tables = [(f"rollup_{tier}_{profile.kind}", by_device) for tier in schema.TIERS if tier in profile.rollups]
    return [*tables, (f"rollup_municipality_hour_{profile.kind}", "municipality = %s")]


def _note(connection: Connection, kind: str, town: str, until_ms: int) -> None:
    connection.execute(
        "INSERT INTO observation_gone AS g (kind, municipality, gone_until) VALUES (%s, %s, %s) "
        "ON CONFLICT (kind, municipality) DO UPDATE SET gone_until = greatest(g.gone_until, excluded.gone_until)",
        (kind, town, at(until_ms)),
    )


def _count(connection: Connection, text: str, *parameters: Any) -> int:
    row = connection.execute(text.encode(), parameters or None).fetchone()
    return int(row[0]) if row else 0


def _in_ms(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)
