"""The store of one worker: one transaction a flush, and what a start needs to go on exactly where the last one stopped.

Promise: `commit` stores rows, cursors, accounts, alarms, journal and saved state together or not at all. When the
connection breaks at COMMIT, `commit` asks the database what became of the transaction before it says so.
"""

import contextlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
import psycopg

from contracts.cursor import Position
from contracts.profiles import Profile
from contracts.readiness import Reason
from ingest_service.admission import Flush, Held, Key
from ingest_service.alarms import Change
from ingest_service.newest import Rows
from ingest_service.registry import About, Registry
from ingest_service.settings import Database
from ingest_service.store import alarm_rows, copy_rows, rollup_marks, schema, statements
from ingest_service.store.connection import Connection, connect
from ingest_service.store.engine import EngineError
from ingest_service.store.migrate import newest_version
from ingest_service.store.partitions import HOUR_MS, PartitionGone, Partitions, was_gone

LOCK = 0x44555247  # advisory lock of a shard: (LOCK, shard)
OUTCOME_WAIT_S = 0.2
JOURNAL_ENTRIES = 64  # read at a time; one is some 10 kB


class CursorMoved(RuntimeError):
    """A cursor is not where memory had it: another writer, or a database restored from backup."""

    reason = Reason.CURSOR_MOVED


class OutcomeUnknown(CursorMoved):
    """A COMMIT was not answered and the database could not be asked: the cursors may or may not have moved."""


class ShardTaken(RuntimeError):
    """Another worker serves a shard."""

    reason = Reason.SHARD_TAKEN


class SchemaMissing(RuntimeError):
    """The database has not been migrated to this version."""

    reason = Reason.SCHEMA_MISSING


Stay = tuple[int, str | None, str]  # quarantine_id, new reason (None: as it was), detail


class Work(msgspec.Struct):
    """What goes into one transaction beside the flush itself."""

    changes: list[Change]
    newest: list[Rows]
    stays: list[Stay]  # asked to be admitted, and cannot
    counters: dict[str, Any] | None  # of the worker, when it is time to tell them
    words: dict[
        int, tuple[int, int, int]
    ] = {}  # agent_id -> (seen_ms, clock_ms, backlog), when it is time to tell them
    examined: bool = True  # whether the flush's findings are among the changes
    late: int = 0  # up to this flush, findings that were missing are among the changes; 0: none
    journal: dict[int, bytes] = {}  # shard -> entry
    saves: dict[int, bytes] = {}  # shard -> state that has seen this flush


class Committed(msgspec.Struct):
    """What a transaction says afterwards."""

    alarms: list[alarm_rows.Told]  # that changed, as they stand then
    newest_rows: int
    newest_s: float


