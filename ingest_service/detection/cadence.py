"""When a device reports: silent, reporting twice, or with a clock that is wrong. 36 bytes a device.

How often it reports is learnt from its own times. Silence is judged by the clock of the agent that speaks for the
device, in a sweep: it is silent when that clock has gone past its newest observation by three intervals and what its
times vary by (by what the profile says until eight intervals are known), or by well more than its longest pause lately.
While an agent says nothing its clock stands still, so a dead agent is one alarm and not two hundred; when it is back,
its devices get as long again to report. Devices that report changes only are never silent.

An observation that is not newer is late or repeated, and nobody judges its value. Late ones that fill a pause come from
a backlog; three in a row over time already told are a clock that was set back, and what it says counts from then on.
"""

import math
from typing import Any

import numba
import numpy as np
from numba.extending import register_jitable

from ingest_service.columns import Array
from ingest_service.detection.before import keeper
from ingest_service.detection.usual import OCTAVES, whole

NEVER = np.iinfo(np.int64).min
DEVICE = np.dtype(
    [
        ("last_ms", np.int64),  # newest observation
        ("spare_ms", np.uint32),  # what is to be added to it before silence is judged
        ("agent", np.int32),  # index of the agent last heard from, -1 before
        ("interval", np.float32),  # ms
        ("late_s", np.uint32),  # the last late observation
        ("pause_s", np.uint32),  # end of the last pause
        ("pause_min", np.uint16),  # and how long it was
        ("longest", np.uint8),  # pause lately, in quarters of an octave of the interval
        ("jitter", np.uint8),  # mean deviation from the cadence, in 1/256 of the interval
        ("phase", np.int8),  # sudden deviation that is being looked at, in 1/64 of the interval
        ("seen", np.uint8),  # intervals, up to 255
        ("marks", np.uint8),
        ("counts", np.uint8),  # repeated (high nibble), late in a row (low)
    ]
)
SINCE = np.dtype([("ms", np.int64)])
WORDS = DEVICE.itemsize // 4
_keep = keeper(WORDS)
SILENT, SKEWED, DOUBLED, BEHIND, ONCE = (1 << i for i in range(5))  # marks; ONCE: the new phase has held once
BACK, SKEW_BEGINS, SKEW_ENDS, DOUBLE_BEGINS, DOUBLE_ENDS = (1 << i for i in range(5))  # changes

KNOWN = 8  # intervals, from which the cadence is the device's own
REGULAR = 32  # intervals, from which a deviation from it means something
MISSED = 3.1  # intervals without a report, and a tenth for the way
UNEVEN = 0.1  # mean deviation, of the interval: who reports changes in between is given what the profile says
PAUSE = 1.4  # times the longest pause lately: a device that pauses at will is not called silent for a little more
GAP = 3.5  # intervals from which a series starts anew after a pause
PAUSES_FORGET = 4  # intervals each: a cadence of which one in five is a pause is begun anew
DEVIATIONS = 6.0  # mean deviations, and
LEAST_PHASE = 0.08  # intervals, that a phase must jump by
IN_A_ROW = 3
TOGETHER = 0.1  # intervals: what is closer to the report before is the same report
DOUBLES, DOUBLES_FULL = 3, 7  # a repeat adds three, any other report takes one: three of four reports in a row
AHEAD = 1.5  # intervals, and
AHEAD_MS = 120_000  # what a clock may be ahead of the agent's; ingest takes no more in any case
DAY_MS = 86_400_000
SWEPT = 128  # devices that are passed by together: 5 KB that need not be read
MOST_SPARE_MS = 4_294_967_295


def new_devices(n: int) -> Array:
    """(n,) records of devices never heard of."""
    state = np.zeros(n, DEVICE).view(np.recarray)
    state.last_ms = NEVER
    state.agent = -1
    return state


