"""`dure ingest`: carries batches from the broker into the database, finds what is wrong, and tells agents what is
stored.
"""

import argparse
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

from contracts import config, profiles
from contracts.readiness import Part
from ingest_service import alarm_watch, exporter, rollups, warm_up
from ingest_service.health import Health
from ingest_service.inbox import Inbox
from ingest_service.pipeline import Pipeline
from ingest_service.settings import Database, Settings, parse_shards
from ingest_service.store.connection import DatabaseAway, check_url, reason_of
from ingest_service.store.store import SchemaMissing, ShardTaken, Store

GC_THRESHOLD = (50_000, 20, 50)  # a flush makes tens of thousands of objects, and none of them in cycles
SWITCH_S = 0.0005  # the round may wait so long for the lock after each kernel: by turns 364,000/s, at 0.005 327,000/s
PATIENCE_S = 60.0  # how long a start waits for database, broker and shards that a dying worker still holds


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure ingest",
        description=(
            "Ingest service: subscribes to the agents' batches, stores them exactly once, runs the detectors, "
            "opens and clears alarms."
        ),
        epilog="Needs a migrated database ([database] url or DURE_DATABASE_URL) and the broker's credentials for it "
        "([ingest] broker_file or DURE_INGEST_BROKER_FILE). "
        "SIGTERM stops in order: what has arrived is committed and the detectors' state "
        "is saved.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        help="TOML file with [ingest] and [database]; deploy/config/ingest.toml shows every setting",
    )
    given = parser.parse_args(argv)
    try:
        settings = config.load(Settings, name="ingest", file=given.config, environ=os.environ)
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        where = "DURE_DATABASE_URL" if "DURE_DATABASE_URL" in os.environ else f"{given.config}: [database] url"
        try:
            check_url(database.url)
        except ValueError as error:
            raise config.ConfigError(f"{where}: {error}") from error
        kinds = profiles.load()
        shards = parse_shards(settings.shards)
        health = Health()
        inbox = Inbox(
            settings.broker_file,
            shards,
            worker=settings.worker,
            qos=settings.qos,
            max_bytes=settings.inbox_bytes,
            health=health,
        )
    except (config.ConfigError, profiles.ProfileError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    store = Store(database, kinds, worker=settings.worker, shards=shards, quarantine_bytes=settings.quarantine_bytes)
    pipeline = Pipeline(settings, kinds, store, inbox, health)
    try:
        port = (
            exporter.serve(
                settings.metrics_port, lambda: pipeline.counters, lambda: inbox.shed, lambda: inbox.connected, health
            )
            if settings.metrics_port
            else 0
        )
    except OSError as error:
        print(f"cannot serve metrics on port {settings.metrics_port}: {error.strerror}", file=sys.stderr)
        return 2
    warm_up.compile_kernels(kinds)
    if not _load(pipeline, health, stopping):
        return 0 if stopping.is_set() else 1
    gc.collect()
    gc.freeze()  # the registry stays: a million names are not looked through for garbage again and again
    gc.set_threshold(*GC_THRESHOLD)
    stored = threading.Event()
    roller = threading.Thread(
        target=rollups.run,
        args=(database, kinds),
        kwargs={"grace_s": settings.rollup_grace_s, "stopping": stored, "health": health},
        daemon=True,
    )
    watch = threading.Thread(
        target=alarm_watch.run, args=(database, kinds, settings, stopping, health), daemon=True, name="watch"
    )
    sys.setswitchinterval(SWITCH_S)
    inbox.start()
    roller.start()
    watch.start()
    give_up_at = time.monotonic() + PATIENCE_S
    while not inbox.connected and time.monotonic() < give_up_at and not stopping.wait(0.02):
        pass
    if inbox.connected:
        print(f"ready worker={settings.worker} shards={settings.shards} metrics_port={port}", flush=True)
    pipeline.run(stopping)
    stored.set()
    roller.join(timeout=30)
    watch.join(timeout=10)
    store.close()
    return 0


def _load(pipeline: Pipeline, health: Health, stopping: threading.Event) -> bool:
    """Load memory from the database, waiting a while for it; whether it is loaded."""
    waited = 0.0
    while not stopping.is_set():
        try:
            pipeline.load()
            health.say(Part.DATABASE, None)
            return True
        except SchemaMissing as error:
            print(error, file=sys.stderr)
            return False
        except (DatabaseAway, ShardTaken) as error:
            health.say(Part.DATABASE, reason_of(error), error)
            if waited >= PATIENCE_S:
                print(f"cannot start: {str(error).strip()}", file=sys.stderr)
                return False
            stopping.wait(0.5)
            waited += 0.5
    return False
