# ruff: noqa: E501 - the sentences of the help read better unbroken
"""Milliseconds of the API's questions over a province's month: 11,600 devices, a word each 300 s, 100 million rows.

Why it is hot: a control centre opens a map and expects the city; whoever looks at a lamp expects its month; both while
everything else goes on. Asked over HTTP of `dure api` as it is shipped, signed in, to the last byte; random devices,
municipalities, spans and places. Beside each what a project would write first: DISTINCT ON and aggregates over the raw
rows, a scan for the nearest; beside the map psycopg fetching the same rows.

The rows are made in place (`month`), kept in --place and used again; --fresh makes them anew, --rows fewer of them, --drop
takes them away afterwards. The map has 100,000 devices of its own, of which 1,667 report each second meanwhile. What an
answer says is held against numpy's own computation of the same values.
"""

import argparse
import json
import shutil
from pathlib import Path

import psycopg

from ingest_service.store.connection import connect
from ingest_service.store.migrate import migrate
from platform_api import passwords
from tests.benchmarks import month as made
from tests.benchmarks import query_map, query_parts
from tests.benchmarks.asking import PASSWORD, ROOT, Api, Asking
from tests.benchmarks.month import KINDS, SLOTS_A_DAY, Month
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import DatabaseProcess

PARTS = {
    "device": query_parts.device,
    "municipality": query_parts.municipality,
    "top": query_parts.top,
    "nearest": query_parts.nearest,
    "newest": query_parts.newest,
}
DAYS = 30
MIN_DEVICES = 400  # each kind in each municipality


def add_arguments(parser: argparse.ArgumentParser) -> None:
    everything = ",".join(("map", *PARTS))
    parser.add_argument("--rows", type=int, default=100_224_000, help="observations, about (default: %(default)s)")
    parser.add_argument("--days", type=int, default=DAYS, help="of each device (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=300, help="of each question (default: %(default)s)")
    parser.add_argument("--only", default=everything, help="parts to run (default: %(default)s)")
    parser.add_argument(
        "--place", type=Path, default=ROOT / ".dure" / "bench" / "query", help="default: .dure/bench/query"
    )
    parser.add_argument("--fresh", action="store_true", help="make the rows anew")
    parser.add_argument("--drop", action="store_true", help="remove them afterwards (about 8 GB)")
    parser.add_argument("--no-naive", action="store_true", help="leave out what takes minutes: the naive statements")


def run(options: argparse.Namespace) -> list[Case]:
    chosen = options.only.split(",")
    if unknown := set(chosen) - {"map", *PARTS}:
        raise SystemExit(
            f"--only {options.only}: no part {', '.join(sorted(unknown))}; known are map, {', '.join(PARTS)}"
        )
    month = Month(max(MIN_DEVICES, options.rows // (options.days * SLOTS_A_DAY)), options.days)
    if options.fresh:
        shutil.rmtree(options.place, ignore_errors=True)
    server = DatabaseProcess(options.place / "db")
    url = server.start()
    try:
        asking = Asking(url, prepared(url, options.place, month), month, options)
        cases = sizes(asking)
        if "map" in chosen:
            cases += query_map.kept(asking) + query_map.anew(asking)
        if set(chosen) - {"map"}:
            with Api(url, asking.schema) as api:
                for name, part in PARTS.items():
                    if name in chosen:
                        cases += part(asking, api)
    finally:
        server.stop()
        if options.drop:
            shutil.rmtree(options.place, ignore_errors=True)
    return cases


def prepared(url: str, place: Path, month: Month) -> str:
    """The schema of the month, made where it is not there yet; and beside it that of the map."""
    schema = f"month_{month.devices}" + ("" if month.days == DAYS else f"_{month.days}")
    done = place / f"{schema}.json"
    if done.exists():
        made.bring_up(url, schema)
        migrate(made.settings(url, "map"), KINDS)
        return schema
    needed = month.observations * 100
    if shutil.disk_usage(place).free < needed:
        raise SystemExit(f"./run bench query: {place} needs {needed / 1e9:.0f} GB free; see --rows and --place")
    with psycopg.connect(url, autocommit=True) as connection:
        for name in (schema, "map"):
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
    progress(f"making {month.observations:,} observations of {month.devices:,} devices")
    took_s = made.build(url, schema, month)
    migrate(made.settings(url, "map"), KINDS)
    with connect(made.settings(url, "map"), name="map") as connection:
        made.register(connection, Month(query_map.MAP_DEVICES, month.days))
    for name in (schema, "map"):
        with connect(made.settings(url, name), name="bench") as connection:
            connection.execute(
                "INSERT INTO account (name, password_hash, role) VALUES ('bench', %s, 'admin')",
                (passwords.hashed(PASSWORD),),
            )
    done.write_text(json.dumps({"devices": month.devices, "days": month.days, "seconds": round(took_s, 1)}))
    progress(f"made in {took_s:.0f} s")
    return schema


def sizes(asking: Asking) -> list[Case]:
    """How many rows there are, and what they take, so that nobody measures an empty table."""
    count = size = 0
    with asking.connect() as connection:
        for kind in KINDS:
            size += connection.execute(
                "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = to_regclass(%s)",
                (f"observation_{kind}",),
            ).fetchone()[0]
            if asking.naive:
                count += connection.execute(f"SELECT count(*) FROM observation_{kind}".encode()).fetchone()[0]
    if asking.naive and count != asking.month.observations:
        raise Wrong(f"{count:,} observations are there, not {asking.month.observations:,}")
    return [case("observations, closed and indexed", float(size) / asking.month.observations, "B/row", of=asking.of)]
