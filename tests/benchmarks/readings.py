"""What the devices of an outbox read, in arrays: physics-like, with each property's decimals, gaps and a few faults.

Each outbox stands at another hour of the day, so the whole load is an average day: lamps on and dimmed at night and on
standby by day, mains that wander, bins that fill, bays that change. A device reports at its kind's period, a little
early or late, so that no two batches of an outbox hold the same devices in the same order.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.profiles import Profile
from tests.benchmarks.load_fleet import KINDS, Fleet

Array = NDArray[Any]
RATINGS_W = (50.0, 75.0, 100.0, 120.0)
NO_METER, NO_DIMMER, NO_SCALE = 0.03, 0.01, 0.30  # shares of devices that lack a property: its values are null
FAULTY = 1 / 2000  # lamps whose voltage is out of range, and as many whose voltage stands still
EARLY_OR_LATE_S = 1.5


@dataclass
class Readings:
    """n observations of one kind of one outbox, oldest first."""

    device: Array  # (n,) place among the outbox's devices of the kind
    at_s: Array  # (n,) seconds of the fleet's own time
    columns: dict[str, list[Any]]  # property -> n values as JSON has them, None for null


def rate(fleet: Fleet, profiles: dict[str, Profile]) -> float:
    """Observations a second of one outbox, in the fleet's own time."""
    return sum(fleet.counts[kind] / profiles[kind].report_period_s for kind in KINDS)


def read(fleet: Fleet, profiles: dict[str, Profile], outbox: int, span_s: float) -> dict[str, Readings]:
    """Everything that an outbox's devices report from 0 to span_s."""
    random = np.random.Generator(np.random.PCG64([fleet.seed, outbox]))
    hour = random.uniform(0, 24)
    return {
        kind: _VALUES[kind](random, hour, *_times(random, fleet.counts[kind], profiles[kind].report_period_s, span_s))
        for kind in KINDS
        if fleet.counts[kind]
    }


def _times(random: np.random.Generator, devices: int, period_s: int, span_s: float) -> tuple[Array, Array, Array]:
    """(device, turn, at_s) of each report in 0..span_s, oldest first."""
    turns = int(span_s / period_s) + 2
    at = random.uniform(-period_s, 0, (devices, 1)) + period_s * np.arange(turns)
    at = (at + random.uniform(-EARLY_OR_LATE_S, EARLY_OR_LATE_S, at.shape)).ravel()
    device, turn = np.divmod(np.arange(at.size), turns)
    order = np.argsort(at, kind="stable")
    order = order[(at[order] >= 0) & (at[order] < span_s)]
    return device[order], turn[order], at[order]


def _walk(random: np.random.Generator, devices: int, turn: Array, step: float) -> Array:
    """(devices, turns) random walks."""
    return np.cumsum(random.normal(0, step, (devices, int(turn.max(initial=0)) + 1)), axis=1)


def _lamps(random: np.random.Generator, hour: float, device: Array, turn: Array, at: Array) -> Readings:
    lamps, n = int(device.max(initial=0)) + 1, len(at)
    clock = (hour + at / 3600) % 24
    lit = (clock < 6) | (clock >= 18.5)
    dimmed = (clock < 5) | (clock >= 23)
    level = np.where(lit, np.where(dimmed, 0.55, 1.0), 0.0)
    watts = random.choice(RATINGS_W, lamps)[device] * level * random.normal(1, 0.008, n)
    power = np.round(np.where(lit, watts, random.uniform(0.3, 0.6, n)), 1)
    mains = 221.0 + _walk(random, lamps, turn, 0.25)[device, turn] + random.normal(0, 0.5, n)
    fault = random.random(lamps)[device]
    mains = np.where(fault < FAULTY, 180.0 + random.normal(0, 1.0, n), mains)
    voltage = np.round(np.where(fault > 1 - FAULTY, 219.4, mains), 1)
    current = np.round(power / (voltage * 0.95), 3)
    states = np.array(["off", "on", "low"], object)
    return Readings(
        device,
        at,
        {
            "power_state": states[np.where(lit, np.where(dimmed, 2, 1), 0)].tolist(),
            "illuminance_level": _gaps(level, random.random(lamps)[device] < NO_DIMMER),
            "power_consumption": power.tolist(),
            "voltage": voltage.tolist(),
            "current": _gaps(current, random.random(lamps)[device] < NO_METER),
        },
    )


def _bins(random: np.random.Generator, hour: float, device: Array, turn: Array, at: Array) -> Readings:
    bins, n = int(device.max(initial=0)) + 1, len(at)
    level = np.round(np.abs(random.uniform(0, 0.9, bins)[device] + 0.004 * turn + random.normal(0, 0.002, n)) % 1.0, 3)
    day = 14 + 9 * np.sin((hour + at / 3600 - 9) * np.pi / 12)
    weight = np.round(60 * level * random.normal(1, 0.02, n), 1)
    status = np.array(["ok", "lid_open"], object)[(random.random(n) < 0.01).astype(int)]
    return Readings(
        device,
        at,
        {
            "filling_level": level.tolist(),
            "temperature": np.round(day + random.normal(0, 0.4, n), 1).tolist(),
            "cargo_weight": _gaps(weight, random.random(bins)[device] < NO_SCALE),
            "status": status.tolist(),
        },
    )


def _bays(random: np.random.Generator, hour: float, device: Array, turn: Array, at: Array) -> Readings:
    bays = int(device.max(initial=0)) + 1
    turned = random.random((bays, int(turn.max(initial=0)) + 1)) < 0.2
    taken = (np.cumsum(turned, axis=1) + random.integers(0, 2, (bays, 1))) % 2
    return Readings(device, at, {"status": np.array(["free", "occupied"], object)[taken[device, turn]].tolist()})


def _garages(random: np.random.Generator, hour: float, device: Array, turn: Array, at: Array) -> Readings:
    garages = int(device.max(initial=0)) + 1
    room = (random.integers(12, 80, garages) * 10)[device]
    taken = room * 0.5 + 8 * _walk(random, garages, turn, 1.0)[device, turn]
    taken = np.clip(np.round(taken), 0, room).astype(int)
    free = room - taken
    status = np.array(["full", "almost_full", "spaces_available"], object)[np.digitize(free / room, (0.001, 0.1))]
    return Readings(
        device,
        at,
        {
            "available_spot_number": free.tolist(),
            "occupied_spot_number": taken.tolist(),
            "status": status.tolist(),
        },
    )


def _gaps(values: Array, missing: Array) -> list[Any]:
    """Values as JSON has them, None where they are missing."""
    found: list[Any] = values.tolist()
    for place in np.flatnonzero(missing).tolist():
        found[place] = None
    return found


_VALUES = {"streetlight": _lamps, "waste_container": _bins, "parking_spot": _bays, "off_street_parking": _garages}
