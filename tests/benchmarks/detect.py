"""What detection costs: values a second of one core, bytes a series, beside Python's peers; and its share of ingest.

Why it is hot: every value of every property passes every monitor before its row is committed. The monitors run as
ingest runs them, a flush of rows at a time through `detection.Fleet`; the novelty score by itself, as a property asks
for it. Values come in arrival order: a flush touches as many series as it has rows, so the state of each comes from
memory anew. river's HalfSpaceTrees and rrcf see the same values in the same run. `ingest` carries a load through the
pipeline with detection and without, and with its journal and saving and without; beside other work on the machine its
CPU says more than its rate.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import numpy as np

from contracts import profiles as kinds
from ingest_service import memory
from ingest_service.columns import DTYPES, Array, Block
from ingest_service.detection import journal
from ingest_service.detection.fleet import Fleet
from ingest_service.settings import Database
from tests.benchmarks import stack, stages
from tests.benchmarks.fleet import Novelty
from tests.benchmarks.load import Load, Plan, make
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.database_fixture import ROOT

PARTS = ("monitors", "novelty", "peers", "ingest")
KNOWN_S = 25 * 3600  # before anything is measured: on its first day a series is learnt faster, and little is judged
MOST_BEFORE = 150_000_000  # rows; what that takes is a minute
FLUSH = 50_000  # rows; what arrives in some 200 ms at a nation's rate
PROPERTY = "waste_container.filling_level"
PEERS = {"river": ("river HalfSpaceTrees", "river==0.26.1", 64), "rrcf": ("rrcf", "rrcf==0.4.4", 4)}
PEER_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default=",".join(PARTS), help="parts, of: %(default)s")
    parser.add_argument("--series", type=int, nargs="+", default=[100_000, 1_000_000], help="(default: 100000 1000000)")
    parser.add_argument("--values", type=int, default=20_000_000, help="of each measurement (default: 20000000)")
    parser.add_argument("--rounds", type=int, default=3, help="of ingest with and without (default: 3)")
    parser.add_argument("--observations", type=int, default=1_000_000, help="carried by ingest (default: 1000000)")
    parser.add_argument("--devices", type=int, default=200_000, help="of ingest's load (default: 200000)")


def run(options: argparse.Namespace) -> list[Case]:
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        raise Wrong(f"--only names {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    found: list[Case] = []
    peers = list(_peers()) if "peers" in parts else []
    for n in options.series:
        if "monitors" in parts:
            for kind in ("streetlight", PROPERTY.split(".")[0]):
                found += monitors(kind, n, options.values, peers)
        if "novelty" in parts:
            found += novelty(n, options.values // 4, peers)
    found += [item for peer in peers for item in peer.cases()]
    return found + (ingest(options) if "ingest" in parts else [])


class Peer(NamedTuple):
    name: str
    rate: float  # values/s of one core
    size: float  # bytes a series
    values: int

    def cases(self) -> list[Case]:
        of = f"{self.values:,} values, defaults, each series its own"
        return [
            case(f"{self.name}", self.rate, "values/s", of=of),
            case(f"{self.name}: state", self.size, "B/series", of=of),
        ]


def values_of(n: int, steps: int, seed: int = 1) -> Array:
    """(steps, n) bins that fill, with an echo's noise."""
    random = np.random.default_rng(seed)
    level = random.random(n) * 0.5
    rate = 0.5 / max(steps, 144) * random.random(n)
    return np.array([np.clip(level + rate * at + 0.01 * random.standard_normal(n), 0, 1) for at in range(steps)])


def flushes(n: int, period_s: int) -> Iterator[tuple[Array, int]]:
    """(series of a flush, ms of its step), without end: all series a period, in an order of its own."""
    random, at = np.random.default_rng(2), 1_772_409_600_000
    while True:
        order = random.permutation(n)
        for begins in range(0, n, FLUSH):
            yield order[begins : begins + FLUSH], at
        at += period_s * 1000


