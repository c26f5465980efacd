"""Parking bays: cars arrive by hour of week and stay for a lognormal time.

A bay reports each change and, besides, once a period. Around four in the morning each bay draws anew whether a car
stands there for the night; so what a bay shows at any
instant follows from the day that began at the last such moment. A car that finds a bay taken does not count for that
bay.
"""

import numpy as np

from firmware_sim.physics.generic import Generic, Values
from firmware_sim.physics.population import DAY_MS, HOUR_MS, Population, day_of_week
from firmware_sim.randomness import F8, I8, exponential, normal, uniform

RENEW, NIGHT, ARRIVAL, STAY, BUSY, LEAVE, PLACE = range(60, 67)
RENEW_AT_MS = 4 * HOUR_MS
MIN_STAY_MS, MIN_FREE_MS = 90_000, 20_000
MAX_CARS = 40  # a day; the busiest bay sees about 15
NEVER = np.iinfo(np.int64).max
# Arrivals an hour while the bay is free, from 04:00 to 04:00: shopping street, homes.
# fmt: off
SHOPS = np.array([0.05, 0.08, 0.2, 0.5, 0.9, 1.1, 1.2, 1.4, 1.6, 1.5, 1.3, 1.2,
    1.2, 1.3, 1.5, 1.5, 1.2, 0.8, 0.5, 0.3, 0.15, 0.08, 0.05, 0.05])
HOMES = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.3, 0.35, 0.35, 0.3, 0.3,
    0.35, 0.5, 0.8, 1.1, 1.2, 1.0, 0.7, 0.4, 0.2, 0.1, 0.05, 0.02])
# fmt: on
WEEK_SHOPS = np.array([0.85, 0.88, 0.9, 0.95, 1.15, 1.35, 1.05])
WEEK_HOMES = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.9])


class ParkingSpot(Generic):
    """Bays of one agent."""

    def __init__(self, population: Population) -> None:
        super().__init__(population)
        self.homes = uniform(self.keys, PLACE) < 0.4
        self.rate = np.exp(0.35 * normal(self.keys, BUSY))
        self.night_share = np.where(self.homes, 0.62, 0.12)
        self.renew_ms = (
            RENEW_AT_MS + ((uniform(self.keys, RENEW) - 0.5) * 1.5 * HOUR_MS).astype(np.int64) - population.offset_ms
        )
        self._days: dict[int, tuple[np.ndarray, I8]] = {}
        names = self.profile.properties["status"].values
        self.free, self.occupied = names.index("free"), names.index("occupied")

    def instants(self, from_ms: int, to_ms: int) -> tuple[I8, I8]:
        device, at = super().instants(from_ms, to_ms)
        changed, changed_at = self.changes(from_ms, to_ms)
        device, at = np.concatenate([changed, device]), np.concatenate([changed_at, at])
        _, first = np.unique(np.stack([device, at]), axis=1, return_index=True)
        first.sort()
        return device[first], at[first]

    def values(self, device: I8, at_ms: I8) -> Values:
        return {"status": np.where(self.taken(device, at_ms), self.occupied, self.free)}

    def taken(self, device: I8, at_ms: I8) -> np.ndarray:
        """Whether a car stands in each bay at each instant."""
        day = (at_ms - self.renew_ms[device]) // DAY_MS
        found = np.empty(len(at_ms), dtype=bool)
        for today in np.unique(day).tolist():
            here = np.nonzero(day == today)[0]
            stands, changes = self._day(today)
            count = (changes[device[here]] <= at_ms[here, None]).sum(axis=1)
            found[here] = stands[device[here]] ^ (count % 2 == 1)
        return found

    def changes(self, from_ms: int, to_ms: int) -> tuple[I8, I8]:
        """(device, instant) of every arrival and departure with from_ms <= instant < to_ms."""
        first = (from_ms - int(self.renew_ms.max())) // DAY_MS
        last = (to_ms - int(self.renew_ms.min())) // DAY_MS
        devices, instants = [], []
        for day in range(first, last + 1):
            changes = self._day(day)[1]
            device, nth = np.nonzero((changes >= from_ms) & (changes < to_ms))
            devices.append(device)
            instants.append(changes[device, nth])
            renewed = self.renew_ms + day * DAY_MS
            moved = np.nonzero((renewed >= from_ms) & (renewed < to_ms) & (self._at_end(day - 1) != self._day(day)[0]))[
                0
            ]
            devices.append(moved)
            instants.append(renewed[moved])
        return np.concatenate(devices), np.concatenate(instants)

    def _at_end(self, day: int) -> np.ndarray:
        stands, changes = self._day(day)
        ended: np.ndarray = stands ^ ((changes < NEVER).sum(axis=1) % 2 == 1)
        return ended

    def _day(self, day: int) -> tuple[np.ndarray, I8]:
        """(a car stands there at the start, instants of change in order, NEVER after the last) of the day that begins
        around four.
        """
        if day not in self._days:
            self._days[day] = self._play(day)
            while len(self._days) > 5:
                self._days.pop(next(iter(self._days)))
        return self._days[day]

    def _play(self, day: int) -> tuple[np.ndarray, I8]:
        start = self.renew_ms + day * DAY_MS
        weekday = day_of_week(day)
        hours = np.arange(25) * HOUR_MS + RENEW_AT_MS - self.population.offset_ms + day * DAY_MS
        hours[0] -= HOUR_MS
        hours[-1] += HOUR_MS
        shops, homes = (
            np.append(0.0, np.cumsum(shape)) for shape in (SHOPS * WEEK_SHOPS[weekday], HOMES * WEEK_HOMES[weekday])
        )
        stands = uniform(self.keys, NIGHT, day) < self.night_share
        leave = (3.6 + 0.55 * normal(self.keys, LEAVE, day)) * HOUR_MS
        free_from = np.where(stands, start + np.maximum(leave, MIN_STAY_MS).astype(np.int64), start)
        instants: list[I8] = [np.where(stands, free_from, NEVER)]
        for car in range(MAX_CARS):
            wait = exponential(self.keys, ARRIVAL, day * MAX_CARS + car) / self.rate
            arrival = (
                np.where(self.homes, _later(free_from, wait, hours, homes), _later(free_from, wait, hours, shops))
                + MIN_FREE_MS
            )
            stay = np.exp(
                np.log(np.where(self.homes, 3.2, 0.7) * HOUR_MS) + 0.75 * normal(self.keys, STAY, day * MAX_CARS + car)
            )
            free_from = arrival.astype(np.int64) + np.maximum(stay, MIN_STAY_MS).astype(np.int64)
            instants += [arrival.astype(np.int64), free_from]
            if bool((arrival >= start + DAY_MS).all()):
                break
        changes = np.stack(instants, axis=1)
        changes[changes >= (start + DAY_MS)[:, None]] = NEVER
        changes.sort(axis=1)
        return stands, changes


def _later(from_ms: I8, wait: F8, hours: I8, cumulative: F8) -> F8:
    """When `wait` expected arrivals have passed since from_ms: the non-homogeneous Poisson process by its inverse."""
    due = np.interp(from_ms, hours, cumulative) + wait
    at: F8 = np.interp(due, cumulative, hours.astype(np.float64))
    return np.where(due >= cumulative[-1], from_ms + 2.0 * DAY_MS, at)
