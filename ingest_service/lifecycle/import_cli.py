"""`dure import`: takes a file of observations in, exactly once."""

import argparse
import os
import sys
from pathlib import Path

from contracts import config, profiles
from ingest_service.settings import Database
from ingest_service.store.connection import DatabaseError

EPILOG = """\
Takes in what `dure export` writes, and any CSV or Parquet file with the same columns: municipality, device, observed_at
(with an offset), and properties of the kind by name. Enums are words. A column that is missing is without value.

The same file again stores nothing: it is known by its content. An import that was cut short, even by kill -9, continues
behind the last part when it is started again. Files that overlap want --skip-present: observations of a device and time
that are stored already are left out.

Rows that cannot be stored (a device that is not registered, a value that is none) are counted by reason and listed with
their numbers in FILE.refused.csv; mend that file and import it. Exit code 0: all stored; 3: some rows were refused.

Detectors do not look at imported rows. Rollups are brought up to date by `dure ingest` when it runs.

examples:
  dure import november.parquet
  dure import old-system.csv --kind streetlight --register
The database is [database] url of --config, or DURE_DATABASE_URL.
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure import",
        description="Store the observations of a CSV or Parquet file, each once.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--format", choices=("csv", "parquet"), help="default: what the file looks like")
    parser.add_argument("--kind", help="kind of the devices; files of `dure export` say it themselves")
    parser.add_argument("--register", action="store_true", help="register devices and municipalities that are missing")
    parser.add_argument("--skip-present", action="store_true", help="leave out observations that are stored already")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr unless something is wrong")
    parser.add_argument("--config", type=Path, help="TOML file with a [database] table")
    given = parser.parse_args(argv)
    from ingest_service.lifecycle import sources  # pyarrow is loaded when a file is to be read, not for --help
    from ingest_service.lifecycle.intake import take_in
    from ingest_service.lifecycle.progress import Progress

    file: Path = given.file
    refusals = file.with_name(file.name + ".refused.csv")
    try:
        kinds = profiles.load()
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        format = given.format or sources.format_of(file)
        says = sources.kind_of(file, format)
        kind = given.kind or says
        if kind is None:
            raise sources.BadFile(f"cannot import {file}: it does not say of which kind it is; name it with --kind")
        if says is not None and kind != says:
            raise sources.BadFile(f"cannot import {file} as {kind}: it says it is of kind {says}")
        if kind not in kinds:
            raise sources.BadFile(f"cannot import {file}: no kind {kind!r}; known are {', '.join(kinds)}")
        progress = Progress("imported", quiet=given.quiet)
        outcome = take_in(
            database, kinds[kind], file, format, progress,
            register=given.register, skip_present=given.skip_present, refusals=refusals,
        )  # fmt: skip
    except (config.ConfigError, profiles.ProfileError, sources.BadFile) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot import {file}: {error.strerror}", file=sys.stderr)
        return 2
    except DatabaseError as error:
        print(f"cannot import {file}: {str(error).strip()}", file=sys.stderr)
        return 1
    progress.end(str(file))
    print(
        f"stored {outcome.stored}, stored by an earlier run {outcome.before}, present {outcome.present}, "
        f"refused {outcome.refused}"
    )
    if outcome.refused:
        for reason, count in sorted(outcome.reasons.items()):
            print(f"refused {count}: {reason}", file=sys.stderr)
        print(f"refused rows are listed in {refusals}", file=sys.stderr)
    return 3 if outcome.refused else 0