def monitors(kind: str, n: int, values: int, peers: list[Peer]) -> list[Case]:
    """Every monitor of a kind's numeric properties, as a flush of ingest runs them."""
    profile = kinds.load(environ={})[kind]
    quiet = {name: msgspec.structs.replace(item, **_without_novelty(item)) for name, item in profile.properties.items()}
    profile = msgspec.structs.replace(profile, properties=quiet)
    properties = len(profile.numeric)
    fleet = Fleet({kind: profile})
    fleet.make_room(kind, n)
    random = np.random.default_rng(3)
    pools = {item.name: _pool(item, n, random) for item in profile.properties.values()}
    state = sum(array.nbytes for array in fleet.kinds[kind].arrays().values()) / fleet.kinds[kind].size / properties

    period_s = profile.report_period_s
    steps = min(KNOWN_S // period_s, MOST_BEFORE // n)
    coming = flushes(n, period_s)

    def carry(rows: int) -> tuple[float, int]:
        took, done = 0.0, 0
        while done < rows:
            series, at = next(coming)
            columns = {name: pool[(series + at // 600_000) % len(pool)] for name, pool in pools.items()}
            agent = np.zeros(len(series), np.int32)
            block = Block(kind, series.astype(np.int32), series, np.full(len(series), at), agent, columns)
            began = time.process_time()
            fleet.examine([block], {0: at})
            fleet.keep()
            took += time.process_time() - began
            done += len(series)
        return took, done

    carry(steps * n)  # also compiles, or reads what was compiled
    took, done = carry(max(n, values // properties))
    progress(f"monitors of {kind}, {n:,} series")
    of = (
        f"{n:,} devices known for {steps * period_s / 3600:.1f} h, {properties} numeric properties, "
        f"{done * properties:,} values, {FLUSH:,} rows a flush"
    )
    rate = done * properties / took
    title = f"monitors of {kind}, {n:,} devices"
    return [
        case(title, rate, "values/s", of=of),
        *(case(title, rate, "values/s", against=(peer.name, peer.rate), of=of) for peer in peers),
        case(f"{title}: state", state, "B/series", of=of),
    ]


def _without_novelty(item: Any) -> dict[str, Any]:
    """Changes of a property so that it asks for no novelty score, which is measured by itself."""
    chosen = item.detectors
    return {"detectors": msgspec.structs.replace(chosen, novelty=None)} if getattr(chosen, "novelty", None) else {}


def _pool(item: Any, n: int, random: np.random.Generator) -> Array:
    """Healthy values of a property, more than a series, so that no two steps are alike."""
    size = n + 9973
    if not item.numeric:
        return np.zeros(size, DTYPES[item.type])
    limits = item.detectors.out_of_range
    low, high = item.plausible
    if limits is not None:
        low, high = (low if limits.low is None else limits.low), (high if limits.high is None else limits.high)
    middle, width = (low + high) / 2, (high - low) / 50
    return np.round(middle + width * random.standard_normal(size).clip(-4, 4), item.decimals).astype(DTYPES[item.type])


def novelty(n: int, values: int, peers: list[Peer]) -> list[Case]:
    """The novelty score of values in arrival order."""
    detector = Novelty(n)
    steps = max(2, -(-values // n))
    pool = values_of(n, min(steps, 24))
    took, done = 0.0, 0
    detector.update(np.arange(10, dtype=np.int32), np.zeros(10, np.int64), pool[0][:10])  # compiles
    for number, (series, at) in enumerate(flushes(n, 600)):
        if done >= max(n, values):
            break
        value = pool[number * FLUSH // n % len(pool)][series]
        index, t = series.astype(np.int32), np.full(len(series), at // 1000)
        began = time.process_time()
        detector.update(index, t, value)
        took += time.process_time() - began
        done += len(series)
    progress(f"novelty, {n:,} series")
    of = f"{n:,} series, {done:,} values, {FLUSH:,} a batch"
    title, rate, size = f"novelty, {n:,} series", done / took, detector.state_bytes
    return [
        case(title, rate, "values/s", of=of),
        *(case(title, rate, "values/s", against=(peer.name, peer.rate), of=of) for peer in peers),
        case(f"{title}: state", size, "B/series", of=of),
        *(case(f"{title}: state", size, "B/series", against=(peer.name, peer.size), of=of) for peer in peers),
    ]


def _peers() -> Iterator[Peer]:
    """Every peer that can be had here, measured."""
    place = ROOT / ".dure" / "bench" / "detect"
    place.mkdir(parents=True, exist_ok=True)
    for key, (name, package, series) in PEERS.items():
        python = _installed(place, package)
        if python is None:
            continue
        progress(f"{name}: {series} series")
        file = place / "values.npy"
        np.save(file, values_of(series, 20_000 // series + 400))
        script = ROOT / "tests" / "benchmarks" / "detect_peer.py"
        done = subprocess.run(
            [python, script, key, file, str(PEER_S)], capture_output=True, text=True, timeout=600, env=_plain()
        )
        if done.returncode:
            progress(f"left out: {name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no words'}")
            continue
        said = msgspec.json.decode(done.stdout)
        yield Peer(name, said["values"] / said["seconds"], said["bytes"], said["values"])


def _plain() -> dict[str, str]:
    """An environment in which a Python finds its own packages only."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}


def _installed(place: Path, package: str) -> Path | None:
    """Python of a virtual environment with a package at its version; None, and why on stderr, when it cannot be had."""
    home = place / package.replace("==", "-")
    python, stamp = home / "bin" / "python", home / "installed"
    if stamp.exists():
        return python
    progress(f"installing {package} below {home.relative_to(ROOT)}")
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=_plain())
        if done.returncode:
            words = (done.stderr.strip() or done.stdout.strip()).splitlines()
            progress(f"left out: {package} cannot be installed: {words[-1] if words else done.returncode}")
            return None
    stamp.touch()
    return python


# Ingest with and without.


def _all(_patches: ExitStack) -> None:
    """As it is."""


def _no_detection(patches: ExitStack) -> None:
    """Nothing is examined; what there is of state is still journalled and saved."""
    for name, result in (("examine", []), ("undo", None), ("keep", None)):
        patches.enter_context(mock.patch.object(Fleet, name, _always(result)))


def _no_memory(patches: ExitStack) -> None:
    """Everything is examined; neither journal nor state is written."""
    patches.enter_context(mock.patch.object(journal, "entries", _always({})))
    patches.enter_context(mock.patch.object(memory.Memory, "saves_due", _always({})))


def _always(result: Any) -> Callable[..., Any]:
    def answer(*_arguments: Any, **_named: Any) -> Any:
        return list(result) if isinstance(result, list) else result

    return answer


WAYS: dict[str, Callable[[ExitStack], None]] = {
    "all monitors, state saved": _all,
    "no monitors": _no_detection,
    "state not saved": _no_memory,
}


def ingest(options: argparse.Namespace) -> list[Case]:
    """Observations a second of the pipeline in this process, each way in turn, and what the difference is."""
    plan = Plan(
        outboxes=max(1, options.devices // 200),
        size=200,
        batches=max(1, options.observations // max(1, options.devices // 200) // 100),
        observations=100,
        rate=120_000,
        start_ms=int(time.time() * 1000) - 3_600_000,
    )
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    costs: dict[str, list[float]] = {way: [] for way in WAYS}
    with stack.folder() as place, stack.postgres(place) as server:
        progress(f"encoding {plan.total:,} observations")
        load = make(place / "load", plan)
        for number in range(options.rounds):
            for way, patch in WAYS.items():
                with stack.schema(server, plan.fleet) as database, ExitStack() as patches:
                    patch(patches)
                    rate, cost = _carried(load, Database(url=database.url, schema=database.schema), place)
                progress(f"ingest, round {number + 1}: {way}: {rate:,.0f} observations/s")
                rates[way].append(rate)
                costs[way].append(cost)
    of = f"{plan.fleet.devices:,} devices, {plan.total:,} observations, median of {options.rounds} rounds"
    whole, *others = WAYS
    found = [case(f"ingest: {whole}", median(rates[whole]), "observations/s", of=of)]
    for way in others:
        found += [
            case(f"ingest: {way}", median(rates[way]), "observations/s", against=(whole, median(rates[whole])), of=of),
            case(f"ingest: lost against {way}", 1 - median(rates[whole]) / median(rates[way]), "share of rate", of=of),
            case(f"ingest: CPU, {whole}", median(costs[whole]), "us/observation", against=(way, median(costs[way]))),
            case(
                f"ingest: CPU lost against {way}", 1 - median(costs[way]) / median(costs[whole]), "share of CPU", of=of
            ),
        ]
    return found


def _carried(load: Load, database: Database, place: Path) -> tuple[float, float]:
    """(observations/s, CPU us of the worker an observation)."""
    items = {item.case: item.value for item in stages.carry(load, database, place)}
    return items[stages.RATE], items[stages.WHOLE]
