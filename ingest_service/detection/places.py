"""Where devices of a kind stand and what is planned for them, as arrays by slot; from the registry.

A plan is the device's attribute `schedule`: nothing or `dusk-dawn` (by the sun), `always` (a tunnel, lit day and
night, or anything that nobody should judge), or `HH:MM-HH:MM`, the part of the night in which it is planned to be dark
(local time of the municipality). A plan that cannot be read is judged by nobody.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from ingest_service.columns import Array
from ingest_service.detection.daylight import BY_THE_SUN, PLANNED_DARK, PLANNED_EITHER
from ingest_service.detection.sun import HOUR_MS

MINUTE_MS, DAY_MS = 60_000, 24 * HOUR_MS
MARGIN_MS = (
    10 * MINUTE_MS
)  # a plan's own switching may be so far off: clocks of lamps, and lamps that are switched in turn
ALL_DAY, NEVER = -1, -2  # instead of a minute: judged by the sun alone, judged by nobody
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def read_plan(text: str | None) -> tuple[int, int]:
    """(minute of the day from which, until which it is planned to be dark), or ALL_DAY or NEVER twice."""
    if text is None or text in ("", "dusk-dawn"):
        return ALL_DAY, ALL_DAY
    window = _WINDOW.fullmatch(text)
    if window is None:
        return NEVER, NEVER
    hours = [int(part) for part in window.groups()]
    first, last = 60 * hours[0] + hours[1], 60 * hours[2] + hours[3]
    return (first, last) if first != last else (NEVER, NEVER)


class Places:
    """Of one kind's slots."""

    def __init__(self) -> None:
        self._latitude = np.full(64, np.nan)
        self._longitude = np.full(64, np.nan)
        self._plan = np.full((64, 2), ALL_DAY, np.int16)
        self._zone = np.zeros(64, np.int16)
        self._zones: list[str] = []
        self._slots = 0
        self._planned = False  # whether any device has a plan of its own

    def put(self, slot: int, latitude: float | None, longitude: float | None, schedule: str | None, zone: str) -> None:
        """What is known of this slot, from now on. latitude, longitude: degrees, WGS 84."""
        if slot >= len(self._zone):
            more = max(len(self._zone), slot + 1)
            self._latitude = np.concatenate([self._latitude, np.full(more, np.nan)])
            self._longitude = np.concatenate([self._longitude, np.full(more, np.nan)])
            self._plan = np.concatenate([self._plan, np.full((more, 2), ALL_DAY, np.int16)])
            self._zone = np.concatenate([self._zone, np.zeros(more, np.int16)])
        self._slots = max(self._slots, slot + 1)
        self._latitude[slot] = np.nan if latitude is None else latitude
        self._longitude[slot] = np.nan if longitude is None else longitude
        self._plan[slot] = plan = read_plan(schedule)
        self._planned = self._planned or plan[0] != ALL_DAY
        if zone not in self._zones:
            self._zones.append(zone)
        self._zone[slot] = self._zones.index(zone)

    @property
    def latitude_deg(self) -> Array:
        """(slots,) float64, NaN where unknown."""
        return self._latitude[: self._slots]

    @property
    def longitude_deg(self) -> Array:
        return self._longitude[: self._slots]

    def planned(self, slot: Array, at_ms: Array) -> Array:
        """(n,) uint8: what each device's plan says of each instant (`daylight.BY_THE_SUN` and the others)."""
        said = np.full(len(slot), BY_THE_SUN, np.uint8)
        if not self._planned:
            return said
        plan = self._plan[np.minimum(slot, self._slots - 1)]
        plan[slot >= self._slots] = ALL_DAY
        said[plan[:, 0] == NEVER] = PLANNED_EITHER
        rows = np.flatnonzero(plan[:, 0] >= 0)
        zones, at = self._zone[slot[rows]], at_ms[rows]
        local = at + self._offsets_ms(zones, at)
        first, last = (plan[rows, side].astype(np.int64) * MINUTE_MS for side in (0, 1))
        length = (last - first) % DAY_MS
        since = (local - first) % DAY_MS  # the window begins at 0 and ends at `length`
        edge = (since < MARGIN_MS) | (since > DAY_MS - MARGIN_MS) | (abs(since - length) < MARGIN_MS)
        said[rows[since <= length]] = PLANNED_DARK
        said[rows[edge]] = PLANNED_EITHER
        return said

    def _offsets_ms(self, zones: Array, at_ms: Array) -> Array:
        """(n,) int64: local time less UTC."""
        keys, which = np.unique(np.stack([zones.astype(np.int64), at_ms // HOUR_MS]), axis=1, return_inverse=True)
        found = [_offset_ms(self._zones[zone], hour) for zone, hour in keys.T.tolist()]
        offsets: Array = np.array(found, np.int64)[which.reshape(-1)]
        return offsets


@lru_cache(maxsize=100_000)
def _offset_ms(zone: str, hour: int) -> int:
    """Of an hour since 1970 UTC; zones change their offset on a whole UTC hour, or are wrong for part of one."""
    offset = datetime.fromtimestamp(hour * 3600, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)