@register_jitable  # type: ignore[untyped-decorator]
def _late(device: Any, at_ms: int, told: Any) -> int:
    """An observation that is not newer."""
    at_s = at_ms // 1000
    last_ms = whole(device.last_ms)
    counts, flags = whole(device.counts), whole(device.marks)
    if at_ms == last_ms:
        doubles = min(15, (counts >> 4) + DOUBLES)
        device.counts = doubles << 4 | counts & 15
        if doubles >= DOUBLES_FULL and not flags & DOUBLED:
            device.marks = flags | DOUBLED
            return DOUBLE_BEGINS
        return 0
    pause_s = whole(device.pause_s)
    if pause_s - 60 * whole(device.pause_min) <= at_s < pause_s:
        return 0  # a backlog
    since = 1000 * (at_s - whole(device.late_s))
    late = counts & 15
    follows = since > 0 and (whole(device.seen) < KNOWN or since > 0.5 * float(device.interval))
    late = min(15, late + 1) if follows or late == 0 else 1
    device.late_s = min(max(at_s, 0), 4294967295)
    device.counts = counts & 0xF0 | late
    if late < IN_A_ROW:
        return 0
    device.counts = counts & 0xF0
    behind = last_ms - at_ms
    device.spare_ms = min(behind, MOST_SPARE_MS) if behind < 40 * DAY_MS else 0
    device.last_ms = at_ms
    device.pause_min = 0
    device.phase = 0
    device.marks = flags | SKEWED | (BEHIND if behind < 40 * DAY_MS else 0)
    told.ms = -1
    return 0 if flags & SKEWED else SKEW_BEGINS


@register_jitable  # type: ignore[untyped-decorator]
def _phase(device: Any, off: float, usual: float) -> bool:
    """Whether the cadence jumped and has held twice since; off, usual: share of the interval."""
    flags, phase = whole(device.marks), float(device.phase) / 64
    jumps = abs(off) > usual
    if phase == 0.0:
        if jumps:
            device.phase = math.floor(max(-1.9, min(1.9, off)) * 64 + 0.5)
            device.marks = flags & ~ONCE
    elif jumps or abs(phase + off) <= usual:
        device.phase = 0  # it was one report that came late
    elif flags & ONCE:
        device.phase = 0
        return True
    else:
        device.marks = flags | ONCE
    return False


