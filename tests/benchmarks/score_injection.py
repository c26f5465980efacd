"""Faults put into a healthy series, with their labels: ten kinds of them, at sizes of the series' own.

A series is (time, value) in the order in which it was reported; what a fault makes of it is (observed, value, arrived).
Severity is in the series' own daily residual sd: that of what is left after the mean of the time of day.
"""

from typing import NamedTuple

import numpy as np

from ingest_service.columns import Array
from tests.benchmarks.score_counting import (
    DRIFT,
    DROPOUT,
    DUPLICATES,
    INTERMITTENT,
    NOISE,
    SHIFT,
    SKEW,
    SPIKE,
    STUCK,
    UNIT,
)

DAY_S = 86_400
SIZED = (SPIKE, SHIFT, DRIFT, NOISE)
SEVERITIES = (2, 4, 8)
CELLS: tuple[tuple[str, str], ...] = (
    *((fault, f"{severity} sd") for fault in SIZED for severity in SEVERITIES),
    (STUCK, "1 d"),
    (INTERMITTENT, "2 d"),
    (DROPOUT, "6 h"),
    (UNIT, "x10"),
    (UNIT, "x1000"),
    (SKEW, "+1 h"),
    (SKEW, "-1 h"),
    (SKEW, "+1 d"),
    (DUPLICATES, "6 h"),
)
OFFSETS_S = {"+1 h": 3600, "-1 h": -3600, "+1 d": DAY_S}
HOURS = {SHIFT: 48, DRIFT: 48, NOISE: 12, STUCK: 24, INTERMITTENT: 48, DROPOUT: 6, UNIT: 24, SKEW: 24, DUPLICATES: 6}
LONGEST_S = 48 * 3600


class Series(NamedTuple):
    """Reports of one property of one device, in the order in which they came."""

    observed_s: Array  # (n,) int64: time that the device gave
    value: Array  # (n,) float64
    arrived_s: Array  # (n,) int64, never falling


def healthy(t: Array, value: Array) -> Series:
    return Series(t, value, t)


def cadence_of(t: Array) -> int:
    """Seconds between reports."""
    return max(1, int(np.median(np.diff(t)))) if len(t) > 1 else 1


def residual_sd(t: Array, value: Array, bins: int = 24) -> float:
    """Sd of what is left after the mean of the time of day (UTC, by the hour)."""
    known = np.isfinite(value)
    hour = (t[known] % DAY_S) * bins // DAY_S
    count = np.maximum(np.bincount(hour, minlength=bins), 1)
    mean = np.bincount(hour, value[known], minlength=bins) / count
    return float(np.std(value[known] - mean[hour]))


def inject(
    series: Series, fault: str, variant: str, onset_s: int, decimals: int, random: np.random.Generator
) -> tuple[Series, int, int]:
    """The series with a fault that begins with its first report at or after onset_s; the fault's onset and end (s)."""
    t, value = series.observed_s, series.value.copy()
    cadence, sd = cadence_of(t), residual_sd(t, value)
    first = int(np.searchsorted(t, onset_s))
    last = first + 1 if fault == SPIKE else int(np.searchsorted(t, onset_s + HOURS[fault] * 3600))
    rows = slice(first, last)
    onset, end = int(t[first]), int(t[last - 1])
    sign = 1.0 if random.random() < 0.5 else -1.0
    size = float(variant.split()[0]) * sd * sign if fault in SIZED else 0.0
    observed, arrived = t.copy(), t.copy()
    since = t[rows] - onset
    if fault in (SPIKE, SHIFT):
        value[rows] += size
    elif fault == DRIFT:
        value[rows] += size * since / (HOURS[DRIFT] * 3600)
    elif fault == NOISE:
        value[rows] += abs(size) * random.standard_normal(last - first)
    elif fault == UNIT:
        value[rows] *= float(variant[1:])
    elif fault == STUCK:
        value[rows] = value[first]
    elif fault == INTERMITTENT:
        value[rows] = _intermittent(value[rows], cadence, random)
    elif fault == SKEW:
        observed[rows] += OFFSETS_S[variant]
    elif fault == DROPOUT:
        end = int(t[last]) - cadence if last < len(t) else end
        kept = np.r_[0:first, last : len(t)]
        observed, value, arrived = observed[kept], value[kept], arrived[kept]
    elif fault == DUPLICATES:
        again = np.sort(np.r_[0 : len(t), first:last])
        observed, value, arrived = observed[again], value[again], arrived[again]
    else:
        raise ValueError(f"cannot inject {fault!r}: no such fault")
    return Series(observed, np.round(value, decimals), arrived), onset, end


def _intermittent(value: Array, cadence_s: int, random: np.random.Generator) -> Array:
    """Hangs for one to three hours (at least 8 reports), lives for half as long, and again."""
    found, at = value.copy(), 0
    while at < len(value):
        stays = max(8, int(random.uniform(1, 3) * 3600 / cadence_s))
        found[at : at + stays] = value[at]
        at += stays + max(4, stays // 2)
    return found
