"""Backup: a whole deployment in one file, while ingest goes on writing.

Everything in the database is of one instant: rows, cursors, alarms, detectors' state and journal agree, so that a
restored deployment goes on as if it had been stopped then. Beside it go the profiles and, when named, the broker's
identities and credentials. The file is readable by its owner only.
"""

import importlib.metadata
import os
import stat
from collections import deque
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from contracts import profiles
from ingest_service.lifecycle import archive
from ingest_service.lifecycle.output import whole
from ingest_service.lifecycle.progress import Progress
from ingest_service.settings import Database
from ingest_service.store import snapshot, whole_schema

MODE = 0o600
# Of a broker's state directory: what one broker makes anew at each start, or what names a running process.
BROKER_LEFT_OUT = {"nats", "mosquitto", "applied", "process.json", "broker.log", "registry.lock", "supervisor.lock"}


def backup(
    database: Database, output: Path, broker_state: Path | None, progress: Progress, *, now: datetime
) -> archive.Manifest:
    """Write a backup; its manifest. Raises psycopg.Error, OSError."""
    files = _files(broker_state)
    with snapshot.opened(database, None, name="backup") as found:
        described = whole_schema.describe(found)
        manifest = archive.Manifest(archive.FORMAT, now, version(), database.schema, described)
        with whole(output, MODE) as stream, archive.Writer(stream, manifest) as writer:
            for table in described.tables:
                for number, window in enumerate(whole_schema.windows(found, table)):
                    parts = found.copy(whole_schema.rows_of(table, window), whole_schema.rows_at_once(table))
                    first = next(parts)
                    if not first[0]:
                        deque(parts, 0)
                        continue
                    piece = archive.Piece(f"tables/{table.name}/{number:06}.copy.zst", table.name, 0, 0, "")
                    for rows, size in writer.add_rows(piece, chain([first], parts)):
                        progress.add(rows, size, table.name)
                    piece.begin, piece.end = whole_schema.extent(found, table, window)
            for member, content in files.items():
                writer.add_file(member, content)
    return manifest


def _files(broker_state: Path | None) -> dict[str, bytes]:
    """Files that belong to a deployment, by member: profiles in use, and the broker's state."""
    found: dict[str, bytes] = {}
    for folder in profiles.folders():
        found.update({f"profiles/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.toml"))})
    if broker_state is not None:
        for path in sorted(broker_state.rglob("*")):
            inside = path.relative_to(broker_state)
            if inside.parts[0] not in BROKER_LEFT_OUT and stat.S_ISREG(path.lstat().st_mode):
                found[f"broker/{inside.as_posix()}"] = path.read_bytes()
    return found


def version() -> str:
    try:
        return importlib.metadata.version("dure")
    except importlib.metadata.PackageNotFoundError:
        return "checkout"


def file_in(folder: Path, schema: str, now: datetime) -> Path:
    """Name of a backup in a folder: one a second, in the order of time."""
    return folder / f"{schema}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.backup.zip"


def unpack(reader: archive.Reader, folder: Path) -> list[Path]:
    """Put the files of a backup into a folder that has none of them; mode 0600. Raises OSError."""
    made = []
    for file in reader.manifest.files:
        path = folder / file.member
        if not path.resolve().is_relative_to(folder.resolve()):
            raise archive.BadArchive(f"{reader.path}: {file.member!r} leads out of the folder")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        with os.fdopen(descriptor, "wb") as target:
            target.write(reader.file(file))
        made.append(path)
    return made
