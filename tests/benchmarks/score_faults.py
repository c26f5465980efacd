"""What the fault monitors find, when, under which name, and how often they cry wolf: with the shipped profiles.

Healthy series of every property run beside copies of them with one labelled fault each, through the objects that
ingest runs. Recall is the share of faults with an alarm between onset and an hour (or three observations) after the
end, less the share of their healthy twins with an alarm in the same window. Delay is in observations, a miss is
infinite. A false alarm is an episode on a healthy series after seven days, new after an hour without one. Sizes are in
the series' own daily residual sd. Names are those of the first alarm that names a fault: `out_of_range` names none.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from contracts.profiles import DETECTOR_CODES
from tests.benchmarks import report
from tests.benchmarks import score_recordings as recordings
from tests.benchmarks import score_simulated as simulated
from tests.benchmarks import score_synthetic as synthetic
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.benchmarks.score_counting import (
    CODES,
    DRIFT,
    DROPOUT,
    NOISE,
    SHIFT,
    SKEW,
    SPIKE,
    STUCK,
    UNIT,
    Outcome,
    cell,
    macro_f1,
)
from tests.benchmarks.score_injection import CELLS, SIZED
from tests.benchmarks.score_trial import Guess, Make, Oracle, Source, Trial, alone, attempt, faults

WORDS = {code: name for name, code in DETECTOR_CODES.items()}
DECISIVE = "4 sd"
BARS = dict.fromkeys((SPIKE, STUCK, DROPOUT, SHIFT, NOISE, UNIT, SKEW), 0.95) | {DRIFT: 0.8}  # recall
NAMES_BAR, FALSE_BAR = 0.9, 0.01  # macro-F1; episodes a device-day
SIMULATED_DAYS = 12
LEAST_FAULTS = 400  # of a source, however few its series
PARTS = ("synthetic", "simulator", "recordings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default=",".join(PARTS), help="parts, of: %(default)s")
    parser.add_argument("--city", type=Path, default=recordings.CITY, help="recordings (default: ../shared/data/city)")
    parser.add_argument("--property", default="", metavar="WORD", help="only properties with this in their name")
    parser.add_argument("--series", type=int, default=120, help="healthy series a property (default: 120)")
    parser.add_argument("--replicas", type=int, default=4, help="copies of each with a fault (default: 4)")
    parser.add_argument("--cadence", type=int, metavar="S", help="of the synthetic series (default: 300 or 600)")
    parser.add_argument("--days", type=int, default=21, help="of each series (default: 21)")
    parser.add_argument("--devices", type=int, default=150, help="of the simulated city (default: 150)")
    parser.add_argument("--seed", type=int, default=1, help="of series and faults (default: 1)")
    parser.add_argument("--no-peers", action="store_true", help="every device by itself")
    parser.add_argument("--self-test", action="store_true", help="show that these figures can be wrong")


def run(options: argparse.Namespace) -> list[Case]:
    if options.self_test:
        return self_test(options)
    make: Make = alone if options.no_peers else faults
    trials = [] if "simulator" not in options.only.split(",") else _simulated(options)
    for source in sources(options):
        replicas = max(options.replicas, LEAST_FAULTS // len(source.series))
        trials.append(_told(attempt(source, replicas, options.seed, make)))
    return cases(trials)


def _simulated(options: argparse.Namespace) -> list[Trial]:
    progress(f"simulator: {options.devices} devices, {SIMULATED_DAYS} days, with faults and without")
    return [_told(trial) for trial in simulated.trials(options.devices, SIMULATED_DAYS, options.seed)]


def cells_of(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """(fault, variant) of outcomes, in the order of the table."""
    there = {(o.label.fault, o.label.variant) for o in outcomes}
    return [one for one in CELLS if one in there] + sorted(there - set(CELLS))


def sources(options: argparse.Namespace) -> Iterator[Source]:
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        raise Wrong(f"--only names {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    if "synthetic" in parts:
        for shape in synthetic.SHAPES:
            if options.property in shape.property:
                shape = shape._replace(cadence_s=options.cadence or shape.cadence_s)
                yield synthetic_source(shape, options.series, options.days, options.seed)
    if "recordings" in parts:
        if options.city.is_dir():
            yield from (source for source in recordings.sources(options.city) if options.property in source.property)
        else:
            progress(f"left out: recordings ({options.city} is not there)")


def synthetic_source(shape: synthetic.Shape, n: int, days: int, seed: int) -> Source:
    """Healthy series of a shape, a report in two hundred missing."""
    random = np.random.default_rng([seed, [one.property for one in synthetic.SHAPES].index(shape.property)])
    when = synthetic.moments(days, shape.cadence_s)
    values, times = shape.make(n, when, random), synthetic.times(n, when, random)
    heard = random.random(values.shape) >= 0.005
    series = [(t[kept], value[kept]) for t, value, kept in zip(times, values, heard, strict=True)]
    return Source("synthetic", shape.property, series, (np.arange(n) // synthetic.NEIGHBOURS).astype(np.int32))


def _told(trial: Trial) -> Trial:
    progress(
        f"{trial.source} {trial.property}: {trial.observations:,} observations, {len(trial.outcomes)} faults, "
        f"{len(trial.episodes.series)} false alarms in {trial.days:,.0f} device-days"
    )
    return trial


def cases(trials: Sequence[Trial]) -> list[Case]:
    """Every figure of all trials."""
    found = []
    for source in dict.fromkeys(trial.source for trial in trials):
        mine = [trial for trial in trials if trial.source == source]
        everything = [outcome for trial in mine for outcome in trial.outcomes]
        found += _of_faults(source, everything)
        for trial in mine:
            for fault, variant in cells_of(trial.outcomes):
                one = [o for o in trial.outcomes if (o.label.fault, o.label.variant) == (fault, variant)]
                if one:
                    name = f"{source}: {trial.property}: {fault} {variant}: recall"
                    found.append(case(name, cell(one).recall, "share", of=f"{len(one)} faults"))
        for trial in mine:
            codes = Counter(trial.episodes.code.tolist())
            for code, count in [(0, len(trial.episodes.code)), *sorted(codes.items())]:
                name = f"{source}: {trial.property}: false alarms" + (f": {WORDS[code]}" if code else "")
                bar = None if code else ("bar", FALSE_BAR)
                days = f"{trial.days:,.0f} device-days"
                found.append(
                    case(name, count / trial.days if trial.days else math.nan, "/device-day", against=bar, of=days)
                )
    return found


def decides(variant: str) -> bool:
    """Whether a size counts for the names, and is held against a bar."""
    return not variant.endswith(" sd") or variant == DECISIVE


def _of_faults(source: str, everything: Sequence[Outcome]) -> list[Case]:
    found = []
    for fault, variant in cells_of(everything):
        mine = [o for o in everything if (o.label.fault, o.label.variant) == (fault, variant)]
        if not mine:
            continue
        figures, of = cell(mine), f"{len(mine)} faults"
        name = f"{source}: {fault} {variant}"
        own_size = fault in SIZED and variant == simulated.SIMULATED
        bar = BARS.get(fault) if decides(variant) and not own_size else None
        found += [
            case(f"{name}: recall", figures.recall, "share", against=None if bar is None else ("bar", bar), of=of),
            case(f"{name}: by chance", figures.chance, "share", of=of),
            case(f"{name}: delay, median", figures.delay_median, "observations", of=of),
            case(f"{name}: delay, p90", figures.delay_p90, "observations", of=of),
            case(f"{name}: rightly named", figures.rightly_named, "share of found", of=of),
        ]
    decisive = [o for o in everything if decides(o.label.variant)]
    of = f"{sum(o.first > 0 for o in decisive)} found of sizes of {DECISIVE}"
    found += [
        case(f"{source}: macro-F1 of the name", macro_f1(decisive), "F1", against=("bar", NAMES_BAR), of=of),
        case(f"{source}: macro-F1 of the very first alarm", macro_f1(decisive, strict=True), "F1", of=of),
    ]
    for fault in dict.fromkeys(o.label.fault for o in decisive):
        said = Counter(o.named for o in decisive if o.label.fault == fault and o.first and o.named != CODES[fault])
        for code, count in said.most_common(2):
            found.append(case(f"{source}: {fault} called {WORDS[code]}", count, "faults", of=of))
    return found


def table(found: Sequence[Case]) -> str:
    """All figures on a screen: a row a fault and size, then a column a property, then false alarms."""
    if not any(item.case.endswith(": false alarms") and item.case.count(": ") == 2 for item in found):
        return report.table(found)
    value = {item.case: item.value for item in found}
    bars = {item.case: item.baseline_value for item in found if item.baseline == "bar"}
    lines = []
    for source in dict.fromkeys(name.split(": ")[0] for name in value):
        lines += ["", f"{source:<30}{'n':>6}{'recall':>9}{'chance':>9}{'median':>9}{'p90':>9}{'named':>9}"]
        for fault, variant in _cells_in(source, value):
            name = f"{source}: {fault} {variant}"
            n = next(item.input for item in found if item.case == f"{name}: recall").split()[0]
            figures = [value[f"{name}: {what}"] for what in ("recall", "by chance")]
            delays = [value[f"{name}: delay, {what}"] for what in ("median", "p90")]
            lines.append(
                f"{fault + ' ' + variant:<30}{n:>6}"
                + "".join(f"{_digits(x, 2):>9}" for x in figures)
                + "".join(f"{_digits(x, 0):>9}" for x in delays)
                + f"{_digits(value[f'{name}: rightly named'], 2):>9}"
                + _below(bars.get(f"{name}: recall"), value[f"{name}: recall"])
            )
        lines += [
            f"  {name.split(': ', 1)[1]}: {_digits(value[name], 2)}"
            for name in value
            if name.startswith(f"{source}: macro")
        ]
        called = [name for name in value if name.startswith(source) and " called " in name]
        if called:
            lines.append("  " + ", ".join(f"{name.split(': ', 1)[1]} ({value[name]:.0f})" for name in called))
        lines += _by_property(source, value)
    return "\n".join(lines[1:])


def _cells_in(source: str, value: Mapping[str, float]) -> list[tuple[str, str]]:
    """(fault, variant) of a source, from the names of its cases."""
    every = (*CELLS, *((fault, simulated.SIMULATED) for fault in CODES))
    return [(fault, variant) for fault, variant in every if f"{source}: {fault} {variant}: recall" in value]


def _by_property(source: str, value: dict[str, float]) -> list[str]:
    names = [name.split(": ")[1] for name in value if name.startswith(source) and name.endswith(": false alarms")]
    short = [name.split(".")[-1][:12] for name in names]
    head = "".join(f"{name:>13}" for name in short)
    lines = [""]
    if len(names) > 1:
        lines.append(f"{'recall by property':<30}" + head)
        for fault, variant in _cells_in(source, value):
            figures = [value.get(f"{source}: {name}: {fault} {variant}: recall", math.nan) for name in names]
            if not all(map(math.isnan, figures)):
                lines.append(f"{fault + ' ' + variant:<30}" + "".join(f"{_digits(x, 2):>13}" for x in figures))
    alarms = [value[f"{source}: {name}: false alarms"] for name in names]
    lines.append(f"{'false alarms a device-day':<30}" + "".join(f"{x:>13.4f}" for x in alarms))
    for code in WORDS.values():
        figures = [value.get(f"{source}: {name}: false alarms: {code}", 0.0) for name in names]
        if any(figures):
            lines.append(f"{'  ' + code:<30}" + "".join(f"{x:>13.4f}" if x else f"{'':>13}" for x in figures))
    return lines


def _below(bar: float | None, value: float) -> str:
    return f"  below {bar}" if bar is not None and round(value, 2) < bar else ""


def _digits(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else "inf" if math.isinf(value) else f"{value:.{digits}f}"


def self_test(options: argparse.Namespace) -> list[Case]:
    """An oracle finds all, a guess nothing beyond chance, and labels that were moved are not found."""
    shape = synthetic.SHAPES[0]
    source = synthetic_source(shape, 60, 21, options.seed)
    found = []
    for name, make, shift_s, low, high in (
        ("oracle", Oracle, 0, 0.99, 1.0),
        ("guess", Guess, 0, -0.15, 0.15),
        ("oracle, labels moved by three days", Oracle, 3 * 86_400, -0.01, 0.01),
    ):
        trial = attempt(source, 4, options.seed, make, shift_s)
        recall = cell(trial.outcomes).recall
        if not low <= recall <= high:
            raise Wrong(f"recall of {name} is {recall:.3f}, and not within {low} to {high}")
        f1 = macro_f1(trial.outcomes)
        if name == "oracle" and f1 < 0.99:
            raise Wrong(f"the oracle's names score {f1:.3f}")
        if name == "guess" and f1 > 0.5:
            raise Wrong(f"names by chance score {f1:.3f}")
        of = f"{len(trial.outcomes)} faults"
        found.append(case(f"{name}: recall", recall, "share", of=of))
        found.append(case(f"{name}: false alarms", len(trial.episodes.code) / trial.days, "/device-day", of=of))
    return found
