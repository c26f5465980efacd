"""Healthy series of realistic shape, by neighbourhoods: garages that count, bins that fill, weather, mains, lamps.

Every shape is (n series, m times) from a seed, rounded to the profile's decimals. Ten series next to each other are a
neighbourhood: they share weather, feeder and habits, and add their own. One weekday in the third week is a holiday.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ingest_service.columns import Array

START_S = 1_772_409_600  # Monday 2026-03-02 00:00 UTC
NEIGHBOURS = 10
HOLIDAY = 15  # day, a Tuesday
DAY_S = 86_400


class When(NamedTuple):
    """Times of all series: (m,) each."""

    hour: Array
    day: Array  # since the start
    rests: Array  # bool: weekend or holiday
    cadence_s: int


class Shape(NamedTuple):
    """How a property behaves while nothing is wrong."""

    property: str
    cadence_s: int
    make: Callable[[int, When, np.random.Generator], Array]


def moments(days: int, cadence_s: int) -> When:
    t = np.arange(0, days * DAY_S, cadence_s)
    day = t // DAY_S
    return When(t % DAY_S / 3600, day, (day % 7 >= 5) | (day == HOLIDAY), cadence_s)


def times(n: int, when: When, random: np.random.Generator) -> Array:
    """(n, m) int64 s: each series has its own phase, and a jitter of two seconds."""
    m = len(when.hour)
    phase = random.integers(3, max(4, when.cadence_s - 3), n)
    jitter = random.integers(-2, 3, (n, m))
    found: Array = START_S + np.arange(m) * when.cadence_s + phase[:, None] + jitter
    return found


def wander(n: int, m: int, memory: float, random: np.random.Generator, sd: Array | float = 1.0) -> Array:
    """(n, m) autoregressive noise of unit sd (or of `sd`, broadcast to (n, m)) that forgets over `memory` steps."""
    keep = float(np.exp(-1 / memory))
    shocks = random.standard_normal((n, m)) * np.broadcast_to(sd, (n, m)) * np.sqrt(1 - keep * keep)
    found = np.empty((n, m))
    state = random.standard_normal(n) * np.broadcast_to(sd, (n, m))[:, 0]
    for at in range(m):
        state = keep * state + shocks[:, at]
        found[:, at] = state
    return found


def shared(n: int, make: Callable[[int], Array]) -> Array:
    """(n, …): what neighbours have in common; make(groups) gives a row a neighbourhood."""
    groups = -(-n // NEIGHBOURS)
    return np.repeat(make(groups), NEIGHBOURS, axis=0)[:n]


def bump(hour: Array, centre: Array | float, width: float) -> Array:
    """A bell around an hour of the day, 0 to 1, over midnight."""
    away = np.abs((hour - centre + 12) % 24 - 12)
    return np.exp(-0.5 * (away / width) ** 2)


def hours(steps_s: int, n: float) -> float:
    return n * 3600 / steps_s


def garage(n: int, when: When, random: np.random.Generator) -> Array:
    """Free spaces: offices, shops and homes, fuller on their days; nights move little; full garages stay at zero."""
    m, hour = len(when.hour), when.hour
    capacity = np.rint(np.exp(random.uniform(np.log(60), np.log(1500), n)))[:, None]
    use = shared(n, lambda groups: random.integers(0, 3, groups))
    centre = np.choose(use, [11.0, 15.0, 1.0])[:, None] + random.normal(0, 0.5, (n, 1))
    day_off = np.choose(use, [0.25, 0.8, 1.0])[:, None]
    busy = np.where(when.rests, day_off, 1.0) * bump(hour, centre, 3.2)
    days = int(when.day[-1]) + 1
    mood = shared(n, lambda groups: random.normal(1, 0.07, (groups, days))) * random.normal(1, 0.04, (n, days))
    moves = 0.06 + bump(hour, 8.5, 2) + bump(hour, 13, 3) + bump(hour, 18, 2.5)
    noise = wander(n, m, hours(when.cadence_s, 3), random, 0.035 * np.minimum(1, moves))
    still = np.cumsum(random.random((n, m)) < 0.02 + np.minimum(1, moves) * when.cadence_s / 300 * 0.8, axis=1)
    first = np.maximum.accumulate(np.where(np.diff(still, axis=1, prepend=-1) > 0, np.arange(m), 0), axis=1)
    taken = (random.uniform(0.08, 0.25, (n, 1)) + random.uniform(0.4, 0.75, (n, 1)) * busy * mood[:, when.day]) + noise
    return np.take_along_axis(capacity - np.rint(capacity * np.clip(taken, 0, 1)), first, axis=1)


def fill(n: int, when: When, random: np.random.Generator) -> Array:
    """(n, m) 0 to 1: how full bins truly are; emptied in the morning on their round's days, some mornings missed."""
    m, days = len(when.hour), int(when.day[-1]) + 1
    rate = random.uniform(0.12, 0.5, (n, 1))
    every = shared(n, lambda groups: random.integers(1, 4, groups))[:, None]
    comes = (np.arange(days) % every == 0) & (random.random((n, days)) > 0.05)
    at_hour = shared(n, lambda groups: random.uniform(5, 10, (groups, days))) + random.uniform(0, 0.8, (n, days))
    habit = (0.15 + bump(when.hour, 13, 4) + 0.5 * bump(when.hour, 19, 2)) * np.where(when.rests, 1.3, 1.0)
    grown = random.gamma(0.5, 2.0, (n, m)) * rate * habit * when.cadence_s / DAY_S * 2.4
    left, level, found = random.uniform(0, 0.04, (n, days)), random.uniform(0, 0.6, n), np.empty((n, m))
    emptied = comes[:, when.day] & (when.hour >= at_hour[:, when.day])
    emptied[:, 1:] &= ~(
        comes[:, when.day[1:]] & (when.hour[:-1] >= at_hour[:, when.day[1:]]) & (np.diff(when.day) == 0)
    )
    for at in range(m):
        level = np.where(emptied[:, at], left[:, when.day[at]], np.minimum(level + grown[:, at], 1.0))
        found[:, at] = level
    return found


