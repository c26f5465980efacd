"""`dure retention`: shows and sets how long observations and rollups are kept, and says what would go."""

import argparse
import os
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts import config, profiles
from ingest_service.settings import Database
from ingest_service.store import retention
from ingest_service.store.connection import DatabaseError, RefusedByDatabase, connect
from ingest_service.store.retention import ALL, Span

UNITS = {"d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure retention",
        description=(
            "How long observations and rollups are kept. Without arguments: what is set. Once an hour ingest takes "
            "what nobody keeps: whole partitions when no municipality keeps them, single municipalities' rows where "
            "they keep less than others. Without a setting everything is kept. Cursors and alarms are never taken."
        ),
        epilog=(
            "A span is 400d, 52w, 2y (365 days each) or forever. examples:\n"
            "  dure retention --kind streetlight --keep 400d --rollups 10y\n"
            "  dure retention --kind streetlight --municipality 41280 --keep 90d --rollups 400d\n"
            "  dure retention --dry-run\n"
            "  dure retention --kind streetlight --municipality 41280 --unset"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, help="TOML file with a [database] table")
    parser.add_argument("--kind", help="kind of device")
    parser.add_argument("--municipality", default=ALL, help="its code; without it: all that have no span of their own")
    parser.add_argument("--keep", metavar="SPAN", help="how long observations are kept")
    parser.add_argument(
        "--rollups", metavar="SPAN", help="how long rollups are kept; not shorter than --keep; forever when not given"
    )
    parser.add_argument("--unset", action="store_true", help="take the setting of --kind and --municipality away")
    parser.add_argument("--dry-run", action="store_true", help="count what would go now; change nothing")
    given = parser.parse_args(argv)
    try:
        kinds = profiles.load()
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        if (given.keep or given.rollups or given.unset) and not given.kind:
            raise ValueError("--keep, --rollups and --unset want --kind")
        if given.kind and given.kind not in kinds:
            raise ValueError(f"--kind {given.kind}: no such profile; known are {', '.join(kinds)}")
        keep, rollups = parse_span(given.keep), parse_span(given.rollups)
    except (config.ConfigError, profiles.ProfileError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with connect(database, name="retention") as connection:
            if given.municipality != ALL and not retention.knows(connection, given.municipality):
                print(f"--municipality {given.municipality}: not registered", file=sys.stderr)
                return 2
            if given.unset and not retention.forget(connection, given.kind, given.municipality):
                print("nothing was set", file=sys.stderr)
                return 1
            if given.keep or given.rollups:
                retention.put(connection, Span(given.kind, given.municipality, keep, rollups))
            for line in _shown(retention.spans(connection, given.kind)):
                print(line)
            if given.dry_run:
                now_ms = time.time_ns() // 1_000_000
                gone = [
                    item
                    for kind, profile in kinds.items()
                    if given.kind in (None, kind)
                    for item in retention.would_go(connection, profile, now_ms)
                ]
                for item in gone:
                    before = datetime.fromtimestamp(item.before_ms / 1000, UTC)
                    print(f"would go: {item.rows} rows of {item.what} before {before:%Y-%m-%d %H:%M} UTC, "
                          f"{item.municipality or 'all municipalities'}")  # fmt: skip
                print(f"would go in all: {sum(item.rows for item in gone)} rows")
    except RefusedByDatabase:
        print(f"--rollups {given.rollups}: shorter than --keep {given.keep}", file=sys.stderr)
        return 2
    except DatabaseError as error:
        print(f"cannot {'set' if given.keep else 'show'} retention: {error}", file=sys.stderr)
        return 1
    return 0


def parse_span(text: str | None) -> timedelta | None:
    """`400d`, `52w`, `2y`; None for `forever` or nothing. Raises ValueError."""
    if text is None or text == "forever":
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})([dwy])", text)
    if match is None:
        raise ValueError(f"cannot read span {text!r}: it is 400d, 52w, 2y or forever")
    return int(match[1]) * UNITS[match[2]]


def _shown(spans: list[Span]) -> list[str]:
    if not spans:
        return ["nothing is set: everything is kept"]
    lines = [f"{'kind':<24}{'municipality':<16}{'observations':<16}rollups"]
    for span in spans:
        keep, rollups = (f"{item.days}d" if item else "forever" for item in (span.keep, span.keep_rollups))
        lines.append(f"{span.kind:<24}{span.municipality or 'all':<16}{keep:<16}{rollups}")
    return lines
