"""`dure restore`: a backup into an empty database."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from contracts import config, profiles
from ingest_service.settings import Database
from ingest_service.store.connection import DatabaseError
from ingest_service.store.schema import SchemaError

EPILOG = """\
The database must be empty (no tables in the schema), or say --replace: what is there is moved aside to a schema of
another name, never deleted. The restored schema appears complete or not at all, at this program's version: an older
backup is migrated.

Agents may go on sending, and ingest may wait for the database meanwhile: it finds out that it was restored, reads its
memory anew, and tells agents how far the database is; they send what came after from their reserve. Nothing is stored
twice. What an agent no longer holds in reserve is lost, and counted as such (`dure account`).

With --files, the profiles and the broker's files of the backup are put into that folder (DIR/profiles, DIR/broker),
readable by their owner only. People sign in again.

examples:
  dure restore /srv/backups/dure-20261122T030000Z.backup.zip
  dure restore backup.zip --files state        # then: dure broker --state state/broker
The database is [database] url of --config, or DURE_DATABASE_URL.
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure restore",
        description="Put a backup into an empty database.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="what `dure backup` wrote")
    parser.add_argument("--replace", action="store_true", help="move what is in the schema aside")
    parser.add_argument(
        "--convert", action="store_true", help="make the tables as this server would: PostgreSQL's to TimescaleDB"
    )
    parser.add_argument(
        "--files", type=Path, metavar="DIR", help="also unpack profiles and the broker's files into DIR"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr unless something is wrong")
    parser.add_argument("--config", type=Path, help="TOML file with a [database] table")
    given = parser.parse_args(argv)
    from ingest_service.lifecycle import archive, backup
    from ingest_service.lifecycle.progress import Progress
    from ingest_service.lifecycle.restore import restore
    from ingest_service.store.whole_schema import RestoreRefused

    try:
        kinds = profiles.load()
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        reader = archive.Reader(given.file)
        progress = Progress("restored", quiet=given.quiet)
        notes = restore(
            database, kinds, reader, progress, replace=given.replace, convert=given.convert, now=datetime.now(UTC)
        )
        progress.end()
        unpacked = backup.unpack(reader, given.files) if given.files else []
    except (config.ConfigError, profiles.ProfileError, RestoreRefused, SchemaError, archive.BadArchive) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot restore {given.file}: {error.strerror} ({error.filename})", file=sys.stderr)
        return 2
    except DatabaseError as error:
        print(f"cannot restore {given.file}: {str(error).strip()}", file=sys.stderr)
        return 1
    for note in notes:
        print(note)
    rows, made = sum(reader.manifest.rows.values()), reader.manifest.made_at
    print(f"schema {database.schema} is restored to {made:%Y-%m-%d %H:%M:%S} UTC: {rows} rows")
    if unpacked:
        print(f"{len(unpacked)} files are in {given.files}; they hold secrets and are readable by you only")
    elif reader.manifest.files:
        print(f"{len(reader.manifest.files)} files of the backup were left in it (--files DIR unpacks them)")
    return 0
