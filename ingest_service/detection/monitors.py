"""Fault monitors of one numeric property: what is wrong with a series of numbers, one name for one thing.

`step` takes one value: what it left of what was expected (level, hour of the day, what the peers do, the share of the
last deviation that lasts) is compared with what is usual for the series (`usual`). It is plain Python and is compiled
as it is; both give the same bits (held by a property test).

What jumps belongs to `jumps`, what hangs or drifts to `lasting`, parameters to `monitor_limits`, what peers do to
`group_means`.
Late and repeated observations are left out by the caller; gaps (NaN, infinities) leave the state untouched.
"""

import math
from typing import Any

import numba
import numpy as np
from numba.extending import register_jitable

from ingest_service.columns import Array
from ingest_service.detection import jumps, lasting, usual
from ingest_service.detection.before import keeper
from ingest_service.detection.group_means import GROUP, of_group
from ingest_service.detection.jumps import CAME_BACK, LESS_NOISY, NOISY, READINGS_OUT, unit_of
from ingest_service.detection.monitor_limits import (
    CLEARED,
    LEVEL_SHIFT,
    NOISE,
    OUT_OF_RANGE,
    POISONED,
    RATE_OF_CHANGE,
    SPIKE,
    STUCK,
    SUSPECT,
    UNIT_ERROR,
)
from ingest_service.detection.usual import CLIP, LEARNING_HOURS, OCTAVES, SD_OF_MEAN_DEVIATION, SHARE, whole

LARGEST = 1e15  # what is beyond is taken for this: squares stay finite
OFTEN = 2.5  # sd that a normal step exceeds one time in eighty, half of them back towards what is usual
OFTEN_BY = OFTEN * np.sqrt(OCTAVES)  # by how careful a series has become
CALMS_DAYS = 12  # after which a hang is taken for as likely as before
FORGIVING_DAYS = 32  # a quarter of an octave each: with AGAIN, a nuisance comes to one alarm in a hundred days
FORGIVING_DAYS_SLOW = 3  # the same of the slow mean, whose margin was learnt of fourteen half days only
MOST_HELD = 36.0  # readings; three hours at five minutes
WARM_READINGS = 20  # steps before their scale means anything
WORDS, GROUP_WORDS = usual.SERIES.itemsize // 4, GROUP.itemsize // 4
_keep = keeper(WORDS)


@register_jitable  # type: ignore[untyped-decorator]
def bits(word: int) -> int:
    """How many of 16 bits are set."""
    word = word - (word >> 1 & 0x5555)
    word = (word & 0x3333) + (word >> 2 & 0x3333)
    word = (word + (word >> 4)) & 0x0F0F
    return (word + (word >> 8)) & 0x1F


@register_jitable  # type: ignore[untyped-decorator]
def _range(series: Any, x: float, wait: bool, limits: Any) -> int:
    """Outside the limits, or back inside for long enough; `wait` while a better name is looked for."""
    active, calm = whole(series.active), whole(series.calm)
    if x < limits.low or x > limits.high:
        series.calm = calm & 0xF0
        return 0 if wait else OUT_OF_RANGE & ~active
    if active & OUT_OF_RANGE:
        calm = min(15, (calm & 15) + 1) | calm & 0xF0
        series.calm = calm
        if calm & 15 >= limits.range_clear:
            return OUT_OF_RANGE << CLEARED
    return 0


@register_jitable  # type: ignore[untyped-decorator]
def _own(sign: float, moved: float) -> float:
    """What of an unexpected step the value itself made: who stays where it was has not jumped, whatever its peers and
    the hour do.
    """
    if sign > 0.0:
        return max(0.0, min(sign, moved))
    return min(0.0, max(sign, moved))


@register_jitable  # type: ignore[untyped-decorator]
def _learn(series: Any, left: float, sign: float, own: float, last_left: float, lively: float, limits: Any) -> None:
    """The series' usual step and how long a deviation lasts, from a reading in which no jump is looked at."""
    hours, n = whole(series.hours), whole(series.hour_n)
    weight = 1.0 / (n + 2) if hours == 0 and n < 60 else 1.0 / 64 if hours < usual.DAY_HOURS else 1.0 / 256
    scale, keeps = float(series.scale), float(series.keeps) * SHARE
    least = max(scale, 0.3 * limits.floor)
    size = abs(sign) * SD_OF_MEAN_DEVIATION
    begins = hours == 0 and n < WARM_READINGS
    series.scale = scale + weight * ((size if begins else min(size, CLIP * SD_OF_MEAN_DEVIATION * least)) - scale)
    most = math.sqrt(max(1.0 - keeps * keeps, 0.0025))
    e = max(-CLIP, min(CLIP, sign / least))
    r = max(-CLIP, min(CLIP, last_left * most / least))
    series.keeps = int(max(0.0, min(0.999, keeps + min(weight, 0.1) * e * r * most)) * 65535 + 0.5)
    if hours > 0 or n >= WARM_READINGS:
        jumps.peaks(series, own, lively, limits)


