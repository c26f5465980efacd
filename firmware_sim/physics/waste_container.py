"""Bins: waste arrives by hour of week at each site's own rate, and a round in the morning empties what is full enough.

Every bin has one weekday on which it is always emptied, so its level at any instant follows from at most eight days
before it.
"""

import numpy as np
from numpy.typing import NDArray

from firmware_sim.physics.generic import Generic, Values
from firmware_sim.physics.population import DAY_MS, HOUR_MS, Population, day_of_week
from firmware_sim.randomness import F8, I8, key_of, normal, smooth, uniform

RATE, FORCED, ROUND, THRESHOLD, BUSY, SKIP, ECHO, WEATHER, SHADE, DENSITY, SITE = range(40, 51)
FORCED_AFTER_DAYS = 8
# Share of a day's waste by hour, at a shopping street (workdays, weekend) and at homes.
# fmt: off
SHOPS = np.array([1, 0.5, 0.3, 0.2, 0.2, 0.4, 1, 2.5, 4, 4, 4.5, 6,
    8, 7.5, 6, 5.5, 5.5, 6.5, 8, 8, 7, 5.5, 4, 2.4])
HOMES = np.array([0.6, 0.3, 0.2, 0.2, 0.3, 1, 4, 8, 7, 4, 3.5, 3.5,
    4, 3.5, 3, 3, 3.5, 5, 8, 9.5, 9.5, 8, 5, 2.4])
# fmt: on
WEEK_SHOPS = np.array([0.9, 0.9, 0.92, 0.98, 1.12, 1.3, 1.1])
WEEK_HOMES = np.array([1.05, 0.92, 0.92, 0.94, 0.98, 1.1, 1.15])
EMPTY_LEVEL = 0.02


class WasteContainer(Generic):
    """Bins of one agent."""

    def __init__(self, population: Population) -> None:
        super().__init__(population)
        self.volume_l = population.attribute("volume_l", lambda i: 120.0)
        self.homes = uniform(self.keys, SITE) < 0.45
        self.rate = 0.12 + 0.75 * uniform(self.keys, RATE) ** 1.6  # of a bin in an average day
        self.forced_weekday = (uniform(self.keys, FORCED) * 6).astype(np.int64)  # Monday to Saturday
        self.threshold = 0.5 + 0.2 * uniform(self.keys, THRESHOLD)
        self.density = 0.06 + 0.05 * uniform(self.keys, DENSITY)  # kg per litre, mixed street waste
        self.round_ms = ((5.0 + 5.5 * uniform(self.keys, ROUND)) * HOUR_MS).astype(np.int64)
        self.weather_key = np.array([key_of(population.seed, population.municipality, "weather")], dtype=np.uint64)
        self._days: dict[int, tuple[F8, I8, F8, F8]] = {}
        names = self.profile.properties["status"].values
        self.ok, self.lid_open = names.index("ok"), names.index("lid_open")

    def values(self, device: I8, at_ms: I8) -> Values:
        level = self.level(device, at_ms)
        keys = self.keys[device]
        seen = np.clip(level + 0.004 * normal(keys, ECHO, at_ms), 0.0, 1.0)
        status = np.where((level > 0.96) & (uniform(keys, SITE, at_ms // HOUR_MS) < 0.4), self.lid_open, self.ok)
        weight = level * (self.volume_l * self.density)[device] + 0.08 * normal(keys, DENSITY, at_ms)
        return {
            "filling_level": seen,
            "temperature": self._temperature(device, at_ms),
            "cargo_weight": np.maximum(weight, 0.0),
            "status": status,
        }

    def level(self, device: I8, at_ms: I8) -> F8:
        """True share of each bin that is filled, 0..1."""
        local = at_ms + self.population.offset_ms
        day = local // DAY_MS
        level = np.empty(len(at_ms))
        for today in np.unique(day).tolist():
            here = np.nonzero(day == today)[0]
            bin_, clock = device[here], local[here] - today * DAY_MS
            start, round_ms, left, busy = self._day(today)
            before = start[bin_] + busy[bin_] * self._filled(bin_, today, clock)
            after = left[bin_] + busy[bin_] * (
                self._filled(bin_, today, clock) - self._filled(bin_, today, round_ms[bin_])
            )
            level[here] = np.minimum(np.where(clock < round_ms[bin_], before, after), 1.0)
        return level

    def collections(self, local_day: int) -> tuple[I8, NDArray[np.bool_]]:
        """(ms of the local day, emptied or not) of the round that passes each bin."""
        _, round_ms, left, _ = self._day(local_day)
        return round_ms, left <= EMPTY_LEVEL

    def _filled(self, device: I8, day: int, clock_ms: I8) -> F8:
        """Share of an average day's waste that has come by this time of the day."""
        weekday, hours = day_of_week(day), clock_ms / HOUR_MS
        shops, homes = (
            np.interp(hours, np.arange(25), np.append(0.0, np.cumsum(shape)) / shape.sum()) for shape in (SHOPS, HOMES)
        )
        share: F8 = np.where(self.homes[device], homes * WEEK_HOMES[weekday], shops * WEEK_SHOPS[weekday])
        return share

    def _day(self, day: int) -> tuple[F8, I8, F8, F8]:
        """(level at midnight, time of the round, level just after the round, waste of this day) of each bin."""
        if day not in self._days:
            level = np.full(self.count, 0.5)  # forgotten at the forced round within the warm-up
            for past in range(day - FORCED_AFTER_DAYS, day):
                level = self._after(past, level)[1]
            self._days[day] = (level, *self._after(day, level)[0])
            while len(self._days) > 4:
                self._days.pop(next(iter(self._days)))
        return self._days[day]

    def _after(self, day: int, level: F8) -> tuple[tuple[I8, F8, F8], F8]:
        """((time of the round, level after it, waste of the day), level at the day's end) from the level at its
        start.
        """
        everyone = np.arange(self.count)
        busy = self.rate * (1 + 0.22 * normal(self.keys, BUSY, day))
        round_ms = self.round_ms + (30 * 60_000 * uniform(self.keys, ROUND, day)).astype(np.int64)
        come = self._filled(everyone, day, round_ms)
        at_round = np.minimum(level + busy * come, 1.0)
        works = day_of_week(day) != 6
        wanted = (at_round > self.threshold) & (uniform(self.keys, SKIP, day) > 0.06) | (
            uniform(self.keys, SKIP, day) > 0.97
        )
        emptied = works & (wanted | (self.forced_weekday == day_of_week(day)))
        left = np.where(emptied, EMPTY_LEVEL, at_round)
        day_end = np.minimum(left + busy * (self._filled(everyone, day, np.full(self.count, DAY_MS)) - come), 1.0)
        return (round_ms, left, busy), day_end

    def _temperature(self, device: I8, at_ms: I8) -> F8:
        """Air inside the bin: season, day curve, weather of the town, sun on the site."""
        local = at_ms + self.population.offset_ms
        year, hour = local / DAY_MS % 365.2425, local / HOUR_MS % 24
        season = 12.5 - 14.0 * np.cos(2 * np.pi * (year - 20) / 365.2425)  # Seoul's monthly means, KMA 1991-2020
        day = np.cos(2 * np.pi * (hour - 15) / 24)
        weather = 2.5 * smooth(self.weather_key, WEATHER, at_ms, 30 * HOUR_MS)
        sunny = (3.5 + 3.0 * uniform(self.keys, SHADE))[device]
        found: F8 = season + sunny * day + weather + 0.15 * normal(self.keys[device], WEATHER, at_ms)
        return found
