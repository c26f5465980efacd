"""Fault monitors of one numeric property: out of range, stuck, spike. O(1) state a series, in struct-of-arrays.

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


class State(NamedTuple):
    """State of n series; 53 bytes each."""

    last: Array  # (n,) float64
    last_ms: Array  # (n,) int64
    same_since_ms: Array  # (n,) int64: since when `last` repeats
    repeats: Array  # (n,) int32
    seen: Array  # (n,) int32
    level: Array  # (n,) float64: robust running location
    scale: Array  # (n,) float64: robust running scale, as a standard deviation
    calm_range: Array  # (n,) int16: values inside the range since the last outside
    calm_spike: Array  # (n,) int16
    active: Array  # (n,) uint8: bits of the conditions now raised


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


def new_state(n: int) -> State:
    return State(
        last=np.full(n, np.nan),
        last_ms=np.full(n, np.iinfo(np.int64).min, np.int64),
        same_since_ms=np.zeros(n, np.int64),
        repeats=np.zeros(n, np.int32),
        seen=np.zeros(n, np.int32),
        level=np.zeros(n),
        scale=np.zeros(n),
        calm_range=np.zeros(n, np.int16),
        calm_spike=np.zeros(n, np.int16),
        active=np.zeros(n, np.uint8),
    )


def step(state: Any, i: int, at_ms: int, value: float, limits: Any, may_stay: Any) -> int:
    """Take one value of series i; bits of what was raised (0..2) and cleared (3..5)."""
    if not math.isfinite(value) or at_ms <= state.last_ms[i]:
        return 0
    active = int(state.active[i])
    raised = 0
    cleared = 0

    if value < limits.low or value > limits.high:
        state.calm_range[i] = 0
        raised |= OUT_OF_RANGE & ~active
    elif active & OUT_OF_RANGE:
        state.calm_range[i] += 1
        if state.calm_range[i] >= limits.range_clear:
            cleared |= OUT_OF_RANGE

    if state.seen[i] > 0 and value == state.last[i]:
        state.repeats[i] += 1
    else:
        state.repeats[i] = 1
        state.same_since_ms[i] = at_ms
        cleared |= STUCK & active
    if (
        limits.stuck_repeats > 0
        and state.repeats[i] >= limits.stuck_repeats
        and not active & STUCK
        and at_ms - state.same_since_ms[i] >= limits.stuck_min_ms
    ):
        stays = False
        for j in range(len(may_stay)):
            stays = stays or value == may_stay[j]
        if not stays:
            raised |= STUCK

    if limits.spike_threshold > 0.0:
        if state.seen[i] == 0:
            state.level[i] = value
        off = value - state.level[i]
        scale = max(state.scale[i], limits.floor)
        if state.seen[i] >= limits.spike_warm_up:
            if abs(off) > max(limits.spike_threshold * scale, limits.spike_min_jump):
                state.calm_spike[i] = 0
                raised |= SPIKE & ~active
            elif active & SPIKE:
                state.calm_spike[i] += 1
                if state.calm_spike[i] >= limits.spike_clear:
                    cleared |= SPIKE
            off = max(-HUBER_K * scale, min(HUBER_K * scale, off))
        state.scale[i] += SCALE_WEIGHT * (abs(off) * SD_OF_MEAN_DEVIATION - state.scale[i])
        state.level[i] += LEVEL_WEIGHT * off

    state.last[i] = value
    state.last_ms[i] = at_ms
    state.seen[i] += 1
    state.active[i] = (active | raised) & ~cleared
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

    changes : (n,) uint8 gets what `step` returns.
    level, scale : (n,) float64 get what was expected before the value came; only where it changed a condition.
    """
    found = 0
    for row in range(len(slot)):
        i = slot[row]
        level_before, scale_before = state.level[i], state.scale[i]
        change = _step(state, i, at_ms[row], value[row], limits, may_stay)
        changes[row] = change
        if change:
            level[row], scale[row] = level_before, scale_before
            found += 1
    return found
