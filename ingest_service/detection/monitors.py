"""Fault monitors of one numeric property: out of range, stuck, spike. O(1) state a series.

`step` is plain Python and is compiled as it is; both give the same bits (held by a property test). Late and repeated
observations (not newer than the series' last) and gaps (NaN) leave the state untouched.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from contracts.profiles import Property
from ingest_service.columns import Array

OUT_OF_RANGE, STUCK, SPIKE = 1, 2, 4
NAMES = {OUT_OF_RANGE: "out_of_range", STUCK: "stuck", SPIKE: "spike"}
CLEARED = 3  # bits to shift: a change is raised in bits 0..2 and cleared in bits 3..5

LEVEL_WEIGHT = 0.2  # follows a mains voltage through the day within five readings
SCALE_WEIGHT = 0.05  # twenty readings: long enough that one spike does not hide the next
HUBER_K = (
    3.0  # influence of one reading is cut at three scales; Huber (1964), "Robust estimation of a location parameter"
)
SD_OF_MEAN_DEVIATION = 1.2533141373155001  # sqrt(pi / 2): mean absolute deviation to sd, normal distribution


# State of one series, 56 bytes without a gap. A record: a value touches one cache line and not ten (28 ns, not 204).
STATE = np.dtype(
    [
        ("last", np.float64),
        ("last_ms", np.int64),
        ("same_since_ms", np.int64),  # since when `last` repeats
        ("level", np.float64),  # robust running location
        ("scale", np.float64),  # robust running scale, as a standard deviation
        ("repeats", np.int32),
        ("seen", np.int32),
        ("calm_range", np.int16),  # values inside the range since the last outside
        ("calm_spike", np.int16),
        ("active", np.uint32),  # bits of the conditions now raised
    ],
    align=True,
)


class Limits(NamedTuple):
    """Parameters of the three monitors, from the profile; a monitor that the profile does not ask for can never raise.
    Parameters of the three monitors, from the profile; a monitor that the profile does not ask for can never raise.
    """

    low: float
    high: float
    range_clear: int
    stuck_repeats: int  # 0: off
    stuck_min_ms: int
    spike_threshold: float  # 0: off
    spike_min_jump: float
    spike_warm_up: int
    spike_clear: int
    floor: float  # one unit of the property's resolution: the least scale


def limits_of(item: Property) -> tuple[Limits, Array]:
    """Limits of a property and the values that may stay (float64)."""
    chosen = item.detectors
    inside, stuck, spike = chosen.out_of_range, chosen.stuck, chosen.spike
    limits = Limits(
        low=-math.inf if inside is None or inside.low is None else inside.low,
        high=math.inf if inside is None or inside.high is None else inside.high,
        range_clear=inside.clear_after if inside else 1,
        stuck_repeats=stuck.repeats if stuck else 0,
        stuck_min_ms=stuck.min_duration_s * 1000 if stuck else 0,
        spike_threshold=spike.threshold if spike else 0.0,
        spike_min_jump=spike.min_jump if spike else 0.0,
        spike_warm_up=spike.warm_up if spike else 0,
        spike_clear=spike.clear_after if spike else 1,
        floor=10.0**-item.decimals,
    )
    return limits, np.array(stuck.ignore if stuck else (), np.float64)


def new_state(n: int) -> Array:
    """(n,) records of series never heard of."""
    state = np.zeros(n, STATE).view(np.recarray)
    state.last[:] = np.nan
    state.last_ms[:] = np.iinfo(np.int64).min
    return state


def step(series: Any, at_ms: int, value: float, limits: Any, may_stay: Any) -> int:
    """Take one value of a series (a record of STATE); bits of what was raised (0..2) and cleared (3..5)."""
    if not math.isfinite(value) or at_ms <= series.last_ms:
        return 0
    active = int(series.active)
    raised = 0
    cleared = 0

    if value < limits.low or value > limits.high:
        series.calm_range = 0
        raised |= OUT_OF_RANGE & ~active
    elif active & OUT_OF_RANGE:
        series.calm_range += 1
        if series.calm_range >= limits.range_clear:
            cleared |= OUT_OF_RANGE

    if series.seen > 0 and value == series.last:
        series.repeats += 1
    else:
        series.repeats = 1
        series.same_since_ms = at_ms
        cleared |= STUCK & active
    if (
        limits.stuck_repeats > 0
        and series.repeats >= limits.stuck_repeats
        and not active & STUCK
        and at_ms - series.same_since_ms >= limits.stuck_min_ms
    ):
        stays = False
        for j in range(len(may_stay)):
            stays = stays or value == may_stay[j]
        if not stays:
            raised |= STUCK

    if limits.spike_threshold > 0.0:
        if series.seen == 0:
            series.level = value
        off = value - series.level
        scale = max(series.scale, limits.floor)
        if series.seen >= limits.spike_warm_up:
            if abs(off) > max(limits.spike_threshold * scale, limits.spike_min_jump):
                series.calm_spike = 0
                raised |= SPIKE & ~active
            elif active & SPIKE:
                series.calm_spike += 1
                if series.calm_spike >= limits.spike_clear:
                    cleared |= SPIKE
            off = max(-HUBER_K * scale, min(HUBER_K * scale, off))
        series.scale += SCALE_WEIGHT * (abs(off) * SD_OF_MEAN_DEVIATION - series.scale)
        series.level += LEVEL_WEIGHT * off

    series.last = value
    series.last_ms = at_ms
    series.seen += 1
    series.active = (active | raised) & ~cleared
    return raised | cleared << CLEARED


_step = numba.njit(cache=True, nogil=True)(step)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def run(
    state: Any,
    slot: Array,
    at_ms: Array,
    value: Array,
    limits: Any,
    may_stay: Array,
    changes: Array,
    level: Array,
    scale: Array,
) -> int:
    """Take values in arrival order; how many changed a condition.

    state : (series,) records; value : (n,) float32 or float64, NaN for null.
    changes : (n,) uint8 gets what `step` returns.
    level, scale : (n,) float64 get what was expected before the value came; only where it changed a condition.
    """
    found = 0
    for row in range(len(slot)):
        series = state[slot[row]]
        level_before, scale_before = series.level, series.scale
        change = _step(series, at_ms[row], np.float64(value[row]), limits, may_stay)
        changes[row] = change
        if change:
            level[row], scale[row] = level_before, scale_before
            found += 1
    return found
