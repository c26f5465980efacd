"""A small city for tests: the same for all of them, built once."""

from datetime import UTC, datetime
from functools import cache

import numpy as np

from contracts import profiles as contract
from firmware_sim import fleet
from firmware_sim.city import City, population_of
from firmware_sim.physics import physics_of

START_MS = int(datetime(2026, 6, 17, 9, 50, tzinfo=UTC).timestamp() * 1000)  # a Wednesday, 18:50 in Korea
KST_MS = 9 * 3_600_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
PROFILES = contract.load()


@cache
def small_fleet(devices: int = 240, agents: int = 4, seed: int = 7):
    return fleet.make(devices, agents, seed)


def city(seed: int = 7, group_ms: int = 1_000, start_ms: int = START_MS) -> City:
    return City(small_fleet(), PROFILES, seed, start_ms, group_ms)


def physics(kind: str, seed: int = 7, devices: int = 400):
    rows = [
        row for row in small_fleet(devices=devices)["devices"] if row["kind"] == kind and row["municipality"] == "41280"
    ]
    return physics_of(population_of(PROFILES[kind], rows, seed, KST_MS))


def everyone(model, at_ms: int):
    """(device, instants) of all devices at one instant."""
    return np.arange(model.count), np.full(model.count, at_ms, dtype=np.int64)


def read_all(stream, until_ms: int, after: int = 0):
    """[(number, kind, device, observed_at, values)] of a stream after a number, as an agent would number them."""
    position, found = stream.seek(after, until_ms), []
    while (line := stream.read(position, until_ms)) is not None:
        observations, count, clock_ms = line
        number = position.after - count
        for kind, columns in observations.items():
            names = [name for name in columns if name not in ("device", "observed_at")]
            for i, device in enumerate(columns["device"]):
                number += 1
                assert columns["observed_at"][i] <= clock_ms <= until_ms
                found.append(
                    (number, kind, device, columns["observed_at"][i], {name: columns[name][i] for name in names})
                )
        assert number == position.after
    return found