def filling_level(n: int, when: When, random: np.random.Generator) -> Array:
    """An ultrasonic echo's noise of a hundredth; never below empty or above full."""
    return np.clip(fill(n, when, random) + 0.008 * random.standard_normal((n, len(when.hour))), 0, 1)


def cargo_weight(n: int, when: When, random: np.random.Generator) -> Array:
    """Kilograms of what is in it: a load cell's noise."""
    full = random.uniform(30, 200, (n, 1))
    return np.maximum(0, full * fill(n, when, random) + 0.4 * random.standard_normal((n, len(when.hour))))


def temperature(n: int, when: When, random: np.random.Generator) -> Array:
    """Weather of the neighbourhood, sun on the lid, nights that follow slowly."""
    m, days = len(when.hour), int(when.day[-1]) + 1
    weather = shared(n, lambda groups: wander(groups, m, hours(when.cadence_s, 40), random, 3.0))
    clear = shared(n, lambda groups: random.uniform(0.2, 1.0, (groups, days)))[:, when.day]
    daily = clear * (
        4 * np.cos((when.hour - 15) / 24 * 2 * np.pi) + random.uniform(0, 5, (n, 1)) * bump(when.hour, 13, 2)
    )
    own = wander(n, m, hours(when.cadence_s, 1), random, 0.4)
    return 9 + random.normal(0, 0.7, (n, 1)) + weather + daily + own + 0.15 * random.standard_normal((n, m))


def voltage(n: int, when: When, random: np.random.Generator) -> Array:
    """A feeder that sags with its load, a transformer's taps, a meter's noise."""
    m = len(when.hour)
    load = 2.2 * bump(when.hour, 19.5, 2.5) + 1.2 * bump(when.hour, 9, 3)
    feeder = shared(
        n,
        lambda groups: (
            wander(groups, m, hours(when.cadence_s, 5), random, 0.8)
            + wander(groups, m, hours(when.cadence_s, 0.2), random, 0.4)
        ),
    )
    return 224 + random.normal(0, 1.5, (n, 1)) - load + feeder + 0.3 * random.standard_normal((n, m))


def power(n: int, when: When, random: np.random.Generator) -> Array:
    """A lamp: standby by day, its rating by night, half of the neighbourhoods dimmed after midnight."""
    m = len(when.hour)
    rating = random.choice([50.0, 75.0, 100.0, 120.0], n)[:, None] * random.normal(1, 0.02, (n, 1))
    switch = (
        random.normal(0, 0.05, (n, 1))
        + shared(n, lambda g: random.normal(0, 0.05, (g, int(when.day[-1]) + 1)))[:, when.day]
    )
    on, off = 18.4 + when.day * 0.016 + switch, 6.8 - when.day * 0.022 - switch
    lit = (when.hour >= on) | (when.hour < off)
    dims = shared(n, lambda groups: random.random(groups) < 0.5)[:, None]
    level = np.where(dims & ((when.hour >= 23) | (when.hour < 5)), 0.6, 1.0)
    ageing = wander(n, m, hours(when.cadence_s, 8), random, 0.006) + 0.004 * random.standard_normal((n, m))
    standby = random.uniform(0.3, 0.9, (n, 1)) + 0.05 * random.standard_normal((n, m))
    return np.where(lit, rating * level * (1 + ageing), standby)


def current(n: int, when: When, random: np.random.Generator) -> Array:
    """Amperes of that lamp."""
    return power(n, when, random) / voltage(n, when, random) / 0.93


SHAPES = (
    Shape("off_street_parking.available_spot_number", 300, garage),
    Shape("waste_container.filling_level", 600, filling_level),
    Shape("waste_container.temperature", 600, temperature),
    Shape("waste_container.cargo_weight", 600, cargo_weight),
    Shape("streetlight.voltage", 300, voltage),
    Shape("streetlight.power_consumption", 300, power),
    Shape("streetlight.current", 300, current),
)
