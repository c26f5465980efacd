"""The detectors that ingest runs, for anybody's series: `Novelty` scores readings, `Faults` names what is wrong.

Both hold the objects of `ingest_service/detection` and add nothing to them but numbers for series. Times are whole
seconds, in the order in which the observations arrived; any cadence will do. Codes are those of
`contracts.profiles.DETECTOR_CODES`, 0 for nothing.
"""

import msgspec
import numpy as np

from contracts import profiles
from contracts.profiles import DETECTOR_CODES, Profile, Property
from ingest_service.columns import DTYPES, Array, Block, null_of
from ingest_service.detection.findings import Finding
from ingest_service.detection.fleet import Fleet

AGENT = 0  # one agent speaks for all series; its clock is what `sweep` is told


class Novelty:
    """How unusual each reading is for its series, 0 to 1."""

    def __init__(self, n_series: int) -> None:
        from ingest_service.detection import novelty

        self._detector = novelty.Novelty(n_series)
        self.state_bytes = self._detector.state.itemsize  # of a series

    def update(self, series_idx: Array, t: Array, value: Array) -> Array:
        """(n,) float64 scores. series_idx: (n,) int; t: (n,) int seconds; value: (n,) numbers, NaN for a gap."""
        index, at_ms = _index(series_idx), _milliseconds(t)
        scores: Array = self._detector.update(index, at_ms, np.ascontiguousarray(value, np.float64))
        return scores


class Faults:
    """What is wrong with series that all are one property of one kind, e.g. `waste_container.filling_level`."""

    def __init__(self, n_series: int, property: str, peers: Array | None = None) -> None:
        profile, self._item = named(property)
        self._kind, self._n = profile.kind, n_series
        self._fleet = Fleet({profile.kind: profile})
        self._fleet.make_room(profile.kind, n_series)
        if peers is not None:
            self._fleet.group(profile.kind, np.ascontiguousarray(peers, np.int32))
        self._raised = np.zeros(n_series, np.int32)  # conditions at work
        self._changes = np.zeros(n_series, bool)  # series of the findings in hand
        self._fell: list[Finding] = []  # silences that a flush found, for the next sweep to tell

    def update(self, series_idx: Array, t: Array, value: Array) -> tuple[Array, Array]:
        """(n,) float64: 1 while something is wrong with the series, else 0; (n,) int16: what begins with it."""
        index, at_ms = _index(series_idx), _milliseconds(t)
        none = np.zeros(len(index), np.int32)
        column = column_of(self._item, value)
        block = Block(self._kind, index.astype(np.int32), index, at_ms, none, {self._item.name: column})
        found = self._fleet.examine([block], {})
        self._fleet.keep()
        codes = np.zeros(len(index), np.int16)
        self._fell += [finding for finding in found if finding.detector == "silent" and finding.begins]
        found = [finding for finding in found if finding.detector != "silent" or not finding.begins]
        scores = (self._raised[index] > 0).astype(np.float64)
        if found:
            slots = [finding.slot for finding in found]
            self._changes[slots] = True
            rows = np.flatnonzero(self._changes[index])
            self._changes[slots] = False
            scores[rows], codes[rows] = self._take(found, index[rows], at_ms[rows])
        return scores, codes

    def _take(self, found: list[Finding], index: Array, at_ms: Array) -> tuple[Array, Array]:
        """Scores and codes of the readings of all series that something was found in."""
        before, rows = self._raised[index], _rows(index, at_ms)
        codes = np.zeros(len(index), np.int16)
        changed = np.zeros(len(index), np.int32)  # conditions that begin, less those that end, with each reading
        for finding in found:
            step = 1 if finding.begins else -1
            self._raised[finding.slot] += step
            places = rows.get((finding.slot, finding.at_ms))
            if places is None:
                continue
            row = places[min(1, len(places) - 1)] if finding.detector == "duplicates" else places[0]
            changed[row] += step
            if finding.begins:
                codes[row] = codes[row] or DETECTOR_CODES.get(finding.detector, 0)  # a counter's restart has none
        lasting = before + _running(index, changed)
        return ((lasting > 0) | (codes > 0)).astype(np.float64), codes

    def sweep(self, now_s: int) -> tuple[Array, Array]:
        """(k,) int32 series that fell silent since the last sweep, by a clock that shows now_s; (k,) int16 codes."""
        now_ms = int(now_s) * 1000
        self._fleet.clock_ms[AGENT] = now_ms  # whoever sweeps was listening all the time
        found = self._fell + self._fleet.examine([], {AGENT: now_ms})
        self._fleet.keep()
        self._fell = []
        for finding in found:
            self._raised[finding.slot] += 1 if finding.begins else -1
        begun = [finding for finding in found if finding.begins]
        slots = np.array([finding.slot for finding in begun], np.int32)
        return slots, np.array([DETECTOR_CODES[finding.detector] for finding in begun], np.int16)


def named(property: str) -> tuple[Profile, Property]:
    """A shipped profile with the one property that `<kind>.<property>` names; raises ValueError."""
    kind, _, name = property.partition(".")
    shipped = profiles.load(environ={})
    if kind not in shipped or name not in shipped[kind].properties:
        known = ", ".join(f"{kind}.{name}" for kind, profile in shipped.items() for name in profile.properties)
        raise ValueError(f"cannot watch {property!r}: no such property; known are {known}")
    item = shipped[kind].properties[name]
    return msgspec.structs.replace(shipped[kind], properties={name: item}), item


def column_of(item: Property, value: Array) -> Array:
    """Numbers as a column of the property's type; what it cannot hold is null."""
    values = np.asarray(value, np.float64)
    dtype = DTYPES[item.type]
    if item.type == "number":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    limits = np.iinfo(dtype)
    fits = np.isfinite(values) & (np.abs(values) <= limits.max)
    return np.where(fits, np.rint(np.where(fits, values, 0)), null_of(item)).astype(dtype)


def _index(series_idx: Array) -> Array:
    return np.ascontiguousarray(series_idx, np.int64)


def _milliseconds(t: Array) -> Array:
    return np.asarray(t).astype(np.int64) * 1000


def _running(index: Array, changed: Array) -> Array:
    """(n,) the sum of each series' changes up to and with each row."""
    order = np.argsort(index, kind="stable")
    total = np.cumsum(changed[order])
    first = np.flatnonzero(np.diff(index[order], prepend=-1))
    starts = np.repeat(total[first] - changed[order][first], np.diff(first, append=len(index)))
    found = np.empty(len(index), total.dtype)
    found[order] = total - starts
    return found


def _rows(index: Array, at_ms: Array) -> dict[tuple[int, int], list[int]]:
    """The rows of each (series, time)."""
    rows: dict[tuple[int, int], list[int]] = {}
    for row, key in enumerate(zip(index.tolist(), at_ms.tolist(), strict=True)):
        rows.setdefault(key, []).append(row)
    return rows
