"""The roller: turns closed hours into rollups and closed partitions into indexed ones, beside ingest, on its own
connection.

An hour is rolled up when the kind's newest observation has passed its end by the grace, or when it has waited long
enough by the server's clock; late observations mark it again and it is made anew. One roller works at a time.
"""

import random
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from contracts.log import log
from contracts.profiles import Profile
from contracts.readiness import Part
from ingest_service.health import Health
from ingest_service.settings import Database
from ingest_service.store import partitions, schema
from ingest_service.store.connection import Connection, DatabaseError, connect, reason_of

PERIOD_S = 2.0
LOCK_WAIT_S = 600  # an index that is made concurrently waits for every transaction that began before it
WAIT_LONGEST = timedelta(minutes=15)  # an hour whose kind fell quiet is closed by the server's clock
CLOSE_PERIOD_S = 30.0
LOCK = 0x44555248


def run(
    database: Database, profiles: Mapping[str, Profile], *, grace_s: int, stopping: threading.Event, health: Health
) -> None:
    """Roll up until stopped, and once more then; a lost database is waited for."""
    connection: Connection | None = None
    next_close, last = 0.0, False
    while not last:
        last = stopping.wait(PERIOD_S * (0.75 + 0.5 * random.random()))
        try:
            if connection is None or connection.closed:
                connection = connect(database, name="roller", lock_wait_s=LOCK_WAIT_S)
            held = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))", (LOCK,)).fetchone()
            if not held or not held[0]:
                continue
            for profile in profiles.values():
                roll_up(connection, profile, grace_s=grace_s)
                if time.monotonic() >= next_close:
                    _close_partitions(connection, profile.kind, grace_s)
            if time.monotonic() >= next_close:
                next_close = time.monotonic() + CLOSE_PERIOD_S
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(current_schema()))", (LOCK,))
            health.say(Part.ROLLUPS, None)
        except DatabaseError as error:
            health.say(Part.ROLLUPS, reason_of(error), error)
            if connection is not None:
                connection.close()
            connection = None
    if connection is not None:
        connection.close()


def roll_up(connection: Connection, profile: Profile, *, grace_s: int) -> int:
    """Roll up every marked hour of a kind that is closed; how many."""
    kind = profile.kind
    newest = _one(connection, f"SELECT max(observed_at) FROM newest_{kind}")
    hours = connection.execute(
        "SELECT hour, max(marked_at) < now() - %s, hour + interval '1 hour' <= now() FROM rollup_due "
        "WHERE kind = %s GROUP BY hour ORDER BY hour",
        (WAIT_LONGEST, kind),
    ).fetchall()
    done = 0
    for hour, waited, over in hours:
        assert isinstance(hour, datetime)
        if (waited and over) or (newest is not None and newest >= hour + timedelta(hours=1, seconds=grace_s)):
            _roll_hour(connection, profile, hour)
            done += 1
    return done


def _roll_hour(connection: Connection, profile: Profile, hour: datetime) -> None:
    """Make one hour's rollups anew. The marks are taken first, so whatever is committed later marks it again."""
    span = {"from": hour, "to": hour + timedelta(hours=1)}
    kind = profile.kind
    with connection.transaction():
        connection.execute("DELETE FROM rollup_due WHERE kind = %s AND hour = %s", (kind, hour))
        for tier in profile.rollups:
            connection.execute(
                f"DELETE FROM rollup_{tier}_{kind} WHERE bucket >= %(from)s AND bucket < %(to)s".encode(), span
            )
            connection.execute(schema.hour_rollup_sql(profile, tier).encode(), span)
        connection.execute(
            f"DELETE FROM rollup_municipality_hour_{kind} WHERE bucket >= %(from)s AND bucket < %(to)s".encode(), span
        )
        connection.execute(schema.municipality_rollup_sql(profile).encode(), span)
        connection.execute(
            "INSERT INTO rollup_watermark (kind, closed_until) VALUES (%(kind)s, %(to)s) "
            "ON CONFLICT (kind) DO UPDATE SET closed_until = greatest(rollup_watermark.closed_until, "
            "excluded.closed_until)",
            {**span, "kind": kind},
        )


def _close_partitions(connection: Connection, kind: str, grace_s: int) -> None:
    newest = _one(connection, f"SELECT max(observed_at) FROM newest_{kind}")
    if newest is None:
        return
    for name in partitions.close(connection, kind, int((newest.timestamp() - grace_s) * 1000)):
        log("partition.closed", partition=name)


def _one(connection: Connection, text: str) -> Any:
    row = connection.execute(text.encode()).fetchone()
    return row[0] if row else None
