"""What a kind's profile watches besides numbers: counters, what is unusual, words that should change, lamps. One object
a property and monitor, each with its state by slot.

A watch says what it noted; the fleet remembers, takes back, saves and restores its `arrays`. `recount` follows when
the fleet has put old state back, `before_save` and `settle` stand around a restart. What the registry knows comes by
`meet` (groups) and `stand` (places).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from contracts.log import log
from contracts.profiles import Profile, Property
from ingest_service.columns import Array, Block, as_float
from ingest_service.detection import counters, daylight, error_values, novelty, unchanging
from ingest_service.detection.novelty import Novelty
from ingest_service.detection.peers import NOBODY
from ingest_service.detection.places import Places


class Noted(NamedTuple):
    """A condition that begins or ends with a row of a block."""

    row: int
    detector: str
    begins: bool
    value: float | None  # an enum's code
    low: float | None = None
    high: float | None = None
    expected: float | None = None
    score: float | None = None
    detail: dict[str, Any] | None = None  # what else decided


class Watch(Protocol):
    detector: str
    property: str
    state: Any  # (slots,) records

    def grow(self, n: int) -> None: ...
    def examine(self, block: Block) -> list[Noted]: ...
    def meet(self, peers: Array, wider: Array) -> None: ...
    def stand(self, places: Places) -> None: ...
    def recount(self) -> None: ...
    def before_save(self) -> None: ...
    def settle(self) -> None: ...
    def parameters(self) -> dict[str, Any]: ...


def watches_of(profile: Profile) -> dict[str, Watch]:
    """Every watch that the profile asks for, by condition."""
    found: list[Watch] = []
    for item in profile.properties.values():
        if item.detectors.backwards is not None:
            found.append(Counters(item))
        if item.detectors.novelty is not None:
            found.append(Unusual(item))
        if item.detectors.error_value is not None:
            found.append(Errors(item))
        if item.detectors.unchanging is not None:
            found.append(Words(item))
        if item.detectors.daylight is not None:
            found.append(Lamps(profile, item))
    return {f"{watch.detector}:{watch.property}": watch for watch in found}


class _Alone:
    """Of a watch that looks at each series by itself."""

    state: Any  # (slots,) records

    def meet(self, peers: Array, wider: Array) -> None:
        """Groups are nothing to it."""

    def stand(self, places: Places) -> None:
        """Places are nothing to it."""

    def recount(self) -> None:
        """Nothing is made from the state."""

    def before_save(self) -> None:
        """Its state is whole."""

    def settle(self) -> None:
        """Its state is whole."""


class Counters(_Alone):
    detector = "backwards"

    def __init__(self, item: Property) -> None:
        assert item.detectors.backwards is not None
        self.property = item.name
        self._item = item
        self._chosen = item.detectors.backwards
        self._limits = counters.limits_of(item, item.detectors.backwards)
        self.state: Any = counters.new_state(0)  # record array

    def grow(self, n: int) -> None:
        self.state = _grown(self.state, counters.new_state(n - len(self.state)))

    def examine(self, block: Block) -> list[Noted]:
        column = block.columns[self.property]
        values = column if self._item.type == "number" else as_float(self._item, column)
        changes, before = np.zeros(len(block), np.uint8), np.empty(len(block))
        if not counters.run(self.state, block.slot, block.observed_ms, values, self._limits, changes, before):
            return []
        found = []
        for row in np.flatnonzero(changes).tolist():
            said, value, top = int(changes[row]), float(values[row]), float(before[row])
            if said & counters.BACKWARDS:
                found.append(Noted(row, self.detector, True, value, low=top, expected=top))
            if said & counters.ENDED:
                found.append(Noted(row, self.detector, False, value))
            for bit, word in ((counters.RESET, "counter_reset"), (counters.RESTARTED, "counter_restart")):
                if said & bit:
                    found += [Noted(row, word, begins, value, expected=top) for begins in (True, False)]
        return found

    def parameters(self) -> dict[str, Any]:
        return {"modulus": self._chosen.modulus, "restart_loss_s": self._chosen.restart_loss_s}


class Unusual(_Alone):
    """A property whose novelty is scored."""

    detector = "novelty"

    def __init__(self, item: Property) -> None:
        assert item.detectors.novelty is not None
        self.property = item.name
        self._item = item
        self._chosen = item.detectors.novelty
        self._novelty = Novelty(0, None, self._chosen.threshold, self._chosen.clear_after)
        self.state: Any = self._novelty.state  # record array
        self._told = False

    def grow(self, n: int) -> None:
        self.state = self._novelty.state = _grown(self.state, novelty.new_state(n - len(self.state)))

    def examine(self, block: Block) -> list[Noted]:
        column = block.columns[self.property]
        values = column if self._item.type == "number" else as_float(self._item, column)
        score, changes, band = self._novelty.examine(block.slot, block.observed_ms, values)
        if self._novelty.anew and not self._told:
            self._told = True
            log("novelty.started_anew", level="warning", kind=block.kind, property=self.property)
        return [
            Noted(
                row,
                self.detector,
                changes[row] == novelty.BEGINS,
                float(values[row]),
                low,
                high,
                expected,
                float(score[row]),
            )
            for row in np.flatnonzero(changes).tolist()
            for low, expected, high in [band[row].tolist()]
        ]

    def parameters(self) -> dict[str, Any]:
        return {"threshold": self._chosen.threshold, "clear_after": self._chosen.clear_after}


class Errors(_Alone):
    """A number that a broken device replaces by a value of its own."""

    detector = "error_value"

    def __init__(self, item: Property) -> None:
        assert item.detectors.error_value is not None
        self.property = item.name
        self._item = item
        self._chosen = item.detectors.error_value
        self._limits = error_values.limits_of(item, item.detectors.error_value)
        self.state: Any = error_values.new_state(0)  # record array

    def grow(self, n: int) -> None:
        self.state = _grown(self.state, error_values.new_state(n - len(self.state)))

    def examine(self, block: Block) -> list[Noted]:
        values, at_ms, n = as_float(self._item, block.columns[self.property]), block.observed_ms, len(block)
        changes, before, fell_ms = np.zeros(n, np.uint8), np.empty(n), np.empty(n, np.int64)
        if not error_values.run(self.state, block.slot, at_ms, values, self._limits, changes, before, fell_ms):
            return []
        found = []
        for row in np.flatnonzero(changes).tolist():
            begins, was = changes[row] == error_values.BEGINS, float(before[row])
            detail = {"lasted_s": int(at_ms[row] - fell_ms[row]) // 1000, "error_at": int(fell_ms[row])}
            value = float(values[row])
            told = Noted(row, self.detector, True, value, expected=was, detail=detail)
            found.append(told if begins else Noted(row, self.detector, False, value))
        return found

    def parameters(self) -> dict[str, Any]:
        return {"values": list(self._chosen.values), "clear_after_s": self._chosen.clear_after_s}


class Words(_Alone):
    """A property whose words, or numbers, should change as the neighbours' do."""

    detector = "unchanging"

    def __init__(self, item: Property) -> None:
        assert item.detectors.unchanging is not None
        self.property = item.name
        self._item = item
        self._chosen = item.detectors.unchanging
        self._limits = unchanging.limits_of(item, item.detectors.unchanging)
        self.state: Any = unchanging.new_state(0)  # record array
        self._peers = self._wider = self._epoch = np.zeros(0, np.int32)
        self._groups = self._sums()

    def grow(self, n: int) -> None:
        more = np.full(n - len(self.state), NOBODY, np.int32)
        self.state = _grown(self.state, unchanging.new_state(n - len(self.state)))
        self._peers, self._wider = np.concatenate([self._peers, more]), np.concatenate([self._wider, more])
        self._epoch = np.concatenate([self._epoch, np.zeros(len(more), np.int32)])
        self.recount()

    def examine(self, block: Block) -> list[Noted]:
        words = unchanging.words_of(self._item, block.columns[self.property])
        n, at_ms = len(block), block.observed_ms
        changes, others, since = np.zeros(n, np.uint8), np.empty(n), np.empty(n, np.int64)
        if not unchanging.run(self.state, block.slot, at_ms, words, self._limits, self._groups, changes, others, since):
            return []
        found = []
        for row in np.flatnonzero(changes).tolist():
            begins = changes[row] == unchanging.BEGINS
            detail = {
                "unchanged_s": int(at_ms[row] - since[row]) // 1000,
                "neighbours_changes": round(float(others[row]), 1),
            }
            value = float(block.columns[self.property][row])
            found.append(Noted(row, self.detector, begins, value, detail=detail if begins else None))
        return found

    def meet(self, peers: Array, wider: Array) -> None:
        """New groups: what a series' neighbours did so far is kept, whoever is its neighbour from now on."""
        n = len(self.state)
        peers, wider = _wide(peers, n), _wide(wider, n)
        if self._limits.moved:
            peers = _enough(peers, wider)
        if np.array_equal(peers, self._peers) and np.array_equal(wider, self._wider):
            return
        before, moved = self._totals(), peers != self._peers
        self._peers, self._wider = peers, wider
        self._groups = self._sums()
        self._epoch[moved | (self._totals() != before)] += 1
        self._rebase(before)

    def recount(self) -> None:
        """Sums again from the members', after these were put back; what is of groups of before starts anew."""
        self._groups = self._sums()
        old = self.state.epoch != self._epoch
        self.state.mark[old] = self._totals()[old]
        self.state.epoch[:] = self._epoch

    def before_save(self) -> None:
        """What the marks are to be compared with, beside them."""
        self.state.total[:] = self._totals()

    def settle(self) -> None:
        """After a restore, into groups that may have other members by now."""
        self._groups = self._sums()
        self._rebase(self.state.total.copy())
        self.before_save()

    def _sums(self) -> unchanging.Groups:
        return unchanging.groups_of(self.state, self._peers, self._wider, self._limits.moved)

    def _totals(self) -> Array:
        """(slots,) int64: the sum of each series' group."""
        total = np.append(self._groups.total, 0)
        found: Array = total[self._groups.of]  # NOBODY, -1, is the 0 at the end
        return found

    def _rebase(self, before: Array) -> None:
        """Marks that were of the sums `before`, to those of now."""
        self.state.mark += self._totals() - before
        self.state.epoch[:] = self._epoch

    def parameters(self) -> dict[str, Any]:
        chosen = self._chosen
        return {"min_duration_s": chosen.min_duration_s, "unknown_after_s": chosen.unknown_after_s}


