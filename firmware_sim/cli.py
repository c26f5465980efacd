"""`dure sim`: make fleets, play simulated cities and recordings to agents, and say what was generated."""

import argparse
import asyncio
import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from contracts import profiles as contract
from contracts.profiles import Profile, ProfileError
from firmware_sim import clock, fleet, listing
from firmware_sim import run as runs
from firmware_sim.fleet import FleetError
from firmware_sim.geography import TOWNS
from firmware_sim.recordings import places, recording, recording_map
from firmware_sim.recordings.recording import Recording
from firmware_sim.recordings.recording_map import MapError
from firmware_sim.recordings.stream import shift_to_now
from firmware_sim.recordings.table import TableError
from firmware_sim.run import Played, Run, RunError

REFUSALS = (FleetError, MapError, TableError, RunError, ProfileError)
RECORDING_GROUP_MS = 1_000

EXAMPLES = """
a simulated city, sixty times faster until it reaches now, then at the pace of the clock:
  dure sim fleet --devices 2000 --agents 8 --seed 1 -o fleet.json
  dure sim serve --fleet fleet.json --socket agents.sock --state sim --seed 1 --speed 60 --then-realtime
  dure sim account --state sim            what is numbered so far, by the simulator's own count
  dure sim stop --state sim               freeze the clock; it leaves when every agent has everything
  dure sim list --state sim --agent 41280/pole-01 -o generated.jsonl

a recording:
  dure sim maps
  dure sim fleet --recording spaces.csv.gz --map garages_de -o fleet.json
  dure sim serve --recording spaces.csv.gz --map garages_de --socket agents.sock --state sim --speed 3600
"""


def main(argv: list[str]) -> int:
    """Run one subcommand; 2 for what cannot be done as asked."""
    arguments = _parser().parse_args(argv)
    try:
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except REFUSALS as refused:
        print(f"dure sim: {refused}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "dure sim", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    making = commands.add_parser(
        "fleet",
        help="make the manifest of a city, or of a recording",
        description="Write a fleet manifest: municipalities, agents, devices. "
        "`dure register` and `dure broker credentials` read it too.",
    )
    making.add_argument("--devices", type=int, default=2000, help="how many devices (default 2000)")
    making.add_argument("--agents", type=int, default=8, help="how many agents they stand behind (default 8)")
    making.add_argument("--seed", type=int, default=1, help="the same seed makes the same city (default 1)")
    making.add_argument("--municipalities", help=f"codes, separated by commas (default all: {','.join(TOWNS)})")
    _recording_arguments(making)
    making.add_argument("-o", "--output", default="-", help="the manifest to write; - for stdout (default)")
    making.set_defaults(command=_fleet)

    serving = commands.add_parser(
        "serve",
        help="play a city or a recording to agents",
        description="Serve the source protocol on a unix socket. The clock goes on through restarts "
        "(--state); SIGTERM freezes it, and the process leaves when every agent has had "
        "everything; a second SIGTERM leaves at once.",
    )
    serving.add_argument("--fleet", type=Path, help="manifest of the city to play")
    _recording_arguments(serving)
    serving.add_argument("--socket", type=Path, required=True, help="where agents connect")
    serving.add_argument("--state", type=Path, required=True, help="folder of this run: clock, account, labels")
    serving.add_argument("--seed", type=int, default=1, help="of everything the devices do (default 1)")
    serving.add_argument(
        "--start",
        type=_time,
        help="virtual time to begin at, ISO or ms (default: the latest hour before sunset in Goyang "
        "at least 24 hours ago)",
    )
    serving.add_argument("--speed", type=_speed, default=60.0, help="virtual seconds a second, or max (default 60)")
    serving.add_argument(
        "--then-realtime",
        action="store_true",
        help="go on at 1x when the clock has reached now; without it the run ends there",
    )
    serving.add_argument(
        "--for-virtual", type=_span, metavar="SPAN", help="end after so much virtual time, such as 24h"
    )
    serving.add_argument(
        "--shift",
        choices=("keep", "now"),
        default="keep",
        help="recordings: keep their times, or move them by whole days so that they end now (default keep)",
    )
    serving.add_argument(
        "--finish", action="store_true", help="only hand out what was numbered before the run was stopped, then leave"
    )
    serving.set_defaults(command=_serve)

    stopping = commands.add_parser(
        "stop",
        help="freeze the clock of a running simulator",
        description="Freeze the clock: what is due by now is still handed out, then the end.",
    )
    stopping.add_argument("--state", type=Path, required=True)
    stopping.set_defaults(command=_stop)

    accounting = commands.add_parser(
        "account",
        help="what was generated, by the simulator's own count",
        description="Print the account as JSON; it is kept on disk at least once a second.",
    )
    accounting.add_argument("--state", type=Path, required=True)
    accounting.set_defaults(command=_account)

    telling = commands.add_parser(
        "list",
        help="every observation generated, to compare with the database",
        description="Generate the observations of a run again, from the seed: "
        "number, municipality, device, kind, observed_at, values.",
    )
    telling.add_argument("--state", type=Path, required=True)
    telling.add_argument("--agent", help="<municipality>/<agent> (default all, one after the other)")
    telling.add_argument("--from", dest="first", type=int, default=1, help="first number (default 1)")
    telling.add_argument(
        "--to", dest="last", type=int, help="last number (default: what the account says is generated)"
    )
    telling.add_argument(
        "-o", "--output", default="-", help="FILE.jsonl or FILE.csv, also .gz; - for JSON lines on stdout (default)"
    )
    telling.set_defaults(command=_list)

    converting = commands.add_parser(
        "convert",
        help="a recording as JSON lines for the agent's replay driver",
        description="Write the normalised recording, oldest first, and print its account.",
    )
    converting.add_argument("recording", type=Path, metavar="FILE")
    converting.add_argument("--map", required=True)
    converting.add_argument("--agent", help="only this agent's devices, <municipality>/<agent>")
    converting.add_argument(
        "-o",
        "--output",
        required=True,
        help="FILE.jsonl or FILE.jsonl.gz; with several agents a name that holds {agent}",
    )
    converting.set_defaults(command=_convert)

    listing_maps = commands.add_parser(
        "maps",
        help="the maps that are shipped",
        description="List the shipped maps; docs/guides/recordings.md says how to write one.",
    )
    listing_maps.set_defaults(command=_maps)
    return parser


