"""How detection is counted: false-alarm episodes, recall less chance, delay in observations, names.

Pure functions over arrays of alarms and labels. An alarm is (series, when it reached the operator, code); a label is a
fault of a series with its onset and end by the true clock. Nothing here knows how either was made.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from contracts.profiles import DETECTOR_CODES
from ingest_service.columns import Array

QUIET_S = 3600  # an alarm after less quiet belongs to the episode before it
GRACE_S, GRACE = (
    3600,
    3,
)  # s and observations after a fault's end, the longer of both; none for a silence: while it lasts
WARM_UP_S = 7 * 86_400
SPIKE, STUCK, DROPOUT, SHIFT, DRIFT, NOISE = "spike", "stuck", "dropout", "level shift", "drift", "noise burst"
UNIT, DUPLICATES, SKEW, INTERMITTENT = "unit error", "duplicates", "clock skew", "intermittent stuck"
OUT_OF_RANGE, UNCHANGING, DAYLIGHT, BACKWARDS = "out of range", "unchanging", "daylight", "backwards"
CODES = {
    OUT_OF_RANGE: DETECTOR_CODES["out_of_range"],
    UNCHANGING: DETECTOR_CODES["unchanging"],
    DAYLIGHT: DETECTOR_CODES["daylight"],
    BACKWARDS: DETECTOR_CODES["backwards"],
    SPIKE: DETECTOR_CODES["spike"],
    STUCK: DETECTOR_CODES["stuck"],
    DROPOUT: DETECTOR_CODES["silent"],
    SHIFT: DETECTOR_CODES["level_shift"],
    DRIFT: DETECTOR_CODES["drift"],
    NOISE: DETECTOR_CODES["noise"],
    UNIT: DETECTOR_CODES["unit_error"],
    DUPLICATES: DETECTOR_CODES["duplicates"],
    SKEW: DETECTOR_CODES["clock_skew"],
    INTERMITTENT: DETECTOR_CODES["stuck"],
}
NAMELESS = (DETECTOR_CODES["out_of_range"], DETECTOR_CODES["rate_of_change"], DETECTOR_CODES["novelty"])


class Label(NamedTuple):
    """A fault. `twin` is the series without it; `variant` how bad it is, "4 sd" or a word."""

    series: int
    twin: int
    fault: str
    variant: str
    onset_s: int
    end_s: int
    cadence_s: int

    @property
    def until_s(self) -> int:
        return self.end_s + (0 if self.fault == DROPOUT else max(GRACE_S, GRACE * self.cadence_s))


class Alarms(NamedTuple):
    """Alarms in any order."""

    series: Array  # (n,) int32
    at_s: Array  # (n,) int64, by the true clock
    code: Array  # (n,) int16


class Outcome(NamedTuple):
    """What became of a label."""

    label: Label
    delay: float  # observations from onset to the first alarm; infinite when missed
    first: int  # code of the first alarm, 0 when missed
    named: int  # code of the first alarm that names a fault, else of the first
    by_chance: bool  # the twin had an alarm in the same window


class Found(NamedTuple):
    """A cell of the table: all outcomes of one fault and variant."""

    n: int
    recall: float  # less chance
    chance: float
    delay_median: float
    delay_p90: float
    rightly_named: float  # share of those found


def sorted_alarms(alarms: Alarms) -> Alarms:
    """By series, then time."""
    order = np.lexsort((alarms.at_s, alarms.series))
    return Alarms(alarms.series[order], alarms.at_s[order], alarms.code[order])


def episodes(alarms: Alarms, from_s: Array) -> Alarms:
    """The first alarm of each episode: new after QUIET_S without one. from_s: (series,) when counting begins; what came
    before it counts neither as an episode nor as noise before one.
    """
    found = sorted_alarms(alarms)
    counted = found.at_s >= from_s[found.series]
    found = Alarms(found.series[counted], found.at_s[counted], found.code[counted])
    new = np.ones(len(found.series), bool)
    new[1:] = (found.series[1:] != found.series[:-1]) | (found.at_s[1:] - found.at_s[:-1] >= QUIET_S)
    return Alarms(found.series[new], found.at_s[new], found.code[new])


def device_days(first_s: Array, last_s: Array) -> float:
    """Days that are counted of series that were heard from first_s to last_s, (series,) each."""
    return float(np.maximum(0, last_s - first_s - WARM_UP_S).sum() / 86_400)


def outcomes(labels: Sequence[Label], alarms: Alarms) -> list[Outcome]:
    """What became of each label."""
    found = sorted_alarms(alarms)
    starts = np.searchsorted(found.series, np.arange(int(found.series.max(initial=-1)) + 2))

    def within(series: int, from_s: int, to_s: int) -> slice:
        if series + 1 >= len(starts):
            return slice(0, 0)
        low, high = int(starts[series]), int(starts[series + 1])
        times = found.at_s[low:high]
        return slice(low + int(np.searchsorted(times, from_s)), low + int(np.searchsorted(times, to_s, side="right")))

    result = []
    for label in labels:
        mine = within(label.series, label.onset_s, label.until_s)
        codes = found.code[mine]
        twin = within(label.twin, label.onset_s, label.until_s)
        by_chance = twin.stop > twin.start
        if not len(codes):
            result.append(Outcome(label, math.inf, 0, 0, by_chance))
            continue
        truth = CODES[label.fault]
        naming = codes[codes == truth] if truth in NAMELESS else codes[~np.isin(codes, NAMELESS)]
        delay = max(0.0, float(found.at_s[mine][0] - label.onset_s) / label.cadence_s)
        named = int(naming[0]) if len(naming) else int(codes[0])
        result.append(Outcome(label, delay, int(codes[0]), named, by_chance))
    return result


def cell(found: Sequence[Outcome]) -> Found:
    """Recall, delay and names of outcomes of one fault and variant; at least one."""
    n = len(found)
    hits = [item for item in found if item.first]
    chance = sum(item.by_chance for item in found) / n
    delays = np.array([item.delay for item in found])
    right = [item for item in hits if item.named == CODES[item.label.fault]]
    return Found(
        n,
        len(hits) / n - chance,
        chance,
        quantile(delays, 0.5),
        quantile(delays, 0.9),
        len(right) / len(hits) if hits else math.nan,
    )


def quantile(values: Array, share: float) -> float:
    """The smallest value that `share` of the values do not exceed; infinite values are values."""
    return float(np.sort(values)[max(0, math.ceil(share * len(values)) - 1)])


def macro_f1(found: Sequence[Outcome], strict: bool = False) -> float:
    """Mean of the F1 of each fault's name, over what was found. strict: by the very first alarm, whatever it says."""
    pairs = [(CODES[item.label.fault], item.first if strict else item.named) for item in found if item.first]
    scores = []
    for code in sorted({truth for truth, _ in pairs}):
        right = sum(truth == said == code for truth, said in pairs)
        wrong = sum((truth == code) != (said == code) for truth, said in pairs)
        scores.append(2 * right / (2 * right + wrong))
    return sum(scores) / len(scores) if scores else math.nan
