"""`dure backup`: a whole deployment in one file."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from contracts import config, profiles
from ingest_service.settings import Database
from ingest_service.store.connection import DatabaseError

EPILOG = """\
What is saved: everything in the database but people's sessions (registry, observations, rollups, alarms, quarantine,
cursors, detectors' state and journal, accounts), the profiles in use, and with --broker-state the broker's registry and
credentials. All of the database is of one instant, while ingest goes on writing.

THE FILE HOLDS SECRETS (credentials of agents and services, hashes of passwords): it is readable by its owner only. Keep
it so, and elsewhere than on this machine. What agents hold in their outboxes is not in it; they keep what they have
sent in reserve, and send it again when the database is restored to an earlier time.

A file appears under its name only when it is complete. It is a zip; manifest.json in it names versions, rows and
checksums. `dure backup --verify FILE` reads all of it again and compares.

examples:
  dure backup /srv/backups --broker-state state/broker
  dure backup --verify /srv/backups/dure-20261122T030000Z.backup.zip
The database is [database] url of --config, or DURE_DATABASE_URL.
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure backup",
        description="Save a whole deployment to one file, while it goes on; or verify such a file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target", type=Path, metavar="DIR_OR_FILE", help="a folder (the file is named by schema and time)"
    )
    parser.add_argument(
        "--verify", action="store_true", help="read the file and compare it with its manifest; no database"
    )
    parser.add_argument(
        "--broker-state", type=Path, metavar="DIR", help="state directory of `dure broker`, saved as well"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr unless something is wrong")
    parser.add_argument("--config", type=Path, help="TOML file with a [database] table")
    given = parser.parse_args(argv)
    from ingest_service.lifecycle import archive, backup
    from ingest_service.lifecycle.progress import Progress

    if given.verify:
        return _verify(given.target, quiet=given.quiet)
    now = datetime.now(UTC)
    try:
        profiles.load()
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        if given.broker_state is not None and not (given.broker_state / "registry.json").is_file():
            raise config.ConfigError(f"--broker-state {given.broker_state}: no registry.json there")
        path = backup.file_in(given.target, database.schema, now) if given.target.is_dir() else given.target
        if path.exists():
            raise config.ConfigError(f"cannot back up to {path}: it exists already")
        progress = Progress("saved", quiet=given.quiet)
        manifest = backup.backup(database, path, given.broker_state, progress, now=now)
    except (config.ConfigError, profiles.ProfileError) as error:
        print(error, file=sys.stderr)
        return 2
    except (DatabaseError, OSError, archive.BadArchive) as error:
        print(f"cannot back up: {str(error).strip()}", file=sys.stderr)
        return 1
    progress.end()
    print(f"{path}: {path.stat().st_size} bytes, {_summary(manifest)}; it holds secrets and is readable by you only")
    return 0


def _verify(path: Path, *, quiet: bool) -> int:
    from ingest_service.lifecycle import archive
    from ingest_service.lifecycle.progress import Progress

    progress = Progress("verified", quiet=quiet)
    try:
        reader = archive.Reader(path)
        for entry in reader.verify():
            progress.add(entry.rows if isinstance(entry, archive.Piece) else 0, entry.bytes, entry.member)
        reader.close()
    except (archive.BadArchive, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    progress.end()
    made = reader.manifest
    print(f"{path}: good; made {made.made_at:%Y-%m-%d %H:%M:%S} UTC by dure {made.dure}, {_summary(made)}")
    return 0


def _summary(manifest: object) -> str:
    from ingest_service.lifecycle.archive import Manifest

    assert isinstance(manifest, Manifest)
    rows = manifest.rows
    observations = sum(count for name, count in rows.items() if name.startswith("observation_"))
    return (
        f"{observations} observations and {sum(rows.values()) - observations} other rows in {len(rows)} tables of "
        f"schema {manifest.schema}, {len(manifest.files)} files"
    )
