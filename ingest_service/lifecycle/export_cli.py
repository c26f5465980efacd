"""`dure export`: observations of a kind, any span, as CSV or Parquet."""

import argparse
import os
import sys
from pathlib import Path

from contracts import config, profiles
from ingest_service.settings import Database
from ingest_service.store.connection import DatabaseError

EPILOG = """\
The file is a stream: memory stays flat, whatever the span. Rows are ordered by time, municipality and device, so the
same data gives the same file. A file appears under its name only when it is complete.

CSV      two comment lines (what it is, units), a line of names, a row a line: times ISO 8601 in UTC with milliseconds,
         enums as words, nothing where there is no value
Parquet  the same columns typed, zstd, units in the fields' metadata

examples:
  dure export --kind streetlight --from 2026-11-01 --to 2026-12-01 --format parquet --output november.parquet
  dure export --kind streetlight --municipality 41280 --device sl-7 --from 2026-11-22 --to 2026-11-23 --format csv
`dure import` takes such a file in again. The database is [database] url of --config, or DURE_DATABASE_URL.
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure export",
        description="Write the observations of a kind in a span of time to a file, as CSV or Parquet.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kind", required=True, help="kind of device, such as streetlight")
    parser.add_argument("--municipality", metavar="CODE", action="append", help="only this one; may be repeated")
    parser.add_argument("--device", metavar="NAME", action="append", help="only this one; may be repeated")
    parser.add_argument("--from", dest="begin", metavar="TIME", help="begin: a date, an ISO time, ms since 1970 (UTC)")
    parser.add_argument("--to", dest="end", metavar="TIME", help="end, not included; default: all there is")
    parser.add_argument("--format", choices=("csv", "parquet"), required=True)
    parser.add_argument("--output", metavar="FILE", default="-", help="file to write; - is stdout (default)")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr unless something is wrong")
    parser.add_argument("--config", type=Path, help="TOML file with a [database] table")
    given = parser.parse_args(argv)
    from ingest_service.lifecycle import instants  # pyarrow is loaded when something is to be written, not for --help
    from ingest_service.lifecycle.export import Refused, Wish, export
    from ingest_service.lifecycle.progress import Progress

    try:
        kinds = profiles.load()
        if given.kind not in kinds:
            raise Refused(f"cannot export: no kind {given.kind!r}; known are {', '.join(kinds)}")
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        begin, end = (instants.parse(text) if text else None for text in (given.begin, given.end))
        wish = Wish(kinds[given.kind], begin, end, given.municipality, given.device)
        progress = Progress("exported", quiet=given.quiet)
        export(database, wish, given.format, None if given.output == "-" else Path(given.output), progress)
    except (config.ConfigError, profiles.ProfileError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read us has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (DatabaseError, OSError) as error:
        print(f"cannot export: {str(error).strip()}", file=sys.stderr)
        return 1
    progress.end(given.output if given.output != "-" else "")
    return 0