class Store:
    def __init__(
        self,
        database: Database,
        profiles: Mapping[str, Profile],
        *,
        worker: str,
        shards: Sequence[int],
        quarantine_bytes: int,
    ) -> None:
        self.database = database
        self.profiles = dict(profiles)
        self.worker = worker
        self.shards = list(shards)
        self.partitions = Partitions(profiles, database.partition_hours)
        self._quarantine_room = quarantine_bytes
        self._quarantined: dict[int, int] = {}  # agent_id (0: none) -> bytes
        self._connection: Connection | None = None
        self._reading: Connection | None = None
        self._change = 0
        self._sizes: alarm_rows.Sizes = {}
        self._restorations: str | None = None  # that the schema has been through, as memory knows it

    @property
    def connection(self) -> Connection:
        """The open connection; raises psycopg.OperationalError when there is none to be had."""
        if self._connection is None or self._connection.closed:
            self._connection = self._open()
        return self._connection

    @property
    def reading(self) -> Connection:
        """A connection of its own for what is read between flushes, while another flush is being committed; raises
        psycopg.OperationalError.
        """
        if self._reading is None or self._reading.closed:
            self._reading = connect(self.database, name=f"ingest {self.worker} reading")
        return self._reading

    def reconnect(self) -> None:
        """Make sure of a working connection after a failure; raises psycopg.OperationalError, ShardTaken,
        SchemaMissing.
        """
        try:
            self.connection.execute("SELECT 1")
            self.reading.execute("SELECT 1")
        except psycopg.OperationalError:
            self.close()
            raise

    def _open(self) -> Connection:
        connection = connect(self.database, name=f"ingest {self.worker}")
        try:
            row = connection.execute("SELECT to_regclass('schema_version')").fetchone()
            version = (
                connection.execute("SELECT max(version) FROM schema_version").fetchone() if row and row[0] else None
            )
            if version is None or version[0] != newest_version():
                raise SchemaMissing(
                    f"schema {self.database.schema!r} is at version {version[0] if version else 'none'}, this program "
                    f"needs {newest_version()}: run `dure migrate`"
                )
            for shard in self.shards:
                taken = connection.execute(
                    "SELECT pg_try_advisory_lock(%s, %s # hashtext(current_schema()))", (LOCK, shard)
                ).fetchone()
                if not taken or not taken[0]:
                    raise ShardTaken(f"shard {shard} is served by another worker")
            self._check_profiles(connection)
            try:
                self.partitions.load(connection)
            except EngineError as error:
                raise SchemaMissing(f"schema {self.database.schema!r}: {error}") from error
            self._check_restorations(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_restorations(self, connection: Connection) -> None:
        """Raise CursorMoved, once, when the schema was restored from a backup since memory was read."""
        row = connection.execute("SELECT string_agg(restoration_id::text, ' ' ORDER BY 1) FROM restoration").fetchone()
        before, self._restorations = self._restorations, str(row[0]) if row else ""
        if before is not None and before != self._restorations:
            raise CursorMoved("the database was restored from a backup")

    def _check_profiles(self, connection: Connection) -> None:
        """Raise SchemaMissing when the tables were not made from these profiles: codes of enums would mean other words.
        Raise SchemaMissing when the tables were not made from these profiles: codes of enums would mean other words.
        """
        stored = {
            str(kind): definition for kind, definition in connection.execute("SELECT kind, definition FROM profile")
        }
        for kind, profile in self.profiles.items():
            wanted, made = schema.definition(profile), stored.get(kind, {})
            if any(made.get(name) != item for name, item in wanted.items()):
                raise SchemaMissing(
                    f"schema {self.database.schema!r} was not made from the profile of {kind!r}: run `dure migrate`"
                )

    def close(self) -> None:
        for connection in (self._connection, self._reading):
            if connection is not None:
                connection.close()
        self._connection = self._reading = None

    # Reading, at start and between flushes.

    def refresh(self, registry: Registry) -> bool:
        """Bring the registry up to date; whether anything changed."""
        row = self.reading.execute("SELECT last_value, is_called FROM registry_change").fetchone()
        top = int(row[0]) if row and row[1] else 0
        if top <= self._change:
            return False
        newest = self._change
        with self.reading.transaction():  # one snapshot: a registration in between is seen whole, or next time
            self.reading.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            towns = self._changed("SELECT code, time_zone, change FROM municipality")
            agents = self._changed("SELECT agent_id, municipality, name, replay, change FROM agent")
            devices = self._changed(
                "SELECT device_id, municipality, name, kind, agent_id, latitude, longitude, attributes ->> 'circuit', "
                "attributes ->> 'schedule', attributes ->> 'reports' IS NOT DISTINCT FROM 'changes', change FROM device"
            )
        for code, zone, change in towns:
            registry.put_municipality(str(code), str(zone))
            newest = max(newest, int(change))
        for agent_id, town, name, replay, change in agents:
            registry.put_agent(int(agent_id), str(town), str(name), bool(replay))
            newest = max(newest, int(change))
        for device_id, town, name, kind, *about, change in devices:
            registry.put_device(int(device_id), str(town), str(name), str(kind), About(*about))
            newest = max(newest, int(change))
        changed = newest > self._change
        self._change = newest
        if changed:
            self._sizes.clear()
        return changed

    def _changed(self, select: str) -> list[tuple[Any, ...]]:
        return self.reading.execute(f"{select} WHERE change > %s ORDER BY change".encode(), (self._change,)).fetchall()

    def forget(self) -> None:
        """Read the whole registry at the next `refresh`, and anew what quarantine holds."""
        self._change = 0
        self._sizes.clear()
        rows = self.connection.execute(
            "SELECT coalesce(agent_id, 0), sum(bytes) FROM quarantine WHERE admitted_at IS NULL GROUP BY 1"
        )
        self._quarantined = {int(agent): int(size) for agent, size in rows}

    def positions(self, keys: list[Key]) -> dict[Key, Position]:
        return statements.cursor_read(self.reading, keys)

    def saved_states(self) -> Iterator[tuple[int, int, bytes]]:
        """(shard, flush, body) of this worker's shards."""
        rows = self.connection.execute(
            "SELECT shard, flush, body FROM detector_state WHERE shard = ANY(%s) ORDER BY flush",
            (self.shards,),  # a device that changed shards is in two saves: the newer one wins
        ).fetchall()
        for shard, flush, body in rows:
            yield int(shard), int(flush), bytes(body)

    def journal(self, seen: Mapping[int, int]) -> Generator[tuple[int, bool, list[bytes]], None, None]:
        """Flushes after those that the saves (shard -> flush) have seen, in order: number, whether its findings are
        alarms, entries. Read bit by bit over a connection of its own; raises psycopg.OperationalError.
        """
        with (
            contextlib.closing(connect(self.database, name=f"ingest {self.worker} catching up")) as connection,
            connection.transaction(),
            connection.cursor("journal") as cursor,
        ):
            cursor.itersize = JOURNAL_ENTRIES
            cursor.execute(
                statements.text("journal_read"), {"shards": list(seen), "flushes": list(seen.values())}, binary=True
            )
            for (number, examined), entries in groupby(cursor, key=lambda row: (row[0], row[1])):
                yield int(number), bool(examined), [bytes(body) for *_, body in entries]

    def newest_times(self, kind: str) -> list[tuple[int, int]]:
        """(device_id, observed_ms) of the newest table."""
        rows = self.connection.execute(
            f"SELECT device_id, (extract(epoch FROM observed_at) * 1000)::bigint FROM newest_{kind}".encode()
        )
        return [(int(device), int(at)) for device, at in rows]

    def silent_agents(self) -> set[int]:
        """agent_id of those with an open alarm of silence."""
        rows = self.connection.execute(
            "SELECT agent_id FROM alarm WHERE condition = 'agent_silent' AND group_scope IS NULL "
            "AND state IN ('open', 'acknowledged', 'suppressed')"
        )
        return {int(row[0]) for row in rows}

    def known_agents(self) -> set[int]:
        """agent_id of those that have ever spoken."""
        return {int(row[0]) for row in self.connection.execute("SELECT agent_id FROM agent_status")}

    def requested(self) -> list[tuple[int, int | None, dict[str, Any] | None]]:
        """Quarantined observations that somebody asked to admit; the transaction of `commit` admits them, once."""
        return statements.quarantine_requested(self.reading)

    def counters(self) -> dict[str, Any]:
        """What this worker last told of itself."""
        row = self.connection.execute("SELECT counters FROM ingest_worker WHERE worker = %s", (self.worker,)).fetchone()
        return dict(row[0]) if row else {}

    # Writing.

    def commit(self, flush: Flush, work: Work) -> Committed:
        """Store a flush. Raises CursorMoved or psycopg.Error, and then nothing is stored."""
        connection = self.connection
        for block in flush.blocks:
            hours = np.unique(block.observed_ms // HOUR_MS) * HOUR_MS
            self.partitions.ensure(connection, block.kind, hours.tolist(), time.time_ns() // 1_000_000)
        transaction, committing = 0, False
        room = dict(self._quarantined)
        try:
            with connection.transaction():
                row = connection.execute("SELECT nextval('flush'), pg_current_xact_id()::text::bigint").fetchone()
                assert row is not None
                number, transaction = int(row[0]), int(row[1])
                done = self._write(connection, number, flush, work, room)
                committing = True
        except psycopg.Error as error:
            self.partitions.forget()
            if was_gone(error):
                raise PartitionGone(str(error)) from error
            if not committing or not connection.closed or not self._became_committed(transaction, error):
                raise
        self._quarantined = room
        return done

    def _write(self, connection: Connection, number: int, flush: Flush, work: Work, room: dict[int, int]) -> Committed:
        if flush.tallies:
            self._advance_cursors(connection, flush)
        for block in flush.blocks:
            copy_rows.copy(connection, self.profiles[block.kind], block.device_id, block.observed_ms, block.columns)
        if flush.readmitted and statements.quarantine_admitted(connection, flush.readmitted) != len(flush.readmitted):
            raise CursorMoved("an observation was admitted from quarantine by another worker")
        for quarantine_id, reason, detail in work.stays:
            statements.quarantine_stays(connection, quarantine_id, reason, detail)
        began = time.monotonic()
        for rows in work.newest:
            statements.newest_put(connection, self.profiles[rows.kind], rows)
        newest_s = time.monotonic() - began
        rollup_marks.put(connection, flush.blocks)
        if work.journal:
            statements.journal_put(connection, number, work.journal, work.examined)
        if work.late:
            statements.journal_examined(connection, self.shards, work.late)
        for shard, body in work.saves.items():
            statements.state_put(connection, shard, number, body)
            statements.journal_trim(connection, shard, number)
        self._quarantine(connection, flush.held, room)
        if work.words:
            statements.agent_status_put(connection, work.words)
        if work.counters is not None:
            statements.worker_put(connection, self.worker, work.counters)
        # last: what it locks, other workers of the same municipalities wait for
        alarms = alarm_rows.change(connection, work.changes, self.profiles, self._sizes)
        return Committed(alarms, sum(map(len, work.newest)), newest_s)

    @staticmethod
    def _advance_cursors(connection: Connection, flush: Flush) -> None:
        fresh = [key for key, tally in flush.tallies.items() if tally.before == Position()]
        if fresh:
            statements.cursor_open(connection, fresh)
        if statements.cursor_advance(connection, flush.tallies) == len(flush.tallies):
            return
        found = statements.cursor_read(connection, list(flush.tallies))  # advanced ones stand at `after`
        for key, tally in flush.tallies.items():
            if found[key] != tally.after or tally.after == tally.before:
                raise CursorMoved(
                    f"cursor of agent {key[0]} epoch {key[1]:x} is at {found[key]}, memory had {tally.before}"
                )
        raise CursorMoved("a cursor is not where memory had it")

    def _quarantine(self, connection: Connection, held: Sequence[Held], room: dict[int, int]) -> None:
        """Put what fits the agent's room; count the rest."""
        kept: list[Held] = []
        refused: dict[tuple[int, str], int] = {}
        for item in held:
            agent, size = item.agent_id or 0, statements.bytes_of(item)
            if room.get(agent, 0) + size <= self._quarantine_room:
                room[agent] = room.get(agent, 0) + size
                kept.append(item)
            else:
                key = (agent, item.refusal.reason.value)
                refused[key] = refused.get(key, 0) + item.refusal.observations
        if kept:
            statements.quarantine_put(connection, kept)
        for (agent, reason), observations in sorted(refused.items()):
            statements.quarantine_refuse(connection, agent, reason, observations)

    def _became_committed(self, transaction: int, lost: psycopg.Error) -> bool:
        """What became of a transaction whose COMMIT was not answered; raises OutcomeUnknown when nobody can tell now.
        What became of a transaction whose COMMIT was not answered; raises OutcomeUnknown when nobody can tell now.
        """
        try:
            while True:
                found = self.connection.execute("SELECT pg_xact_status(%s::text::xid8)", (str(transaction),)).fetchone()
                if found is None or found[0] != "in progress":
                    return found is not None and found[0] == "committed"
                time.sleep(OUTCOME_WAIT_S)
        except (psycopg.Error, ShardTaken, SchemaMissing) as error:
            raise OutcomeUnknown(f"{str(lost).strip()}; what became of the COMMIT: {str(error).strip()}") from error
