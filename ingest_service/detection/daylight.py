"""A lamp that burns by day or is dark at night, against the sun at its place and its own plan. O(1) state a lamp.

By day is while the sun stands higher than DAY_DEG, night while it is lower than NIGHT_DEG; between the two a lamp may
do either, because photocells, clouds and timers differ. What is wrong must last, and be said more than twice. A lamp
that burns by day is well again when it is seen dark by day, and not because night has come; likewise the other way.
`step` is plain Python and compiled as it is. Where lamps stand and what is planned belongs to `places`.
"""

import math
from typing import Any

import numba
import numpy as np

from ingest_service.columns import Array
from ingest_service.detection.sun import HOUR_MS, compiled_position, compiled_sine_of_elevation

BURNS_BY_DAY, DARK_AT_NIGHT = 1, 2
DAY_DEG = 3.0  # photocells switch between +1 and -6 degrees (EN 13201 practice: 35 to 70 lux); clouds are worth 2 more
NIGHT_DEG = -9.0
DAY_SINE, NIGHT_SINE = math.sin(math.radians(DAY_DEG)), math.sin(math.radians(NIGHT_DEG))
LEAST_REPORTS = 3  # one wrong report between two right ones is a report's fault, not the lamp's
MAX_GAP_MS = 6 * HOUR_MS  # between two reports further apart the sun may have been on the other side
EITHER, DARK, LIT = 0, 1, 2  # what a lamp should be
BY_THE_SUN, PLANNED_DARK, PLANNED_EITHER = 0, 1, 2  # what a plan says of an instant

STATE = np.dtype(
    [
        ("last_ms", np.int64),
        ("wrong_since_ms", np.int64),
        ("reports", np.int32),  # wrong ones in a row
        ("wrong", np.uint8),  # bit of what they say; 0 while all is right
        ("active", np.uint8),  # bits of what is raised
        ("gap", np.uint16),  # no byte that nobody writes
    ],
    align=True,
)


def place_of(latitude_deg: Array, longitude_deg: Array) -> Array:
    """(slots, 3) float32: sine and cosine of the latitude, longitude in degrees; side by side, as they are read. NaN
    where nobody knows.
    """
    latitude = np.radians(np.asarray(latitude_deg, np.float64))
    return np.stack([np.sin(latitude), np.cos(latitude), longitude_deg], axis=1).astype(np.float32)


def new_state(n: int) -> Array:
    """(n,) records of lamps never heard of."""
    state = np.zeros(n, STATE).view(np.recarray)
    state.last_ms[:] = np.iinfo(np.int64).min
    return state


def wanted(sine_of_elevation: float, plan: int) -> int:
    """What a lamp should be under a sun and a plan; EITHER where the place is unknown."""
    if plan == PLANNED_EITHER or not math.isfinite(sine_of_elevation):
        return EITHER
    if sine_of_elevation > DAY_SINE or plan == PLANNED_DARK:
        return DARK
    return LIT if sine_of_elevation < NIGHT_SINE else EITHER


def step(lamp: Any, at_ms: int, lit: int, should: int, after_ms: int) -> int:
    """Take one report of a lamp (a record of STATE), lit 1 or 0; 1 when the condition begins, 2 when it ends."""
    if at_ms <= lamp.last_ms:
        return 0
    if lamp.wrong and at_ms - lamp.last_ms > MAX_GAP_MS:
        lamp.wrong = 0
    lamp.last_ms = at_ms
    if should == EITHER:
        return 0
    before = int(lamp.active)
    now = before
    side = BURNS_BY_DAY if should == DARK else DARK_AT_NIGHT
    if (lit == 1) == (should == LIT):
        lamp.wrong = 0
        now = before & ~side
    else:
        if lamp.wrong != side:
            lamp.wrong = side
            lamp.wrong_since_ms = at_ms
            lamp.reports = 0
        lamp.reports = min(lamp.reports + 1, LEAST_REPORTS)
        if lamp.reports >= LEAST_REPORTS and at_ms - lamp.wrong_since_ms >= after_ms:
            now = before | side
    lamp.active = now
    if before == 0 and now != 0:
        return 1
    return 2 if before != 0 and now == 0 else 0


_step = numba.njit(cache=True, nogil=True)(step)
_wanted = numba.njit(cache=True, nogil=True)(wanted)


def sine_at(at_ms: int, place: Array, slot: int) -> float:
    """Sine of the sun's elevation over a lamp, of the sun of the middle of the hour: 0.02 degrees off at most."""
    middle = at_ms // HOUR_MS * HOUR_MS + HOUR_MS // 2
    sine, cosine, over = compiled_position(middle)
    return float(_turned(sine, cosine, over, at_ms - middle, place, slot))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _turned(sine: float, cosine: float, over_deg: float, later_ms: int, place: Array, slot: int) -> Any:
    return compiled_sine_of_elevation(
        sine,
        cosine,
        over_deg - later_ms / 240_000.0,
        np.float64(place[slot, 0]),
        np.float64(place[slot, 1]),
        np.float64(place[slot, 2]),
    )


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def run(
    state: Any, slot: Array, at_ms: Array, lit: Array, plan: Array, place: Array, after_ms: int, changes: Array
) -> int:
    """Take reports in arrival order; how many changed the condition.

    lit : (n,) int8, 1 lit, 0 dark, -1 not said. plan : (n,) uint8, what each lamp's plan says of the instant.
    changes : (n,) uint8 gets what `step` returns.
    """
    found = 0
    middle = np.int64(np.iinfo(np.int64).min)
    sine, cosine, over = 0.0, 0.0, 0.0
    for row in range(len(slot)):
        changes[row] = 0
        if lit[row] < 0:
            continue
        now = at_ms[row] // HOUR_MS * HOUR_MS + HOUR_MS // 2
        if now != middle:
            middle = now
            sine, cosine, over = compiled_position(middle)
        elevation = _turned(sine, cosine, over, at_ms[row] - middle, place, slot[row])
        change = _step(state[slot[row]], at_ms[row], lit[row], _wanted(elevation, plan[row]), after_ms)
        changes[row] = change
        if change:
            found += 1
    return found
