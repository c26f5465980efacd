"""Instants as recordings write them; local times that come twice or never are told apart and counted."""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from firmware_sim.recordings.recording_map import Time
from firmware_sim.recordings.table import Cell

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)


class Instants:
    """Reads the instants of one recording. Each call returns (ms or None, note): note is "", ambiguous, nonexistent
    or unreadable.
    """

    def __init__(self, time: Time) -> None:
        self._time = time
        self._zone = ZoneInfo(time.zone)

    def read(self, cell: Cell) -> tuple[int | None, str]:
        """The instant of a cell, and what was odd about it."""
        try:
            found = self._parse(cell)
        except (ValueError, TypeError, OverflowError):
            return None, "unreadable"
        if isinstance(found, int):
            return found, ""
        if found.tzinfo is not None:
            return (found - EPOCH) // MS, ""
        earlier, later = (found.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        if earlier.utcoffset() == later.utcoffset():
            return (earlier - EPOCH) // MS, ""
        first, second = earlier.astimezone(UTC), later.astimezone(UTC)
        if first.astimezone(self._zone).replace(tzinfo=None) == found:  # it exists, and twice
            if self._time.ambiguous == "refuse":
                return None, "ambiguous"
            return ((first if self._time.ambiguous == "earlier" else second) - EPOCH) // MS, "ambiguous"
        if self._time.nonexistent == "refuse":
            return None, "nonexistent"
        return (first - EPOCH) // MS, "nonexistent"  # by the offset before the change: 01:30 becomes 02:30

    def _parse(self, cell: Cell) -> int | datetime:
        if isinstance(cell, datetime):
            return cell
        if self._time.format in ("unix_s", "unix_ms"):
            number = float(cell) * (1000 if self._time.format == "unix_s" else 1)
            if not math.isfinite(number):
                raise ValueError("not finite")
            return round(number)
        text = str(cell).strip()
        if self._time.format == "iso":
            return datetime.fromisoformat(text)
        return datetime.strptime(text, self._time.format)  # noqa: DTZ007 the map's zone is given by the caller
