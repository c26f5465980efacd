"""The novelty score on the Numenta Anomaly Benchmark: the half of it that developers may see.

"Own threshold" is NAB's way: one threshold for all files, the best there is. "Left out" fits the threshold on the other
categories before each category is scored, and adds up what came: the figure that tells what a new kind of series would
get. Beside both, in the same run, ten lines of EWMA z-score. Scores are computed strictly online, all files interleaved
as one fleet. Wants the scorer and the files in ../shared; a published result is of all files and not comparable to the
point.
"""

import argparse
import importlib
import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ingest_service.columns import Array
from tests.benchmarks.report import Case, Wrong, case, progress

SHARED = Path(__file__).parents[2].parent / "shared"
SCORER, DATA = SHARED / "bench" / "nab_score.py", SHARED / "data" / "nab_dev"
TITLES = {"standard": "standard", "reward_low_FP": "low FP", "reward_low_FN": "low FN"}
Scores = Mapping[str, Array]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scorer", type=Path, default=SCORER, help="nab_score.py (default: ../shared/bench)")
    parser.add_argument(
        "--data", type=Path, default=DATA, help="data/ and windows.json (default: ../shared/data/nab_dev)"
    )
    parser.add_argument(
        "--detector", default="tests.benchmarks.fleet:Novelty", help="module:Factory (default: %(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="also with other batches and a cut stream: same scores?")


def run(options: argparse.Namespace) -> list[Case]:
    for path in (options.scorer, options.data):
        if not path.exists():
            raise Wrong(f"{path} is not there; --scorer and --data say where NAB's rule and files are")
    nab = scorer(options.scorer)
    files = nab.load_root(str(options.data))
    module, _, name = options.detector.partition(":")
    factory = getattr(importlib.import_module(module), name)
    rows = sum(len(t) for t, *_ in files.values())
    progress(f"{len(files)} files, {rows:,} rows")
    mine = nab.run_detector(factory, files)
    for file, scores in mine.items():
        if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
            raise Wrong(f"scores of {file} are not all within 0 to 1")
    if options.check:
        _check(nab, factory, files, mine)
    peer = nab.run_detector(Ewma, files)
    return compared(nab, files, mine, peer)


def scorer(path: Path) -> Any:
    """nab_score.py as a module."""
    spec = importlib.util.spec_from_file_location("nab_score", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check(nab: Any, factory: Callable[[int], Any], files: Mapping[str, Any], scores: Scores) -> None:
    """Raise Wrong when scores depend on how the stream is cut, or on what comes later."""
    for other in ({"batch": 64, "seed": 1}, {"batch": 1, "seed": 3, "cut": 0.05}, {"cut": 0.6, "seed": 2}):
        for file, again in nab.run_detector(factory, files, **other).items():
            heard = np.isfinite(again)
            if not np.array_equal(scores[file][heard], again[heard]):
                raise Wrong(f"scores of {file} differ with {other}")
    progress("same scores from other batches and from a stream that was cut")


def compared(nab: Any, files: Mapping[str, Any], mine: Scores, peer: Scores) -> list[Case]:
    """Every figure, each beside the peer's."""
    preps = {file: nab.Prepared(t, windows) for file, (t, _, windows) in files.items()}
    names = sorted(files)
    of = f"{len(names)} files, {sum(prep.nwin for prep in preps.values())} windows"
    found, thresholds = [], {}
    for profile, title in TITLES.items():
        own, left = [], []
        for scores in (mine, peer):
            whole = nab.sweep(preps, scores, names)
            threshold, raw = nab.best_threshold(whole, profile)
            own.append(nab.normalise(raw, profile, whole[2], whole[3]))
            fitted = left_out(nab, preps, scores, profile)
            left.append(normalised(nab, preps, scores, profile, fitted, names))
            thresholds.setdefault(profile, (threshold, fitted))
        found.append(case(f"{title}: own threshold", own[0], "points", against=("EWMA z-score", own[1]), of=of))
        found.append(case(f"{title}: category left out", left[0], "points", against=("EWMA z-score", left[1]), of=of))
    threshold, fitted = thresholds["standard"]
    for category in categories(names):
        chosen = [file for file in names if file.startswith(f"{category}/")]
        windows = sum(preps[file].nwin for file in chosen)
        for title, by in (("own threshold", dict.fromkeys(names, threshold)), ("left out", fitted)):
            alarms, hits = said(nab, preps, mine, by, chosen)
            of = f"{hits} of {windows} windows, {alarms} alarms outside, threshold {by[chosen[0]]:.4g}"
            points = normalised(nab, preps, mine, "standard", by, chosen) if windows else math.nan
            found.append(case(f"{category}: {title}", points, "points", of=of))
    return found


def categories(names: Sequence[str]) -> list[str]:
    return sorted({name.split("/")[0] for name in names})


def left_out(nab: Any, preps: Mapping[str, Any], scores: Scores, profile: str) -> dict[str, float]:
    """The threshold of each file, fitted on the files of all other categories."""
    found = {}
    for category in categories(list(preps)):
        others = [file for file in sorted(preps) if not file.startswith(f"{category}/")]
        threshold, _ = nab.best_threshold(nab.sweep(preps, scores, others), profile)
        found |= {file: threshold for file in preps if file.startswith(f"{category}/")}
    return found


def normalised(
    nab: Any,
    preps: Mapping[str, Any],
    scores: Scores,
    profile: str,
    thresholds: Mapping[str, float],
    names: Sequence[str],
) -> float:
    """Points of the named files, each by its own threshold."""
    raw = 0.0
    for file in names:
        raw += nab.at_threshold(nab.sweep(preps, scores, [file]), profile, thresholds[file])[0]
    scorable, windows = (sum(getattr(preps[file], name) for file in names) for name in ("scorable", "nwin"))
    return float(nab.normalise(raw, profile, scorable, windows))


def said(
    nab: Any, preps: Mapping[str, Any], scores: Scores, thresholds: Mapping[str, float], names: Sequence[str]
) -> tuple[int, int]:
    """Alarms outside the windows, and windows that were hit."""
    parts = [nab.at_threshold(nab.sweep(preps, scores, [file]), "standard", thresholds[file]) for file in names]
    return sum(part[2] for part in parts), sum(part[1] for part in parts)


class Ewma:
    """What a project writes first: distance from a running mean in running sd, quiet for a while after it spoke."""

    WEIGHT, QUIET = 0.01, 200

    def __init__(self, n_series: int) -> None:
        self._state = [(0, 0.0, 1e-9, 0.0) for _ in range(n_series)]  # seen, mean, variance, lately said

    def update(self, series_idx: Array, t: Array, value: Array) -> Array:
        found = np.zeros(len(value))
        for row, (series, x) in enumerate(zip(series_idx.tolist(), value.tolist(), strict=True)):
            seen, mean, variance, lately = self._state[series]
            z = abs(x - mean) / math.sqrt(variance) if seen > 50 else 0.0
            found[row] = score = max(0.0, 1 - math.exp(-z / 6) - lately)
            weight = max(self.WEIGHT, 1 / (seen + 1))
            variance = (1 - weight) * (variance + weight * (x - mean) ** 2) + 1e-12
            lately = max(lately * (1 - 1 / self.QUIET), score)
            self._state[series] = seen + 1, mean + weight * (x - mean), variance, lately
        return found
