"""The live line: one line that is rewritten on a terminal, and a line every ten seconds elsewhere."""

import shutil
import sys
from datetime import datetime
from typing import TextIO
from zoneinfo import ZoneInfo

from deploy.demo.watch import Watch

TERMINAL_PERIOD_S, LOG_PERIOD_S = 1.0, 10.0
CLEAR = "\x1b[K"  # ECMA-48: erase to the end of the line


class Line:
    """Where the live line goes."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._shown = False
        self._next_s = 0.0

    @property
    def period_s(self) -> float:
        return TERMINAL_PERIOD_S if self._terminal else LOG_PERIOD_S

    def due(self, now_s: float) -> bool:
        """Whether it is time for a new one; counts from the last that was due."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self.period_s
        return True

    def show(self, text: str) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns
            self._out.write("\r" + CLEAR + text[: width - 1])  # a line that wraps could not be rewritten
            self._shown = True
        else:
            self._out.write(text + "\n")
        self._out.flush()

    def end(self) -> None:
        """Leave the line where it is, so that other output follows it."""
        if self._terminal and self._shown:
            self._out.write("\n")
            self._out.flush()
            self._shown = False


def describe(watch: Watch) -> str:
    """The city at this moment."""
    status = watch.status
    if not status:
        return "waiting for the API"
    clock_ms = watch.simulator().get("clock_ms")
    parts = [
        f"{status.get('observations_per_s') or 0:,.0f} observations/s",
        f"committed {watch.count('committed'):,}",
        f"duplicates {watch.count('duplicate'):,}",
        f"quarantined {watch.count('quarantined'):,}",
        f"open alarms {status['open_alarms']['total']}",
        f"waiting {watch.backlog:,}",
    ]
    if clock_ms is not None:
        there = datetime.fromtimestamp(clock_ms / 1000, ZoneInfo(watch.time_zone))
        parts.append(f"city time {there:%d %b %H:%M}")
    if not watch.fresh:
        parts.append("(no news from the API)")
    return " · ".join(parts)
