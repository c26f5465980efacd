"""Faults of words and counters: a bay that sticks, a lamp that burns by day or stays dark, a whole circuit that stays
dark, a counter that runs backwards.

Scheduled beside those of `faults`, with the same kind of label. severity: report periods (unchanging, backwards),
hours that a lamp burns by day or, below zero, stays dark at night (daylight).
"""

from collections import Counter
from typing import Any

import numpy as np

from contracts.profiles import Profile
from firmware_sim import sun
from firmware_sim.labels import Fault, Shape
from firmware_sim.physics.generic import Generic, Values
from firmware_sim.physics.streetlight import Streetlight
from firmware_sim.randomness import I8, key_of

SHAPES: tuple[Shape, ...] = ("unchanging", "daylight", "backwards")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
LAMP = ("power_state", "illuminance_level", "power_consumption", "current")  # what tells that a lamp is lit
STICKS_EVERY_DAYS, DARK_CIRCUIT_EVERY_DAYS, BACKWARDS_EVERY_DAYS = 4, 3, 2
MOST = 0.7  # of a circuit's lamps; the others have faults of their own that day
FIRST_LAMP_MS = 720_000  # after the start, so that there is one to see
BURNS, DARK, CIRCUIT = 10.0, 21.5, 22.5  # hours of solar time
Device = tuple[str, str]


def schedule(
    devices: list[dict[str, Any]],
    profiles: dict[str, Profile],
    seed: int,
    start_ms: int,
    day: int,
    used: set[Device],
) -> list[Fault]:
    """Those that begin in one 24 hours, on devices that are not used."""
    random = np.random.Generator(np.random.PCG64(key_of(seed, "faults of words", start_ms, day)))
    from_ms = start_ms + day * DAY_MS
    taken = set(used)
    found: list[Fault] = []

    def able(detector: str) -> list[tuple[dict[str, Any], str]]:
        """(device, property) of those free whose profile has the detector."""
        return [
            (row, item.name)
            for row in devices
            if (row["municipality"], row["device"]) not in taken
            for item in profiles[row["kind"]].properties.values()
            if getattr(item.detectors, detector) is not None and (item.type == "enum" or detector == "backwards")
        ]

    def add(row: dict[str, Any], name: str, shape: Shape, onset: int, length: int, severity: float, group: str) -> None:
        taken.add((row["municipality"], row["device"]))
        label = Fault(row["municipality"], row["device"], name, shape, onset, onset + length, severity, group)
        found.append(label)

    def one(detector: str, shape: Shape, days: tuple[float, float]) -> None:
        places = able(detector)
        if places:
            row, name = places[int(random.integers(len(places)))]
            period_ms = profiles[row["kind"]].report_period_s * 1000
            periods = round(random.uniform(*days) * DAY_MS / period_ms)
            onset = from_ms + int(random.uniform(0.04, 0.97) * DAY_MS)
            add(row, name, shape, onset, periods * period_ms, periods, "")

    def lamp(at_ms: int | None, hour: float, hours: float) -> None:
        places = [place for place in able("daylight") if place[0]["kind"] == "streetlight"]
        if not places:
            return
        row, name = places[int(random.integers(len(places)))]
        onset = _solar(from_ms, hour, row["longitude"]) if at_ms is None else at_ms
        length = int(abs(hours) * HOUR_MS)
        if at_ms is not None:
            left = _left_of_day_ms(at_ms, row) if hours > 0 else length
            if left <= HOUR_MS:
                return
            length = min(length, left)
        add(row, name, "daylight", onset, length, round(hours, 2), "")

    def circuit() -> None:
        lamps: dict[tuple[str, str], list[tuple[dict[str, Any], str]]] = {}
        for row, name in able("daylight"):
            group = str((row.get("attributes") or {}).get("circuit", ""))
            if group and row["kind"] == "streetlight":
                lamps.setdefault((row["municipality"], group), []).append((row, name))
        size = Counter(
            (row["municipality"], (row.get("attributes") or {}).get("circuit"))
            for row in devices
            if row["kind"] == "streetlight"
        )
        whole = [(key, places) for key, places in lamps.items() if len(places) >= max(5, MOST * size[key])]
        if whole:
            (_, group), places = whole[int(random.integers(len(whole)))]
            hours = float(random.uniform(2.5, 4.0))
            onset = _solar(from_ms, CIRCUIT + float(random.uniform(0, 1)), places[0][0]["longitude"])
            for row, name in places:
                add(row, name, "daylight", onset, int(hours * HOUR_MS), round(-hours, 2), group)

    if day == 0:
        lamp(from_ms + FIRST_LAMP_MS, 0.0, float(random.uniform(4, 6)))
    lamp(None, BURNS + float(random.uniform(0, 1)), float(random.uniform(3, 6)))
    lamp(None, DARK + float(random.uniform(0, 1)), -float(random.uniform(3, 5)))
    if day % STICKS_EVERY_DAYS == 0:
        one("unchanging", "unchanging", (12.0, 20.0))
    if day % BACKWARDS_EVERY_DAYS == 0:
        one("backwards", "backwards", (0.2, 0.4))
    if day % DARK_CIRCUIT_EVERY_DAYS == 0:
        circuit()
    return found


def _solar(from_ms: int, hour: float, longitude: float) -> int:
    """The first instant from from_ms on at which it is `hour` by the (mean) sun."""
    first = from_ms + round(longitude / 15.0 * HOUR_MS)
    return from_ms + (round(hour * HOUR_MS) - first) % DAY_MS


def _left_of_day_ms(at_ms: int, row: dict[str, Any]) -> int:
    """How long the sun will stand well above the horizon; 0 when it does not."""
    day = (at_ms + round(row["longitude"] / 15.0 * HOUR_MS)) // DAY_MS
    rises, sets = sun.crossings_ms(day, row["latitude"], row["longitude"], 8.0)
    return int(sets) - at_ms if rises <= at_ms < sets else 0


def touched(fault: Fault) -> tuple[str, ...]:
    """Properties that a fault alters."""
    return LAMP if fault.fault == "daylight" else (str(fault.property),)


def alter(fault: Fault, physics: Generic, number: int, values: Values, rows: I8, at_ms: I8) -> None:
    """Put what the faulty device says in place of the truth in these rows, at these instants."""
    name = str(fault.property)
    device = np.full(len(rows), number)
    if fault.fault == "daylight":
        assert isinstance(physics, Streetlight)
        said = physics.lamp(device, at_ms, np.full(len(rows), 1.0 if fault.severity > 0 else 0.0))
        for other in LAMP:
            values[other][rows] = said[other]
        return
    onset = physics.values(np.array([number]), np.array([fault.onset_at]))[name][0]
    if fault.fault == "backwards":
        values[name][rows] = np.maximum(0.0, 2.0 * float(onset) - values[name][rows].astype(np.float64))
    else:
        values[name][rows] = onset
