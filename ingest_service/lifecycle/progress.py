"""What long work says on stderr: a line that renews itself on a terminal, and one line in ten seconds elsewhere."""

import sys
import time
from typing import TextIO

TERMINAL_PERIOD_S, LOG_PERIOD_S = 0.5, 10.0


class Progress:
    """Rows and bytes so far, and the rate."""

    def __init__(self, what: str, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.rows = 0
        self.bytes = 0
        self._what = what
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._began = self._told = time.monotonic()

    def add(self, rows: int, size: int, where: str = "") -> None:
        """So much more is done; `where` names how far."""
        self.rows += rows
        self.bytes += size
        now = time.monotonic()
        if not self._quiet and now - self._told >= (TERMINAL_PERIOD_S if self._terminal else LOG_PERIOD_S):
            self._told = now
            self._say(f"{self}{f', at {where}' if where else ''}", "\r" if self._terminal else "")

    def end(self, where: str = "") -> None:
        """The last line."""
        if not self._quiet:
            self._say(f"{self}{f': {where}' if where else ''}", "\r" if self._terminal else "", "\n")

    def __str__(self) -> str:
        seconds = max(1e-3, time.monotonic() - self._began)
        rate = f"{self.rows / seconds:,.0f} rows/s"
        return f"{self._what}: {self.rows:,} rows, {self.bytes / 1e6:,.1f} MB, {seconds:,.1f} s, {rate}"

    def _say(self, text: str, begin: str, end: str = "") -> None:
        clear = "\x1b[K" if self._terminal else ""
        print(f"{begin}{text}{clear}", end=end or ("" if self._terminal else "\n"), file=self._stream, flush=True)