def step(device: Any, at_ms: int, agent: int, told: Any) -> int:
    """Take the time of one report of a device (a record of DEVICE); bits of what changed.

    told : a record of SINCE gets the ms since its last, below 0 after a pause or when the clock was set, 0 when late or
        repeated.
    """
    told.ms = 0
    last_ms = whole(device.last_ms)
    if last_ms == NEVER:
        device.last_ms = at_ms
        device.agent = agent
        told.ms = 1
        return 0
    since = at_ms - last_ms
    if since <= 0:
        return _late(device, at_ms, told)  # type: ignore[no-any-return]
    changed = 0
    seen, interval, flags = whole(device.seen), float(device.interval), whole(device.marks)
    jitter = float(device.jitter) / 256
    if seen >= REGULAR and since < TOGETHER * interval and jitter < TOGETHER / 2:
        counts = whole(device.counts)
        doubles = min(15, (counts >> 4) + DOUBLES)
        device.counts = doubles << 4
        if doubles >= DOUBLES_FULL and not flags & DOUBLED:
            device.marks = flags | DOUBLED
            return DOUBLE_BEGINS
        return 0
    told.ms = since
    doubles = max(0, (whole(device.counts) >> 4) - 1)
    device.counts = doubles << 4
    if flags & DOUBLED and doubles == 0:
        flags &= ~DOUBLED
        changed |= DOUBLE_ENDS
    if last_ms // DAY_MS != at_ms // DAY_MS:
        device.longest = max(0, whole(device.longest) - 1)
        if flags & SKEWED and float(device.phase) == 0.0:
            flags &= ~SKEWED
            changed |= SKEW_ENDS
    if interval <= 0.0 or (seen < KNOWN and since < 0.6 * interval):
        interval = float(since)
    ratio = since / interval
    if seen >= KNOWN and ratio > GAP:
        told.ms = -since
        device.pause_s = min(max(at_ms // 1000, 0), 4294967295)
        device.pause_min = min(65535, since // 60_000)
        flags &= ~BEHIND
    if not flags & BEHIND:
        device.spare_ms = 0
    longest = whole(device.longest)
    reach = longest
    while reach < 120 and float(OCTAVES[reach]) < ratio:
        reach += 1
    # What was called silent counts for a little only, or one long outage would excuse the next.
    device.longest = min(reach, longest + 2) if flags & SILENT else reach
    device.marks = flags
    times = max(1.0, math.floor(ratio + 0.5))
    if ratio <= GAP:
        off = ratio - times
        if seen >= REGULAR and times <= 2.0 and _phase(device, off, max(LEAST_PHASE, DEVIATIONS * jitter)):
            flags = whole(device.marks) | SKEWED
            changed |= 0 if whole(device.marks) & SKEWED else SKEW_BEGINS
        else:
            flags = whole(device.marks)
        weight = 1.0 / (seen + 1) if seen < 16 else 1.0 / 16
        interval += weight * max(-0.25, min(0.25, off)) * interval / times
        device.jitter = int((jitter + (min(abs(off), 0.5) - jitter) / 8) * 256 + 0.5)
        device.seen = min(255, seen + 1)
    else:
        device.seen = max(0, seen - PAUSES_FORGET)
        if seen <= PAUSES_FORGET:  # what was taken for the cadence, say two reports at once after a start, is none
            interval = float(since)
            device.longest = 0
    device.interval = max(1.0, interval)
    if flags & SILENT:
        flags &= ~SILENT
        changed |= BACK
    device.marks = flags
    device.last_ms = at_ms
    device.agent = agent
    return changed


_step = numba.njit(cache=True, nogil=True)(step)


@register_jitable  # type: ignore[untyped-decorator]
def limit_ms(device: Any, profile_ms: int, uneven: bool) -> int:
    """How long after its newest observation a device is silent; uneven: its kind reports changes in between."""
    if whole(device.seen) < KNOWN:
        return profile_ms
    pause = PAUSE * float(OCTAVES[whole(device.longest)]) if whole(device.longest) > 2 else 0.0
    jitter = float(device.jitter) / 256
    learnt_ms = int(float(device.interval) * max(MISSED + 3 * jitter, pause))
    return max(learnt_ms, profile_ms) if uneven or jitter > UNEVEN else learnt_ms


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def hear(
    state: Any,
    words: Array,
    slot: Array,
    at_ms: Array,
    agent: Array,
    profile_ms: int,
    uneven: bool,
    due_ms: Array,
    since_ms: Array,
    changes: Array,
    before: Array,
) -> int:
    """Take the times of reports in arrival order; how many changed a condition.

    state, words : (devices,) records, and the same memory as rows of WORDS uint32.
    due_ms : (devices / SWEPT,) int64 is lowered to when the first of so many devices may be silent, for
        `sweep`.
    since_ms : (n,) SINCE gets what `step` tells; changes : (n,) uint8 what it returns.
    before : (n, WORDS) uint32 gets what undoes this, as `before` has it.
    """
    found = 0
    for row in range(len(slot)):
        _keep(words, slot, before, row)
        device = state[slot[row]]
        change = _step(device, at_ms[row], agent[row], since_ms[row])
        heard_ms, first = device.last_ms + whole(device.spare_ms), due_ms[slot[row] // SWEPT]
        if heard_ms < first and (device.seen < KNOWN or heard_ms + 3 * device.interval < first):
            due_ms[slot[row] // SWEPT] = min(first, heard_ms + limit_ms(device, profile_ms, uneven))
        changes[row] = change
        found += change != 0
    return found


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def first_words(agent: Array, at_ms: Array, clock_ms: Array, back_ms: Array) -> None:
    """Lower back_ms, (agents,) int64, NEVER where nobody asks, to each agent's first observation beyond its clock."""
    for row in range(len(agent)):
        speaker = agent[row]
        if 0 <= speaker < len(back_ms) and clock_ms[speaker] < at_ms[row] < back_ms[speaker]:
            back_ms[speaker] = at_ms[row]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def welcome(
    state: Any,
    clock_ms: Array,
    back_ms: Array,
    period_ms: int,
    profile_ms: int,
    uneven: bool,
    slots: Array,
    spare_ms: Array,
) -> int:
    """Devices that nobody could have heard, because their agent was away from clock_ms to back_ms, (agents,) int64 and
    NEVER where it was not; how many. slots, spare_ms : get which, and what is to be added to their newest observation.
    """
    n = 0
    for i in range(len(state)):
        device = state[i]
        if device.agent < 0 or device.marks & SILENT:
            continue
        back = back_ms[device.agent]
        if back == NEVER:
            continue
        away_ms = back - clock_ms[device.agent]
        if away_ms <= period_ms or away_ms <= limit_ms(device, profile_ms, uneven):
            continue
        if device.last_ms + whole(device.spare_ms) < back:
            slots[n] = i
            spare_ms[n] = min(back - device.last_ms, MOST_SPARE_MS)
            n += 1
    return n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sweep(
    state: Any,
    excused: Array,
    clock_ms: Array,
    told: Array,
    latest_ms: int,
    profile_ms: int,
    uneven: bool,
    due_ms: Array,
    fell: Array,
    at_ms: Array,
) -> int:
    """Judge devices by their agents' clocks, (agents,) int64, but for the excused, (n,) uint8; how many fell silent.

    told : (agents,) uint8, whose clock is of this flush: nobody else's devices can have fallen silent meanwhile.
    latest_ms : of the clocks told; SWEPT devices of which none is due by then are passed by.
    due_ms : (devices / SWEPT,) int64, NEVER where nobody looked yet; gets when the first of them may be silent.
    fell, at_ms : get who fell silent, and since when.
    """
    n = 0
    for first in range(0, len(state), SWEPT):
        if latest_ms <= due_ms[first // SWEPT]:
            continue
        earliest = np.int64(np.iinfo(np.int64).max)
        for i in range(first, min(first + SWEPT, len(state))):
            device = state[i]
            if device.agent < 0 or device.marks & SILENT or excused[i]:
                continue
            due = device.last_ms + whole(device.spare_ms) + limit_ms(device, profile_ms, uneven)
            if told[device.agent] and clock_ms[device.agent] > due:
                device.marks = device.marks | SILENT
                fell[n] = i
                at_ms[n] = due
                n += 1
            else:
                earliest = min(earliest, due)
        due_ms[first // SWEPT] = earliest
    return n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def lead(state: Any, slot: Array, clock_ms: Array, told: Array, ahead: Array) -> int:
    """Devices heard in a flush that are ahead of the clock that their agent tells with it: how many, and which."""
    n = 0
    for row in range(len(slot)):
        device = state[slot[row]]
        if device.agent < 0 or not told[device.agent] or device.seen < KNOWN or device.marks & SKEWED:
            continue
        if device.last_ms - clock_ms[device.agent] > AHEAD * device.interval + AHEAD_MS:
            device.marks = device.marks | SKEWED
            ahead[n] = slot[row]
            n += 1
    return n


def distinct(slot: Array, place: Array) -> Array:
    """Each slot once, in the order of its first appearance. place: (slots,) int32 scratch, 0 before and after."""
    once = np.empty(len(slot), np.int64)
    return once[: _distinct(slot, place, once)]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _distinct(slot: Array, place: Array, once: Array) -> int:
    n = 0
    for i in slot:
        if place[i] == 0:
            place[i] = 1
            once[n] = i
            n += 1
    for k in range(n):
        place[once[k]] = 0
    return n