def step(
    series: Any,
    group: Any,
    members: int,
    at_ms: int,
    dt_ms: int,
    resumes: bool,
    value: float,
    limits: Any,
    told: Any,
) -> int:
    """Take one value of a series (a record of usual.SERIES); bits of what was raised and cleared.

    group, members : what the peers do, and how many they are.
    dt_ms, resumes : since the device's last observation, and whether that is a gap.
    told : a record of TOLD gets what was expected, how far from it is usual, and the largest share of a threshold
        reached; only where something changed.
    """
    if not math.isfinite(value):
        return 0
    x = max(-LARGEST, min(LARGEST, value))
    at_s = at_ms // 1000
    second = at_s % 86400
    hour = second // 3600
    floor = limits.floor
    changed = 0
    first = not math.isfinite(float(series.last))
    if whole(series.hour) != hour:
        changed |= _hour(series, at_s, hour, limits)
        first = not math.isfinite(float(series.last))
    if first:
        series.level = x
    hours = whole(series.hours)
    same = not first and np.float32(x) == series.last
    day = 0.0 if limits.emptied else usual.of_day(series, second)
    away = x - float(series.level) - day
    peers = of_group(group, members, at_s, away) if hours >= usual.DAY_HOURS and not limits.emptied else 0.0
    left = away - peers
    last_left = left if first or resumes else float(series.left)
    sign = left - float(series.keeps) * SHARE * last_left if not (first or resumes) else 0.0
    lively = usual.liveliness(series, hour)
    base = max(float(series.scale), 0.3 * floor)
    scale = base * lively
    if hours >= usual.DAY_HOURS and not limits.emptied:
        told_in = 0.3 * float(usual.UNIT[whole(series.exponent) + 64])
        base, scale = max(base, told_in), max(scale, told_in)
    if whole(series.repeats) > 1:
        scale *= math.sqrt(min(float(series.repeats), MOST_HELD))  # what is told in steps has gone on meanwhile
    own = sign if abs(sign) < OFTEN * base else _own(sign, x - float(series.last))  # of a small step it is no matter
    z = own / scale
    warm = hours > 0 or whole(series.hour_n) >= WARM_READINGS
    jump = whole(series.jump)
    if resumes and jump:
        jump = series.jump = 0
    expects = x - left + (float(series.before) if 0 < jump < CAME_BACK else left - sign)

    suspect = warm and abs(z) >= SUSPECT
    wait = False
    if x < limits.low or x > limits.high:
        wait = limits.unit and hours >= usual.DAY_HOURS and jump < 3 and unit_of(x, expects, scale, floor) != 0.0
        if not limits.urgent and hours >= usual.DAY_HOURS:
            wait = wait or (suspect and jump == 0) or 0 < jump < READINGS_OUT
        wait = wait or whole(series.active) & (UNIT_ERROR | LEVEL_SHIFT | NOISE) != 0
    changed |= _range(series, x, wait, limits)
    if same or lasting.evidence(series) > 0.0 or whole(series.active) & STUCK:
        changed |= lasting.hangs(series, x, same, hour, dt_ms, limits)
    else:
        series.repeats = 1  # as most values: there is no evidence to take from
    if not warm and not first and abs(x - float(series.last)) > limits.rate * max(dt_ms, 1):
        changed |= RATE_OF_CHANGE & ~whole(series.active)

    often = 0
    if warm and not first:
        lots = (
            whole(series.lively) << 1
            | (1 if abs(z) >= float(OFTEN_BY[usual.care(series, usual.SHIFTS)]) and sign * last_left < 0.0 else 0)
        ) & 0xFFFF
        series.lively = lots
        often = bits(lots)
        active = whole(series.active)
        if often >= NOISY and limits.noise and hours >= usual.DAY_HOURS and not active & UNIT_ERROR:
            changed |= NOISE & ~active
        elif often <= LESS_NOISY:
            changed |= (NOISE & active) << CLEARED
        if often == 0:
            changed |= (SPIKE & active) << CLEARED
        if jump:
            changed |= jumps.follow(series, x, left, own, expects, base, scale, often, dt_ms, limits)
        elif not resumes and jumps.stood_out(series, x, left, base, limits):
            series.jump = CAME_BACK
            if jumps.was_error(series, limits):
                series.since = 0.0
        elif suspect:
            series.since = sign
            series.jump = 1
            own = sign
        left = x - float(series.level) - day - peers
    if changed:
        told.expects = expects
        told.scale = scale
        told.reached = max(abs(z) / (2 * SUSPECT), often / NOISY, lasting.evidence(series) / lasting.EVIDENCE_OF_HANG)

    if not whole(series.active) & UNIT_ERROR:
        if not first and ((jump == 0 and not suspect) or jump >= CAME_BACK) and not resumes:
            _learn(series, left, sign, own, last_left, lively, limits)
        if jump == 0 or jump >= CAME_BACK or hours < usual.DAY_HOURS:
            series.hour_sum = float(series.hour_sum) + left
            series.hour_n = min(255, whole(series.hour_n) + 1)
            series.hour_changes = min(255, whole(series.hour_changes) + (0 if same else 1))
    if not 1 < whole(series.jump) < CAME_BACK:
        series.before = left - own
    series.left = left
    series.last = x
    series.active = (whole(series.active) | changed & 0xFF) & ~(changed >> CLEARED) & 0xFF
    if not (math.isfinite(float(series.left) + float(series.level) + float(series.scale) + float(series.hour_sum))):
        usual.forget(series)
        return (changed | POISONED) & ~0xFF  # type: ignore[no-any-return]
    return changed  # type: ignore[no-any-return]


