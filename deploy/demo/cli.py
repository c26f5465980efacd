"""`dure demo`: options and messages; what happens is in `city`."""

import argparse
import hashlib
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.demo.city import AtOnce, City
from deploy.demo.processes import StartError
from deploy.demo.services import Interrupted, Options, Services
from deploy.demo.state import Configuration, Folder, StateError, default_folder

DESCRIPTION = """\
A whole city on this machine: broker, database, ingest, API, and one agent process for each box on a pole, fed by a
simulator over a local socket. It plays the 24 hours that end now, 60 times faster, then goes on at the pace of the
clock. Ctrl-C stops everything in order, waits until every outbox is empty, and prints the account: what the devices
generated against what the database holds. A second Ctrl-C stops at once. Either way nothing is lost; the same command
goes on where it stopped.
"""

EXAMPLES = """\
examples:
  ./run demo                                            a city of 2,000 devices at http://127.0.0.1:8080
  ./run demo --devices 20000 --agents 40 --speed 20
  ./run demo --headless --for 60s --report report.json  a minute of it, with the account as JSON
  ./run demo --recording spaces.csv.gz --map garages_de --speed 3600     (./run dure sim maps lists the maps)

Each configuration has a folder of its own under .dure/demo, with its database, outboxes, passwords and logs. With
DURE_DATABASE_URL set, that PostgreSQL is used, in a schema of the demo's own (or DURE_DATABASE_SCHEMA).
Exit code 0: nothing lost, nothing stored twice, everything arrived. 1: not so, or something could not start. 2: wrong
options. 130: stopped at once, without an account.
"""


def main(argv: list[str]) -> int:
    given = _parser().parse_args(argv)
    try:
        configuration, url = _configuration(given, os.environ)
        if given.port and not _is_free(given.port):
            raise StateError(f"cannot serve on port {given.port}: another program does; --port {given.port + 1}, say")
        schema = os.environ.get("DURE_DATABASE_SCHEMA") if url else "dure"
        path = given.state or default_folder(configuration)
        folder = Folder(path, configuration, fresh=given.fresh, schema=schema)
    except StateError as error:
        print(f"dure demo: {error}", file=sys.stderr)
        return 2
    options = Options(
        broker=given.broker,
        port=given.port,
        headless=given.headless,
        for_s=given.for_s,
        report=given.report.absolute() if given.report else None,
        database_url=url,
    )
    signals = Signals()
    services = Services(folder, options, signals.asked)
    try:
        return City(folder, services, signals.asked).run()
    except StartError as error:
        print(f"dure demo: {error}", file=sys.stderr)
        services.stop_in_order()
        return 1
    except Interrupted:
        services.stop_in_order()
        print("stopped before the city was running; the same command goes on", flush=True)
        return 130
    except AtOnce:
        print("\nstopped at once; nothing is lost, the same command goes on", flush=True)
        return 130
    finally:
        services.kill()


class Signals:
    """The first SIGINT, SIGTERM or SIGHUP asks for an orderly stop; the next one ends the demo at once."""

    def __init__(self) -> None:
        self._count = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._heard)

    def asked(self) -> bool:
        return self._count > 0

    def _heard(self, _number: int, _frame: object) -> None:
        self._count += 1
        if self._count == 2:
            raise AtOnce


def _configuration(given: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Configuration, str | None]:
    """What makes this demo this demo, and the address of somebody's own database; StateError."""
    url = environ.get("DURE_DATABASE_URL") or None
    where = f"{url}\0{environ.get('DURE_DATABASE_SCHEMA', '')}"
    digest = hashlib.sha256(where.encode()).hexdigest()[:16] if url else None
    if given.recording is None:
        if given.map is not None:
            raise StateError("--map says how to read a recording: it goes with --recording FILE")
        devices, agents = given.devices or 2000, given.agents or min(8, given.devices or 8)
        if agents > devices:
            raise StateError(f"cannot put {devices} devices behind {agents} agents: each agent needs at least one")
        seed = 1 if given.seed is None else given.seed
        return Configuration(devices, agents, seed, given.speed, database=digest), url
    for option in ("devices", "agents", "seed"):
        if getattr(given, option) is not None:
            raise StateError(f"--{option} is of a simulated city; a recording brings its own devices and agents")
    if given.map is None:
        raise StateError(
            "cannot read a recording without its map: add --map; ./run dure sim maps lists those that are shipped"
        )
    if not given.recording.is_file():
        raise StateError(f"cannot read recording {given.recording}: no such file")
    how = str(Path(given.map).absolute()) if Path(given.map).is_file() else given.map
    return Configuration(0, 0, 0, given.speed, str(given.recording.resolve()), how, digest), url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "dure demo", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what is played")
    what.add_argument("--devices", type=_at_least_one, metavar="N", help="devices of the city (default 2000)")
    what.add_argument("--agents", type=_at_least_one, metavar="N", help="agents they stand behind (default 8)")
    what.add_argument("--speed", type=_speed, default=60.0, metavar="X", help="virtual seconds a second (default 60)")
    what.add_argument("--seed", type=int, metavar="S", help="the same seed makes the same city (default 1)")
    what.add_argument(
        "--recording", type=Path, metavar="FILE", help="play a recording instead: .csv, .csv.gz or .parquet"
    )
    what.add_argument("--map", metavar="MAP", help="how to read it: the name of a shipped map, or a path")
    how = parser.add_argument_group("how it runs")
    how.add_argument("--broker", choices=("nats", "mosquitto"), default="nats", help="default: %(default)s")
    how.add_argument("--port", type=_port, default=8080, help="of the dashboard; 0 for a free one (default 8080)")
    how.add_argument("--headless", action="store_true", help="nobody watches: say nothing of the dashboard")
    how.add_argument("--for", dest="for_s", type=_span, metavar="60s", help="stop after this long: 60s, 5m, 1h")
    how.add_argument("--report", type=Path, metavar="FILE", help="write the account as JSON")
    how.add_argument("--state", type=Path, metavar="DIR", help="folder of this demo (default: one under .dure/demo)")
    how.add_argument("--fresh", action="store_true", help="delete what this demo left, and begin anew")
    return parser


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a factor above 0")
    return speed


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no TCP port")
    return int(text)


def _span(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a span: a number and s, m or h, such as 60s or 5m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
