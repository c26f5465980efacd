"""Taking in files of observations: the ledger of what was taken, and the transaction that stores one part of a file.

Promise: a part's rows, its entry in the ledger, the marks for rollups and the newest observations are one transaction,
so that a file is stored once however often it is given and wherever it was cut short.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from contracts.profiles import Profile
from ingest_service.columns import Array, Block
from ingest_service.newest import Rows as Newest
from ingest_service.store import copy_rows, rollup_marks, statements
from ingest_service.store.connection import Connection
from ingest_service.store.partitions import HOUR_MS, Partitions


class Entry(NamedTuple):
    """How a file was begun."""

    kind: str
    part_rows: int
    ended_at: datetime | None


class Part(NamedTuple):
    """Rows of a part: stored, refused, and left out because they were there."""

    part: int
    stored: int
    refused: int
    present: int


class Rows(NamedTuple):
    """Good rows of one kind, nulls as in `ingest_service.columns`."""

    device_id: Array  # (n,) int32
    observed_ms: Array  # (n,) int64
    columns: Mapping[str, Array]

    def take(self, chosen: Array) -> "Rows":
        return Rows(
            self.device_id[chosen], self.observed_ms[chosen], {name: c[chosen] for name, c in self.columns.items()}
        )


def devices(connection: Connection) -> dict[tuple[str, str], tuple[int, str]]:
    """(municipality, name) -> (device_id, kind) of all devices."""
    rows = connection.execute("SELECT municipality, name, device_id, kind FROM device")
    return {(str(town), str(name)): (int(number), str(kind)) for town, name, number, kind in rows}


def begin(connection: Connection, content_hash: str, name: str, kind: str, part_rows: int) -> Entry:
    parameters = {"hash": content_hash, "name": name, "kind": kind, "part_rows": part_rows}
    row = connection.execute(statements.text("import_file_open"), parameters).fetchone()
    assert row is not None
    return Entry(*row)


def parts(connection: Connection, content_hash: str) -> list[Part]:
    return [Part(*row) for row in connection.execute(statements.text("import_parts"), {"hash": content_hash})]


def end(connection: Connection, content_hash: str) -> None:
    connection.execute(statements.text("import_file_end"), {"hash": content_hash})


def store(
    connection: Connection,
    partitions: Partitions,
    profile: Profile,
    content_hash: str,
    part: int,
    rows: Rows,
    *,
    refused: int,
    skip_present: bool,
    now_ms: int,
) -> Part | None:
    """Store one part of a file; None when it was stored before. skip_present: leave out rows of a device and time that
    are there, or come twice.
    """
    hours = (np.unique(rows.observed_ms // HOUR_MS) * HOUR_MS).tolist()
    partitions.ensure(connection, profile.kind, hours, now_ms)
    with connection.transaction():
        fresh = rows
        if skip_present and len(rows.device_id):
            # two imports of overlapping files at once would each miss what the other is about to commit
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.import'))")
            fresh = rows.take(_absent(connection, profile.kind, rows))
        entry = Part(part, len(fresh.device_id), refused, len(rows.device_id) - len(fresh.device_id))
        taken = connection.execute(statements.text("import_part_take"), {"hash": content_hash, **entry._asdict()})
        if taken.fetchone() is None:
            return None
        if entry.stored:
            copy_rows.copy(connection, profile, *fresh)
            rollup_marks.put(connection, [_block(profile.kind, fresh)])
            _put_newest(connection, profile, fresh)
    return entry


def _absent(connection: Connection, kind: str, rows: Rows) -> Array:
    """Indices of rows whose device and time are not stored yet, each once; expects BRIN or b-tree on time."""
    _, first = np.unique(np.stack([rows.device_id.astype(np.int64), rows.observed_ms]), axis=1, return_index=True)
    found = connection.execute(
        "SELECT k.place FROM unnest(%(places)s::int[], %(ids)s::int[], %(times)s::bigint[]) "
        f"AS k (place, device_id, at_ms) WHERE NOT EXISTS (SELECT FROM observation_{kind} o "
        "WHERE o.device_id = k.device_id AND o.observed_at = '1970-01-01Z'::timestamptz + k.at_ms * interval '1 ms' "
        "AND o.observed_at BETWEEN %(from)s AND %(to)s)".encode(),
        {
            "places": first.tolist(),
            "ids": rows.device_id[first].tolist(),
            "times": rows.observed_ms[first].tolist(),
            "from": _instant(int(rows.observed_ms.min())),
            "to": _instant(int(rows.observed_ms.max())),
        },
    ).fetchall()
    return np.array(sorted(int(row[0]) for row in found), np.int64)


def _put_newest(connection: Connection, profile: Profile, rows: Rows) -> None:
    """The newest row of each device, where it is newer than what is known."""
    order = np.lexsort((rows.observed_ms, rows.device_id))
    last = order[np.append(np.diff(rows.device_id[order]) != 0, True)]
    newest = rows.take(last)
    slots = np.zeros(len(last), np.int64)  # of memory, which has no part in this
    found = Newest(profile.kind, slots, newest.device_id, newest.observed_ms, dict(newest.columns))
    statements.newest_put(connection, profile, found)


def _block(kind: str, rows: Rows) -> Block:
    """The rows as a flush has them; nobody asks for slot or agent."""
    nowhere = np.zeros(len(rows.device_id), np.int32)
    return Block(kind, rows.device_id, nowhere, rows.observed_ms, nowhere, dict(rows.columns))


def _instant(at_ms: int) -> str:
    return str(np.datetime64(at_ms, "ms")) + "Z"


def register(connection: Connection, kind: str, wanted: Sequence[tuple[str, str]]) -> None:
    """Make the municipalities and devices that are missing, with no more than their names."""
    with connection.transaction(), connection.cursor() as cursor:
        towns = [{"code": town} for town in sorted({town for town, _ in wanted})]
        cursor.executemany(statements.text("import_municipality_add"), towns)
        cursor.executemany(
            statements.text("import_device_add"), [{"town": town, "name": name, "kind": kind} for town, name in wanted]
        )
