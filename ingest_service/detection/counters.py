"""A counter that runs backwards, told from one that rolled over, was replaced or restarted. O(1) state a series.

A fall is not judged by itself but with the report after it. A meter that shows next to nothing and counts on was
replaced (RESET); one that fell by no more than it counts in `restart_loss_ms` and counts on had restarted, and lost
what it had not saved (RESTARTED); one that passed its modulus ROLLED_OVER and is well. All else runs BACKWARDS.
`step` is plain Python and compiled as it is. Late and repeated reports and gaps (NaN) leave the state untouched.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from contracts.profiles import Backwards, Property
from ingest_service.columns import Array

BACKWARDS, RESET, RESTARTED, ROLLED_OVER = 1, 2, 4, 8
ENDED = 16  # BACKWARDS is over
FORGET_MS = 86_400_000.0  # a meter's top speed is that of its last day: lamps count at night only
AT_MOST = 2.0  # times its top speed may a counter count for a while
FLOAT4 = 2.0**-23  # the database keeps 24 bits: two values may differ by so much of themselves and be the same

STATE = np.dtype(
    [
        ("last", np.float64),
        ("before", np.float64),  # what it showed before it fell; NaN while nothing is to be judged
        ("speed", np.float64),  # units per ms at its fastest, slowly forgotten
        ("last_ms", np.int64),
        ("seen", np.int32),
        ("calm", np.int16),  # reports that rise, since the last that fell
        ("active", np.uint8),
        ("gap", np.uint8),  # no byte that nobody writes
    ],
    align=True,
)


class Limits(NamedTuple):
    modulus: float  # 0: rolls over nowhere
    restart_loss_ms: float
    clear_after: int
    resolution: float  # one unit of the property's last decimal


def limits_of(item: Property, counter: Backwards) -> Limits:
    return Limits(counter.modulus or 0.0, counter.restart_loss_s * 1000.0, counter.clear_after, 10.0**-item.decimals)


def new_state(n: int) -> Array:
    """(n,) records of counters never heard of."""
    state = np.zeros(n, STATE).view(np.recarray)
    state.last[:] = np.nan
    state.before[:] = np.nan
    state.last_ms[:] = np.iinfo(np.int64).min
    return state


def step(series: Any, at_ms: int, value: float, limits: Any) -> int:
    """Take one value of a series (a record of STATE); bits of what it was, and ENDED."""
    if not math.isfinite(value) or at_ms <= series.last_ms:
        return 0
    if series.seen == 0:
        series.last = value
        series.last_ms = at_ms
        series.seen = 1
        return 0
    said = 0
    last = series.last
    passed_ms = float(at_ms - series.last_ms)
    noise = 0.5 * limits.resolution + FLOAT4 * abs(last)
    could = AT_MOST * series.speed * passed_ms + 4.0 * noise  # what it may have counted since
    could_lose = AT_MOST * series.speed * limits.restart_loss_ms + 4.0 * noise
    waiting = not math.isnan(series.before)
    rise = value - last
    if rise < -noise:
        wrapped = rise + limits.modulus
        if limits.modulus >= last and value >= 0.0 and wrapped <= max(could, 0.01 * limits.modulus):
            said = ROLLED_OVER
            rise = wrapped
        elif waiting or series.active:  # it falls again
            said = BACKWARDS
        elif -noise <= value <= max(could, 0.001 * last) or -rise <= could_lose:
            series.before = last  # what it shows next will tell
        else:
            said = BACKWARDS
    elif waiting and rise > noise:
        if rise > could:
            said = BACKWARDS  # it was down for a moment and is up again
        else:
            said = RESTARTED if series.before - last <= could_lose else RESET
            series.before = np.nan
    if said == BACKWARDS:
        series.before = np.nan
        series.calm = 0
        if series.active:
            said = 0
        series.active = 1
    elif series.active and rise > noise:
        series.calm += 1
        if series.calm >= limits.clear_after:
            series.active = 0
            said |= ENDED
    if rise >= 0.0:
        speed = rise / passed_ms
        if series.seen == 1:
            series.speed = speed
            series.seen = 2
        elif speed > series.speed:
            series.speed = min(speed, AT_MOST * series.speed + 2.0 * noise / passed_ms)  # one odd report teaches little
        else:
            series.speed += min(1.0, passed_ms / FORGET_MS) * (speed - series.speed)
    series.last = value
    series.last_ms = at_ms
    return said


_step = numba.njit(cache=True, nogil=True)(step)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def run(state: Any, slot: Array, at_ms: Array, value: Array, limits: Any, changes: Array, before: Array) -> int:
    """Take values in arrival order; how many were more than counting.

    value : (n,) float32 or float64, NaN for null. changes : (n,) uint8 gets what `step` returns.
    before : (n,) float64 gets the highest value before, where that is so.
    """
    found = 0
    for row in range(len(slot)):
        series = state[slot[row]]
        top = series.last if math.isnan(series.before) else series.before
        change = _step(series, at_ms[row], np.float64(value[row]), limits)
        changes[row] = change
        if change:
            before[row] = top
            found += 1
    return found
