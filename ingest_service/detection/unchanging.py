"""What never changes while its neighbours' does: a bay's dead sensor, a garage's dead counter. O(1) state a series, and
a sum a group.

Two questions, each against what the neighbours did since this series' own last change.

*Counted*: how often did a neighbour change, on the average? Changes come in pairs (a car comes and goes). Of a series
that takes part as often as Gamma(SHAPE, SHAPE) says of the neighbours, and has shown m pairs while they had E, the
chance to sit through D more is ((SHAPE + E) / (SHAPE + E + D)) ** (SHAPE + m): the Gamma-Poisson model (Gelman and
others, Bayesian Data Analysis, 2.6). Its own past tells a quiet bay from a dead one, and SHAPE is the margin for a
series without a past. Raised below CHANCE / (1 + m), so that a busy series is not tried more often than a quiet one.

*Looked at*: of a series that was never seen to change, once an hour: how long ago did its neighbours change? Half of
them within age * ln 2 / D means D on the average, as with the exponential times of a Poisson process; the same chance
decides. Where its group has as little to show (a whole area dead), the kind in the whole municipality is asked instead,
with WIDER_MARGIN.

A group counts a member's changes APART_MS apart at the most, so that a flickering sensor does not speak for it.
Numbers move all the time where anything happens at all: members that never moved are no measure of the others, dead as
they are more often than quiet, so that only those that did are neighbours (`Limits.moved`).
Sums are made from the members' own counts, so that a group needs no state to save. `step` is plain Python and compiled
as it is. Late and repeated reports and gaps leave the state untouched.
"""

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from contracts.profiles import Property, Unchanging
from ingest_service.columns import NULL_INTEGER, Array, is_null
from ingest_service.detection.peers import NOBODY

NOTHING = int(NULL_INTEGER)  # no word
SAME, UNKNOWN = 1, 2  # why a series is said to be unchanging
BEGINS, ENDS, COUNTS, LOOK = 1, 2, 4, 8
SHAPE = 2.0  # neighbours differ by about 70 % (one sd): a loading bay beside a resident's
CHANCE = 0.001
MEMORY_PAIRS = 32.0  # of a series' past; seasons change
APART_MS = 3_600_000  # who changes more often than once an hour counts once: flickering, or short stays at a shop
LEAST_PEERS = 5
LEAST_AGE_MS = 3_600_000  # neighbours' ages are taken for an hour at the least: one restart of a gateway is no traffic
WIDER_MARGIN = 3.0
ALIVE_MS = 14.0 * 86_400_000  # an area of which half has not changed for a fortnight is no measure of its bays
HOUR_MS = 3_600_000

STATE = np.dtype(
    [
        ("last_ms", np.int64),
        ("since_ms", np.int64),  # of the value it has
        ("counted_ms", np.int64),  # its last change that its group counted
        ("mark", np.int64),  # its group's sum at its last change
        ("total", np.int64),  # its group's sum when the state was saved
        ("epoch", np.int32),  # of the groups that `mark` is of
        ("changes", np.int32),  # what it added to its group's sum
        ("pairs", np.float32),  # its past: its own pairs of changes, while
        ("expected", np.float32),  # an average neighbour had these
        ("word", np.int32),  # of `words_of`; NOTHING before the first
        ("active", np.uint8),
        ("changed", np.uint8),  # ever
        ("gap", np.uint16),  # no byte that nobody writes
    ],
    align=True,
)


class Limits(NamedTuple):
    least_ms: int  # younger than that, nothing is said
    unknown_ms: int
    may_stay: Array  # (values,) uint8: values that may last
    unknown: Array  # (values,) uint8: values that say nothing
    moved: bool  # whether only who ever changed is a neighbour


def limits_of(item: Property, chosen: Unchanging) -> Limits:
    def marked(words: tuple[str, ...]) -> Array:
        return np.array([word in words for word in item.values], np.uint8)

    return Limits(
        chosen.min_duration_s * 1000,
        chosen.unknown_after_s * 1000,
        marked(chosen.ignore),
        marked(chosen.unknown),
        item.numeric,
    )


