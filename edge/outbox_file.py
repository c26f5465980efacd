"""The outbox's file: opening it safely, setting a broken one aside, looking into one that is in use.

WAL with synchronous=FULL: a returned commit survives a power cut on a disk that keeps its word. One agent a file, held
by a lock file. A file that SQLite cannot read is renamed, not deleted, and the agent starts anew rather than never.
"""

import fcntl
import os
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.log import log
from edge.outbox import Outbox, OutboxFull

LOG_BYTES = 4 * 1024 * 1024  # the WAL file shrinks back to this after each checkpoint


class OutboxInUse(RuntimeError):
    """Another agent has this outbox open."""


def open_outbox(path: Path, *, sources: dict[str, int] | None = None, **options: Any) -> Outbox:
    """Open or make the file; one that cannot be read is set aside. Raises OutboxInUse, OutboxFull, OSError.

    sources : where sources resume, when that is known better than by the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(path)
    try:
        outbox = _open(path, sources=sources, **options)
    except sqlite3.OperationalError as error:  # the disk's fault, not the contents'
        os.close(lock)
        raise OutboxFull(f"cannot open outbox {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        outbox = _open(path, sources=set_aside(path, error), **options)
    except BaseException:
        os.close(lock)
        raise
    outbox.on_close = lambda: os.close(lock)
    return outbox


def _open(path: Path, sources: dict[str, int] | None = None, **options: Any) -> Outbox:
    database = sqlite3.connect(path, timeout=5.0)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
        database.execute("PRAGMA cache_size=-1024")
        outbox = Outbox(database, **options)
        for source, number in (sources or {}).items():
            database.execute("INSERT OR REPLACE INTO source VALUES (?, ?)", (source, number))
            outbox.sources[source] = number
        return outbox
    except BaseException:
        database.close()
        raise


def set_aside(path: Path, error: Exception) -> dict[str, int]:
    """Rename a broken outbox to .corrupt-<time>; where its sources resume, as far as it can still be read."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    sources: dict[str, int] = {}
    with suppress(sqlite3.Error), closing(sqlite3.connect(aside)) as database:
        sources = {str(source): int(number) for source, number in database.execute("SELECT source, number FROM source")}
    log("outbox_corrupt", level="error", error=error, kept_as=aside, sources=sources)
    return sources


def status(path: Path) -> dict[str, Any]:
    """What the outbox at `path` holds, read beside a running agent; raises OSError or sqlite3.Error."""
    if not path.exists():
        raise FileNotFoundError(f"cannot read outbox {path}: no such file")
    uri = f"file:{path.absolute()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as database:
        database.execute("BEGIN")  # one view of all tables
        epochs = []
        rows = database.execute(
            "SELECT ordinal, epoch, next_seq, next_number, committed FROM epoch ORDER BY ordinal"
        ).fetchall()
        for ordinal, epoch, next_seq, next_number, committed in rows:
            low, cursor = ordinal << 32, ordinal << 32 | committed
            batches, size, floor, waiting, waiting_observations = database.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0), min(place) & 0xFFFFFFFF, "
                "count(*) FILTER (WHERE place > ?), coalesce(sum(count) FILTER (WHERE place > ?), 0) "
                "FROM batch WHERE place >= ? AND place < ?",
                (cursor, cursor, low, low + (1 << 32)),
            ).fetchone()
            epochs.append(
                {
                    "epoch": epoch,
                    "floor": floor if floor is not None else next_seq,
                    "cursor": committed,
                    "next_seq": next_seq,
                    "next_number": next_number,
                    "batches": batches,
                    "batches_waiting": waiting,
                    "observations_waiting": waiting_observations,
                    "body_bytes": size,
                }
            )
        pages, free, size = (
            database.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "freelist_count", "page_size")
        )
        counters = dict(database.execute("SELECT name, value FROM counter"))
        (pending,) = database.execute("SELECT coalesce(sum(count), 0) FROM pending").fetchone()
        return {
            "outbox": str(path),
            "bytes": (pages - free) * size,
            "pending": pending,
            "waiting": pending + sum(epoch["observations_waiting"] for epoch in epochs),
            "dropped": counters.get("dropped", 0),
            "malformed": counters.get("malformed", 0),
            "sources": dict(database.execute("SELECT source, number FROM source")),
            "epochs": epochs,
        }


def _lock(path: Path) -> int:
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise OutboxInUse(f"cannot open outbox {path}: another agent has it open") from error
    return lock
