"""How much the novelty score hangs on each of its constants: every one halved and doubled, one at a time.

A score that was fitted falls when a constant moves, and when the files do. So each figure is also given as the mean
over nine versions of NAB's files: as they are, every other value (twice), means of two, without the first eighth,
without the last fifth, with noise, through asinh, and moved by six and a half hours. Beside them stands how often
healthy series of the properties that ask for novelty score NEWS; alarms have a higher threshold. `./run score nab`
tells how points are counted.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from contracts import profiles
from ingest_service.columns import Array
from ingest_service.detection.novelty import BEGINS, Constants, Novelty
from tests.benchmarks import score_synthetic as synthetic
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.benchmarks.score_nab import DATA, SCORER, left_out, normalised, scorer

Windows = list[tuple[int, int]]
Files = dict[str, tuple[Array, Array, Windows]]  # times (s), values, windows
TITLES = (
    "own threshold",
    "category left out",
    "own threshold, nine versions",
    "category left out, nine versions",
    "healthy news a device-day",
)
SERIES, DAYS, WARM_DAYS = 40, 28, 7
NEWS, CALM = 0.6, 12  # score, and values without that part one piece of news from the next


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scorer", type=Path, default=SCORER, help="nab_score.py (default: ../shared/bench)")
    parser.add_argument(
        "--data", type=Path, default=DATA, help="data/ and windows.json (default: ../shared/data/nab_dev)"
    )


def run(options: argparse.Namespace) -> list[Case]:
    for path in (options.scorer, options.data):
        if not path.exists():
            raise Wrong(f"{path} is not there; --scorer and --data say where NAB's rule and files are")
    nab = scorer(options.scorer)
    files = versions(nab.load_root(str(options.data)))
    healthy = list(_healthy())
    found: list[Case] = []
    figures: list[list[float]] = []
    for name, constants in variations():
        each = {version: points(nab, some, constants) for version, some in files.items()}
        if not figures:
            for version, (own, left) in each.items():
                found.append(case(f"files {version}: own threshold", own, "points"))
                found.append(case(f"files {version}: category left out", left, "points"))
        means = [sum(pair[at] for pair in each.values()) / len(each) for at in (0, 1)]
        figures.append([*each["as they are"], *means, news(healthy, constants)])
        progress(f"{name}: " + ", ".join(f"{title} {x:.4g}" for title, x in zip(TITLES, figures[-1], strict=True)))
        for title, value, shipped in zip(TITLES, figures[-1], figures[0], strict=True):
            found.append(case(f"{name}: {title}", value, "points", against=("as shipped", shipped)))
    for at, title in enumerate(TITLES):
        low, middle, high = np.percentile([row[at] for row in figures], (0, 50, 100)).tolist()
        words = f"median {middle:.3g}, highest {high:.3g} of {len(figures)}"
        found.append(case(f"lowest: {title}", low, "points", of=words))
    return found


def versions(files: Files) -> dict[str, Files]:
    """The files, and eight others that a detector of the same worth scores about as well."""

    def made(change: Callable[[Array, Array], tuple[Array, Array]]) -> Files:
        return {file: _moved(t, value, windows, *change(t, value)) for file, (t, value, windows) in files.items()}

    return {
        "as they are": files,
        "even": made(lambda t, x: (t[::2], x[::2])),
        "odd": made(lambda t, x: (t[1::2], x[1::2])),
        "means of two": made(lambda t, x: (t[1::2], (x[: len(x) // 2 * 2 : 2] + x[1::2]) / 2)),
        "begun later": made(lambda t, x: (t[len(t) // 8 :], x[len(t) // 8 :])),
        "ended earlier": made(lambda t, x: (t[: len(t) * 4 // 5], x[: len(t) * 4 // 5])),
        "with noise": made(lambda t, x: (t, _noisy(x))),
        "through asinh": made(lambda t, x: (t, _bent(x))),
        "moved by hours": {file: _later(*content) for file, content in files.items()},
    }


def _moved(t: Array, value: Array, windows: Windows, t_now: Array, value_now: Array) -> tuple[Array, Array, Windows]:
    """A changed file with those of its windows that are left, at times that it has."""

    def near(at: int) -> int:
        return int(t_now[min(int(np.searchsorted(t_now, at)), len(t_now) - 1)])

    left = [(near(a), near(b)) for a, b in windows if a >= t_now[0] and b <= t_now[-1]]
    return t_now, value_now, [(a, b) for a, b in left if a < b]


def _noisy(value: Array) -> Array:
    """With noise of half its usual jump."""
    jumps = np.abs(np.diff(value))
    usual = np.median(jumps[jumps > 0]) if (jumps > 0).any() else 0.0
    noise = np.random.default_rng(11).normal(0, 1, len(value))
    return np.asarray(value + 0.5 * usual * noise)


def _bent(value: Array) -> Array:
    """Through a function that pulls in what lies far out."""
    off = value - np.median(value)
    return np.asarray(np.arcsinh(off / (np.median(np.abs(off)) + 1e-9)))


def _later(t: Array, value: Array, windows: Windows) -> tuple[Array, Array, Windows]:
    return t + 23_400, value, [(a + 23_400, b + 23_400) for a, b in windows]


def variations() -> Iterator[tuple[str, Constants]]:
    """The constants as shipped, and each of them halved and doubled."""
    shipped = Constants()
    yield "as shipped", shipped
    for name, value in shipped._asdict().items():
        for factor in (0.5, 2.0):
            yield f"{name} x{factor:g}", shipped._replace(**{name: value * factor})


def points(nab: Any, files: Files, constants: Constants) -> tuple[float, float]:
    """NAB's standard profile: with one threshold for all files, and with each category's from the others."""
    scores = {}
    for file, (t, value, _) in files.items():
        scores[file] = Novelty(1, constants).update(np.zeros(len(t), np.int64), t * 1000, value)
    preps = {file: nab.Prepared(t, windows) for file, (t, _, windows) in files.items()}
    names = sorted(files)
    whole = nab.sweep(preps, scores, names)
    own = nab.normalise(nab.best_threshold(whole, "standard")[1], "standard", whole[2], whole[3])
    fitted = left_out(nab, preps, scores, "standard")
    return own, normalised(nab, preps, scores, "standard", fitted, names)


def _healthy() -> Iterator[tuple[Array, Array]]:
    """Times (ms) and values, (series, m) each, of the properties that ask for novelty."""
    shipped = profiles.load(environ={})
    for shape in synthetic.SHAPES:
        kind, _, name = shape.property.partition(".")
        if shipped[kind].properties[name].detectors.novelty is not None:
            random = np.random.default_rng(17)
            when = synthetic.moments(DAYS, shape.cadence_s)
            values = shape.make(SERIES, when, random)
            yield synthetic.times(SERIES, when, random) * 1000, values


def news(healthy: list[tuple[Array, Array]], constants: Constants) -> float:
    """Pieces of news a device-day after the warm-up."""
    pieces, days = 0, 0
    for at_ms, values in healthy:
        n, m = values.shape
        _, changes, _ = Novelty(n, constants, NEWS, CALM).examine(
            np.tile(np.arange(n), m), at_ms.T.ravel(), values.T.ravel()
        )
        late = at_ms.T.ravel() >= at_ms.min() + WARM_DAYS * 86_400_000
        pieces += int((late & (changes == BEGINS)).sum())
        days += n * (DAYS - WARM_DAYS)
    return pieces / days
