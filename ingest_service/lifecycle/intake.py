"""Import: a file of observations into the database, each row once, however often the file is given or cut short.

The file is known by the hash of its content and taken in parts; a part and its entry in the ledger are one transaction.
Rows that cannot be stored are listed with their numbers and reasons in `<file>.refused.csv`, which can be mended and
imported itself. Detectors do not see imported rows; rollups and the newest observations follow.
"""

import csv
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from contracts.profiles import Profile
from contracts.reasons import Reason
from ingest_service.lifecycle import sources
from ingest_service.lifecycle.progress import Progress
from ingest_service.lifecycle.sources import BadFile, Part, Refusal
from ingest_service.lifecycle.table import FIXED, to_columns
from ingest_service.settings import Database
from ingest_service.store import imports
from ingest_service.store.connection import Connection, connect
from ingest_service.store.partitions import Partitions

PART_ROWS = 65_536

Places = dict[tuple[str, str], tuple[int, str]]  # (municipality, device) -> (device_id, kind)


class Outcome(msgspec.Struct):
    """What became of a file, in rows; `before` counts those that an earlier run stored."""

    stored: int = 0
    present: int = 0
    refused: int = 0
    before: int = 0
    reasons: dict[str, int] = {}


def take_in(
    database: Database,
    profile: Profile,
    path: Path,
    format: str,
    progress: Progress,
    *,
    register: bool,
    skip_present: bool,
    refusals: Path,
) -> Outcome:
    """Store what a file holds and is not stored yet; raises BadFile, psycopg.Error, OSError."""
    outcome = Outcome()
    content = _hash(path)
    with connect(database, name="import") as connection:
        began = imports.begin(connection, content, path.name, profile.kind, PART_ROWS)
        if began.kind != profile.kind:
            raise BadFile(f"cannot import {path} as {profile.kind}: it was taken in as {began.kind} before")
        done = imports.parts(connection, content)
        if [entry.part for entry in done] != list(range(len(done))):
            raise BadFile(f"cannot import {path}: the ledger holds parts {[entry.part for entry in done]}, with a gap")
        outcome.before = sum(entry.stored + entry.present for entry in done)
        if began.ended_at is not None:
            return outcome
        _cut_refusals(refusals, len(done) * began.part_rows)
        partitions = Partitions([profile.kind], database.partition_hours)
        partitions.load(connection)
        places = imports.devices(connection)
        for number, part in enumerate(sources.parts(path, format, profile, began.part_rows, len(done)), len(done)):
            if register:
                _register(connection, profile, part, places)
            rows, refused = _placed(profile, part, places)
            _list_refusals(refusals, profile, refused)
            stored = imports.store(
                connection, partitions, profile, content, number, rows,
                refused=len(refused), skip_present=skip_present, now_ms=time.time_ns() // 1_000_000,
            )  # fmt: skip
            if stored is None:
                raise BadFile(f"cannot import {path}: another import of the same file is under way")
            outcome.stored += stored.stored
            outcome.present += stored.present
            outcome.refused += stored.refused
            for item in refused:
                outcome.reasons[item.reason.value] = outcome.reasons.get(item.reason.value, 0) + 1
            progress.add(part.rows, 0, f"row {part.begin + part.rows - 1:,}")
        progress.add(0, path.stat().st_size)
        imports.end(connection, content)
    return outcome


def _hash(path: Path) -> str:
    """sha256 of the content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _placed(profile: Profile, part: Part, places: Places) -> tuple[imports.Rows, list[Refusal]]:
    """The rows of a part with their devices' numbers; those of no such device are refused too."""
    refused = list(part.refusals)
    ids = np.zeros(part.table.num_rows, np.int32)
    for (town, device), chosen in _devices_of(part):
        number, kind = places.get((town, device), (0, ""))
        if kind == profile.kind:
            ids[chosen] = number
            continue
        if number:
            reason, detail = Reason.KIND_MISMATCH, f"{device!r} in {town} is a {kind}"
        else:
            reason, detail = Reason.UNKNOWN_DEVICE, f"no device {device!r} is registered in {town}"
        numbers = part.table.column("row")
        refused += [Refusal(numbers[i].as_py(), reason, detail, _cells(part.table, i)) for i in chosen.tolist()]
    good = np.flatnonzero(ids)
    table = part.table.take(pa.array(good))
    observed_ms, columns = to_columns(profile, table)
    return imports.Rows(ids[good], observed_ms, columns), sorted(refused)


def _devices_of(part: Part) -> Iterator[tuple[tuple[str, str], Any]]:
    """((municipality, device), indices of its rows) for each device of a part."""
    towns = part.table.column("municipality").combine_chunks().dictionary_encode()
    names = part.table.column("device").combine_chunks().dictionary_encode()
    if not part.table.num_rows:
        return
    keys = towns.indices.to_numpy().astype(np.int64) * (len(names.dictionary) + 1) + names.indices.to_numpy()
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0))
    for chosen in np.split(order, starts[1:]):
        first = int(chosen[0])
        yield (towns[first].as_py(), names[first].as_py()), chosen


def _cells(table: Any, index: int) -> dict[str, str]:
    found = {name: table.column(name)[index].as_py() for name in table.column_names if name != "row"}
    at = found["observed_at"]
    found["observed_at"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        name: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in found.items()
    }


def _register(connection: Connection, profile: Profile, part: Part, places: Places) -> None:
    """Make the devices of a part that are not registered."""
    wanted = [key for key, _ in _devices_of(part) if key not in places]
    if wanted:
        imports.register(connection, profile.kind, wanted)
        places.update(imports.devices(connection))


# The list of refusals: it is written before the part is committed, and cut back to what is committed at the next start.


def _list_refusals(path: Path, profile: Profile, refusals: Sequence[Refusal]) -> None:
    if not refusals:
        return
    names = [*FIXED, *profile.properties]
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(["row", "reason", "detail", *names])
        for item in refusals:
            writer.writerow([item.row, item.reason.value, item.detail, *(item.cells.get(name, "") for name in names)])


def _cut_refusals(path: Path, rows: int) -> None:
    """Leave only refusals of the first `rows` rows; without any, no file."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    kept = [line for line in lines[1:] if line and line[0].isdigit() and int(line[0]) <= rows]
    if not kept:
        path.unlink()
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([lines[0], *kept])
