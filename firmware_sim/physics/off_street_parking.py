"""Garages: cars come by hour of week, stay by kind of garage, and never more than there are spaces.

A day is played minute by minute from 04:00, when each garage draws how many cars stay overnight; in the last two
hours the day is led to the next day's draw. Counts at any instant so follow from the day that holds it.
"""

import numpy as np

from firmware_sim.physics.generic import Generic, Values
from firmware_sim.physics.population import DAY_MS, HOUR_MS, Population, day_of_week
from firmware_sim.randomness import F8, I8, normal, uniform

ARRIVE, DEPART, NIGHT, KIND, BUSY = range(80, 85)
START_MS = 4 * HOUR_MS
MINUTES = 1440
LEAD_MINUTES = 120
# Arrivals an hour as a share of the spaces, from 04:00 to 04:00: offices (workdays), shops; and mean stays in hours.
# fmt: off
OFFICE = np.array([0.01, 0.02, 0.05, 0.16, 0.26, 0.16, 0.08, 0.06, 0.07, 0.08, 0.06, 0.05,
    0.05, 0.04, 0.04, 0.03, 0.02, 0.01, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0])
SHOPS = np.array([0.0, 0.01, 0.02, 0.04, 0.08, 0.12, 0.18, 0.24, 0.27, 0.26, 0.24, 0.24,
    0.25, 0.27, 0.28, 0.24, 0.18, 0.1, 0.05, 0.02, 0.01, 0.0, 0.0, 0.0])
# fmt: on
WEEK_OFFICE = np.array([1.0, 1.02, 1.0, 1.0, 0.94, 0.3, 0.2])
WEEK_SHOPS = np.array([0.75, 0.76, 0.8, 0.85, 1.0, 1.35, 1.2])
STAY_OFFICE_H, STAY_SHOPS_H = 6.5, 1.9
# fmt: off
LEAVE_BY_HOUR = np.array([0.3, 0.4, 0.6, 0.6, 0.5, 0.5, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9,
    1.0, 1.3, 1.9, 2.1, 2.1, 2.1, 1.9, 1.6, 1.2, 0.8, 0.4, 0.3])
# fmt: on


class OffStreetParking(Generic):
    """Garages of one agent."""

    def __init__(self, population: Population) -> None:
        super().__init__(population)
        self.total = population.attribute("total_spot_number", lambda i: 300.0).astype(np.int64)
        self.office = uniform(self.keys, KIND) < 0.4
        self._days: dict[int, np.ndarray] = {}
        names = self.profile.properties["status"].values
        self.full, self.almost_full, self.available = (
            names.index(name) for name in ("full", "almost_full", "spaces_available")
        )

    def values(self, device: I8, at_ms: I8) -> Values:
        cars, total = self.cars(device, at_ms), self.total[device]
        free = total - cars
        status = np.where(free == 0, self.full, np.where(free * 20 < total, self.almost_full, self.available))
        return {"available_spot_number": free, "occupied_spot_number": cars, "status": status}

    def cars(self, device: I8, at_ms: I8) -> I8:
        """Cars inside each garage, 0..total."""
        local = at_ms + self.population.offset_ms - START_MS
        day = local // DAY_MS
        found = np.empty(len(at_ms), dtype=np.int64)
        for today in np.unique(day).tolist():
            here = np.nonzero(day == today)[0]
            found[here] = self._day(today)[(local[here] - today * DAY_MS) // 60_000, device[here]]
        return found

    def _overnight(self, day: int) -> I8:
        return (self.total * (0.06 + 0.08 * uniform(self.keys, NIGHT, day))).astype(np.int64)

    def _day(self, day: int) -> np.ndarray:
        """(1440, n) cars at each minute from 04:00 of local day `day`."""
        if day not in self._days:
            self._days[day] = self._play(day)
            while len(self._days) > 3:
                self._days.pop(next(iter(self._days)))
        return self._days[day]

    def _play(self, day: int) -> np.ndarray:
        weekday = day_of_week(day)
        busy = np.where(self.office, WEEK_OFFICE[weekday], WEEK_SHOPS[weekday]) * (
            1 + 0.1 * normal(self.keys, BUSY, day)
        )
        minute = np.arange(MINUTES)
        middle = np.arange(24) * 60 + 30
        shape = np.where(
            self.office, np.interp(minute, middle, OFFICE)[:, None], np.interp(minute, middle, SHOPS)[:, None]
        )
        expected = shape * busy * self.total / 60.0
        counter = (day * MINUTES + minute)[:, None]
        spread = np.sqrt(expected) * normal(self.keys, ARRIVE, counter)
        arrivals = np.maximum(np.floor(expected + spread + uniform(self.keys, BUSY, counter)), 0.0)
        leaving: F8 = np.interp(minute, middle, LEAVE_BY_HOUR)[:, None] / (
            60.0 * np.where(self.office, STAY_OFFICE_H, STAY_SHOPS_H)
        )
        chance = uniform(self.keys, DEPART, counter)
        cars = self._overnight(day).astype(np.float64)
        path = np.empty((MINUTES, self.count))
        for now in range(MINUTES):
            departures = np.floor(cars * leaving[now] + chance[now])
            cars = np.clip(cars + arrivals[now] - departures, 0.0, self.total)
            path[now] = cars
        lead = np.clip((minute - (MINUTES - LEAD_MINUTES) + 1) / LEAD_MINUTES, 0.0, 1.0)[:, None]
        led = np.rint(path + lead * (self._overnight(day + 1) - path[-1]))
        found: np.ndarray = np.clip(led, 0, self.total).astype(np.int64)
        return found
