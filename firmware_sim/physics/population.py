"""Devices of one kind behind one agent, as arrays: keys for randomness, places, attributes, local time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from contracts.profiles import Profile
from firmware_sim.randomness import F8, I8, U8, keys_of

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MONDAY_MS = 4 * DAY_MS  # 1970-01-05 was a Monday


@dataclass(frozen=True)
class Population:
    """n devices of one kind in one municipality."""

    profile: Profile
    municipality: str
    seed: int
    names: list[str]
    latitude: F8
    longitude: F8
    attributes: list[dict[str, Any]]
    offset_ms: int  # local standard time less UTC; the simulator keeps no daylight saving (Korea has none)
    keys: U8 = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", keys_of(self.seed, [f"{self.municipality}/{name}" for name in self.names]))

    def attribute(self, name: str, default: Callable[[int], float]) -> F8:
        """A numeric attribute of each device; `default(i)` where device i lacks it."""
        return np.array([float(row.get(name, default(i))) for i, row in enumerate(self.attributes)], dtype=np.float64)


def standard_offset_ms(zone: str, at_ms: int) -> int:
    """Offset of the zone's standard time in the year of `at_ms`."""
    year = datetime.fromtimestamp(at_ms / 1000, UTC).year
    found = []
    for month in (1, 7):
        offset = datetime(year, month, 1, tzinfo=ZoneInfo(zone)).utcoffset()
        assert offset is not None
        found.append(round(offset.total_seconds() * 1000))
    return min(found)


def hour_of_week(local_ms: I8) -> I8:
    """0 (Monday, midnight to one) to 167."""
    return (local_ms - MONDAY_MS) // HOUR_MS % 168


def day_of_week(local_day: int) -> int:
    """0 Monday to 6 Sunday, of days since 1970."""
    return (local_day + 3) % 7
