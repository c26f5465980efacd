"""Driver `sim`: observations of simulated devices, from a unix stream socket, one JSON object a line.

We say `{"agent":…,"after":N}`; the source sends `{"first":N+1,"clock_ms":…,"observations":{…}}`, `{"clock_ms":…}` while
nothing happens and `{"end":true,"last":M}` at its end. Its clock is ours. Number N is always the same observation, so
after any break we ask for what follows the last number we have; a line we have is skipped, a gap is asked for again.
"""

import socket

import msgspec

from contracts.log import log
from edge.columns import Groups
from edge.condition import Condition
from edge.outbox import Reading

MAX_LINE_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
RETRY_MS = 500


class Line(msgspec.Struct):
    """Any line of the source."""

    first: int = 0
    clock_ms: int = 0
    observations: Groups = {}
    end: bool = False
    last: int = 0


_decode = msgspec.json.Decoder(Line).decode


class Sim:
    """Connects, reads, reconnects; see `Driver`."""

    patient = False

    def __init__(self, path: str, agent: str) -> None:
        self.source = f"sim:{agent}"
        self.ended = False
        self._path = path
        self._agent = agent
        self._after = 0
        self._clock_ms = 0
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._retry_at_ms = 0
        self._away = Condition("source_unreachable")

    def resume(self, after: int) -> None:
        self._after = after

    def poll(self, now_ms: int, wall_ms: int) -> Reading | None:
        if self.ended or (self._socket is None and not self._connect(now_ms)):
            return None
        while (text := self._read_line(now_ms)) is not None:
            try:
                line = _decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._disconnect(now_ms, f"a malformed line: {error}")
                return None
            self._clock_ms = line.clock_ms or self._clock_ms
            if line.end:
                self._end(line.last, now_ms)
                return None
            count = sum(max(map(len, kind.values()), default=0) for kind in line.observations.values())
            if count and line.first == self._after + 1:
                self._after += count
                return Reading(line.observations, self._after, wall_ms, line.clock_ms)
            if count and line.first + count - 1 > self._after:
                self._disconnect(now_ms, f"number {line.first} after {self._after}")
                return None
        return None

    def _end(self, last: int, now_ms: int) -> None:
        if last != self._after:
            self._disconnect(now_ms, f"an end at {last} after {self._after}")
            return
        self.ended = True
        self.close()
        log("source_ended", last=last)

    def due_ms(self, now_ms: int) -> int:
        if self.ended:
            return now_ms + 60_000
        if self._socket is None:
            return self._retry_at_ms
        return now_ms if b"\n" in self._buffer else now_ms + 60_000

    def fileno(self) -> int | None:
        return self._socket.fileno() if self._socket is not None else None

    def clock_ms(self, wall_ms: int) -> int:
        return self._clock_ms  # 0 until it has spoken: the wall clock may be far ahead of its world

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    def _connect(self, now_ms: int) -> bool:
        if now_ms < self._retry_at_ms:
            return False
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.settimeout(1.0)
            stream.connect(self._path)
            stream.sendall(msgspec.json.encode({"agent": self._agent, "after": self._after}) + b"\n")
            stream.setblocking(False)
        except OSError as error:
            stream.close()
            self._retry_at_ms = now_ms + RETRY_MS
            self._away.update(True, path=self._path, reason=error.strerror or error)
            return False
        self._socket = stream
        self._away.update(False, after=self._after)
        return True

    def _disconnect(self, now_ms: int, reason: str) -> None:
        self._away.update(True, path=self._path, reason=reason)
        self._retry_at_ms = now_ms + RETRY_MS
        self.close()

    def _read_line(self, now_ms: int) -> bytes | None:
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            if self._socket is None:
                return None
            try:
                chunk = self._socket.recv(CHUNK_BYTES)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as error:
                self._disconnect(now_ms, str(error))
                return None
            if not chunk or len(self._buffer) > MAX_LINE_BYTES:
                self._disconnect(now_ms, "closed" if not chunk else "a line without end")
                return None
            self._buffer += chunk
