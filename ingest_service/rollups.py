"""The roller: rolls up closed hours and late observations, rewrites closed partitions, and takes what nobody keeps any
more; beside ingest, on its own connection.

An hour is closed when the kind's newest observation has passed its end by the grace, or, where a kind fell quiet, after
WAIT_LONGEST by the server's clock. From then on its observations count as late, and are recomputed a device at a time.
One roller works at a time. What the database does is in `store.rolling`, `store.closing` and `store.retention`.
"""

import random
import threading
import time
from collections.abc import Mapping

from contracts.log import log
from contracts.profiles import Profile
from contracts.readiness import Part
from ingest_service.health import Health
from ingest_service.settings import Database
from ingest_service.store import closing, retention, rolling, rollup_partitions, snapshot
from ingest_service.store.connection import Connection, DatabaseError, connect, reason_of
from ingest_service.store.engine import EngineError
from ingest_service.store.partitions import HOUR_MS

PERIOD_S = 2.0
LOCK_WAIT_S = 600  # of steps that hold nobody up; those that do have limits of their own
SETTLE_S = 5.0  # late observations come in bursts: wait until one is over
WAIT_LONGEST_S = 900.0  # an hour whose kind fell quiet is closed by the server's clock
CLOSE_PERIOD_S = 30.0
RETENTION_PERIOD_S = 3600.0
PAUSE_SHARE, PAUSE_MOST_S = 0.25, 1.0  # of the time a slice took, ingest has the disk to itself
STOP_WITHIN_S = 20.0
LOCK = 0x44555248


class Stopping(Exception):
    """The end of the service does not wait for the end of this."""


class Roller:
    """What one turn does, and what it remembers from turn to turn."""

    def __init__(self, profiles: Mapping[str, Profile], *, grace_s: int, stopping: threading.Event) -> None:
        self.profiles = dict(profiles)
        self._grace_ms = grace_s * 1000
        self._settle_s = min(SETTLE_S, float(grace_s))
        self._stopping = stopping
        self._stop_by: float | None = None
        self._quiet: dict[str, tuple[tuple[int, int], float]] = {}  # kind -> what its newest hour was, since when
        self._pages: dict[str, int] = {}  # of grown partitions
        self._next_late = self._next_close = self._next_retention = 0.0
        self._last_pause = 0.0

    def turn(self, connection: Connection) -> None:
        """Everything that is due now, ordinary work first."""
        self._last_pause = time.monotonic()
        now = time.monotonic()
        late = now >= self._next_late
        for profile in self.profiles.values():
            self.roll_up(connection, profile, late=late)
        now = time.monotonic()
        if late:  # not at every turn: at a nation's size some box is always late
            self._next_late = now + 2 * self._settle_s
        if now >= self._next_close:
            self._next_close = now + CLOSE_PERIOD_S
            for profile in self.profiles.values():
                with snapshot.rewriting(connection) as may:
                    if may:
                        self.close_partitions(connection, profile.kind)
                        self.close_rollups(connection, profile)
        if now >= self._next_retention:
            self._next_retention = now + RETENTION_PERIOD_S
            for profile in self.profiles.values():
                with snapshot.rewriting(connection) as may:
                    if may:
                        retention.apply(connection, profile, time.time_ns() // 1_000_000, self.pause)
                        rolling.compress(connection, profile, time.time_ns() // 1_000_000)

    def roll_up(self, connection: Connection, profile: Profile, *, late: bool = True) -> int:
        """Roll up what is closed, and what late observations changed; how many hours, and late (device, hour)."""
        _, known, _ = rolling.watermarks(connection, profile.kind)
        until = self._closable(connection, profile.kind, known)
        if until is not None and (known is None or until > known):
            rolling.begin_closing(connection, profile.kind, until)
        done = rolling.roll_closed(connection, profile, self.pause)
        done += rolling.roll_days(connection, profile, self.pause)
        if late:
            done += rolling.roll_late(connection, profile, self.pause, settle_s=self._settle_s)
        return done

    def close_partitions(self, connection: Connection, kind: str) -> int:
        """Rewrite partitions whose hours are all rolled up; how many."""
        closed, _, _ = rolling.watermarks(connection, kind)
        done = 0
        for partition in closing.due(connection, kind, closed, self._pages) if closed is not None else []:
            done += closing.close(connection, kind, partition, self._wait)
            if self._stopping.is_set():
                break
        return done

    def close_rollups(self, connection: Connection, profile: Profile) -> int:
        """Rewrite partitions of rollups that are over; how many."""
        closed, _, days = rolling.watermarks(connection, profile.kind)
        done = 0
        for tier in profile.rollups:
            until = days if tier == "day" else closed
            for partition in (
                rollup_partitions.due(connection, profile, tier, until, self._pages) if until is not None else []
            ):
                if self._stopping.is_set():
                    return done
                done += rollup_partitions.close(connection, profile, tier, partition, until or 0, self._wait)
        return done

    def pause(self) -> None:
        """Between slices: leave a share of the time to ingest; raises Stopping when the service will not wait."""
        now = time.monotonic()
        if self._stopping.is_set():
            self._stop_by = self._stop_by or now + STOP_WITHIN_S
            if now > self._stop_by:
                raise Stopping
        else:
            self._stopping.wait(min(PAUSE_MOST_S, PAUSE_SHARE * (now - self._last_pause)))
        self._last_pause = time.monotonic()

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Stopping

    def _closable(self, connection: Connection, kind: str, known: int | None) -> int | None:
        """Up to which hour, ms, a kind is closed."""
        passed = rolling.passed_hour(connection, kind, known, grace_ms=self._grace_ms)
        newest = rolling.last_hour(connection, kind)
        if newest is None or (passed is not None and passed >= newest[0]):
            return passed
        before, since = self._quiet.get(kind, (None, 0.0))
        if before != newest:
            self._quiet[kind] = (newest, time.monotonic())
        elif time.monotonic() - since >= WAIT_LONGEST_S:
            return max(passed or 0, min(newest[0], time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS))
        return passed


def run(
    database: Database, profiles: Mapping[str, Profile], *, grace_s: int, stopping: threading.Event, health: Health
) -> None:
    """Roll up until stopped, and once more then; a lost database is waited for."""
    roller = Roller(profiles, grace_s=grace_s, stopping=stopping)
    connection: Connection | None = None
    last = False
    while not last:
        last = stopping.wait(PERIOD_S * (0.75 + 0.5 * random.random()))
        try:
            if connection is None or connection.closed:
                connection = connect(database, name="roller", lock_wait_s=LOCK_WAIT_S)
                rolling.prepare(connection)
            held = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))", (LOCK,)).fetchone()
            if not held or not held[0]:
                continue
            roller.turn(connection)
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(current_schema()))", (LOCK,))
            health.say(Part.ROLLUPS, None)
        except Stopping:
            log("roller.stopped_amid_work")
            break
        except (DatabaseError, EngineError) as error:
            health.say(Part.ROLLUPS, reason_of(error), error)
            if connection is not None:
                connection.close()
            connection = None
    if connection is not None:
        connection.close()
