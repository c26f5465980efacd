"""What lasts in one series: a value that hangs, a slow drift, and how long a shift is news.

Plain Python on one record of `usual`, compiled as it is.
"""

import math
from typing import Any

import numpy as np
from numba.extending import register_jitable

from contracts.profiles import MOST_IGNORED
from ingest_service.detection import usual
from ingest_service.detection.jumps import octaves
from ingest_service.detection.monitor_limits import CLEARED, DRIFT, LEVEL_SHIFT, RATE_OF_CHANGE, STUCK, UNIT_ERROR
from ingest_service.detection.usual import AGAIN, CHANGES, CLIP, LEARNING_HOURS, OCTAVES, SHARE, whole

EVIDENCE_OF_HANG = 12.0  # nat; a false alarm in e^12 readings, five hundred days at five minutes
MOST_DOUBLED = 2  # times that this grows twofold: 48 nat are a day of repeats where half of the readings repeat
REPEATS_OFTEN = 2  # index into CHANGES: half of the readings
QUIET_TIMES = 4  # of the twelve of a day, as long as a night
LIVES_ON = 1.0 / 3  # of the evidence that it takes; below that a value no longer hangs
HANGS = 0.92  # share of repeats of a value that hangs, by fits and starts too
DRIFTED = 4.5  # sd of the slow mean
MARGIN = 1.25  # by which the slow mean must exceed what was seen of it while learning
SETTLED = 6  # half days
_share = np.minimum(0.98, 1 - CHANGES + 0.02)
REPEATED = np.minimum(1.5, np.log(HANGS / _share))  # nat of a repeat, by share of changes
CHANGED = np.minimum(-0.5, np.log((1 - HANGS) / np.maximum(CHANGES, 0.02)))


@register_jitable  # type: ignore[untyped-decorator]
def hangs(series: Any, x: float, same: bool, hour: int, dt_ms: int, limits: Any) -> int:
    """Evidence for a value that hangs, a sum of log-likelihood ratios (Page 1954): repeats add, changes take.

    It takes the twofold after a quiet time in the first week, of a series with quiet times, and after each alarm:
    days are not alike, and no count of repeats by the hour of the day knows a Sunday.
    """
    active, known = whole(series.active), whole(series.hours) >= usual.DAY_HOURS
    series.repeats = min(65535, whole(series.repeats) + 1) if same else 1
    doubled = whole(series.hang) >> 14
    enough = EVIDENCE_OF_HANG * (1 << doubled)
    hang = evidence(series)
    quiet = usual.repeating(series, hour)
    if not same:
        hang = max(0.0, hang + float(CHANGED[quiet]))
        series.hang = int(hang * 256) | doubled << 14
        return STUCK << CLEARED if active & STUCK and hang < LIVES_ON * enough else 0
    for j in range(MOST_IGNORED):
        if x == limits.stay[j]:
            return 0
    begins = False
    if known and limits.hang:
        hang = max(0.0, min(MARGIN * enough, hang + float(REPEATED[quiet])))
        begins = hang >= enough
        learns = whole(series.hours) < LEARNING_HOURS and MARGIN * hang >= enough and _has_quiet_times(series)
        if (learns or begins) and not active & STUCK and doubled < MOST_DOUBLED:
            doubled += 1
            begins = begins and not learns
        series.hang = int(hang * 256) | doubled << 14
    repeats = whole(series.repeats)
    long = limits.repeats > 0 and repeats >= limits.repeats and repeats * dt_ms >= limits.repeats_min_ms
    return STUCK & ~active if begins or long else 0


@register_jitable  # type: ignore[untyped-decorator]
def _has_quiet_times(series: Any) -> bool:
    """Whether half of the readings repeat for as long as a night: what hangs now taught less than that before this is
    asked.
    """
    quiet = 0
    for k in range(12):
        quiet += 1 if whole(series.texture[k]) & 15 >= REPEATS_OFTEN else 0
    return quiet >= QUIET_TIMES


@register_jitable  # type: ignore[untyped-decorator]
def evidence(series: Any) -> float:
    """That a value hangs, in nat."""
    return (whole(series.hang) & 0x3FFF) / 256.0  # type: ignore[no-any-return]


@register_jitable  # type: ignore[untyped-decorator]
def slowly(series: Any, score: float) -> int:
    """The slow mean of the hours' scores leaves what is usual for it, or comes back."""
    z = max(-2 * CLIP, min(2 * CLIP, score))
    hours, active = whole(series.hours), whole(series.active)
    keeps = float(series.hours_keep) * SHARE
    last = float(series.score) / 8
    keeps += (z * last - keeps) * max(1.0 / (hours - usual.SLOW_HOURS + 12), 1.0 / 96)
    keeps = max(0.0, min(0.95, keeps))
    series.hours_keep = int(keeps * 65535)
    series.score = int(z * 8)
    slow = float(series.slow) / 2048
    slow += usual.SLOWLY * (z - slow)
    series.slow = int(slow * 2048)
    lasts = keeps * (1 - usual.SLOWLY)
    days = min(hours // 24, usual.DAYS_KEPT)
    sd = math.sqrt(usual.SLOWLY / (2 - usual.SLOWLY) * (1 + lasts) / (1 - lasts) * (1 + 1.0 / days))
    ratio = abs(slow) / (DRIFTED * sd)
    care = float(OCTAVES[usual.care(series, usual.SLOW)])
    if hours < LEARNING_HOURS:
        if ratio * MARGIN > care:
            usual.take_care(series, usual.SLOW, octaves(ratio * MARGIN))
        return 0
    if ratio > care and not active & (DRIFT | LEVEL_SHIFT | UNIT_ERROR):
        usual.take_care(series, usual.SLOW, usual.care(series, usual.SLOW) + AGAIN)
        return DRIFT
    return DRIFT << CLEARED if active & DRIFT and ratio < 0.5 * care else 0


@register_jitable  # type: ignore[untyped-decorator]
def settle(series: Any) -> int:
    """Half a day has gone by since a shift or unit error: after three days what is new is what is usual."""
    active, calm = whole(series.active), whole(series.calm)
    if not active & (LEVEL_SHIFT | RATE_OF_CHANGE | UNIT_ERROR):
        return 0
    halves = (calm >> 4 & 7) + 1
    if halves < SETTLED:
        series.calm = calm & 0x8F | halves << 4
        return 0
    series.calm = calm & 0x0F
    if active & UNIT_ERROR:
        usual.forget(series)
        series.active = active
    return (LEVEL_SHIFT | RATE_OF_CHANGE | UNIT_ERROR) & active  # type: ignore[no-any-return]
