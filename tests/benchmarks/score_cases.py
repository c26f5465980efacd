"""What is known to be wrong in recordings of real cities: is it found, and what else is said?

Each case names what a person saw in the recording and how much of it the detectors of ingest find, with the shipped
profiles. The list below is every alarm that begins in the fortnight on garages with nothing visibly wrong: all of it
false, or news. It has to fit on a screen. Wants ../shared/data/city.
"""

import argparse
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from contracts.profiles import DETECTOR_CODES
from ingest_service.columns import Array
from tests.benchmarks import fleet
from tests.benchmarks import score_recordings as recordings
from tests.benchmarks.report import Case, Wrong, case, progress
from tests.benchmarks.score_counting import Alarms, episodes
from tests.benchmarks.score_injection import healthy
from tests.benchmarks.score_recordings import FREE, Garages
from tests.benchmarks.score_trial import play

WORDS = {code: name for name, code in DETECTOR_CODES.items()}
POLL_S = 300
SCREEN = 40  # lines
TOGETHER = 3  # garages of a source that fall silent at the same poll
SOON_S = 3600
DAY_S = 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--city", type=Path, default=recordings.CITY, help="recordings (default: ../shared/data/city)")


def run(options: argparse.Namespace) -> list[Case]:
    if not options.city.is_dir():
        raise Wrong(f"{options.city} is not there; --city says where the recordings are")
    found = recordings.garages(options.city)
    progress(f"{len(found.name)} garages")
    detector = Watched(fleet.Faults(len(found.name), FREE, found.source))
    alarms = play(detector, [healthy(*one) for one in found.series], POLL_S)
    return [
        *of_garages(found, alarms, detector.held()),
        *of_bays(options.city),
        *of_lamp(options.city),
        *fortnight(found, alarms),
    ]


class Watched:
    """Detectors, and when their conditions last: an alarm that is open already is not raised again."""

    def __init__(self, detectors: fleet.Faults) -> None:
        self._detectors = detectors
        self.sweep = detectors.sweep
        self._held: list[tuple[Array, Array]] = []

    def update(self, series_idx: Array, t: Array, value: Array) -> tuple[Array, Array]:
        scores, codes = self._detectors.update(series_idx, t, value)
        lasts = scores >= 1.0
        self._held.append((series_idx[lasts], t[lasts]))
        return scores, codes

    def held(self) -> Alarms:
        """Readings at which a condition began or lasted."""
        series, at_s = (np.concatenate(column) for column in zip(*self._held, strict=True))
        return Alarms(series, at_s, np.zeros(len(series), np.int16))


def of_garages(found: Garages, alarms: Alarms, held: Alarms) -> list[Case]:
    """Düsseldorf's negative counts, Jena's zeros and silences, counters that never move."""
    below = [(n, at) for n in _of(found, "vtmanager") for at in _negatives(*found.series[n])]
    zeros = [(n, at) for n in _of(found, "mobilitaet") for at in _zeros(*found.series[n])]
    silences = [(n, begins, ends) for n in _of(found, "mobilitaet") for begins, ends in _gaps(found.series[n][0])]
    still = [
        n for n, name in enumerate(found.name) if "constant_whole_window" in {k for k, _ in found.wrong.get(name, [])}
    ]
    return [
        _case("Düsseldorf: counts that fell below zero", [_heard(held, n, at, at + SOON_S) for n, at in below]),
        _case("Düsseldorf: garages that do it", _each([n for n, _ in below], lambda n: _heard(alarms, n))),
        _case("Jena: isolated zeros", [_heard(held, n, at, at + SOON_S) for n, at in zeros]),
        _case("Jena: garages that have them", _each([n for n, _ in zeros], lambda n: _heard(alarms, n))),
        _case(
            "Jena: silences over two hours, while they last",
            [_heard(alarms, n, a, b, "silent") for n, a, b in silences],
        ),
        _case(
            "counters that did not move for a fortnight",
            [any(_heard(alarms, n, code=code) for code in ("stuck", "unchanging")) for n in still],
        ),
    ]


