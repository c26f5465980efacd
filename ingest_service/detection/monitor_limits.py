"""Parameters of the fault monitors of a number, as its profile chooses them, and the names of what they raise.

A monitor that is off can never raise. `record_of` is what kernels read.
"""

import math
from typing import NamedTuple, get_type_hints

import numpy as np

from contracts.profiles import MOST_IGNORED, LevelShift, OutOfRange, Property, Spike, Stuck, Switch
from ingest_service.columns import Array

OUT_OF_RANGE, RATE_OF_CHANGE, STUCK, SPIKE, LEVEL_SHIFT, DRIFT, NOISE, UNIT_ERROR = (1 << i for i in range(8))
NAMES = {
    OUT_OF_RANGE: "out_of_range",
    RATE_OF_CHANGE: "rate_of_change",
    STUCK: "stuck",
    SPIKE: "spike",
    LEVEL_SHIFT: "level_shift",
    DRIFT: "drift",
    NOISE: "noise",
    UNIT_ERROR: "unit_error",
}
CLEARED = 8  # bits to shift: a change is raised in bits 0..7 and cleared in bits 8..15
POISONED = 1 << 16  # the state was not finite and began anew
SUSPECT = 4.0  # sd of a step from which a jump is looked at: one in 16,000, twenty days at five minutes


class Limits(NamedTuple):
    """Parameters of the monitors of a property; a monitor that is off can never raise."""

    low: float
    high: float
    range_clear: int
    rate: float  # a millisecond; inf: off
    hang: bool
    repeats: int  # 0: off
    repeats_min_ms: int
    spike: float
    spike_min: float
    shift: float
    shift_min: float
    drift: bool
    noise: bool
    unit: bool
    emptied: bool
    counts: bool  # whole things: a reading is never between the one before and the one after by averaging
    stay: tuple[float, ...]  # MOST_IGNORED values that may stay, NaN for none
    errors: tuple[float, ...]  # values that a broken counter says, NaN for none; no spikes, whoever judges them
    urgent: bool  # a breach of the range does not wait for a better name
    floor: float  # one unit of the property's resolution: the least scale


def _filled(item: Property, values: tuple[float, ...]) -> tuple[float, ...]:
    """MOST_IGNORED values as columns hold them."""
    exact = [float(np.float32(value)) if item.type == "number" else value for value in values]
    return (*exact, *[math.nan] * (MOST_IGNORED - len(values)))


def limits_of(item: Property) -> Limits:
    """Limits of a property."""
    chosen = item.detectors
    inside, stuck, spike = chosen.out_of_range or OutOfRange(), chosen.stuck or Stuck(), chosen.spike or Spike()
    shift, rate = chosen.level_shift or LevelShift(), chosen.rate_of_change
    return Limits(
        low=-math.inf if inside.low is None else inside.low,
        high=math.inf if inside.high is None else inside.high,
        range_clear=inside.clear_after,
        rate=rate.per_minute / 60_000 if rate else math.inf,
        hang=stuck.on,
        repeats=stuck.repeats if stuck.on else 0,
        repeats_min_ms=stuck.min_duration_s * 1000,
        spike=spike.threshold if spike.on else math.inf,
        spike_min=spike.min_jump,
        shift=shift.threshold if shift.on else math.inf,
        shift_min=shift.min_jump,
        drift=(chosen.drift or Switch()).on,
        noise=(chosen.noise or Switch()).on,
        unit=(chosen.unit_error or Switch()).on,
        emptied=item.emptied,
        counts=item.type == "integer",
        stay=_filled(item, stuck.ignore),
        errors=_filled(item, chosen.error_value.values if chosen.error_value else ()),
        urgent=inside.severity == "critical",
        floor=10.0**-item.decimals,
    )


LIMITS = np.dtype(
    [
        (name, np.float64, MOST_IGNORED) if name in ("stay", "errors") else (name, np.dtype(kind))
        for name, kind in get_type_hints(Limits).items()
    ],
    align=True,
)


TOLD = np.dtype([("expects", np.float64), ("scale", np.float64), ("reached", np.float64)])


def record_of(limits: Limits) -> Array:
    """(1,) record of limits: as one pointer they cost a call nothing, as eighteen values more than a test."""
    return np.array([tuple(limits)], LIMITS).view(np.recarray)
