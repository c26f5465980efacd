"""The `dure` command: finds the part that a command names, imports it, and hands over.

Owns the list of commands and the help that shows in which order they are used. Promises to import nothing but the part
that was asked for, so that `dure edge` runs on a box that has no numpy, database driver or web framework. Everything
else, arguments included, belongs to the parts: each has a `main(argv) -> int` and its own `--help`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    module: str  # has main(argv: list[str]) -> int
    summary: str
    extra: str = "services"  # what to install for it: pip install 'dure[<extra>]'


COMMANDS = {
    "demo": Command("deploy.demo.cli", "a whole city on this machine: all of the below, started and stopped in order"),
    "check": Command("contracts.check_cli", "check configuration files and profiles; opens no socket", extra="edge"),
    "database": Command("ingest_service.database.cli", "run the embedded PostgreSQL, and restart it when it dies"),
    "migrate": Command("ingest_service.migrate_cli", "create or update the tables, generated from the profiles"),
    "register": Command("ingest_service.register_cli", "write a fleet's municipalities, agents and devices"),
    "account": Command(
        "ingest_service.account_cli", "count what is stored, doubled, quarantined; with the SQL of each"
    ),
    "retention": Command(
        "ingest_service.retention_cli", "show or set how long observations and rollups are kept; what would go"
    ),
    "detect": Command("ingest_service.replay.cli", "run detectors over stored history into a report; tune them so"),
    "broker": Command("broker.cli", "make credentials and permissions; configure and run the MQTT broker"),
    "ingest": Command("ingest_service.cli", "carry batches from the broker into the database; detect what is wrong"),
    "api": Command("platform_api.cli", "serve the HTTP API and the dashboard"),
    "edge": Command("edge.cli", "the agent: read devices, keep observations, send them until stored", extra="edge"),
    "sim": Command("firmware_sim.cli", "devices that do not exist, and recordings played again"),
    "export": Command("ingest_service.lifecycle.export_cli", "write observations of any span to a CSV or Parquet file"),
    "import": Command("ingest_service.lifecycle.import_cli", "take such a file in, exactly once"),
    "backup": Command("ingest_service.lifecycle.backup_cli", "save a whole deployment to one file, while it goes on"),
    "restore": Command(
        "ingest_service.lifecycle.restore_cli", "put a backup into an empty database; agents send what came after"
    ),
    "screenshots": Command("platform_api.screenshots_cli", "take the pictures of the dashboard in docs/images"),
    "reference": Command("deploy.reference_cli", "write the generated pages of docs/reference"),
}

HELP = """\
usage: dure <command> [arguments]
       dure <command> --help

Try it:
{try_it}
Run it on a server, in this order:
{server}
On the box on the pole:
{pole}
Devices without a street:
{street}
Look after it:
{upkeep}
Every command that serves prints one line "ready key=value ..." on stdout once it is, logs changes of state on stderr,
and stops in order on SIGTERM or Ctrl-C. A first server, by hand (the demo does the same):

  dure database --state state/database              # prints the address; or use any PostgreSQL
  export DURE_DATABASE_URL=postgresql://...
  dure migrate
  dure sim fleet --devices 200 > fleet.json         # or your own list of devices, as JSON
  dure register fleet.json
  dure broker credentials --fleet fleet.json --state state/broker
  dure broker --state state/broker --port 1883
  dure ingest ...  and  dure api ...                # their --help says what they want
"""

SECTIONS = {
    "try_it": ("demo",),
    "server": ("database", "migrate", "register", "broker", "ingest", "api"),
    "pole": ("edge",),
    "street": ("sim",),
    "upkeep": (
        "check",
        "account",
        "backup",
        "restore",
        "retention",
        "export",
        "import",
        "detect",
        "screenshots",
        "reference",
    ),
}


def help_text() -> str:
    """The page that `dure --help` shows."""
    width = max(map(len, COMMANDS)) + 2
    lines = {name: f"  {name:<{width}}{command.summary}\n" for name, command in COMMANDS.items()}
    sections = {section: "".join(lines[name] for name in names) for section, names in SECTIONS.items()}
    return HELP.format(**sections)


def version() -> str:
    """The installed version; "(checkout)" when it runs from its sources."""
    try:
        return importlib.metadata.version("dure")
    except importlib.metadata.PackageNotFoundError:
        return "(checkout)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"dure {version()}")
        return 0
    name, rest = arguments[0], arguments[1:]
    command = COMMANDS.get(name)
    if command is None:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"dure: no command {name!r}{hint} (dure --help lists them)", file=sys.stderr)
        return 2
    try:
        part = importlib.import_module(command.module)
    except ModuleNotFoundError as missing:
        print(
            f"dure {name}: cannot load {command.module}: module {missing.name!r} is missing. "
            f"In a checkout: ./run setup. Elsewhere: pip install 'dure[{command.extra}]'",
            file=sys.stderr,
        )
        return 1
    try:
        code: int = part.main(rest)
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
