"""Jumps of one series, told apart by waiting for a few readings.

One that comes back is a spike, one that stays is a level shift or, at a tenth or a thousand times what was expected,
a unit error; many of them are noise. Plain Python on one record of `usual`, compiled as it is.
"""

import math
from typing import Any

from numba.extending import register_jitable

from contracts.profiles import MOST_IGNORED
from ingest_service.detection import usual
from ingest_service.detection.monitor_limits import CLEARED, LEVEL_SHIFT, RATE_OF_CHANGE, SPIKE, SUSPECT, UNIT_ERROR
from ingest_service.detection.usual import AGAIN, LEARNING_HOURS, OCTAVES, SHARE, whole

READINGS_OUT = 3  # at most, of a spike; the shortest level shift is told from it by READINGS_SHIFTED
READINGS_SHIFTED = 6
GOES_ON = 0.5  # of a jump, is a step the same way: a shift is there at once, people come one after the other
SWITCHES = 8.0  # scales between neighbouring hours: twice what is suspected, so no slope of a usual day
CALM_SCALES = 3.0  # of steps of the day, is calm after a spike; of the hour's, up to half of its size; and always
CALM = 1 / 8  # of its size
QUIET = 3  # readings after a spike came back before it is called one: a burst of noise is rarely as calm
NOISY, LESS_NOISY = 5, 1  # of 16: 4,368 / 160^5 is one in 2 * 10^7 by chance
# By which a jump must exceed the largest of the first week. The largest of n exponential values is ln(n): one that
# comes in a thousand days is this much larger than that of a week, at a report in five minutes (1.72 at one in ten).
MARGIN_OF_JUMPS = math.log(288_000) / math.log(2_016)
CAME_BACK = 16  # `jump` from here on: readings since it came back
WENT_ON = 32  # `jump` from here on: calm readings since it went on
LEAST_DIGITS = 2.0  # units of resolution that an expected value needs before a ratio to it means anything
OFF_BY = 0.12  # of a ratio, for a unit error; neighbouring powers of ten are far away
QUARTERS = (2.0**-0.75, 2.0**-0.5, 2.0**-0.25)  # of an octave, in the fraction that frexp gives
RATIOS = (10.0, 1000.0, 0.1, 0.001)  # of units that are mistaken for each other: mm, cm, m; W, kW


@register_jitable  # type: ignore[untyped-decorator]
def octaves(ratio: float) -> int:
    """Smallest number of quarters of an octave that is at least this ratio."""
    n = 0
    while n < 120 and float(OCTAVES[n]) < ratio:
        n += 1
    return n


@register_jitable  # type: ignore[untyped-decorator]
def unit_of(value: float, expected: float, scale: float, floor: float) -> float:
    """The power of ten that makes the expected value this one, or 0. scale: sd of what is expected."""
    if abs(expected) < LEAST_DIGITS * floor or value == 0.0:  # nothing is nothing in any unit
        return 0.0
    for ratio in RATIOS:
        wanted = expected * ratio
        if abs(value - wanted) <= max(OFF_BY * abs(wanted), min(3 * scale, 0.5 * abs(expected)) * ratio, 0.5 * floor):
            return ratio
    return 0.0


@register_jitable  # type: ignore[untyped-decorator]
def peaks(series: Any, step: float, lively: float, limits: Any) -> None:
    """A step belongs to what the hour may bring; a bin is emptied, and that says nothing of how it rises. After the
    first week an hour's liveliness grows by no more at a time than a jump is suspected from.
    """
    if limits.emptied and step < 0.0:
        return
    size, least = abs(step), max(float(series.scale), 0.3 * limits.floor)
    if whole(series.hours) >= LEARNING_HOURS:
        size = min(size, 1.5 * SUSPECT * least * lively)
    peak = whole(series.hour_peak)
    if size * 8 >= float(OCTAVES[peak + 1]) * least:
        fraction, exponent = math.frexp(size * 8 / least)
        quarters = (fraction >= QUARTERS[0]) + (fraction >= QUARTERS[1]) + (fraction >= QUARTERS[2])
        series.hour_peak = max(peak, min(119, 4 * (exponent - 1) + quarters))


@register_jitable  # type: ignore[untyped-decorator]
def sd_of_six(series: Any) -> float:
    """Of the mean of six readings of an autoregressive series from where it was, in steps: variance 1/6 to 91/36."""
    keeps = float(series.keeps) * SHARE
    return math.sqrt(0.17 + 2.36 * keeps * keeps * keeps * keeps)