def of_bays(city: Path) -> list[Case]:
    """Melbourne's bays that have not changed for a month, and those that changed within a week."""
    bays, findings = recordings.played(city / recordings.BAYS, "melbourne")
    age_s = {one.name: (max(one.observations) - min(one.observations)) // 1000 for one in bays.devices}
    said = {name for name, item in findings if item.begins}
    return [
        _case(
            "Melbourne: bays unchanged for a month", [name in said for name, age in age_s.items() if age > 30 * DAY_S]
        ),
        _case(
            "Melbourne: bays changed within a week", [name in said for name, age in age_s.items() if age < 7 * DAY_S]
        ),
    ]


def of_lamp(city: Path) -> list[Case]:
    """HEED's lamp that burned until its battery disconnected: how long after sunrise it was said."""
    lamp, findings = recordings.played(city / recordings.LAMP, "heed")
    begun = [item.at_ms for _, item in findings if item.detector == "daylight" and item.begins]
    last_ms = max(lamp.devices[0].observations)
    burning = [last_ms - at for at in begun[-1:]]
    return [
        _case("HEED: the lamp that was left burning", [bool(begun)]),
        case("HEED: said before the battery was empty", burning[0] / 3_600_000 if burning else float("nan"), "h"),
    ]


def fortnight(found: Garages, alarms: Alarms) -> list[Case]:
    """Every alarm on healthy garages, an episode a line."""
    chosen = recordings.healthy_garages(found)
    begun = episodes(alarms, np.zeros(len(found.name), np.int64))
    mine = np.isin(begun.series, chosen)
    days = sum(float(found.series[n][0][-1] - found.series[n][0][0]) for n in chosen) / 86_400
    own = Alarms(begun.series[mine], begun.at_s[mine], begun.code[mine])
    lines = folded(found, begun, chosen)
    of = f"{len(chosen)} garages, {days:,.0f} device-days; a screen has {SCREEN} lines"
    cases = [
        case("fortnight without a visible fault: lines of the list", len(lines), "alarms", of=of),
        case("fortnight without a visible fault: a device-day", len(own.at_s) / days, "/device-day", of=of),
    ]
    for at, who, what, said in lines[: 2 * SCREEN]:
        when = datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M")
        cases.append(case(f"  {when} {who}: {what}", said, "free spaces"))
    return cases


def folded(found: Garages, alarms: Alarms, chosen: Sequence[int]) -> list[tuple[int, str, str, float]]:
    """(time, who, what, value) of each alarm of the chosen; garages of a source that fall silent together are one line,
    whoever they are.
    """
    mine = np.isin(alarms.series, chosen)
    silent = alarms.code == DETECTOR_CODES["silent"]
    lines = []
    for source, at in sorted(
        {(int(found.source[n]), int(at)) for n, at in zip(alarms.series[mine], alarms.at_s[mine], strict=True)}
    ):
        here = (found.source[alarms.series] == source) & (alarms.at_s == at)
        together = here & silent
        if together.sum() >= TOGETHER:
            who = found.name[int(alarms.series[together][0])].split("-")[0]
            lines.append((at, f"{who} ({together.sum()} garages)", "source silent", float("nan")))
            here &= ~silent
        here &= mine
        for n, code in zip(alarms.series[here].tolist(), alarms.code[here].tolist(), strict=True):
            t, value = found.series[n]
            said = float(value[max(0, int(np.searchsorted(t, at, side="right")) - 1)])
            lines.append((at, found.name[n], WORDS[code], said))
    return sorted(lines)


def _case(name: str, found: Sequence[bool]) -> Case:
    return case(
        name, float(np.mean(found)) if found else float("nan"), "share found", of=f"{sum(found)} of {len(found)}"
    )


def _each(numbers: Sequence[int], found: Callable[[int], bool]) -> list[bool]:
    return [found(n) for n in sorted(set(numbers))]


def _of(found: Garages, prefix: str) -> list[int]:
    return [n for n, name in enumerate(found.name) if name.startswith(prefix)]


def _heard(alarms: Alarms, n: int, from_s: int = 0, to_s: int = 1 << 40, code: str = "") -> bool:
    """Whether there was an alarm of a garage in [from_s, to_s], of a name if one is given."""
    there = (alarms.series == n) & (alarms.at_s >= from_s) & (alarms.at_s <= to_s)
    return bool((there & (alarms.code == DETECTOR_CODES[code])).any() if code else there.any())


def _negatives(t: Array, value: Array) -> list[int]:
    """When a count fell below zero."""
    below = value < 0
    began = below & ~np.concatenate([[False], below[:-1]])
    return [int(at) for at in t[began]]


def _zeros(t: Array, value: Array) -> list[int]:
    """Single zeros between counts that are alike and not near zero."""
    if len(t) < 3:
        return []
    before, here, after = value[:-2], value[1:-1], value[2:]
    alone = (here == 0) & (before >= 20) & (np.abs(after - before) <= 0.2 * before)
    return [int(at) for at in t[1:-1][alone]]


def _gaps(t: Array) -> list[tuple[int, int]]:
    """Silences of more than two hours that are not of a device which only ever reports once a day."""
    if len(t) < 1000:
        return []
    long = np.flatnonzero(np.diff(t) > 7200)
    return [(int(t[at]), int(t[at + 1])) for at in long]
