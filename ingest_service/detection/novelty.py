"""Novelty: how unusual a value is for its series, from 0 to 1, strictly online, one configuration for every series.

A value is looked at in six ways, each for one thing that can be new (`step`): a jump, a record, another level,
restlessness or calm, another value or another level than this hour of the day has. Each way keeps, for either side,
where its outermost twentieth begins and how far beyond that it usually goes, and so says by itself how rarely it was
that far out. What they say is added up, and counts less while the series has lately said as much.
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

JUMP, RECORD, LEVEL, UNREST, HOUR, HOUR_LEVEL = range(6)
VIEWS = 6
HOURS = 24


class Constants(NamedTuple):
    """One configuration for all series. ADR 17 has what halving and doubling each of them does."""

    short: float = 10.0  # values of the mean that is lately; the short window of Lavin & Ahmad (2015)
    long: float = 1000.0  # values of the mean that is usual: a few days of five minutes, six weeks of hours
    range: float = 8000.0  # values in which a record fades to a third; as long as an edge remembers
    tail: float = 0.05  # share of values beyond the edge. SPOT takes 0.02; 0.05 is learnt from fewer values
    memory: float = 8000.0  # values that an edge remembers; the long window of Lavin & Ahmad (2015)
    hour_days: float = 14.0  # days that an hour of the day remembers: each weekday twice
    hour_ready_ms: float = 2 * 86_400_000.0  # since when hours of the day say anything: each was seen on two days
    quiet: float = 300.0  # values after which a score has faded to a third: a day of readings every five minutes
    trust: float = 4.0  # excesses that the first guess of their mean is worth


# State of one series. A record, so that a value touches neighbouring cache lines; see ADR 14.
STATE = np.dtype(
    [
        ("last", np.float64),
        ("last_ms", np.int64),
        ("first_ms", np.int64),
        ("short", np.float64),  # running means
        ("long", np.float64),
        ("spread", np.float64),  # running mean of the distance from the long mean
        ("step_short", np.float64),  # running means of the distance between neighbours
        ("step_long", np.float64),
        ("off_short", np.float64),  # running mean of the distance from the hour's mean
        ("low", np.float64),  # records, slowly fading
        ("high", np.float64),
        ("recent", np.float64),  # the most that was lately said, fading
        ("seen", np.int32),
        ("off_seen", np.int32),
        ("active", np.int32),  # an alarm is raised
        ("calm", np.int32),  # values since the last that would raise one
        ("edge", np.float32, (VIEWS, 2)),  # log of the distance where a side's outermost share begins
        ("beyond", np.float32, (VIEWS, 2)),  # mean of log(distance) beyond the edge
        ("count", np.uint16, (VIEWS, 2)),  # values of a side, up to the memory
        ("above", np.float32, VIEWS),  # share of values above
        ("hour_seen", np.uint16, HOURS),
        ("hour", np.float64, (HOURS, 2)),  # of each hour of the day, UTC: mean, and mean distance from it
    ],
    align=True,
)
FIRST_BEYOND = 0.3  # before anything is known; of a Gaussian it is 0.16, of an exponential 0.26
LEAST_BEYOND = 0.02  # a series that repeats itself exactly would have none
ENOUGH = 2  # values of a side before it says anything
LEAST_SHARE = 1e-3  # of what is usual for the series; a still hour or a still stretch is taken to move by that much
LARGEST = 1e300  # beyond it a difference of two values may be infinite: taken for missing
HALF = 0.5 * VIEWS * math.log(20.0)  # scores one half: every view at its outermost twentieth, and lately so before
ANEW = -1.0  # what `step` returns of a state that it found or left unusable
BEGINS, ENDS = 1, 2  # what `judge` returns
LINE_WORDS = 8  # of a cache line of 64 bytes
HOUR_WORD = (STATE.itemsize - STATE["hour"].itemsize) // 8  # where the table of hours begins: it is the last
AHEAD = 32  # rows whose state is fetched at once: 12 KB of a cache of 32


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
    n = float(series.count[view, side]) + 1.0
    total = float(series.count[view, 0]) + float(series.count[view, 1]) + 2.0
    share = max(1.0 / total, above if side == 1 else 1.0 - above)
    series.above[view] = above + (side - above) / min(c.memory, total)
    edge = y if n == 1.0 else float(series.edge[view, side])
    beyond = float(series.beyond[view, side])
    gain = beyond / (c.tail * min(c.memory, n + 1.0 / c.tail))
    said = 0.0
    if y > edge:
        excess = y - edge
        if n > ENOUGH:
            said = max(0.0, excess / beyond - math.log(2.0 * c.tail * share))
        beyond += (excess - beyond) / (c.tail * min(c.memory, n) + c.trust)
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
        series.long = x
        series.low = x
        series.high = x
        series.first_ms = at_ms
        series.last_ms = at_ms
    n = series.seen + 1.0
    of_short, of_long = 1.0 / min(c.short, n), 1.0 / min(c.long, n)
    said = 0.0

    jump = x - series.last
    said += surprise(series, JUMP, jump, c)
    said += surprise(series, RECORD, max(x - series.high, 0.0) + min(x - series.low, 0.0), c)

    series.step_short += of_short * (abs(jump) - series.step_short)
    series.step_long += of_long * (abs(jump) - series.step_long)
    series.spread += of_long * (abs(x - series.long) - series.spread)
    series.short += of_short * (x - series.short)
    series.long += of_long * (x - series.long)
    series.high = max(x, series.high - (series.high - series.long) / c.range)
    series.low = min(x, series.low + (series.long - series.low) / c.range)
    said += surprise(series, LEVEL, series.short - series.long, c)
    if n > 2.0 * c.short and series.step_long > 0.0:
        said += surprise(series, UNREST, math.log(series.step_short / series.step_long + LEAST_SHARE), c)

    hour = int(at_ms // 3_600_000 % HOURS)
    seen = float(series.hour_seen[hour])
    off = x - series.hour[hour, 0]
    width = series.hour[hour, 1] + LEAST_SHARE * series.spread
    if at_ms - series.first_ms >= c.hour_ready_ms and seen > 0.0 and width > 0.0:
        series.off_seen += 1
        series.off_short += (off - series.off_short) / min(c.short, float(series.off_seen))
        said += surprise(series, HOUR, off / width, c)
        said += surprise(series, HOUR_LEVEL, series.off_short, c)
    of_hour = max(1.0 / (seen + 1.0), min(1.0, (at_ms - series.last_ms) / 3_600_000.0) / c.hour_days)
    if seen > 0.0:
        series.hour[hour, 1] += of_hour * (abs(off) - series.hour[hour, 1])
    series.hour[hour, 0] += of_hour * off
    series.hour_seen[hour] = min(seen + 1.0, 65535.0)

    series.last = x
    series.last_ms = at_ms
    series.seen += 1
    if not math.isfinite(said + series.long + series.step_long + series.spread + series.hour[hour, 0] + series.recent):
        return ANEW
    series.recent *= 1.0 - 1.0 / c.quiet
    if said <= series.recent:
        return 0.0
    news = said * said / (said + series.recent)
    series.recent = said
    score: float = news / (news + HALF)
    return score


def judge(series: Any, score: float, threshold: float, clear_after: int) -> int:
    """Whether an alarm BEGINS or ENDS with a value that scored so: none begins before hours of the day are known, since
    all is new to a young series; it ends `clear_after` values after the last news.
    """
    if score >= threshold and series.off_seen > 0:
        series.calm = 0
        if series.active == 0:
            series.active = 1
            return BEGINS
    elif series.active == 1:
        series.calm += 1
        if series.calm >= clear_after:
            series.active = 0
            return ENDS
    return 0


_step = numba.njit(cache=True, nogil=True)(step)
_judge = numba.njit(cache=True, nogil=True)(judge)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fetch(words: Array, slot: Array, at_ms: Array, low: int, high: int) -> Any:
    """Read a word of each cache line that rows low..high need, all at once: one by one, each would be waited for."""
    said = np.uint64(0)
    for row in range(low, high):
        for word in range(0, HOUR_WORD, LINE_WORDS):
            said ^= words[slot[row], word]
        said ^= words[slot[row], HOUR_WORD + 2 * int(at_ms[row] // 3_600_000 % HOURS)]
    return said


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def run(
    state: Any,
    words: Array,
    slot: Array,
    at_ms: Array,
    value: Array,
    c: Any,
    fresh: Any,
    threshold: float,
    clear_after: int,
    score: Array,
    changes: Array,
    band: Array,
) -> tuple[int, int, Any]:
    """Take values in arrival order; how many raised or cleared an alarm, how many series had to start anew, and nothing
    of meaning (the words that were fetched, which keep the compiler from leaving the fetching out).

    state, words : (series,) records, and the same memory as (series, words) uint64.
    fresh        : (1,) of `new_state`.
    score        : (n,) float64 gets what `step` returns; 0 where a series starts anew.
    changes      : (n,) uint8 gets what `judge` returns.
    band         : (n, 3) float64 gets low, expected and high as they were before the value came, where that is not 0:
                   nine tenths of what this hour of the day brings, or all that ever came while hours are not known.
    """
    found = 0
    anew = 0
    fetched = np.uint64(0)
    for row in range(len(slot)):
        if row % AHEAD == 0:
            fetched ^= _fetch(words, slot, at_ms, row, min(len(slot), row + AHEAD))
        series = state[slot[row]]
        before_ms = series.last_ms
        low, usual, high = series.low, series.long, series.high
        hour = int(at_ms[row] // 3_600_000 % HOURS)
        known = series.off_seen > 0 and series.hour_seen[hour] > 0
        mean = series.hour[hour, 0]
        width = series.hour[hour, 1] + LEAST_SHARE * series.spread
        below, above = series.edge[HOUR, 0], series.edge[HOUR, 1]
        said = _step(series, at_ms[row], np.float64(value[row]), c)
        if said < 0.0:
            active, calm = series.active, series.calm  # an open alarm still has to end
            state[slot[row]] = fresh[0]
            series.active, series.calm = active, calm
            anew += 1
            said = 0.0
        score[row] = said
        changes[row] = 0
        if series.last_ms == before_ms:
            continue
        change = _judge(series, said, threshold, clear_after)
        if change != 0:
            found += 1
            changes[row] = change
            if known:
                low, usual, high = mean - width * math.exp(below), mean, mean + width * math.exp(above)
            band[row, 0], band[row, 1], band[row, 2] = low, usual, high
    return found, anew, fetched


class Novelty:
    """Scores of n series. `anew` counts those that had to be forgotten because their state was no longer finite."""

    def __init__(
        self, n: int, constants: Constants | None = None, threshold: float = 2.0, clear_after: int = 1
    ) -> None:
        self.state = new_state(n)
        self.constants = constants or Constants()
        self.threshold, self.clear_after = threshold, clear_after
        self.anew = 0

    def update(self, slot: Array, at_ms: Array, value: Array) -> Array:
        """Scores of values in arrival order, (n,) float64 from 0 to 1. slot, at_ms: (n,) int; value: NaN for null."""
        return self.examine(slot, at_ms, value)[0]

    def examine(self, slot: Array, at_ms: Array, value: Array) -> tuple[Array, Array, Array]:
        """Scores, changes of alarms and the bands of these, as `run` gives them."""
        n = len(slot)
        score, changes, band = np.empty(n), np.empty(n, np.uint8), np.empty((n, 3))
        found = run(
            self.state,
            self.state.view(np.uint64).reshape(-1, STATE.itemsize // 8),
            slot,
            at_ms,
            value,
            self.constants,
            _FRESH,
            self.threshold,
            self.clear_after,
            score,
            changes,
            band,
        )
        self.anew += found[1]
        return score, changes, band


_FRESH = new_state(1)
