"""`dure detect`: runs detectors over stored history into a report, and leaves live alarms alone."""

import argparse
import os
import sys
from datetime import timedelta
from pathlib import Path

from contracts import config, profiles
from ingest_service.settings import Database

EPILOG = """\
What ingest would have said: the very same detectors read what is stored, in time order, on all cores. Nothing is
written to the database. Memory stays flat over any span. Ctrl-C leaves a report of what was found until then, marked as
partial.

An episode is what an operator sees as one matter: findings of one device and condition with less than an hour between
them. Silence is judged by a clock that follows the data: the newest observation of the devices of the same agent, or of
the same municipality where a device has none. What only the arrival of observations shows is not in history: a clock
that is wrong, reports that come late or out of order.

--config FILE   parameters to try, in the words of the profiles: what the file does not say stays as it is
    [waste_container.filling_level.stuck]
    repeats = 200
    [streetlight.voltage]
    spike = false                   # without this detector
    [waste_container]
    silent_after_periods = 6

examples:
  dure detect --from 2026-11-01 --to 2026-11-15
  dure detect --from 2026-11-01 --to 2026-11-15 --kind waste_container --config try.toml --compare --report try.html
  dure detect --from 2026-11-08 --to 2026-11-15 --warm-up 7 --report week.json --report week.html

Where people have closed alarms of that time as real, false or planned work, the report says what would have become of
them.
Exit code 0: complete; 130: interrupted, the report is partial. The database is [database] url of --config, or
DURE_DATABASE_URL. docs/guides/tuning-detectors.md goes through it step by step.
"""
NOW, TRIED = "profiles", "config"  # names of the sets of parameters


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure detect",
        description="Run detectors over stored history into a report, without touching live alarms.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="begin", metavar="TIME", help="begin: a date, an ISO time, ms since 1970 (UTC)")
    parser.add_argument("--to", dest="end", metavar="TIME", help="end, not included; default: all there is")
    parser.add_argument("--kind", action="append", help="only this one; may be repeated")
    parser.add_argument("--municipality", metavar="CODE", action="append", help="only this one; may be repeated")
    parser.add_argument("--config", metavar="FILE", type=Path, help="TOML file with parameters to try")
    parser.add_argument("--compare", action="store_true", help="the profiles as they are and --config, side by side")
    parser.add_argument(
        "--report", metavar="FILE", type=Path, action="append", default=[],
        help="also write a report: .json every episode with its evidence, .html with pictures; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--warm-up", metavar="DAYS", type=float, default=0.0,
        help="let detectors learn from so many days before --from; what begins in them is not reported (default 0)",
    )  # fmt: skip
    parser.add_argument("--processes", metavar="N", type=int, help="default: one for each core")
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr unless something is wrong")
    given = parser.parse_args(argv)
    from ingest_service.lifecycle import instants  # what is heavy is loaded when there is work, not for --help
    from ingest_service.lifecycle.progress import Progress
    from ingest_service.replay import crew, detect, overrides, reports
    from ingest_service.store.connection import DatabaseError
    from ingest_service.store.store import SchemaMissing

    try:
        known = profiles.load()
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        for kind in given.kind or ():
            if kind not in known:
                raise detect.Refused(f"cannot replay: no kind {kind!r}; known are {', '.join(known)}")
        if given.compare and not given.config:
            raise detect.Refused("cannot compare: --compare wants --config FILE")
        if given.warm_up < 0 or (given.processes is not None and given.processes < 1):
            raise detect.Refused("cannot replay: --warm-up must not be negative, --processes must be at least 1")
        for file in given.report:
            reports.check(file)
        kinds = {kind: known[kind] for kind in dict.fromkeys(given.kind or known)}
        sets = {NOW: kinds} if given.compare or not given.config else {}
        changed: list[tuple[str, object, object]] = []
        if given.config:
            tried = overrides.read(given.config, known)
            sets[TRIED] = {kind: tried[kind] for kind in kinds}
            changed += overrides.differences(kinds, sets[TRIED])
        begin, end = (instants.parse(text) if text else None for text in (given.begin, given.end))
        wish = detect.Wish(
            list(kinds), given.municipality, begin, end, timedelta(days=given.warm_up),
            given.processes or len(os.sched_getaffinity(0)), changed,
        )  # fmt: skip

        def progress_of(rows: int) -> Progress:
            return Progress("examined", quiet=given.quiet, expected_rows=rows, rows="observations")

        with detect.replayed(database, wish, sets, progress_of) as result:
            reports.write(result, given.report)
            return 0 if result.complete else 130
    except (config.ConfigError, profiles.ProfileError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except SchemaMissing as error:
        print(f"cannot replay: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read us has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (crew.Failed, DatabaseError, OSError) as error:
        print(f"cannot replay: {str(error).strip()}", file=sys.stderr)
        return 1
