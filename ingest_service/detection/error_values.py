"""The value that a broken counter says instead of a count: 229, 0, 228. O(1) state a series.

A fall to an error value is judged when it is over: it was none of the world's if it was far more than the series moves
in a step, lasted no longer than STRAIGHT_MS (or one report) and came back to where it was. A garage that fills gets
there by steps and stays. One of the two ways must be swift: after a night without a word it may be full.
Nothing is learnt from it: it is wrong each time, however often, and one condition while less than `clear_ms` lies in
between. `step` is plain Python and compiled as it is. Late and repeated reports and gaps (NaN) change nothing.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from contracts.profiles import ErrorValue, Property
from ingest_service.columns import Array

BEGINS, ENDS = 1, 2
ACTIVE, SWIFT = 1, 2  # marks; SWIFT: it fell within STRAIGHT_MS
STRAIGHT_MS = 3_600_000  # three polls at night, a quarter of an hour each, and the way back
UNLIKE = 8.0  # mean steps of the series (six sd of a normal one), twice: there and back
ALIKE = 0.2  # of the fall, that the value after it may differ from the one before
LARGEST = 1e15  # what is beyond is taken for this: the mean stays finite
WARM_STEPS, MOST_STEPS = 8, 256  # before their mean means anything, as a cadence; that it is of: a day at five minutes

STATE = np.dtype(
    [
        ("last_ms", np.int64),
        ("fell_ms", np.int64),  # first report of the error value
        ("told_ms", np.int64),  # report after the last that was none of the world's
        ("before", np.float64),  # the last that was no error value; NaN before the first
        ("fall", np.float64),  # from it to the error value
        ("moves", np.float32),  # mean step
        ("steps", np.uint16),
        ("reports", np.uint8),  # of the error value in a row
        ("marks", np.uint8),
    ],
    align=True,
)


class Limits(NamedTuple):
    values: Array  # (n,) float64
    clear_ms: int
    least: float  # one unit of the property's resolution: the least mean step


def limits_of(item: Property, chosen: ErrorValue) -> Limits:
    held = np.float32 if item.type == "number" else np.float64  # as columns hold them
    values = np.array(chosen.values, held).astype(np.float64)
    return Limits(values, chosen.clear_after_s * 1000, 10.0**-item.decimals)


def new_state(n: int) -> Array:
    """(n,) records of series never heard of."""
    state = np.zeros(n, STATE).view(np.recarray)
    state.last_ms[:] = np.iinfo(np.int64).min
    state.before[:] = np.nan
    return state


def step(series: Any, at_ms: int, value: float, limits: Any) -> int:
    """Take one value of a series (a record of STATE): BEGINS, ENDS or 0 for the condition."""
    if not math.isfinite(value) or at_ms <= series.last_ms:
        return 0
    said = 0
    wrong = False
    for k in range(len(limits.values)):
        wrong = wrong or value == limits.values[k]
    known = not math.isnan(series.before)
    swift = known and at_ms - series.last_ms <= STRAIGHT_MS
    moves = float(series.moves)
    if wrong:
        if series.reports == 0:
            series.fell_ms = at_ms
            series.fall = abs(series.before - value) if known else 0.0
            series.marks = int(series.marks) & ~SWIFT | (SWIFT if swift else 0)
        series.reports = min(255, int(series.reports) + 1)
    else:
        off = abs(value - series.before) if known else 0.0
        if series.reports:
            straight = series.reports == 1 or at_ms - series.fell_ms <= STRAIGHT_MS
            jumps = series.steps >= WARM_STEPS and series.fall > UNLIKE * max(moves, limits.least)
            if straight and jumps and off <= ALIKE * series.fall and (swift or series.marks & SWIFT):
                said = 0 if series.marks & ACTIVE else BEGINS
                series.marks = int(series.marks) | ACTIVE
                series.told_ms = at_ms
        elif swift:
            steps = min(MOST_STEPS, int(series.steps) + 1)
            most = UNLIKE * max(moves, limits.least) if steps > WARM_STEPS else LARGEST
            series.moves = moves + (min(off, most) - moves) / steps
            series.steps = steps
        series.reports = 0
        series.before = value
    if series.marks & ACTIVE and at_ms - series.told_ms > limits.clear_ms:
        series.marks = int(series.marks) & ~ACTIVE
        said = ENDS
    series.last_ms = at_ms
    return said


_step = numba.njit(cache=True, nogil=True)(step)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def run(
    state: Any, slot: Array, at_ms: Array, value: Array, limits: Any, changes: Array, before: Array, fell_ms: Array
) -> int:
    """Take values in arrival order; how many changed the condition.

    value : (n,) float32 or float64, NaN for null. changes : (n,) uint8 gets what `step` returns.
    before : (n,) float64 gets the value before the error value, fell_ms : (n,) int64 when that came; only where the
    condition changed.
    """
    found = 0
    for row in range(len(slot)):
        series = state[slot[row]]
        was = series.before
        change = _step(series, at_ms[row], np.float64(value[row]), limits)
        changes[row] = change
        if change:
            before[row] = was
            fell_ms[row] = series.fell_ms
            found += 1
    return found
