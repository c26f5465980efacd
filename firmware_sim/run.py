"""A run's folder: what is being played, so that a killed simulator goes on, and the account it keeps of itself.

run.json    what is played and by which clock; written at the first start, and when the clock is frozen or goes on
fleet.json  a copy of the manifest that is played
labels.json ground truth of the faults so far and of the 24 hours at work
account.json what is numbered up to the clock and what was handed over; replaced whole, at least once a second
"""

import fcntl
import hashlib
import math
import time
from pathlib import Path
from typing import Any

import msgspec

from contracts.profiles import Profile
from firmware_sim import fleet as fleets
from firmware_sim.city import City
from firmware_sim.clock import Clock
from firmware_sim.fleet import Fleet
from firmware_sim.labels import Fault
from firmware_sim.recordings.recording import Recording
from firmware_sim.recordings.stream import RecordedBlocks, read_recording
from firmware_sim.stream import Stream


class RunError(ValueError):
    """A run that cannot be begun, continued or read; the message says which file and why."""


class Run(msgspec.Struct):
    """What a folder plays."""

    seed: int
    start_ms: int
    speed: float | None  # None: max
    then_realtime: bool
    limit_ms: int | None
    first_wall_ms: int
    group_ms: int
    fleet_sha256: str
    frozen_at_ms: int | None = None
    recording: str | None = None
    map: str | None = None
    shift_ms: int = 0

    def clock(self) -> Clock:
        return Clock(
            self.start_ms,
            math.inf if self.speed is None else self.speed,
            self.first_wall_ms,
            self.then_realtime,
            self.limit_ms,
        )

    def now_ms(self, wall_ms: int) -> int:
        """The clock as far as groups are complete: what is due by then is numbered."""
        at = self.clock().at(wall_ms) if self.frozen_at_ms is None else self.frozen_at_ms
        return max(at // self.group_ms * self.group_ms, self.start_ms // self.group_ms * self.group_ms)


def go_on(run: Run, wall_ms: int) -> None:
    """Let a run that was stopped go on from where its clock was frozen, at its speed, as if no time had passed."""
    assert run.frozen_at_ms is not None
    if run.speed is not None:
        run.first_wall_ms = wall_ms - math.ceil((run.frozen_at_ms - run.start_ms) / run.speed)  # never back
    run.frozen_at_ms = None


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def digest_of(fleet: Fleet) -> str:
    return hashlib.sha256(fleets.text_of(fleet).encode()).hexdigest()


def read(state: Path) -> Run:
    """The run of a folder; raises RunError."""
    file = state / "run.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Run)
    except FileNotFoundError:
        raise RunError(f"{state}: nothing has been played here (no run.json)") from None
    except msgspec.DecodeError as error:
        raise RunError(f"{file}: cannot be read: {error}") from None


def begin(state: Path, wanted: Run, fleet: Fleet, given: set[str]) -> Run:
    """The folder's run: the one under way when there is one (it must agree with what is `given`), else `wanted`, now
    written.
    """
    state.mkdir(parents=True, exist_ok=True)
    if not (state / "run.json").exists():
        fleets.save(fleet, state / "fleet.json")
        save(state, wanted)
        return wanted
    run = read(state)
    for field in (
        "seed",
        "start_ms",
        "speed",
        "then_realtime",
        "limit_ms",
        "fleet_sha256",
        "recording",
        "map",
        "shift_ms",
    ):
        mine, theirs = getattr(run, field), getattr(wanted, field)
        if field in given and mine != theirs:
            raise RunError(
                f"{state / 'run.json'}: {field} = {mine!r}: this run was begun so and cannot "
                f"go on with {theirs!r}; take another --state, or delete it to begin anew"
            )
    return run


def save(state: Path, run: Run) -> None:
    replace(state / "run.json", msgspec.json.format(msgspec.json.encode(run), indent=1))


def replace(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = file.with_name(file.name + ".part")
    part.write_bytes(content + b"\n")
    part.replace(file)


class Lock:
    """Held by the one process that plays a folder; let go by the kernel when it dies."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._file = (state / "lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{state}: is being played by another process") from None


class Played:
    """The streams of a run: of a simulated city or of a recording."""

    def __init__(
        self,
        run: Run,
        state: Path,
        profiles: dict[str, Profile],
        fleet: Fleet | None = None,
        recording: Recording | None = None,
    ) -> None:
        self.run = run
        self.fleet = fleet or fleets.read(state / "fleet.json", profiles)
        self.city: City | None = None
        self.streams: dict[str, Stream] = {}
        if run.recording is None:
            self.city = City(self.fleet, profiles, run.seed, run.start_ms, run.group_ms)
            self.streams = self.city.streams
        else:
            read_in = recording or read_recording(Path(run.recording), str(run.map), profiles)
            blocks = RecordedBlocks.of(read_in, run.shift_ms, run.group_ms)
            self.streams = {agent: Stream(source) for agent, source in blocks.items()}

    def labels(self, clock_ms: int) -> list[Fault]:
        """Ground truth up to the end of the 24 hours at work."""
        return self.city.faults.until(clock_ms) if self.city else []

    def account(self, clock_ms: int, handed_over: dict[str, int], ended: bool) -> dict[str, Any]:
        """What is numbered up to the clock, by this process's own count, and what agents were given."""
        agents = {
            name: {"generated": stream.numbered(clock_ms), "handed_over": handed_over.get(name, 0)}
            for name, stream in self.streams.items()
        }
        return {
            "generated": sum(row["generated"] for row in agents.values()),
            "agents": agents,
            "clock_ms": clock_ms,
            "ended": ended,
        }