@register_jitable  # type: ignore[untyped-decorator]
def _forgive(series: Any, day: int) -> None:
    """What was learnt from alarms, and from a first week that may have been unlike all others, fades."""
    if day % FORGIVING_DAYS == 0:
        usual.take_care(series, usual.SHIFTS, usual.care(series, usual.SHIFTS) - 1)
        usual.take_care(series, usual.SPIKES, usual.care(series, usual.SPIKES) - 1)
    if day % FORGIVING_DAYS_SLOW == 0:
        usual.take_care(series, usual.SLOW, usual.care(series, usual.SLOW) - 1)
    if day % CALMS_DAYS == 0:
        series.hang = max(whole(series.hang) & 0x3FFF, whole(series.hang) - 0x4000)


@register_jitable  # type: ignore[untyped-decorator]
def _hour(series: Any, at_s: int, hour: int, limits: Any) -> int:
    """The hour is over: learn from it, and judge what is slow."""
    changed = 0
    if whole(series.hour) >= 0:
        if limits.emptied and usual.TEXTURE_HOURS <= whole(series.hours) < LEARNING_HOURS:
            least = max(float(series.scale), 0.3 * limits.floor)
            jumps.put_up_with(series, float(OCTAVES[whole(series.hour_peak) + 1]) / 8 * least, least, limits)
        expected = usual.of_day(series, at_s % 86400)
        score = usual.fold(series, at_s // 86400, limits.floor)
        hours = whole(series.hours)
        if not limits.emptied:  # what was left of the last value, by what is expected from now on
            learnt = usual.of_day(series, at_s % 86400) - expected
            series.left = float(series.left) - learnt
            series.before = float(series.before) - learnt
        if hour == 0 and hours >= LEARNING_HOURS:
            _forgive(series, at_s // 86400)
        if hours > usual.SLOW_HOURS and limits.drift and not limits.emptied:
            changed |= lasting.slowly(series, score)
        if hour % 12 == 0:
            changed |= lasting.settle(series) << CLEARED
    series.hour = hour
    return changed


_step = numba.njit(cache=True, nogil=True)(step)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def run(
    state: Any,
    words: Array,
    groups: Any,
    group_words: Array,
    group_of: Array,
    members: Array,
    slot: Array,
    at_ms: Array,
    dt_ms: Array,
    value: Array,
    limits: Any,
    changes: Array,
    told: Array,
    before: Array,
    group_before: Array,
) -> int:
    """Take values in arrival order; how many changed a condition.

    state, words : (series,) records, and the same memory as rows of WORDS uint32; groups, group_words likewise.
    value : (n,) float32 or float64, NaN for null.
    group_of : (series,) int32 into groups and members; the last of these are nobody's.
    dt_ms : (n,) int64 since the device's last observation, 0: late or repeated and left out, below 0: after a gap.
    changes : (n,) int32 gets what `step` returns.
    limits : (1,) LIMITS; told : (n,) TOLD gets what `step` tells.
    before : (n, WORDS) uint32 gets what undoes this, as `before` has it.
    group_before : (n, GROUP_WORDS) likewise of the groups; (0, GROUP_WORDS) when there are none.
    """
    found = 0
    nobody = len(members) - 1
    grouped = len(group_before) > 0
    for row in range(len(slot)):
        changes[row] = 0
        _keep(words, slot, before, row)
        dt = dt_ms[row]
        i = slot[row]
        g = group_of[i] if group_of[i] >= 0 else nobody
        if grouped:
            for word in range(GROUP_WORDS):
                group_before[row, word] = group_words[g, word]
        if dt == 0:
            continue
        change = _step(
            state[i],
            groups[g],
            members[g],
            at_ms[row],
            abs(dt),
            dt < 0,
            np.float64(value[row]),
            limits[0],
            told[row],
        )
        changes[row] = change
        found += change != 0
    return found
