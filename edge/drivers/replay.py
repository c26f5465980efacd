"""Driver `replay`: a normalised recording, JSON lines, plain or .gz, oldest first.

A line is `{"kind":…,"device":…,"observed_at":<ms since 1970>,<property>:…}`; its number is its source number, so a
restart goes on behind the line that was stored last. Played `speed` times faster than recorded, 0 for as fast as the
outbox takes it; with the recorded times, or shifted so that the first line read since the start happens now.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from contracts.log import log
from edge import columns
from edge.columns import Groups
from edge.condition import Condition
from edge.outbox import Reading

LINES_A_POLL = 500
RETRY_MS = 5000

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Replay:
    """Reads a line ahead, waits for its time; see `Driver`."""

    patient = True

    def __init__(self, path: str, *, speed: float = 1.0, times: Literal["kept", "shifted"] = "kept") -> None:
        self.source = f"replay:{Path(path).name}"
        self.ended = False
        self._path = Path(path)
        self._speed = speed
        self._shifted = times == "shifted"
        self._lines: Iterator[bytes] | None = None
        self._after = 0
        self._number = 0  # of the line read last, taken or not
        self._ahead: dict[str, Any] | None = None
        self._begin_ms: int | None = None  # monotonic, when the first line was played
        self._begin_at_ms = 0  # its observed_at
        self._shift_ms = 0
        self._clock_ms: int | None = None
        self._retry_at_ms = 0
        self._away = Condition("source_unreachable")

    def resume(self, after: int) -> None:
        self._after = after

    def poll(self, now_ms: int, wall_ms: int) -> Reading | None:
        if self.ended or now_ms < self._retry_at_ms:
            return None
        groups: Groups = {}
        taken = 0
        try:
            while taken < LINES_A_POLL:
                if self._ahead is None and not self._read_ahead():
                    self.ended = True
                    log("source_ended", last=self._number)
                    break
                if self._ahead is None or now_ms < self._play_at_ms(self._ahead, now_ms, wall_ms):
                    break
                self._take(self._ahead, groups)
                self._ahead = None
                taken += 1
            self._away.update(False)
        except (OSError, EOFError) as error:
            self._away.update(True, path=self._path, reason=error)
            self._retry_at_ms = now_ms + RETRY_MS
            self._lines, self._ahead = None, None
        return Reading(groups, self._after, wall_ms) if taken else None

    def due_ms(self, now_ms: int) -> int:
        if self.ended:
            return now_ms + 60_000
        if self._ahead is None:
            return max(now_ms, self._retry_at_ms)
        return max(now_ms, self._play_at_ms(self._ahead, now_ms, 0))

    def fileno(self) -> int | None:
        return None

    def clock_ms(self, wall_ms: int) -> int:
        return wall_ms if self._shifted else self._clock_ms or 0

    def close(self) -> None:
        self._lines = None

    def _read_ahead(self) -> bool:
        if self._lines is None:
            self._lines, self._number = self._open(), 0
        for line in self._lines:
            self._number += 1
            if self._number <= self._after:
                continue
            try:
                self._ahead = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._ahead = {}  # counted as malformed by the outbox, like a line without a device
            return True
        return False

    def _open(self) -> Iterator[bytes]:
        with gzip.open(self._path, "rb") if self._path.suffix == ".gz" else self._path.open("rb") as lines:
            yield from lines

    def _play_at_ms(self, line: dict[str, Any], now_ms: int, wall_ms: int) -> int:
        at_ms = line.get("observed_at")
        if not isinstance(at_ms, int):
            return now_ms
        if self._begin_ms is None:
            self._begin_ms, self._begin_at_ms = now_ms, at_ms
            self._shift_ms = wall_ms - at_ms if self._shifted else 0
        return self._begin_ms + int((at_ms - self._begin_at_ms) / self._speed) if self._speed else now_ms

    def _take(self, line: dict[str, Any], groups: Groups) -> None:
        self._after = self._number
        kind = line.pop("kind", "")
        at_ms = line.get("observed_at")
        if isinstance(at_ms, int):
            line["observed_at"] = self._clock_ms = at_ms + self._shift_ms
        row = {"device": [line.pop("device", None)], "observed_at": [line.pop("observed_at", None)]}
        row |= {name: [value] for name, value in line.items()}
        columns.join(groups, {kind if isinstance(kind, str) else "": row})
