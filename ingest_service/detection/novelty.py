"""Novelty: how unusual a value is for its series, from 0 to 1, strictly online, one configuration for every series.

A value is looked at in eleven ways (`step`). Each way keeps, for either side, where its outermost twentieth begins and
how far beyond that it usually goes, so that it says by itself how rarely it was that far out; the score is the sum of
what they say.
Promise: state is bounded and O(1); the score depends only on the series' own values in arrival order, however they are
cut into batches; late, repeated, missing and infinite values score 0 and leave no trace; a state that is no longer
finite starts anew and is counted. What an alarm needs is left to `fleet`.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.extending import register_jitable

from ingest_service.columns import Array

VIEWS = 11
HOURS = 24


class Constants(NamedTuple):
    """One configuration for all series; none was searched for, and halving or doubling any changes little (ADR 17)."""

    short: float = 8.0  # values; the mean that one outlier must not carry away
    middle: float = 64.0  # values; halfway, in powers of eight
    long: float = 1024.0  # values; what counts as the usual
    tail: float = 0.05  # share of values beyond the edge: SPOT takes 2 %; more is learnt sooner (Siffer et al. 2017)
    memory: float = 5000.0  # values that an edge remembers
    hour_days: float = 14.0  # days that the mean of an hour of the day remembers: two weeks
    hour_ready_ms: int = 2 * 86_400_000  # since when hours of the day say anything: each was seen twice
    quiet: float = 300.0  # values after which what was just scored has faded to a third: a day of five minutes


# State of one series. A record, so that a value touches neighbouring cache lines; see ADR 14.
STATE = np.dtype(
    [
        ("last", np.float64),
        ("last_ms", np.int64),
        ("first_ms", np.int64),
        ("short", np.float64),  # running means
        ("middle", np.float64),
        ("long", np.float64),
        ("step_short", np.float64),  # running means of the distance between neighbours
        ("step_long", np.float64),
        ("off_short", np.float64),  # running means of the distance from the hour's mean
        ("off_middle", np.float64),
        ("low", np.float64),  # range, slowly forgotten
        ("high", np.float64),
        ("recent", np.float64),  # what was lately scored, fading
        ("seen", np.int32),
        ("off_seen", np.int32),
        ("edge", np.float32, (VIEWS, 2)),  # log of the distance where a side's outermost share begins
        ("beyond", np.float32, (VIEWS, 2)),  # mean of log(distance) beyond the edge
        ("count", np.uint16, (VIEWS, 2)),  # values of a side, up to the memory
        ("above", np.float32, VIEWS),  # share of values above
        ("hour_seen", np.uint16, HOURS),
        ("hour", np.float64, HOURS),  # mean of each hour of the day, UTC
    ],
    align=True,
)
FIRST_BEYOND = 0.3  # before anything is known; of a Gaussian it is 0.16, of an exponential 0.26
LEAST_BEYOND = 0.02  # a series that repeats itself exactly would have none
ENOUGH = 2  # values of a side before it says anything
LARGEST = 1e300  # beyond it a difference of two values may be infinite: taken for missing
ANEW = -1.0  # what `step` returns of a state that it found or left unusable


def new_state(n: int) -> Array:
    """(n,) records of series never heard of."""
    state = np.zeros(n, STATE).view(np.recarray)
    state.last_ms[:] = np.iinfo(np.int64).min
    state.beyond[:] = FIRST_BEYOND
    state.above[:] = 0.5
    return state


@register_jitable  # type: ignore[untyped-decorator]
def surprise(series: Any, view: int, distance: float, c: Any) -> float:
    """Minus log of the share of values that lie as far out on this side of a view; 0 below the side's edge.

    distance : signed, in any unit: only its logarithm against the series' own past counts.
    source   : peaks over a running threshold (Siffer et al. 2017, SPOT) with an exponential tail of the logarithm,
               that is Hill's (1975) estimator of a Pareto tail; edge by Robbins and Monro (1951) with the gain
               1 / (n * density).
    """
    if distance == 0.0 or distance != distance:
        return 0.0
    side = 1 if distance > 0.0 else 0
    y = math.log(abs(distance))
    above = float(series.above[view])
    share = above if side == 1 else 1.0 - above
    n = float(series.count[view, side]) + 1.0
    total = float(series.count[view, 0]) + float(series.count[view, 1]) + 2.0
    series.above[view] = above + (side - above) / min(c.memory, total)
    edge = y if n == 1.0 else float(series.edge[view, side])
    beyond = float(series.beyond[view, side])
    gain = beyond / (c.tail * min(c.memory, n + 1.0 / c.tail))
    said = 0.0
    if y > edge:
        excess = y - edge
        if n > ENOUGH:
            said = max(0.0, excess / beyond - math.log(2.0 * c.tail * share))
        beyond += (min(excess, 5.0 * beyond) - beyond) / (c.tail * min(c.memory, n) + 4.0)
        series.beyond[view, side] = max(LEAST_BEYOND, beyond)
        edge += gain * (1.0 - c.tail)
    else:
        edge -= gain * c.tail
    series.edge[view, side] = edge
    series.count[view, side] = min(c.memory, n)
    return said


def step(series: Any, at_ms: int, value: float, c: Any) -> float:
    """Take one value of a series (a record of STATE); its score, or ANEW when the series has to be forgotten."""
    if not abs(value) < LARGEST or at_ms <= series.last_ms:
        return 0.0
    x = value
    if series.seen == 0:
        series.last = x
        series.short = x
        series.middle = x
        series.long = x
        series.low = x
        series.high = x
        series.first_ms = at_ms
        series.last_ms = at_ms
    n = series.seen + 1.0
    of_short, of_middle, of_long = 1.0 / min(c.short, n), 1.0 / min(c.middle, n), 1.0 / min(c.long, n)
    said = 0.0

    jump = x - series.last
    said += surprise(series, 0, jump, c)
    said += surprise(series, 1, x - series.short, c)
    said += surprise(series, 2, x - series.middle, c)
    said += surprise(series, 3, x - series.long, c)
    said += surprise(series, 4, max(x - series.high, 0.0) + min(x - series.low, 0.0), c)

    series.step_short += of_short * (abs(jump) - series.step_short)
    series.step_long += of_long * (abs(jump) - series.step_long)
    series.short += of_short * (x - series.short)
    series.middle += of_middle * (x - series.middle)
    series.long += of_long * (x - series.long)
    series.high = max(x, series.high - 0.1 * of_long * (series.high - series.long))
    series.low = min(x, series.low + 0.1 * of_long * (series.long - series.low))
    said += surprise(series, 5, series.short - series.long, c)
    said += surprise(series, 6, series.middle - series.long, c)
    if n > 2.0 * c.short:
        said += surprise(series, 7, series.step_short - series.step_long, c)

    hour = int(at_ms // 3_600_000 % HOURS)
    seen = float(series.hour_seen[hour])
    if at_ms - series.first_ms >= c.hour_ready_ms and seen > 0.0:
        off = x - series.hour[hour]
        series.off_seen += 1
        series.off_short += (off - series.off_short) / min(c.short, float(series.off_seen))
        series.off_middle += (off - series.off_middle) / min(c.middle, float(series.off_seen))
        said += surprise(series, 8, off, c)
        said += surprise(series, 9, series.off_short, c)
        said += surprise(series, 10, series.off_middle, c)
    of_hour = max(1.0 / (seen + 1.0), min(1.0, (at_ms - series.last_ms) / 3_600_000.0) / c.hour_days)
    series.hour[hour] += of_hour * (x - series.hour[hour])
    series.hour_seen[hour] = min(seen + 1.0, 65535.0)

    series.last = x
    series.last_ms = at_ms
    series.seen += 1
    if not math.isfinite(said + series.long + series.step_long + series.hour[hour] + series.off_middle + series.recent):
        return ANEW
    series.recent *= 1.0 - 1.0 / c.quiet
    if said <= series.recent:
        return 0.0
    series.recent = said
    score: float = said / (said + VIEWS * 3.0)
    return score


_step = numba.njit(cache=True, nogil=True)(step)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def run(state: Any, slot: Array, at_ms: Array, value: Array, c: Any, fresh: Any, score: Array) -> int:
    """Take values in arrival order; how many series had to start anew.

    state, fresh : (series,) records, and (1,) of `new_state`.
    score        : (n,) float64 gets what `step` returns; 0 where a series starts anew.
    """
    anew = 0
    for row in range(len(slot)):
        said = _step(state[slot[row]], at_ms[row], np.float64(value[row]), c)
        if said < 0.0:
            state[slot[row]] = fresh[0]
            anew += 1
            said = 0.0
        score[row] = said
    return anew


class Novelty:
    """Scores of n series. `anew` counts those that had to be forgotten because their state was no longer finite."""

    def __init__(self, n: int, constants: Constants | None = None) -> None:
        self.state = new_state(n)
        self.constants = constants or Constants()
        self.anew = 0

    def update(self, slot: Array, at_ms: Array, value: Array) -> Array:
        """Scores of values in arrival order, (n,) float64 from 0 to 1. slot, at_ms: (n,) int; value: NaN for null."""
        score = np.empty(len(slot))
        self.anew += run(self.state, slot, at_ms, value, self.constants, _FRESH, score)
        return score


_FRESH = new_state(1)
