"""What long work says on stderr: a line that renews itself on a terminal, and one line in ten seconds elsewhere."""

import sys
import time
from datetime import UTC, datetime
from typing import TextIO

TERMINAL_PERIOD_S, LOG_PERIOD_S = 0.5, 10.0


class Progress:
    """Rows and bytes so far, and the rate; the time left where it is known how many rows to expect."""

    def __init__(
        self,
        what: str,
        *,
        quiet: bool = False,
        expected_rows: int = 0,
        rows: str = "rows",
        stream: TextIO | None = None,
    ) -> None:
        self.rows = 0
        self.bytes = 0
        self._what = what
        self._of_what = rows
        self._expected = expected_rows
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._began = self._told = time.monotonic()
        self._first: tuple[float, int] | None = None  # when rows began to come, and how many had come then

    def add(self, rows: int, size: int, where: str = "", *, at_ms: int | None = None) -> None:
        """So much more is done; `where`, or a time in the data, says how far."""
        self.rows += rows
        self.bytes += size
        now = time.monotonic()
        if self._first is None and rows:
            self._first = now, self.rows
        if not self._quiet and now - self._told >= (TERMINAL_PERIOD_S if self._terminal else LOG_PERIOD_S):
            self._told = now
            where = where if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"
            self._say(f"{self}{f', at {where}' if where else ''}{self._left()}", "\r" if self._terminal else "")

    def say(self, text: str) -> None:
        """A line of its own."""
        if not self._quiet:
            self._say(text, "\r" if self._terminal else "", "\n")

    def end(self, where: str = "") -> None:
        """The last line."""
        self.say(f"{self}{f': {where}' if where else ''}")

    def __str__(self) -> str:
        seconds = max(1e-3, time.monotonic() - self._began)
        rate = f"{self.rows / seconds:,.0f} {self._of_what}/s"
        size = f" {self.bytes / 1e6:,.1f} MB," if self.bytes else ""
        return f"{self._what}: {self.rows:,} {self._of_what},{size} {seconds:,.1f} s, {rate}"

    def _left(self) -> str:
        if not self._expected or self._first is None or self.rows <= self._first[1]:
            return ""
        since_s, rows = time.monotonic() - self._first[0], self.rows - self._first[1]
        left_s = since_s * max(0, self._expected - self.rows) / rows
        done = min(0.99, self.rows / self._expected)
        return f", about {done:.0%} done, {_span(left_s)} left"

    def _say(self, text: str, begin: str, end: str = "") -> None:
        clear = "\x1b[K" if self._terminal else ""
        print(f"{begin}{text}{clear}", end=end or ("" if self._terminal else "\n"), file=self._stream, flush=True)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
