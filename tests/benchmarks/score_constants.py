"""How much the novelty score hangs on each of its constants: every one halved and doubled, one at a time.

A score that was fitted falls when a constant moves. Beside NAB's figures (`./run score nab` tells how they are counted)
stands how often healthy series of the properties that ask for novelty score NEWS; alarms have a higher threshold.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from contracts import profiles
from ingest_service.columns import Array
from ingest_service.detection.novelty import BEGINS, Constants, Novelty
from tests.benchmarks import score_synthetic as synthetic
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.benchmarks.score_nab import DATA, SCORER, left_out, normalised, scorer

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
    files = nab.load_root(str(options.data))
    healthy = list(_healthy())
    found = []
    figures = []
    for name, constants in variations():
        own, left = points(nab, files, constants)
        often = news(healthy, constants)
        figures.append((own, left, often))
        progress(f"{name}: own threshold {own:.1f}, left out {left:.1f}, news {often:.4f} a device-day")
        found.append(case(f"{name}: own threshold", own, "points", against=("as shipped", figures[0][0])))
        found.append(case(f"{name}: category left out", left, "points", against=("as shipped", figures[0][1])))
        found.append(case(f"{name}: healthy news", often, "a device-day", against=("as shipped", figures[0][2])))
    low, middle, high = (np.percentile(np.array(figures), at, axis=0).tolist() for at in (0, 50, 100))
    for at, title in enumerate(("own threshold", "category left out", "healthy news")):
        words = f"median {middle[at]:.3g}, highest {high[at]:.3g}"
        found.append(case(f"lowest of all: {title}", low[at], "a device-day" if at == 2 else "points", of=words))
    return found


def variations() -> Iterator[tuple[str, Constants]]:
    """The constants as shipped, and each of them halved and doubled."""
    shipped = Constants()
    yield "as shipped", shipped
    for name, value in shipped._asdict().items():
        for factor in (0.5, 2.0):
            yield f"{name} x{factor:g}", shipped._replace(**{name: value * factor})


def points(nab: Any, files: Any, constants: Constants) -> tuple[float, float]:
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
