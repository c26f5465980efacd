"""Fault monitors of one numeric property: what is wrong with a series of numbers, one name for one thing.

`step` takes one value: what it left of what was expected (level, hour of the day, what the peers do, the share of the
last deviation that lasts) is compared with what is usual for the series (`usual`). It is plain Python and is compiled
as it is; both give the same bits (held by a property test).

What may look alike is told apart by waiting for a few readings: a jump that comes back is a spike, one that stays is a
level shift or, at a tenth or a thousand times what was expected, a unit error; many of them are noise.
Late and repeated observations are left out by the caller; gaps (NaN, infinities) leave the state untouched.
"""

import math
from typing import Any, NamedTuple, get_type_hints

import numba
import numpy as np

from contracts.profiles import MOST_IGNORED, LevelShift, OutOfRange, Property, Spike, Stuck, Switch
from ingest_service.columns import Array
from ingest_service.detection import usual
from ingest_service.detection.before import keeper
from ingest_service.detection.usual import CHANGES, CLIP, LEARNING_HOURS, OCTAVES, SD_OF_MEAN_DEVIATION, whole

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
SHARE = 1.0 / 65535  # of a whole, as records keep it
CLEARED = 8  # bits to shift: a change is raised in bits 0..7 and cleared in bits 8..15
POISONED = 1 << 16  # the state was not finite and began anew

LARGEST = 1e15  # what is beyond is taken for this: squares stay finite
SUSPECT = 4.0  # sd of a step from which a jump is looked at: one in 16,000, twenty days at five minutes
READINGS_OUT = 3  # at most, of a spike; the shortest level shift is told from it by READINGS_SHIFTED
READINGS_SHIFTED = 6
SWITCHES = 8.0  # scales between neighbouring hours: twice what is suspected, so no slope of a usual day
CALM_SCALES = 3.0  # of steps of the day, is calm after a spike; of the hour's, up to half of its size; and always
CALM = 1 / 8  # of its size
QUIET = 3  # readings after a spike came back before it is called one: a burst of noise is rarely as calm
OFTEN = 2.5  # sd that a normal step exceeds one time in eighty, half of them back towards what is usual
OFTEN_BY = OFTEN * np.sqrt(OCTAVES)  # by how careful a series has become
NOISY, LESS_NOISY = 5, 1  # of 16: 4,368 / 160^5 is one in 2 * 10^7 by chance
EVIDENCE_OF_HANG = 12.0  # nat; a false alarm in e^12 readings, five hundred days at five minutes
MOST_DOUBLED = 2  # times that this grows twofold: 48 nat are a day of repeats where half of the readings repeat
REPEATS_OFTEN = 2  # index into CHANGES: half of the readings
QUIET_TIMES = 4  # of the twelve of a day, as long as a night
LIVES_ON = 1.0 / 3  # of the evidence that it takes; below that a value no longer hangs
CALMS_DAYS = 12  # after which a hang is taken for as likely as before
HANGS = 0.92  # share of repeats of a value that hangs, by fits and starts too
DRIFTED = 4.5  # sd of the slow mean
AGAIN = 3  # quarters of an octave by which each alarm makes its own repetition harder: a nuisance gets rarer
FORGIVING_DAYS = 32  # a quarter of an octave each: with AGAIN, a nuisance comes to one alarm in a hundred days
FORGIVING_DAYS_SLOW = 3  # the same of the slow mean, whose margin was learnt of fourteen half days only
MOST_HELD = 36.0  # readings; three hours at five minutes
MARGIN = 1.25  # by which the slow mean must exceed what was seen of it while learning
# The same of jumps. The largest of n exponential values is ln(n): one that comes in a thousand days is this much larger
# than the largest of a week, at a report in five minutes (and 1.72 at one in ten).
MARGIN_OF_JUMPS = math.log(288_000) / math.log(2_016)
CAME_BACK = 16  # `jump` from here on: readings since it came back
SETTLED = 6  # half days
LEAST_DIGITS = 2.0  # units of resolution that an expected value needs before a ratio to it means anything
OFF_BY = 0.12  # of a ratio, for a unit error; neighbouring powers of ten are far away
WARM_READINGS = 20  # steps before their scale means anything
MEMBERS = 4  # of a group, that their mean be no matter of one of them
STALE_S = 7200  # after which a group's mean says nothing
GROUP = np.dtype([("middle", np.float32), ("spread", np.float32), ("at_s", np.uint32), ("seen", np.uint32)])

