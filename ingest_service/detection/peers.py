"""Who is whose peer: devices of one circuit, else devices of one kind in one small area.

Pure functions of what the registry says. A group's key is what any process works out alike, its number this process's
own, and nothing may depend on it. Peers are further parted by the shard that speaks for them, because a shard
is what is saved, replayed and moved to another worker: what a device's peers did must move along with it.
What is done with the groups belongs to the monitors.
"""

import math
from collections.abc import Hashable

import numpy as np

from ingest_service.columns import Array

AREA_M = 500.0
METRES_A_DEGREE = 111_320.0  # of latitude; of longitude at the equator
NOBODY = -1


def group_of(circuit: str | None, latitude: float | None, longitude: float | None) -> Hashable | None:
    """The name of a circuit, else the `cell` of a place in degrees, within a kind and town; None without both."""
    if circuit:
        return circuit
    if latitude is None or longitude is None or not (math.isfinite(latitude) and math.isfinite(longitude)):
        return None
    return cell(latitude, longitude)


def cell(latitude: float, longitude: float) -> tuple[int, int]:
    """(row, column) of the square of AREA_M that a place (degrees) lies in; rows have columns of their own width."""
    row = math.floor(latitude * METRES_A_DEGREE / AREA_M)
    middle = math.radians(min(90.0, abs(row + 0.5) * AREA_M / METRES_A_DEGREE))
    return row, math.floor(longitude * METRES_A_DEGREE * max(math.cos(middle), 0.01) / AREA_M)


class Groups:
    """Groups of one kind's slots."""

    def __init__(self) -> None:
        self._number: dict[Hashable, int] = {}
        self._of = np.full(64, NOBODY, np.int32)
        self._slots = 0

    def put(self, slot: int, key: Hashable | None) -> None:
        """This slot's group, from now on."""
        if slot >= len(self._of):
            self._of = np.concatenate([self._of, np.full(max(len(self._of), slot + 1), NOBODY, np.int32)])
        self._slots = max(self._slots, slot + 1)
        self._of[slot] = NOBODY if key is None else self._number.setdefault(key, len(self._number))

    @property
    def of_slot(self) -> Array:
        """(slots,) int32: number of each slot's group; NOBODY where it has none."""
        return self._of[: self._slots]
