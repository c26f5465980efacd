"""What is usual for one series of numbers: its hours of the day, how it moves, how often it repeats. 92 bytes.

Owns the record of a series and how an hour of readings becomes part of it. What is unusual, and what that is called,
belongs to `monitors`. Everything is plain Python on one record, and is compiled as it is.

An hour's mean is kept in 8 bits with one exponent for the day, an hour's liveliness in 4 bits and its share of changes
in 4 bits, in steps of the square root of two: a detector that asks "five times what is usual?" needs no finer answer.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from ingest_service.columns import Array

LEARNING_HOURS = 168  # a week: until then whatever happens is usual for the series, weekends included
DAY_HOURS = 24  # the hours of the day are expected from the second day on
TEXTURE_HOURS = 48  # what jumps are usual at an hour, seen twice
SLOW_HOURS = 72  # the mean of three days' hours is worth a comparison
CALMING_DAYS = 4
DAYS_KEPT = 8  # an hour's expectation follows the last eight days: one week, so that no weekday weighs double
CLIP = 3.0  # influence of one reading is cut at three scales; Huber (1964), "Robust estimation of a location parameter"
SD_OF_MEAN_DEVIATION = 1.2533141373155001  # sqrt(pi / 2): mean absolute deviation to sd, normal distribution
SLOWLY = (
    1.0 / 12.0
)  # weight of the newest hour in the slow mean: half a day, shorter than what drifts, longer than noise

HOURS_KEEP = 32768  # in 1/65535: lag-one autocorrelation of hours' scores, until the series' own is known

SERIES = np.dtype(
    [
        ("level", np.float32),  # around which the hours of the day lie
        ("last", np.float32),  # value
        ("left", np.float32),  # last value less what was expected of it
        ("scale", np.float32),  # robust sd of one step
        ("hour_sum", np.float32),
        ("hour_scale", np.float32),  # robust sd of an hour's mean around its expectation
        ("before", np.float32),  # `left` before the jump that is being looked at
        ("since", np.float32),  # sum of what was away from it
        ("keeps", np.uint16),  # share of `left` that lasts to the next reading: lag-one autocorrelation, in 1/65535
        ("hours_keep", np.uint16),  # lag-one autocorrelation of hours' scores, in 1/65535
        ("slow", np.int16),  # slow mean of hours' standard scores, in 1/2048
        ("repeats", np.uint16),
        ("lively", np.uint16),  # of the last 16 readings, which moved more than they do one time in eighty
        ("hang", np.uint16),  # evidence for a value that hangs, in 1/256 nat (14 bits); doublings of what it takes (2)
        ("active", np.uint8),  # bits of the conditions now raised
        ("hour", np.int8),
        ("hours", np.uint8),  # folded so far, up to 255
        ("hour_n", np.uint8),
        ("hour_changes", np.uint8),
        ("hour_peak", np.uint8),  # largest step of the hour in quarters of an octave of `scale`
        ("jump", np.uint8),  # state of the jump that is being looked at
        ("exponent", np.int8),  # of the unit in which `day` is kept
        ("score", np.int8),  # of the last hour, in 1/8
        (
            "cares",
            np.uint16,
        ),  # how much more than by theory it must be, in quarters of an octave: 5 bits each of `care`
        (
            "calm",
            np.uint8,
        ),  # values inside the range since the last outside (4 bits), half days of a shift (3), down (1)
        ("day", np.int8, 24),  # what each hour (UTC) adds to the base
        ("texture", np.uint8, 12),  # of two hours each: liveliness (high nibble), share of repeats (low)
    ]
)

UNIT = 2.0 ** np.arange(-64, 64)  # by exponent + 64
OCTAVES = 2.0 ** (np.arange(256) / 4)  # quarters of an octave
LIVELY = 2.0 ** (np.arange(16) / 2)  # largest steps of a usual hour, as the sd of a normal series with such steps
CHANGES = 2.0 ** (-np.arange(16) / 2)  # share of readings that differ from the one before
# Median of the largest of n absolute normal values: where its distribution function to the n-th is a half.
PEAK_OF = np.array([0.674, 0.674, 1.052, 1.266, 1.413, 1.524, 1.612, 1.685, 1.747, 1.801, 1.849, 1.891])
PEAK_OF = np.concatenate(
    [PEAK_OF, np.interp(np.arange(12, 256), [11, 24, 60, 120, 255], [1.891, 2.19, 2.53, 2.77, 3.0])]
)
HOUR = 1.0 / 3600
HOUR_OF = np.arange(25, dtype=np.int64) % 24
HOUR_BEFORE = (HOUR_OF + 23) % 24
# Of the twelve that share two hours each, the one nearer to each hour besides its own.
NEARER = np.array([(hour // 2 + (1 if hour % 2 else 11)) % 12 for hour in range(24)])
SHARE = 1.0 / 65535  # of a whole, as records keep it
AGAIN = 3  # quarters of an octave by which each alarm makes its own repetition harder: a nuisance gets rarer
GOLDEN = 0.6180339887498949
SHIFTS, SPIKES, SLOW = 0, 5, 10  # where `cares` keeps the care that is taken with each
MOST_CARE = 31  # 2^7.75: two hundred times what theory says


@register_jitable  # type: ignore[untyped-decorator]
def whole(field: Any) -> Any:
    """A field of a record as a number that can go below zero, compiled or not."""
    return np.int64(field)


def new_series(n: int) -> Array:
    """(n,) records of series never heard of."""
    state = np.zeros(n, SERIES).view(np.recarray)
    state.last = np.nan
    state.hours_keep = HOURS_KEEP
    state.hour = -1
    state.exponent = -64
    state.texture = 0
    return state


@register_jitable  # type: ignore[untyped-decorator]
def forget(series: Any) -> None:
    """Begin anew: what `new_series` gives."""
    series.level = 0.0
    series.last = np.nan
    series.left = 0.0
    series.keeps = 0
    series.scale = 0.0
    series.hour_sum = 0.0
    series.hour_scale = 0.0
    series.before = 0.0
    series.since = 0.0
    series.hours_keep = HOURS_KEEP
    series.slow = 0
    series.repeats = 0
    series.lively = 0
    series.hang = 0
    series.active = 0
    series.hour = -1
    series.hours = 0
    series.hour_n = 0
    series.hour_changes = 0
    series.hour_peak = 0
    series.jump = 0
    series.exponent = -64
    series.score = 0
    series.cares = 0
    series.calm = 0
    for i in range(24):
        series.day[i] = 0
    for i in range(12):
        series.texture[i] = 0


@register_jitable  # type: ignore[untyped-decorator]
def care(series: Any, of: int) -> int:
    """Quarters of an octave by which SHIFTS, SPIKES or SLOW must exceed what theory says."""
    return whole(series.cares) >> of & MOST_CARE  # type: ignore[no-any-return]


@register_jitable  # type: ignore[untyped-decorator]
def take_care(series: Any, of: int, quarters: int) -> None:
    """Set it."""
    series.cares = whole(series.cares) & ~(MOST_CARE << of) | max(0, min(MOST_CARE, quarters)) << of


@register_jitable  # type: ignore[untyped-decorator]
def of_day(series: Any, second: int) -> float:
    """What this second of the day adds to the base: between the middles of two hours."""
    if whole(series.hours) < DAY_HOURS:
        return 0.0
    place = second + 1800
    first = place // 3600
    share = (place - first * 3600) * HOUR
    low = float(series.day[HOUR_BEFORE[first]])
    high = float(series.day[HOUR_OF[first]])
    return (low + (high - low) * share) * float(UNIT[whole(series.exponent) + 64])


@register_jitable  # type: ignore[untyped-decorator]
def beside(series: Any, hour: int, x: float, least: float) -> bool:
    """Whether x lies where the series is at this hour or the two beside it, which differ by more than `least`: what
    switches, switches a little earlier or later than yesterday.
    """
    if whole(series.hours) < DAY_HOURS:
        return False
    low = min(whole(series.day[(hour + 23) % 24]), whole(series.day[hour]), whole(series.day[(hour + 1) % 24]))
    high = max(whole(series.day[(hour + 23) % 24]), whole(series.day[hour]), whole(series.day[(hour + 1) % 24]))
    unit = float(UNIT[whole(series.exponent) + 64])
    spread = (high - low) * unit
    away = x - float(series.level)
    inside = low * unit - 0.25 * spread <= away <= high * unit + 0.25 * spread
    return bool(spread > least and inside)


@register_jitable  # type: ignore[untyped-decorator]
def liveliness(series: Any, hour: int) -> float:
    """How much livelier than the whole day this hour is: of its two hours and the nearer two beside them."""
    here, beside = hour >> 1, NEARER[hour]
    return float(LIVELY[max(whole(series.texture[here]) >> 4, whole(series.texture[beside]) >> 4)])


@register_jitable  # type: ignore[untyped-decorator]
def repeating(series: Any, hour: int) -> int:
    """Index into CHANGES of this hour."""
    here, beside = hour >> 1, NEARER[hour]
    return max(whole(series.texture[here]) & 15, whole(series.texture[beside]) & 15)  # type: ignore[no-any-return]


@register_jitable  # type: ignore[untyped-decorator]
def put_hour(series: Any, hour: int, added: float, dither: float, floor: float) -> None:
    """Add to an hour of the day. Rounding is spread by `dither` (0..1), so that small steps are not lost for ever."""
    exponent = whole(series.exponent)
    if exponent == -64:
        while exponent < 63 and float(UNIT[exponent + 64]) < floor / 4:
            exponent += 1
        series.exponent = exponent
    wanted = float(series.day[hour]) + added / float(UNIT[exponent + 64])
    while abs(wanted) > 126.0 and exponent < 63:
        exponent += 1
        wanted *= 0.5
        for i in range(24):
            series.day[i] = whole(series.day[i]) // 2
    series.exponent = exponent
    series.day[hour] = int(np.floor(max(-126.0, min(126.0, wanted)) + dither))


@register_jitable  # type: ignore[untyped-decorator]
def learn_texture(series: Any, calms: bool) -> None:
    """The hour's largest step and its share of changes move their nibbles; on the first day they set them. Two hours
    share one: what is lively in one of them shall outweigh the calm of the other, so it calms down on some days only.
    """
    n = whole(series.hour_n)
    hour = whole(series.hour)
    here = hour // 2
    old = whole(series.texture[here])
    lively, same = old >> 4, old & 15
    first = whole(series.hours) < DAY_HOURS
    turns = 15 if first and hour % 2 == 0 else 3 if first else 1
    peak = 0.0
    if whole(series.hour_peak):
        peak = float(OCTAVES[whole(series.hour_peak)]) / 8 / float(PEAK_OF[n])
    share = max(whole(series.hour_changes), 0.35) / n
    for _ in range(turns):
        if peak > 1.25 * float(LIVELY[lively]) and lively < 15:
            lively += 2 if peak > 2.0 * float(LIVELY[lively]) and lively < 14 else 1
        elif peak < 0.75 * float(LIVELY[lively]) and lively > 0 and calms:
            lively -= 1
        if share > 1.19 * float(CHANGES[same]) and same > 0:
            same -= 1
        elif share < 0.84 * float(CHANGES[same]) and same < 15:
            same += 1
    series.texture[here] = lively << 4 | same


@register_jitable  # type: ignore[untyped-decorator]
def fold(series: Any, day_number: int, floor: float) -> float:
    """The hour is over: learn from it; its standard score, 0 while that means nothing."""
    n = whole(series.hour_n)
    score = 0.0
    if n >= 1:
        hour = whole(series.hour)
        hours = whole(series.hours)
        mean = float(series.hour_sum) / n
        turned = (day_number * 24 + hour) * GOLDEN
        dither = turned - np.floor(turned)  # much faster than % 1.0
        learn_texture(series, day_number % CALMING_DAYS == 0)
        if hours < DAY_HOURS:
            put_hour(series, hour, mean, dither, floor)
        else:
            lively = max(1.0, liveliness(series, hour))
            usual = float(series.hour_scale)
            least = max(0.3 * floor, 0.1 * float(series.scale))
            away = mean / lively
            if hours >= SLOW_HOURS and usual > 0.0:
                score = away / max(usual, least)
            size = abs(away) * SD_OF_MEAN_DEVIATION
            weight = max(1.0 / (hours - DAY_HOURS + 1), 1.0 / 192)
            kept = usual + weight * ((min(size, 2 * CLIP * usual) if hours > 30 else size) - usual)
            series.hour_scale = kept
            reach = CLIP * max(kept, least) * lively
            if hours >= SLOW_HOURS:
                mean = max(-reach, min(reach, mean))
            put_hour(series, hour, mean * max(1.0 / (hours // 24 + 1), 1.0 / DAYS_KEPT), dither, floor)
        series.hours = min(255, hours + 1)
    series.hour_sum = 0.0
    series.hour_n = 0
    series.hour_changes = 0
    series.hour_peak = 0
    return score