def _recording_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recording",
        type=Path,
        metavar="FILE",
        help="a recording instead of a simulated city: .csv, .csv.gz or .parquet",
    )
    parser.add_argument("--map", metavar="MAP", help="name of a shipped map, or a path; goes with --recording")


def _fleet(arguments: argparse.Namespace) -> int:
    if arguments.recording:
        found, _ = _recorded(arguments, contract.load())
        made = places.fleet_of(found, arguments.recording)
    else:
        codes = arguments.municipalities.split(",") if arguments.municipalities else None
        made = fleet.make(arguments.devices, arguments.agents, arguments.seed, codes)
    if arguments.output == "-":
        sys.stdout.write(fleet.text_of(made))
        return 0
    fleet.save(made, Path(arguments.output))
    counts = [f"{len(made[name])} {name}" for name in ("devices", "agents", "municipalities")]
    print(f"{arguments.output}: {', '.join(counts)}")
    return 0


def _recorded(arguments: argparse.Namespace, profiles: dict[str, Profile]) -> tuple[Recording, str]:
    if not arguments.map:
        raise MapError("cannot read a recording without its map: give --map, see `dure sim maps`")
    file = recording_map.find(arguments.map)
    found = recording_map.read(file, profiles)
    return recording.read(arguments.recording, found, profiles[found.kind]), str(file.resolve())


def _serve(arguments: argparse.Namespace) -> int:
    profiles = contract.load()
    if bool(arguments.fleet) == bool(arguments.recording):
        raise RunError("cannot serve: give either --fleet, or --recording and --map")
    lock = runs.Lock(arguments.state)
    now_ms = runs.wall_ms()
    given = {"fleet_sha256", "seed", "speed", "recording", "map"}
    found: Recording | None = None
    if arguments.recording:
        found, map_file = _recorded(arguments, profiles)
        manifest = places.fleet_of(found, arguments.recording)
        before = (arguments.state / "run.json").exists()
        shift_ms = (
            runs.read(arguments.state).shift_ms
            if before
            else shift_to_now(found, now_ms)
            if arguments.shift == "now"
            else 0
        )
        first_ms, last_ms = (at + shift_ms for at in found.span_ms())
        wanted = Run(
            seed=0,
            start_ms=first_ms // 60_000 * 60_000,
            speed=None,
            then_realtime=True,
            limit_ms=last_ms + 2 * RECORDING_GROUP_MS,
            first_wall_ms=now_ms,
            group_ms=RECORDING_GROUP_MS,
            fleet_sha256=runs.digest_of(manifest),
            recording=str(arguments.recording.resolve()),
            map=map_file,
            shift_ms=shift_ms,
        )
        given -= {"seed"}
    else:
        manifest = fleet.read(arguments.fleet, profiles)
        start_ms = clock.default_start_ms(now_ms) if arguments.start is None else arguments.start
        wanted = Run(
            seed=arguments.seed,
            start_ms=start_ms,
            speed=None,
            then_realtime=arguments.then_realtime,
            limit_ms=None,
            first_wall_ms=now_ms,
            group_ms=clock.group_ms_for(arguments.speed),
            fleet_sha256=runs.digest_of(manifest),
        )
        given |= {"then_realtime"} | ({"start_ms"} if arguments.start is not None else set())
    wanted.speed = None if math.isinf(arguments.speed) else arguments.speed
    if arguments.for_virtual:
        wanted.limit_ms = min(wanted.start_ms + arguments.for_virtual, wanted.limit_ms or sys.maxsize)
    run = runs.begin(arguments.state, wanted, manifest, given)
    if run.frozen_at_ms is not None and not arguments.finish:
        runs.go_on(run, now_ms)
        runs.save(arguments.state, run)
    played = Played(run, arguments.state, profiles, manifest, found)
    from firmware_sim import serve

    asyncio.run(serve.serve(run, arguments.state, played, listing.handed_over(arguments.state), arguments.socket))
    del lock
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    from firmware_sim import serve

    print(json.dumps({"frozen_at_ms": serve.ask_to_stop(arguments.state)}))
    return 0