WORDS, GROUP_WORDS = usual.SERIES.itemsize // 4, GROUP.itemsize // 4
_keep = keeper(WORDS)
RATIOS = (10.0, 1000.0, 0.1, 0.001)  # of units that are mistaken for each other: mm, cm, m; W, kW
_share = np.minimum(0.98, 1 - CHANGES + 0.02)
REPEATED = np.minimum(1.5, np.log(HANGS / _share))  # nat of a repeat, by share of changes
CHANGED = np.minimum(-0.5, np.log((1 - HANGS) / np.maximum(CHANGES, 0.02)))


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


def new_groups(n: int) -> Array:
    return np.zeros(n, GROUP).view(np.recarray)


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def of_group(group: Any, members: int, at_s: int, away: float) -> float:
    """What the peers of a series are away from their own usual, and what this one adds to it: O(1), and robust, for
    each member's word is cut at CLIP scales. The last two words of each member count.
    """
    if members < MEMBERS:
        return 0.0
    seen = whole(group.seen)
    if seen == 0 or at_s - whole(group.at_s) > STALE_S:
        group.middle = away
        group.spread = 0.0
        group.seen = 0
        seen = 0
    mean, spread = float(group.middle), float(group.spread)
    off = away - mean
    weight = max(1.0 / (seen + 1), 1.0 / (2 * members))
    cut = off
    if seen > members:
        reach = CLIP * max(spread, 1e-9)
        cut = max(-reach, min(reach, off))
    group.middle = mean + weight * cut
    wide = abs(off) * SD_OF_MEAN_DEVIATION
    group.spread = spread + weight * ((min(wide, 2 * CLIP * spread) if seen > members else wide) - spread)
    group.at_s = max(whole(group.at_s), at_s)
    group.seen = min(seen + 1, 1 << 30)
    return mean if seen >= members else 0.0


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def unit_of(value: float, expected: float, scale: float, floor: float) -> float:
    """The power of ten that makes the expected value this one, or 0. scale: sd of what is expected."""
    if abs(expected) < LEAST_DIGITS * floor or value == 0.0:  # nothing is nothing in any unit
        return 0.0
    for ratio in RATIOS:
        wanted = expected * ratio
        if abs(value - wanted) <= max(OFF_BY * abs(wanted), min(3 * scale, 0.5 * abs(expected)) * ratio, 0.5 * floor):
            return ratio
    return 0.0


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def bits(word: int) -> int:
    """How many of 16 bits are set."""
    word = word - (word >> 1 & 0x5555)
    word = (word & 0x3333) + (word >> 2 & 0x3333)
    word = (word + (word >> 4)) & 0x0F0F
    return (word + (word >> 8)) & 0x1F


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def octaves(ratio: float) -> int:
    """Smallest number of quarters of an octave that is at least this ratio."""
    n = 0
    while n < 120 and float(OCTAVES[n]) < ratio:
        n += 1
    return n


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _peaks(series: Any, step: float, lively: float, limits: Any) -> None:
    """A step belongs to what the hour may bring; a bin is emptied, and that says nothing of how it rises. After the
    first week an hour's liveliness grows by no more at a time than a jump is suspected from.
    """
    if limits.emptied and step < 0.0:
        return
    size, least = abs(step), max(float(series.scale), 0.3 * limits.floor)
    if whole(series.hours) >= LEARNING_HOURS:
        size = min(size, 1.5 * SUSPECT * least * lively)
    peak = whole(series.hour_peak)
    if size * 8 >= 4 * float(OCTAVES[peak]) * least:
        peak = max(peak, min(119, 4 * (math.frexp(size * 8 / least)[1] - 1) - 1))  # just below; the rest one by one
    while peak < 119 and size * 8 >= float(OCTAVES[peak + 1]) * least:
        peak += 1
    series.hour_peak = peak


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
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


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _hangs(series: Any, x: float, same: bool, hour: int, dt_ms: int, limits: Any) -> int:
    """Evidence for a value that hangs, a sum of log-likelihood ratios (Page 1954): repeats add, changes take.

    It takes the twofold after a quiet time in the first week, of a series with quiet times, and after each alarm:
    days are not alike, and no count of repeats by the hour of the day knows a Sunday.
    """
    active, known = whole(series.active), whole(series.hours) >= usual.DAY_HOURS
    series.repeats = min(65535, whole(series.repeats) + 1) if same else 1
    doubled = whole(series.hang) >> 14
    enough = EVIDENCE_OF_HANG * (1 << doubled)
    hang = _evidence(series)
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


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _has_quiet_times(series: Any) -> bool:
    """Whether half of the readings repeat for as long as a night: what hangs now taught less than that before this is
    asked.
    """
    quiet = 0
    for k in range(12):
        quiet += 1 if whole(series.texture[k]) & 15 >= REPEATS_OFTEN else 0
    return quiet >= QUIET_TIMES


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _evidence(series: Any) -> float:
    """That a value hangs, in nat."""
    return (whole(series.hang) & 0x3FFF) / 256.0  # type: ignore[no-any-return]


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _slowly(series: Any, score: float) -> int:
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


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _settle(series: Any) -> int:
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


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def sd_of_six(series: Any) -> float:
    """Of the mean of six readings of an autoregressive series from where it was, in steps: variance 1/6 to 91/36."""
    keeps = float(series.keeps) * SHARE
    return math.sqrt(0.17 + 2.36 * keeps * keeps * keeps * keeps)


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _put_up_with(series: Any, size: float, scale: float, limits: Any) -> None:
    """In the first week: a shift of this size is none, nor is what comes but once in a thousand days. Of what is
    emptied so is any rise, in scales of the whole day: what somebody brings may come at another hour.
    """
    ratio = MARGIN_OF_JUMPS * size / (limits.shift * scale * sd_of_six(series))
    if ratio > float(OCTAVES[usual.care(series, usual.SHIFTS)]):
        usual.take_care(series, usual.SHIFTS, octaves(ratio))


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _shifted(series: Any, mean: float, scale: float, often: int, dt_ms: int, limits: Any) -> int:
    """READINGS_SHIFTED readings stayed away from where the series was, by `mean`."""
    series.jump = 0
    _peaks(series, mean, usual.liveliness(series, whole(series.hour)), limits)
    active, calm = whole(series.active), whole(series.calm)
    if often >= NOISY - 1 or active & UNIT_ERROR:
        return 0
    hours = whole(series.hours)
    if hours < usual.TEXTURE_HOURS or (limits.emptied and mean < 0):
        return 0
    care = usual.care(series, usual.SHIFTS)
    ratio = abs(mean) / (limits.shift * scale * sd_of_six(series))
    if hours < LEARNING_HOURS:
        _put_up_with(
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


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _stands_out(series: Any, size: float, base: float, limits: Any) -> float:
    """By how much one reading stands out, as a share of what noise between two neighbours may; from 1 on: a spike.

    Noise of sd s on what is slow has steps of s sqrt(1 + keeps), and around the mean of both neighbours s sqrt(1.5); no
    more than a step where nothing is kept.
    """
    sd = base * min(1.0, math.sqrt(1.5 / (1.0 + float(series.keeps) * SHARE)))
    return float(size / (limits.spike * sd * float(OCTAVES[usual.care(series, usual.SPIKES)])))


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _spiked(series: Any, base: float, often: int, limits: Any) -> int:
    """A jump came back and QUIET readings followed."""
    series.jump = 0
    size, lively = abs(float(series.since)), usual.liveliness(series, whole(series.hour))
    if often >= NOISY - 1 or whole(series.active) & UNIT_ERROR:
        _peaks(series, float(series.since), lively, limits)
        return 0
    ratio = _stands_out(series, size, base, limits)
    hours, care = whole(series.hours), usual.care(series, usual.SPIKES)
    learns = usual.TEXTURE_HOURS <= hours < LEARNING_HOURS
    if learns and MARGIN_OF_JUMPS * ratio >= 1.0:
        usual.take_care(series, usual.SPIKES, care + octaves(MARGIN_OF_JUMPS * ratio))
    if ratio < 1.0 or size < limits.spike_min:
        _peaks(series, float(series.since), lively, limits)
        return 0
    if hours < usual.TEXTURE_HOURS:
        return SPIKE & ~whole(series.active) if ratio > 2.0 else 0
    if not learns:
        usual.take_care(series, usual.SPIKES, care + AGAIN)
    return SPIKE & ~whole(series.active)  # type: ignore[no-any-return]


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def comes_back(out: float, back: float) -> bool:
    """Whether a step back undoes one out, and is no greater step of its own."""
    return 0.5 * out <= back <= 2.0 * out


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _own(sign: float, moved: float) -> float:
    """What of an unexpected step the value itself made: who stays where it was has not jumped, whatever its peers and
    the hour do.
    """
    if sign > 0.0:
        return max(0.0, min(sign, moved))
    return min(0.0, max(sign, moved))


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _stood_out(series: Any, x: float, left: float, base: float, limits: Any) -> bool:
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


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _was_error(series: Any, limits: Any) -> bool:
    """Whether the last value is one that a broken counter says: it teaches nothing, and has a name of its own."""
    found = False
    for j in range(MOST_IGNORED):
        found = found or float(series.last) == limits.errors[j]
    return found


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _switches(series: Any, x: float, scale: float, limits: Any) -> bool:
    """Whether neighbouring hours differ so much that a value between them is one of theirs, come early or late."""
    return not limits.emptied and usual.beside(series, whole(series.hour), x, SWITCHES * scale)


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _jumps(
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
    if jump >= CAME_BACK:
        size = abs(float(series.since))
        if abs(own) >= max(CALM * size, CALM_SCALES * base, min(CALM_SCALES * scale, 0.5 * size)):
            _peaks(series, float(series.since), usual.liveliness(series, whole(series.hour)), limits)
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
        if whole(series.jump) == CAME_BACK and _was_error(series, limits):
            series.since = 0.0
        if whole(series.jump) == 0:
            _peaks(series, mean, usual.liveliness(series, whole(series.hour)), limits)
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
            _peaks(series, mean, lively, limits)
            series.jump = 0
            return 0
        return _shifted(series, float(series.since) / (jump + 1), scale, often, dt_ms, limits)  # type: ignore[no-any-return]
    return 0


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
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
        _peaks(series, own, lively, limits)


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
            wait = wait or (suspect and jump == 0) or 0 < jump < READINGS_SHIFTED
        wait = wait or whole(series.active) & (UNIT_ERROR | LEVEL_SHIFT | NOISE) != 0
    changed |= _range(series, x, wait, limits)
    if same or _evidence(series) > 0.0 or whole(series.active) & STUCK:
        changed |= _hangs(series, x, same, hour, dt_ms, limits)
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
            changed |= _jumps(series, x, left, own, expects, base, scale, often, dt_ms, limits)
        elif not resumes and _stood_out(series, x, left, base, limits):
            series.jump = CAME_BACK
            if _was_error(series, limits):
                series.since = 0.0
        elif suspect:
            series.since = sign
            series.jump = 1
            own = sign
        left = x - float(series.level) - day - peers
    if changed:
        told.expects = expects
        told.scale = scale
        told.reached = max(abs(z) / (2 * SUSPECT), often / NOISY, _evidence(series) / EVIDENCE_OF_HANG)

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


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _forgive(series: Any, day: int) -> None:
    """What was learnt from alarms, and from a first week that may have been unlike all others, fades."""
    if day % FORGIVING_DAYS == 0:
        usual.take_care(series, usual.SHIFTS, usual.care(series, usual.SHIFTS) - 1)
        usual.take_care(series, usual.SPIKES, usual.care(series, usual.SPIKES) - 1)
    if day % FORGIVING_DAYS_SLOW == 0:
        usual.take_care(series, usual.SLOW, usual.care(series, usual.SLOW) - 1)
    if day % CALMS_DAYS == 0:
        series.hang = max(whole(series.hang) & 0x3FFF, whole(series.hang) - 0x4000)


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def _hour(series: Any, at_s: int, hour: int, limits: Any) -> int:
    """The hour is over: learn from it, and judge what is slow."""
    changed = 0
    if whole(series.hour) >= 0:
        if limits.emptied and usual.TEXTURE_HOURS <= whole(series.hours) < LEARNING_HOURS:
            least = max(float(series.scale), 0.3 * limits.floor)
            _put_up_with(series, float(OCTAVES[whole(series.hour_peak) + 1]) / 8 * least, least, limits)
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
            changed |= _slowly(series, score)
        if hour % 12 == 0:
            changed |= _settle(series) << CLEARED
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
