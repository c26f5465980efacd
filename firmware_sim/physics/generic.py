"""Behaviour of a kind without physics: periodic reports of smooth values inside the profile's normal range."""

import numpy as np
from numpy.typing import NDArray

from contracts.profiles import Property
from firmware_sim.physics.population import HOUR_MS, Population
from firmware_sim.randomness import F8, I8, normal, smooth, uniform

PHASE, JITTER, WANDER, NOISE, CHOICE = range(5)
COUNTING_SINCE_MS = 1_577_836_800_000  # 2020-01-01: where a counter stands follows from the time alone
FULL_AFTER_HOURS = 80 * 8766  # at a counter's fastest
Values = dict[str, NDArray[np.generic]]
MAX_JITTER_MS = 2_000


class Generic:
    """Any kind, from its profile alone; kinds with physics override `values`, and `instants` where they report
    changes.
    """

    def __init__(self, population: Population) -> None:
        self.population = population
        self.profile = population.profile
        self.keys = population.keys
        self.count = len(population.names)
        self.period_ms = self.profile.report_period_s * 1000
        self.jitter_ms = min(MAX_JITTER_MS, self.period_ms // 20)
        self.phase_ms = (uniform(self.keys, PHASE) * (self.period_ms - self.jitter_ms)).astype(np.int64)

    def instants(self, from_ms: int, to_ms: int) -> tuple[I8, I8]:
        """(device index, observed_at) of every report with from_ms <= observed_at < to_ms; no device twice in one
        ms.
        """
        slots = np.arange(from_ms // self.period_ms, (to_ms - 1) // self.period_ms + 1, dtype=np.int64)
        jitter = (uniform(self.keys[None, :], JITTER, slots[:, None]) * self.jitter_ms).astype(np.int64)
        at = slots[:, None] * self.period_ms + self.phase_ms[None, :] + jitter
        due = (at >= from_ms) & (at < to_ms)
        slot, device = np.nonzero(due)
        return device.astype(np.int64), at[slot, device]

    def values(self, device: I8, at_ms: I8) -> Values:
        """Every property, unrounded, of any (device, instant) pairs; enums as indexes into the property's values."""
        return {
            name: self._property(item, number, device, at_ms)
            for number, (name, item) in enumerate(self.profile.properties.items())
        }

    def _property(self, item: Property, number: int, device: I8, at_ms: I8) -> NDArray[np.generic]:
        keys, stream = self.keys[device], 16 + 4 * number
        if item.type == "enum":
            return np.where(
                uniform(keys, stream + CHOICE, at_ms // (6 * HOUR_MS)) < 0.97, 0, min(1, len(item.values) - 1)
            )
        if item.type == "boolean":
            return uniform(keys, stream + CHOICE, at_ms // (6 * HOUR_MS)) < 0.03
        low, high = normal_range(item)
        if item.detectors.backwards is not None:
            return self._counted(device, at_ms, low, high - low, item.detectors.backwards.modulus)
        middle = low + (high - low) * (0.35 + 0.3 * uniform(self.keys, stream))[device]
        spread = (high - low) * 0.03
        shape = smooth(keys, stream + WANDER, at_ms, 6 * HOUR_MS) + 0.5 * smooth(keys, stream + WANDER, at_ms, HOUR_MS)
        found: F8 = middle + spread * (shape + 0.2 * normal(keys, stream + NOISE, at_ms))
        return found

    def _counted(self, device: I8, at_ms: I8, low: float, span: float, modulus: float | None) -> F8:
        """What a counter shows: it counts by day and night, up to ten times faster at its own busiest hour."""
        rate = span / FULL_AFTER_HOURS * (0.3 + 0.7 * uniform(self.keys, WANDER))[device]
        start = low + 0.1 * span * uniform(self.keys, CHOICE)[device]
        turn = 2 * np.pi * ((at_ms - COUNTING_SINCE_MS) / HOUR_MS / 24 + uniform(self.keys, PHASE)[device])
        shown: F8 = start + rate * (24 / (2 * np.pi)) * (turn + 0.8 * np.sin(turn))
        return shown if modulus is None else shown % modulus


def normal_range(item: Property) -> tuple[float, float]:
    """Where values of a healthy device lie: inside the alarm limits where they are given, else inside the plausible
    range.
    """
    low, high = item.plausible or (0.0, 1.0)
    limits = item.detectors.out_of_range
    if limits is not None:
        low = low if limits.low is None else max(low, limits.low)
        high = high if limits.high is None else min(high, limits.high)
    return low, high