def _account(arguments: argparse.Namespace) -> int:
    print(msgspec.json.format(msgspec.json.encode(listing.account(arguments.state)), indent=1).decode())
    return 0


def _list(arguments: argparse.Namespace) -> int:
    profiles = contract.load()
    account = listing.account(arguments.state)
    played = Played(runs.read(arguments.state), arguments.state, profiles)
    agents = [arguments.agent] if arguments.agent else list(played.streams)
    unknown = [agent for agent in agents if agent not in played.streams]
    if unknown:
        raise RunError(f"cannot list agent {unknown[0]!r}: known are {', '.join(played.streams)}")
    name = arguments.output.removesuffix(".gz")
    with _output(arguments.output) as out:
        if name.endswith(".csv"):
            table = csv.writer(out)
            table.writerow(["number", "municipality", "device", "kind", "observed_at", "values"])
        for agent in agents:
            last = account["agents"][agent]["generated"] if arguments.last is None else arguments.last
            for row in listing.rows(played.streams[agent], agent.split("/")[0], arguments.first, last):
                if name.endswith(".csv"):
                    table.writerow(
                        [
                            row["number"],
                            row["municipality"],
                            row["device"],
                            row["kind"],
                            row["observed_at"],
                            json.dumps(row["values"]),
                        ]
                    )
                else:
                    out.write(msgspec.json.encode(row).decode() + "\n")
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    found, _ = _recorded(arguments, contract.load())
    of_agent = found.by_agent()
    agents = [arguments.agent] if arguments.agent else list(of_agent)
    if arguments.agent and arguments.agent not in of_agent:
        raise TableError(f"cannot convert for agent {arguments.agent!r}: the recording has {', '.join(of_agent)}")
    if len(agents) > 1 and "{agent}" not in arguments.output:
        raise TableError(
            f"cannot write {len(agents)} agents into {arguments.output!r}: give --agent, or a name that holds "
            f"{{agent}}; agents are {', '.join(agents)}"
        )
    for agent in agents:
        rows = sorted(
            (at, number, device.name, values)
            for number, device in enumerate(of_agent[agent])
            for at, values in device.observations.items()
        )
        target = arguments.output.replace("{agent}", agent.replace("/", "."))
        with _output(target) as out:
            for at, _, name, values in rows:
                out.write(
                    msgspec.json.encode({"kind": found.map.kind, "device": name, "observed_at": at} | values).decode()
                    + "\n"
                )
        print(f"{target}: {len(rows)} observations of {len(of_agent[agent])} devices", file=sys.stderr)
    print(msgspec.json.encode(found.account).decode())
    return 0


def _maps(arguments: argparse.Namespace) -> int:
    profiles = contract.load()
    for name in recording_map.shipped_names():
        found = recording_map.read(recording_map.find(name), profiles)
        print(
            f"{name}\n  {found.title}: {found.kind}, {found.layout}\n  source: {found.source}\n  "
            f"licence: {found.licence}"
        )
    return 0


@contextmanager
def _output(name: str) -> Iterator[IO[str]]:
    """A text file, gzipped when its name says so; - is stdout."""
    if name == "-":
        yield sys.stdout
    elif name.endswith(".gz"):
        with gzip.open(name, "wb") as packed, io.TextIOWrapper(packed, encoding="utf-8", newline="") as out:
            yield out
    else:
        with Path(name).open("w", encoding="utf-8", newline="") as out:
            yield out


def _checked(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def argument(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return argument


_time, _speed, _span = _checked(clock.instant), _checked(clock.speed_of), _checked(clock.span_ms)