def words_of(item: Property, column: Array) -> Array:
    """(n,) int32 that differ where values do, NOTHING for null and for codes that the profile does not have."""
    if item.type == "integer":
        return column
    if item.type == "number":
        bits = (column + np.float32(0.0)).astype(np.float32).view(np.int32)  # adding zero makes -0.0 zero
        return np.where(is_null(item, column), np.int32(NOTHING), bits)
    known = (column >= 0) & (column < len(item.values))
    return np.where(known, column.astype(np.int32), NOTHING)


@numba.extending.register_jitable  # type: ignore[untyped-decorator]
def counts(series: Any, moved: bool) -> bool:
    """Whether a series is a neighbour to others."""
    return bool(series.changed != 0 if moved else series.word != NOTHING)


class Groups(NamedTuple):
    """Groups of the slots, and what their members did."""

    of: Array  # (slots,) int32, NOBODY for none
    total: Array  # (groups,) int64: changes of all members
    heard: Array  # (groups,) int64: members that count
    first: Array  # (groups + 1,) int64: where a group's members begin in `members`
    members: Array  # slots, a group after another
    wider: Array  # (slots,) int32: the kind in the municipality
    wider_first: Array
    wider_members: Array


def new_state(n: int) -> Array:
    """(n,) records of series never heard of."""
    state = np.zeros(n, STATE).view(np.recarray)
    state.last_ms[:] = np.iinfo(np.int64).min
    state.word[:] = NOTHING
    return state


def groups_of(state: Array, of: Array, wider: Array, moved: bool) -> Groups:
    """Sums and members from the groups' numbers. of, wider: (slots,) int32; moved: as in Limits."""
    first, members = _members(of)
    wider_first, wider_members = _members(wider)
    count = len(first) - 1
    belong = of != NOBODY
    total = np.bincount(of[belong], weights=state["changes"][belong], minlength=count).astype(np.int64)
    neighbours = state["changed"] != 0 if moved else state["word"] != NOTHING
    heard = np.bincount(of[belong & neighbours], minlength=count).astype(np.int64)
    return Groups(of, total, heard, first, members, wider, wider_first, wider_members)


def _members(of: Array) -> tuple[Array, Array]:
    order = np.argsort(of, kind="stable")
    members = order[np.searchsorted(of[order], 0) :]
    first = np.searchsorted(of[members], np.arange(int(of.max(initial=NOBODY)) + 2))
    return first.astype(np.int64), members.astype(np.int64)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def unlikely(pairs: float, expected: float, more: float) -> bool:
    """Whether a series with this past sits through `more` pairs of an average neighbour by chance too small."""
    chance = (SHAPE + pairs) * math.log((SHAPE + expected) / (SHAPE + expected + more))
    return bool(chance < math.log(CHANCE / (1.0 + pairs)))


# How much older than half of its neighbours a series without a past may be: `unlikely(0, 0, age ln 2 / (2 median))`.
OLDER = 2.0 * SHAPE * (CHANCE ** (-1.0 / SHAPE) - 1.0) / math.log(2.0)