@register_jitable  # type: ignore[untyped-decorator]
def put_up_with(series: Any, size: float, scale: float, limits: Any) -> None:
    """In the first week: a shift of this size is none, nor is what comes but once in a thousand days. Of what is
    emptied so is any rise, in scales of the whole day: what somebody brings may come at another hour.
    """
    ratio = MARGIN_OF_JUMPS * size / (limits.shift * scale * sd_of_six(series))
    if ratio > float(OCTAVES[usual.care(series, usual.SHIFTS)]):
        usual.take_care(series, usual.SHIFTS, octaves(ratio))


@register_jitable  # type: ignore[untyped-decorator]
def _shifted(series: Any, mean: float, scale: float, often: int, dt_ms: int, limits: Any) -> int:
    """READINGS_SHIFTED readings stayed away from where the series was, by `mean`."""
    series.jump = 0
    peaks(series, mean, usual.liveliness(series, whole(series.hour)), limits)
    active, calm = whole(series.active), whole(series.calm)
    if often >= NOISY - 1 or active & UNIT_ERROR:
        return 0
    hours = whole(series.hours)
    if hours < usual.TEXTURE_HOURS or (limits.emptied and mean < 0):
        return 0
    care = usual.care(series, usual.SHIFTS)
    ratio = abs(mean) / (limits.shift * scale * sd_of_six(series))
    if hours < LEARNING_HOURS:
        put_up_with(
            series, abs(mean), max(float(series.scale), 0.3 * limits.floor) if limits.emptied else scale, limits
        )
    if abs(mean) < limits.shift_min or ratio < float(OCTAVES[care]):
        return 0
    if hours >= LEARNING_HOURS:
        usual.take_care(series, usual.SHIFTS, care + AGAIN)
    series.level = float(series.level) + mean  # from now on; the hours of the day stay as they are around it
    down = 0x80 if mean < 0 else 0
    if active & (LEVEL_SHIFT | RATE_OF_CHANGE):
        back = calm & 0x80 != down
        return (active & (LEVEL_SHIFT | RATE_OF_CHANGE)) << CLEARED if back else 0
    series.calm = calm & 0x0F | down
    if abs(mean) > limits.rate * dt_ms:
        return RATE_OF_CHANGE
    return LEVEL_SHIFT if math.isfinite(limits.shift) else 0


@register_jitable  # type: ignore[untyped-decorator]
def _stands_out(series: Any, size: float, base: float, limits: Any) -> float:
    """By how much one reading stands out, as a share of what noise between two neighbours may; from 1 on: a spike.

    Noise of sd s on what is slow has steps of s sqrt(1 + keeps), and around the mean of both neighbours s sqrt(1.5); no
    more than a step where nothing is kept.
    """
    sd = base * min(1.0, math.sqrt(1.5 / (1.0 + float(series.keeps) * SHARE)))
    return float(size / (limits.spike * sd * float(OCTAVES[usual.care(series, usual.SPIKES)])))


@register_jitable  # type: ignore[untyped-decorator]
def _spiked(series: Any, base: float, often: int, limits: Any) -> int:
    """A jump came back and QUIET readings followed."""
    series.jump = 0
    size, lively = abs(float(series.since)), usual.liveliness(series, whole(series.hour))
    if often >= NOISY - 1 or whole(series.active) & UNIT_ERROR:
        peaks(series, float(series.since), lively, limits)
        return 0
    ratio = _stands_out(series, size, base, limits)
    hours, care = whole(series.hours), usual.care(series, usual.SPIKES)
    learns = usual.TEXTURE_HOURS <= hours < LEARNING_HOURS
    if learns and MARGIN_OF_JUMPS * ratio >= 1.0:
        usual.take_care(series, usual.SPIKES, care + octaves(MARGIN_OF_JUMPS * ratio))
    if ratio < 1.0 or size < limits.spike_min:
        peaks(series, float(series.since), lively, limits)
        return 0
    if hours < usual.TEXTURE_HOURS:
        return SPIKE & ~whole(series.active) if ratio > 2.0 else 0
    if not learns:
        usual.take_care(series, usual.SPIKES, care + AGAIN)
    return SPIKE & ~whole(series.active)  # type: ignore[no-any-return]


@register_jitable  # type: ignore[untyped-decorator]
def comes_back(out: float, back: float) -> bool:
    """Whether a step back undoes one out, and is no greater step of its own."""
    return 0.5 * out <= back <= 2.0 * out


@register_jitable  # type: ignore[untyped-decorator]
def stood_out(series: Any, x: float, left: float, base: float, limits: Any) -> bool:
    """Whether the last reading stood out from both its neighbours, however lively the hour: what switches, is emptied
    or goes on after a pause steps one way only. `since` is then by how much.
    """
    out = float(series.left) - float(series.before)
    if abs(out) < 0.5 * limits.spike * base:  # as most; less than any threshold below
        return False
    way = 1.0 if out > 0.0 else -1.0
    back = (
        min(float(series.left) - left, float(series.last) - x)
        if way > 0
        else min(left - float(series.left), x - float(series.last))
    )
    size = min(abs(out), back)
    least = 1.0 if whole(series.hours) >= LEARNING_HOURS else 1.0 / MARGIN_OF_JUMPS
    if not comes_back(abs(out), back) or _stands_out(series, size, base, limits) < least:
        return False
    series.since = size * way
    return True


