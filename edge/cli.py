"""`dure edge`: the agent on an edge box, and a look into its outbox."""

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
from pathlib import Path

from contracts import config
from contracts.config import ConfigError
from contracts.log import log
from edge import drivers, outbox_file
from edge.agent import Agent, Doorbell, SystemClock
from edge.connection import Connection
from edge.outbox import Outbox, OutboxFull
from edge.outbox_file import OutboxInUse, open_outbox
from edge.settings import Settings, read_broker
from edge.uplink import Uplink, Window


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure edge",
        description="Run the agent of an edge box: read devices, keep what they say until the platform has it.",
        epilog="Each setting of edge.toml can also be given as DURE_EDGE_<KEY>; `dure check edge.toml` only checks. "
        "`dure edge status` prints what the outbox holds, as JSON, beside a running agent.",
    )
    parser.add_argument("action", nargs="?", choices=["run", "status"], default="run", help="run (default) or status")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="edge.toml; without it, all settings come from DURE_EDGE_*"
    )
    parser.add_argument(
        "--until-drained",
        action="store_true",
        help="end, with 0, once the source ended and the platform has everything",
    )
    given = parser.parse_args(argv)
    try:
        settings = config.load(Settings, name="edge", file=given.config, environ=os.environ)
        if given.action == "status":
            return status(settings)
        read_broker(Path(settings.broker_file))
        return run(settings, until_drained=given.until_drained)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (OutboxInUse, OutboxFull, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def run(settings: Settings, *, until_drained: bool = False) -> int:
    """Run until SIGTERM or SIGINT; an outbox that turns out broken on the way is set aside and begun anew."""
    doorbell, clock = Doorbell(), SystemClock()
    stopping: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stopping.append(number)
        doorbell.ring()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sources: dict[str, int] = {}
    while True:
        outbox = _open(settings, sources)
        connection = Connection(settings, wake=doorbell.ring, random=random.random)
        driver = drivers.make(settings)
        agent = Agent(settings, driver, outbox, _uplink(settings, outbox, connection), clock, doorbell)
        connection.start()
        log(
            "started",
            agent=f"{settings.municipality}/{settings.agent}",
            backlog=outbox.backlog,
            epochs=len(outbox.epochs),
        )
        print(f"ready agent={settings.municipality}/{settings.agent} outbox={settings.outbox}", flush=True)
        try:
            agent.run(lambda: bool(stopping), until_drained=until_drained)
            log("stopped", backlog=outbox.backlog)
            return 0
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            sources = outbox.sources
            log("outbox_given_up", level="error", waiting=outbox.backlog, sources=sources)
            outbox.close()
            outbox_file.set_aside(Path(settings.outbox), error)
        finally:
            connection.close()
            driver.close()
            outbox.close()


def status(settings: Settings) -> int:
    try:
        found = outbox_file.status(Path(settings.outbox))
    except (FileNotFoundError, sqlite3.Error) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found, indent=2))
    return 0


def _open(settings: Settings, sources: dict[str, int]) -> Outbox:
    return open_outbox(
        Path(settings.outbox),
        sources=sources,
        max_bytes=settings.max_bytes,
        batch_observations=settings.batch_observations,
        seal_after_ms=settings.seal_after_ms,
    )


def _uplink(settings: Settings, outbox: Outbox, connection: Connection) -> Uplink:
    return Uplink(
        outbox,
        connection,
        random=random.random,
        window=Window(settings.window_batches, settings.window_bytes),
        heartbeat_ms=settings.heartbeat_ms,
        backlog_epoch_batches=settings.backlog_epoch_batches,
        backlog_epoch_ms=int(settings.backlog_epoch_s * 1000),
    )