class Lamps(_Alone):
    """A property that says whether a lamp is lit."""

    detector = "daylight"

    def __init__(self, profile: Profile, item: Property) -> None:
        assert item.detectors.daylight is not None
        self.property = item.name
        self._chosen = item.detectors.daylight
        self._lit = np.array([word in self._chosen.lit for word in item.values] + [False], np.int8)
        self._words = [next((code for code, lit in enumerate(self._lit[:-1]) if lit == on), None) for on in (0, 1)]
        known = profile.properties
        self._above = [(known[name], limit) for name, limit in self._chosen.lit_above.items() if name in known]
        self.state: Any = daylight.new_state(0)  # record array
        self._places: Places | None = None
        self._place = daylight.place_of(np.zeros(0), np.zeros(0))

    def grow(self, n: int) -> None:
        self.state = _grown(self.state, daylight.new_state(n - len(self.state)))
        if self._places is not None:
            self.stand(self._places)

    def stand(self, places: Places) -> None:
        self._places = places
        n = len(self.state)
        latitude, longitude = np.full(n, np.nan), np.full(n, np.nan)
        known = min(n, len(places.latitude_deg))
        latitude[:known], longitude[:known] = places.latitude_deg[:known], places.longitude_deg[:known]
        self._place = daylight.place_of(latitude, longitude)

    def examine(self, block: Block) -> list[Noted]:
        if self._places is None:
            return []
        lit = self.lit(block.columns)
        changes = np.zeros(len(block), np.uint8)
        plan = self._places.planned(block.slot, block.observed_ms)
        after_ms = self._chosen.after_s * 1000
        at_ms = block.observed_ms
        if not daylight.run(self.state, block.slot, at_ms, lit, plan, self._place, after_ms, changes):
            return []
        return [
            self._noted(block, row, bool(changes[row] == 1), bool(lit[row] == 1))
            for row in np.flatnonzero(changes).tolist()
        ]

    def _noted(self, block: Block, row: int, begins: bool, lit: bool) -> Noted:
        code = int(block.columns[self.property][row])
        sun = daylight.sine_at(int(block.observed_ms[row]), self._place, int(block.slot[row]))
        detail = {"lit": lit, "sun_deg": round(math.degrees(math.asin(sun)), 1)}
        should = self._words[int(lit != begins)]
        value = float(code) if 0 <= code < len(self._lit) - 1 else None
        return Noted(row, self.detector, begins, value, expected=should, detail=detail)

    def lit(self, columns: Mapping[str, Array]) -> Array:
        """(n,) int8: 1 lit, 0 dark, -1 not said."""
        codes = columns[self.property]
        known = (codes >= 0) & (codes < len(self._lit) - 1)
        lit = np.where(known, self._lit[np.where(known, codes, -1)], -1).astype(np.int8)
        for item, limit in reversed(self._above):
            values = as_float(item, columns[item.name])
            with np.errstate(invalid="ignore"):
                lit = np.where(np.isnan(values), lit, values > limit).astype(np.int8)
        return lit

    def parameters(self) -> dict[str, Any]:
        return {
            "after_s": self._chosen.after_s,
            "day_above_deg": daylight.DAY_DEG,
            "night_below_deg": daylight.NIGHT_DEG,
        }


def _grown(state: Array, more: Array) -> Array:
    return np.concatenate([state, more]).view(np.recarray)


def _enough(peers: Array, wider: Array) -> Array:
    """Groups of those who have peers enough, and of the others the town's: there are few garages in a square of 500 m,
    and all of a town have the same nights.
    """
    size = np.bincount(peers[peers != NOBODY], minlength=1)
    enough = (peers != NOBODY) & (size[peers] > unchanging.LEAST_PEERS)
    town = np.where(wider != NOBODY, 2 * wider, NOBODY)
    found: Array = np.where(enough, 2 * peers + 1, town).astype(np.int32)
    return found


def _wide(groups: Array, n: int) -> Array:
    """Groups of n slots; those beyond have none."""
    found = np.full(n, NOBODY, np.int32)
    found[: min(n, len(groups))] = groups[:n]
    return found
