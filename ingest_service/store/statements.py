"""The statements of `sql/`, one typed function each. Parameters, units and expected indexes stand at the head of each
file.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from psycopg.types.json import Jsonb

from contracts.cursor import Position
from contracts.profiles import Profile
from ingest_service.admission import Held, Key, Tally
from ingest_service.newest import Rows
from ingest_service.store import schema
from ingest_service.store.arrays import BigInts, Ints, SmallInts, array, column, times
from ingest_service.store.connection import Connection

SQL = Path(__file__).parent / "sql"
MAX_BODY_KEPT = 64 * 1024  # of a message that cannot be read; enough to see what it is


@cache
def text(name: str) -> bytes:
    return (SQL / f"{name}.sql").read_bytes()


def cursor_read(connection: Connection, keys: Sequence[Key]) -> dict[Key, Position]:
    """Position of every key; Position() where nothing is committed."""
    found = {key: Position() for key in keys}
    if keys:
        for agent_id, epoch, seq, next_number in connection.execute(text("cursor_read"), _keys(keys)):
            found[agent_id, epoch] = Position(seq, next_number)
    return found


def cursor_open(connection: Connection, keys: Sequence[Key]) -> None:
    """Rows for epochs never heard of before."""
    connection.execute(text("cursor_open"), _keys(sorted(keys)))


def cursor_advance(connection: Connection, tallies: Mapping[Key, Tally]) -> int:
    """Lock the cursors in key order and advance those that stand where memory has them; how many did."""
    keys = list(tallies)
    items = [tallies[key] for key in keys]
    clocks = [item.clock_ms for item in items]
    counts = ("received", "committed", "duplicate", "out_of_order", "quarantined", "lost", "backlog")
    return connection.execute(
        text("cursor_advance"),
        {
            **_keys(keys),
            "before_seqs": array(BigInts, [item.before.seq for item in items]),
            "before_nexts": array(BigInts, [item.before.next for item in items]),
            "seqs": array(BigInts, [item.after.seq for item in items]),
            "nexts": array(BigInts, [item.after.next for item in items]),
            "clocks": times(clocks, np.array(clocks) == 0),
            **{name: array(BigInts, [getattr(item, name) for item in items]) for name in counts},
        },
    ).rowcount


def _keys(keys: Sequence[Key]) -> dict[str, Any]:
    return {"agents": array(Ints, [key[0] for key in keys]), "epochs": array(BigInts, [key[1] for key in keys])}


def agent_status_put(connection: Connection, words: Mapping[int, tuple[int, int, int]]) -> None:
    """Newest word of agents: agent_id -> (seen_ms, clock_ms or 0, backlog)."""
    agents = sorted(words)
    clocks = [words[agent][1] for agent in agents]
    connection.execute(
        text("agent_status_put"),
        {
            "agents": array(Ints, agents),
            "seen": times([words[agent][0] for agent in agents]),
            "clocks": times(clocks, np.array(clocks) == 0),
            "backlogs": array(BigInts, [words[agent][2] for agent in agents]),
        },
    )


def quarantine_put(connection: Connection, held: Sequence[Held]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(text("quarantine_put"), [_entry(item) for item in held])


def quarantine_refuse(connection: Connection, agent_id: int, reason: str, observations: int) -> None:
    connection.execute(
        text("quarantine_refuse"), {"agent_id": agent_id, "reason": reason, "observations": observations}
    )


def quarantine_requested(connection: Connection) -> list[tuple[int, int | None, dict[str, Any] | None]]:
    """(quarantine_id, agent_id, content) of what somebody asked to admit, locked."""
    rows: list[Any] = connection.execute(text("quarantine_requested")).fetchall()
    return rows


def quarantine_admitted(connection: Connection, ids: Sequence[int]) -> int:
    """Mark observations as admitted; how many had not been before."""
    return connection.execute(text("quarantine_admitted"), {"ids": list(ids)}).rowcount


def quarantine_stays(connection: Connection, quarantine_id: int, reason: str | None, detail: str) -> None:
    connection.execute(text("quarantine_stays"), {"id": quarantine_id, "reason": reason, "detail": clean(detail)})


def journal_put(connection: Connection, flush: int, entries: Mapping[int, bytes], examined: bool) -> None:
    shards, bodies = array(SmallInts, list(entries)), list(entries.values())
    connection.execute(text("journal_put"), {"flush": flush, "shards": shards, "bodies": bodies, "examined": examined})


def journal_examined(connection: Connection, shards: Sequence[int], flush: int) -> None:
    connection.execute(text("journal_examined"), {"shards": array(SmallInts, shards), "flush": flush})


def state_put(connection: Connection, shard: int, flush: int, body: bytes) -> None:
    connection.execute(text("state_put"), {"shard": shard, "flush": flush, "body": body})


def journal_trim(connection: Connection, shard: int, flush: int) -> None:
    connection.execute(text("journal_trim"), {"shard": shard, "flush": flush})


def worker_put(connection: Connection, worker: str, counters: Mapping[str, Any]) -> None:
    connection.execute(text("worker_put"), {"worker": worker, "counters": Jsonb(dict(counters))})


def newest_put(connection: Connection, profile: Profile, rows: Rows) -> None:
    """Write newest rows of a kind; an older observation never replaces a newer one. Expects the primary key of
    newest_<kind>.
    """
    table, items = f"newest_{profile.kind}", profile.properties
    listed = "".join(f", {name}" for name in items)
    arrays = "".join(f", %({name})s::{schema.column_type(item)}[]" for name, item in items.items())
    updates = "".join(f", {name} = excluded.{name}" for name in items)
    connection.execute(
        f"INSERT INTO {table} (device_id, observed_at{listed}, as_of) "
        f"SELECT device_id, observed_at{listed}, now() FROM unnest(%(device_id)s::int[], "
        f"%(observed_at)s::timestamptz[]{arrays}) AS k (device_id, observed_at{listed}) "
        f"ON CONFLICT (device_id) DO UPDATE SET observed_at = excluded.observed_at, as_of = excluded.as_of{updates} "
        f"WHERE {table}.observed_at <= excluded.observed_at".encode(),
        {
            "device_id": array(Ints, rows.device_id),
            "observed_at": times(rows.observed_ms),
            **{name: column(item, rows.columns[name]) for name, item in items.items()},
        },
    )


def clean(value: str) -> str:
    """Foreign text as PostgreSQL can hold it: no NUL, no lone surrogates."""
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def bytes_of(held: Held) -> int:
    """What an entry counts against its agent's room in quarantine."""
    refusal = held.refusal
    return (
        200
        + len(refusal.detail)
        + len(refusal.body or b"")
        + (len(msgspec.json.encode(refusal.content)) if refusal.content else 0)
    )


def _entry(held: Held) -> dict[str, Any]:
    refusal = held.refusal
    content = None
    if refusal.content is not None:
        content = clean(msgspec.json.encode(refusal.content).decode()).replace("\\u0000", "\\ufffd")
    return {
        "municipality": held.municipality,
        "agent_id": held.agent_id,
        "topic": clean(held.topic),
        "epoch": held.epoch,
        "seq": held.seq,
        "reason": refusal.reason.value,
        "detail": clean(refusal.detail)[:2000],
        "kind": clean(refusal.kind)[:200] if refusal.kind else None,
        "device": clean(refusal.device)[:200] if refusal.device else None,
        "observed_ms": refusal.observed_ms,
        "content": content,
        "body": refusal.body[:MAX_BODY_KEPT] if refusal.body else None,
        "observations": refusal.observations,
        "bytes": bytes_of(held),
    }
