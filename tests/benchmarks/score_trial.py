"""One trial: healthy series of a property, the same series with faults, and what the detectors of ingest say of both.

A source gives healthy series. Each comes once as it is and `replicas` times with one fault; a replica is a city of its
own, so that a faulty device's neighbours are as healthy as neighbours are, and none of them is its own twin.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ingest_service.columns import Array
from tests.benchmarks import fleet
from tests.benchmarks.score_counting import (
    CODES,
    WARM_UP_S,
    Alarms,
    Label,
    Outcome,
    device_days,
    episodes,
    outcomes,
)
from tests.benchmarks.score_injection import CELLS, LONGEST_S, Series, cadence_of, healthy, inject

MARGIN_S = 6 * 3600  # between the end of warm-up and a fault, and between the longest fault and the end


class Source(NamedTuple):
    """Healthy series of one property, and who is whose neighbour."""

    name: str
    property: str
    series: Sequence[tuple[Array, Array]]  # (time, value) of each
    group: Array  # (series,) int32, -1 for none
    cells: Sequence[tuple[str, str]] = CELLS
    sweeps: bool = True  # False: reports changes only, so that silence says nothing


class Detector(Protocol):
    def update(self, series_idx: Array, t: Array, value: Array) -> tuple[Array, Array]: ...
    def sweep(self, now_s: int) -> tuple[Array, Array]: ...


Make = Callable[[int, str, Array | None, Sequence[Label]], Detector]


class Trial(NamedTuple):
    """What came of it."""

    source: str
    property: str
    outcomes: list[Outcome]
    episodes: Alarms  # of the fault-free series
    days: float
    observations: int


def faults(n_series: int, property: str, peers: Array | None, _labels: Sequence[Label]) -> Detector:
    """The detectors that ingest runs."""
    return fleet.Faults(n_series, property, peers)


def alone(n_series: int, property: str, _peers: Array | None, _labels: Sequence[Label]) -> Detector:
    """The same without neighbours."""
    return fleet.Faults(n_series, property)


def attempt(source: Source, replicas: int, seed: int, make: Make = faults, shift_s: int = 0) -> Trial:
    """Run one. shift_s moves the labels away from their faults, to see whether it is noticed."""
    series, labels = prepared(source, replicas, seed)
    groups = int(source.group.max(initial=-1)) + 1
    peers = np.concatenate(
        [np.where(source.group < 0, -1, source.group + copy * groups) for copy in range(replicas + 1)]
    ).astype(np.int32)
    detector = make(len(series), source.property, peers, labels)
    cadence = min(cadence_of(t) for t, _ in source.series)
    alarms = play(detector, series, cadence, source.sweeps)
    shifted = [label._replace(onset_s=label.onset_s + shift_s, end_s=label.end_s + shift_s) for label in labels]
    n = len(source.series)
    first = np.array([t[0] for t, _ in source.series])
    last = np.array([t[-1] for t, _ in source.series])
    own = alarms.series < n
    return Trial(
        source.name,
        source.property,
        outcomes(shifted, alarms),
        episodes(Alarms(*(column[own] for column in alarms)), first + WARM_UP_S),
        device_days(first, last),
        sum(len(one.value) for one in series),
    )


def prepared(source: Source, replicas: int, seed: int) -> tuple[list[Series], list[Label]]:
    """The series as they are, then the replicas with a fault each; the faults."""
    random = np.random.default_rng([seed, 1])
    item = fleet.named(source.property)[1]
    rounded = [(t, np.round(value, item.decimals)) for t, value in source.series]
    series, labels = [healthy(t, value) for t, value in rounded], []
    n = len(series)
    if not replicas:
        return series, labels
    turns = np.concatenate(
        [random.permutation(len(source.cells)) for _ in range(-(-n * replicas // len(source.cells)))]
    )
    for copy in range(replicas):
        for twin, (t, value) in enumerate(rounded):
            earliest, latest = int(t[0]) + WARM_UP_S + MARGIN_S, int(t[-1]) - LONGEST_S - MARGIN_S
            if latest <= earliest:
                series.append(healthy(t, value))
                continue
            fault, variant = source.cells[turns[copy * n + twin]]
            wanted = int(random.integers(earliest, latest))
            faulty, onset, end = inject(series[twin], fault, variant, wanted, item.decimals, random)
            labels.append(Label(len(series), twin, fault, variant, onset, end, cadence_of(t)))
            series.append(faulty)
    return series, labels


def play(detector: Detector, series: Sequence[Series], sweep_s: int, sweeps: bool = True) -> Alarms:
    """Everything that a detector says of series that come as they arrived, with a sweep every sweep_s, or with none."""
    index = np.repeat(np.arange(len(series), dtype=np.int32), [len(one.value) for one in series])
    observed, value, arrived = (np.concatenate(column) for column in zip(*series, strict=True))
    order = np.argsort(arrived, kind="stable")
    index, observed, value, arrived = index[order], observed[order], value[order], arrived[order]
    told: list[tuple[Array, Array, Array]] = []
    ticks = np.arange(int(arrived[0]) // sweep_s + 1, int(arrived[-1]) // sweep_s + 2) * sweep_s
    begins = 0
    for now, ends in zip(ticks.tolist(), np.searchsorted(arrived, ticks).tolist(), strict=True):
        if ends > begins:
            rows = slice(begins, ends)
            _, codes = detector.update(index[rows], observed[rows], value[rows])
            hits = begins + np.flatnonzero(codes)
            if len(hits):
                told.append((index[hits], arrived[hits], codes[hits - begins]))
        who, codes = detector.sweep(now) if sweeps else (index[:0], index[:0])
        if len(who):
            told.append((who, np.full(len(who), now, np.int64), codes))
        begins = ends
    if not told:
        return Alarms(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int16))
    return Alarms(*(np.concatenate(column) for column in zip(*told, strict=True)))


class Oracle:
    """Knows the labels: tells each at the first sweep after its onset."""

    def __init__(self, n_series: int, property: str, peers: Array | None, labels: Sequence[Label]) -> None:
        self._waiting = sorted((label.onset_s, label.series, CODES[label.fault]) for label in labels)[::-1]

    def update(self, series_idx: Array, t: Array, value: Array) -> tuple[Array, Array]:
        return np.zeros(len(t)), np.zeros(len(t), np.int16)

    def sweep(self, now_s: int) -> tuple[Array, Array]:
        due = []
        while self._waiting and self._waiting[-1][0] <= now_s:
            due.append(self._waiting.pop()[1:])
        found = np.array(due, np.int32).reshape(-1, 2)
        return found[:, 0], found[:, 1].astype(np.int16)


class Guess:
    """Raises alarms by chance, a share of the series at each sweep, and names them by chance."""

    SHARE = 0.002

    def __init__(self, n_series: int, property: str, peers: Array | None, labels: Sequence[Label]) -> None:
        self._random, self._n = np.random.default_rng(5), n_series

    update = Oracle.update

    def sweep(self, now_s: int) -> tuple[Array, Array]:
        who = np.flatnonzero(self._random.random(self._n) < self.SHARE).astype(np.int32)
        return who, self._random.choice(np.array([3, 4, 5, 6, 7, 8, 9, 10, 11], np.int16), len(who))