def step(series: Any, at_ms: int, word: int, total: int, peers: int, limits: Any) -> int:
    """Take one word of a series (a record of STATE). BEGINS or ENDS for the condition, COUNTS when the group counts a
    change, LOOK when the neighbours' ages are to be asked.

    total : the group's sum so far. peers : members that count, besides this one.
    """
    if word == NOTHING or at_ms <= series.last_ms:
        return 0
    before = int(series.active)
    now = before
    said = 0
    if word != series.word:
        now = 0
        if series.word != NOTHING:
            series.changed = 1
            series.expected += 0.5 * max(0, total - series.mark) / max(1, peers)
            if series.changes == 0 or at_ms - series.counted_ms >= APART_MS:
                series.counted_ms = at_ms
                series.changes += 1
                series.pairs += 0.5
                said = COUNTS
                total += 1
            if series.pairs > MEMORY_PAIRS or series.expected > MEMORY_PAIRS:
                series.pairs *= 0.5
                series.expected *= 0.5
        series.word = word
        series.since_ms = at_ms
        series.mark = total
    else:
        age_ms = at_ms - series.since_ms
        listed = 0 <= word < len(limits.may_stay)
        if listed and limits.unknown[word] and age_ms >= limits.unknown_ms:
            now |= UNKNOWN
        if not now & SAME and age_ms >= limits.least_ms and not (listed and limits.may_stay[word]):
            if peers >= LEAST_PEERS and unlikely(
                series.pairs, series.expected, 0.5 * max(0, total - series.mark) / peers
            ):
                now |= SAME
            elif not series.changed and at_ms // HOUR_MS != series.last_ms // HOUR_MS:
                said = LOOK
    series.active = now
    series.last_ms = at_ms
    if before == 0 and now != 0:
        said |= BEGINS
    elif before != 0 and now == 0:
        said |= ENDS
    return said


compiled_step = numba.njit(cache=True, nogil=True)(step)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def younger(state: Any, members: Array, but: int, at_ms: int, age_ms: float, moved: bool) -> tuple[int, int]:
    """(members that changed within age_ms, members that count), without one."""
    young = 0
    heard = 0
    for k in members:
        if k != but and counts(state[k], moved):
            heard += 1
            if at_ms - state[k].since_ms <= age_ms:
                young += 1
    return young, heard


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def too_old(state: Any, i: int, at_ms: int, groups: Any, moved: bool) -> bool:
    """Whether half of the neighbours changed so much later than this series that it must be dead."""
    age_ms = float(at_ms - state[i].since_ms)
    within = age_ms / OLDER
    if within < LEAST_AGE_MS:
        return False
    g = groups.of[i]
    if g != NOBODY:
        members = groups.members[groups.first[g] : groups.first[g + 1]]
        young, heard = younger(state, members, i, at_ms, within, moved)
        if heard >= LEAST_PEERS:
            if 2 * young > heard:
                return True
            young, heard = younger(state, members, i, at_ms, min(age_ms / 4.0, ALIVE_MS), moved)
            if 2 * young > heard:
                return False  # a quiet neighbourhood, and no dead one
    w = groups.wider[i]
    if w == NOBODY or within < WIDER_MARGIN * LEAST_AGE_MS:
        return False
    members = groups.wider_members[groups.wider_first[w] : groups.wider_first[w + 1]]
    young, heard = younger(state, members, i, at_ms, within / WIDER_MARGIN, moved)
    return bool(heard >= LEAST_PEERS and 2 * young > heard)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def run(
    state: Any,
    slot: Array,
    at_ms: Array,
    word: Array,
    limits: Any,
    groups: Any,
    changes: Array,
    others: Array,
    since_ms: Array,
) -> int:
    """Take words in arrival order; how many changed the condition.

    word : (n,) int32, NOTHING for null. changes : (n,) uint8 gets BEGINS, ENDS or 0.
    others : (n,) float64 gets the average neighbour's changes since its own last one, since_ms : (n,) int64 when that
    was; only where the condition changed.
    """
    found = 0
    for row in range(len(slot)):
        i = slot[row]
        series = state[i]
        g = groups.of[i]
        total = groups.total[g] if g != NOBODY else 0
        known = counts(series, limits.moved)
        peers = (groups.heard[g] if g != NOBODY else 0) - (1 if known else 0)
        meanwhile = total - series.mark
        said = compiled_step(series, at_ms[row], np.int64(word[row]), total, peers, limits)
        if g != NOBODY:
            if said & COUNTS:
                groups.total[g] += 1
            if not known and counts(series, limits.moved):
                groups.heard[g] += 1
        if said & LOOK and too_old(state, i, at_ms[row], groups, limits.moved):
            if series.active == 0:
                said |= BEGINS
            series.active |= SAME
        changes[row] = said & (BEGINS | ENDS)
        if changes[row]:
            others[row] = meanwhile / max(1, peers)
            since_ms[row] = series.since_ms
            found += 1
    return found