@register_jitable  # type: ignore[untyped-decorator]
def was_error(series: Any, limits: Any) -> bool:
    """Whether the last value is one that a broken counter says: it teaches nothing, and has a name of its own."""
    found = False
    for j in range(MOST_IGNORED):
        found = found or float(series.last) == limits.errors[j]
    return found


@register_jitable  # type: ignore[untyped-decorator]
def _switches(series: Any, x: float, scale: float, limits: Any) -> bool:
    """Whether neighbouring hours differ so much that a value between them is one of theirs, come early or late."""
    return not limits.emptied and usual.beside(series, whole(series.hour), x, SWITCHES * scale)


@register_jitable  # type: ignore[untyped-decorator]
def follow(
    series: Any,
    x: float,
    left: float,
    own: float,
    expects: float,
    base: float,
    scale: float,
    often: int,
    dt_ms: int,
    limits: Any,
) -> int:
    """A jump is under way: does it come back, stay, or is it another unit?"""
    jump = whole(series.jump)
    if jump >= WENT_ON:
        calm = abs(own) < CALM_SCALES * scale
        series.jump = 0 if calm and jump + 1 - WENT_ON >= QUIET else jump + 1 if calm else WENT_ON
        return 0
    if jump >= CAME_BACK:
        size = abs(float(series.since))
        if abs(own) >= max(CALM * size, CALM_SCALES * base, min(CALM_SCALES * scale, 0.5 * size)):
            peaks(series, float(series.since), usual.liveliness(series, whole(series.hour)), limits)
            series.jump = 0
            return 0
        series.jump = jump + 1
        return _spiked(series, base, often, limits) if jump + 1 - CAME_BACK >= QUIET else 0
    before, mean = float(series.before), float(series.since) / jump
    off = left - before
    if whole(series.active) & UNIT_ERROR:
        if 3 * abs(x) > abs(expects) and abs(x) < 3 * abs(expects):
            series.jump = jump + 1 if jump >= READINGS_SHIFTED else READINGS_SHIFTED
            if jump >= READINGS_SHIFTED + 2:
                series.jump = 0
                return UNIT_ERROR << CLEARED
        else:
            series.jump = 3
            series.since = 3 * off
        return 0
    if abs(off) < 0.5 * abs(mean) or off * mean < 0:
        back = (float(series.last) - x) * (1.0 if mean > 0.0 else -1.0)  # of the value, whatever is expected of it
        series.jump = CAME_BACK if jump <= READINGS_OUT and comes_back(abs(mean), back) else 0
        series.since = min(abs(mean), back) * (1.0 if mean > 0.0 else -1.0)
        if whole(series.jump) == CAME_BACK and was_error(series, limits):
            series.since = 0.0
        if whole(series.jump) == 0:
            peaks(series, mean, usual.liveliness(series, whole(series.hour)), limits)
        return 0
    shifted = whole(series.active) & (LEVEL_SHIFT | RATE_OF_CHANGE)
    step = jump > 1 or limits.counts  # a meter's mean over an interval may lie halfway
    if step and not shifted and own * mean > 0.0 and abs(own) >= max(GOES_ON * abs(mean), CALM_SCALES * scale):
        peaks(series, mean, usual.liveliness(series, whole(series.hour)), limits)
        series.jump = WENT_ON
        return 0
    series.since = float(series.since) + off
    series.jump = jump + 1
    known = whole(series.hours) >= usual.DAY_HOURS  # a lamp that lights for the first time is no other unit
    if jump + 1 == 3 and limits.unit and known and not _switches(series, x, base, limits):
        ratio = unit_of(x, expects, scale, limits.floor)
        sought = ratio > 1.0 or (ratio > 0.0 and not limits.emptied)
        if sought and unit_of(expects + mean, expects, scale, limits.floor) == ratio:
            series.calm = whole(series.calm) & 0x0F
            return UNIT_ERROR
    if jump + 1 >= READINGS_SHIFTED:
        lively = usual.liveliness(series, whole(series.hour))
        # An hour eight times as lively as the day is so by what switches in it.
        switched = _switches(series, x, base if lively >= SWITCHES else scale, limits)
        if switched and not whole(series.active) & (LEVEL_SHIFT | RATE_OF_CHANGE):
            peaks(series, mean, lively, limits)
            series.jump = 0
            return 0
        return _shifted(series, float(series.since) / (jump + 1), scale, often, dt_ms, limits)  # type: ignore[no-any-return]
    return 0
