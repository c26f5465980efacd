"""The agent's whole story: driver -> outbox -> uplink, in one loop that waits for whichever stirs first.

An observation that a driver handed over is on the disk within `commit_ms`, together with its source's number; only then
may it be sent, and only the platform's cursor lets it go. When the disk takes no more, the driver is left alone and
sending goes on. Time-outs use the monotonic clock, stamps the wall clock; a jump of that one harms neither.
"""

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from contracts.log import log
from edge.condition import Condition
from edge.drivers import Driver
from edge.outbox import Outbox, OutboxFull, Reading
from edge.settings import Settings
from edge.uplink import Uplink

COMMIT_OBSERVATIONS = 2000  # so many are not held back to share a write
CURSORS_SAVED_MS = 1000
DISK_RETRY_MS = 1000
IDLE_MS = 60_000
GOODBYE_MS = 2000  # after SIGTERM, what can be sent within this is sent


class Clock(Protocol):
    def monotonic_ms(self) -> int: ...

    def wall_ms(self) -> int: ...


class SystemClock:
    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Doorbell:
    """Wakes the loop from another thread or a signal handler; rings are counted once."""

    def __init__(self) -> None:
        self.heard, self._rung = socket.socketpair()
        self.heard.setblocking(False)
        self._rung.setblocking(False)

    def ring(self) -> None:
        with suppress(BlockingIOError):  # it is ringing already
            self._rung.send(b"\0")

    def silence(self) -> None:
        with suppress(BlockingIOError):
            while self.heard.recv(4096):
                pass


class Agent:
    """One agent at work. `run` returns once it was stopped or, if asked to, everything is with the platform."""

    def __init__(
        self, settings: Settings, driver: Driver, outbox: Outbox, uplink: Uplink, clock: Clock, doorbell: Doorbell
    ) -> None:
        self._settings = settings
        self._driver = driver
        self._outbox = outbox
        self._uplink = uplink
        self._clock = clock
        self._doorbell = doorbell
        self._taken: list[Reading] = []  # handed over, not on the disk yet
        self._taken_observations = 0
        self._commit_at_ms = 0
        self._cursors_saved_ms = 0
        self._disk_full = Condition("disk_full")
        self._dropping = Condition("outbox_full")
        self._malformed = Condition("malformed_observations")
        self._dropped_ms = self._malformed_ms = -(1 << 62)
        self._dropped, self._refused = outbox.counters["dropped"], outbox.counters["malformed"]

    def run(self, stopped: Callable[[], bool], *, until_drained: bool = False) -> None:
        """Carry observations until `stopped`; with `until_drained`, until the source ended and all is committed."""
        self._driver.resume(self._outbox.sources.get(self._driver.source, 0))
        while not stopped():
            now_ms = self._clock.monotonic_ms()
            due_ms = min(self._take(now_ms), self._keep(now_ms), self._send(now_ms))
            if until_drained and self._driver.ended and not self._taken and self._drained():
                break
            self._wait(due_ms)
        self._say_goodbye()

    def _take(self, now_ms: int) -> int:
        """Take from the driver what it has, unless the disk or a patient source says to wait; when to come back."""
        if self._disk_full.holds or (self._driver.patient and self._outbox.about_to_drop):
            return now_ms + DISK_RETRY_MS
        while self._taken_observations < COMMIT_OBSERVATIONS:
            reading = self._driver.poll(now_ms, self._clock.wall_ms())
            if reading is None:
                break
            if not self._taken:
                self._commit_at_ms = now_ms + self._settings.commit_ms
            self._taken.append(reading)
            self._taken_observations += sum(len(kind.get("device", ())) for kind in reading.groups.values())
        if self._driver.ended:
            self._commit_at_ms = now_ms
        return self._driver.due_ms(now_ms)

    def _keep(self, now_ms: int) -> int:
        """Group commit and sealing; when to come back."""
        clock_ms = self._driver.clock_ms(self._clock.wall_ms())
        full = self._taken_observations >= COMMIT_OBSERVATIONS
        if self._disk_full.holds and now_ms < self._commit_at_ms:
            return self._commit_at_ms
        try:
            if self._taken and (full or now_ms >= self._commit_at_ms):
                self._outbox.store(self._driver.source, self._taken, clock_ms=clock_ms, now_ms=now_ms)
                self._taken, self._taken_observations = [], 0
            self._outbox.seal_due(now_ms, clock_ms=clock_ms, force=self._driver.ended)
            if now_ms >= self._cursors_saved_ms + CURSORS_SAVED_MS:
                self._cursors_saved_ms = now_ms
                self._outbox.save_cursors()
        except OutboxFull as error:
            self._disk_full.update(True, error=error, waiting=self._taken_observations)
            self._commit_at_ms = now_ms + DISK_RETRY_MS
            return self._commit_at_ms
        self._disk_full.update(False)
        self._tell(now_ms)
        seal_ms = self._outbox.seal_due_ms()
        later_ms = now_ms + IDLE_MS
        return min(self._commit_at_ms if self._taken else later_ms, later_ms if seal_ms is None else seal_ms)

    def _send(self, now_ms: int) -> int:
        wall_ms = self._clock.wall_ms()
        try:
            return self._uplink.pump(now_ms, wall_ms=wall_ms, clock_ms=self._driver.clock_ms(wall_ms))
        except OutboxFull as error:  # a backlog's new epoch could not be opened; the next reconnect asks again
            self._disk_full.update(True, error=error)
            return now_ms + DISK_RETRY_MS

    def _tell(self, now_ms: int) -> None:
        """Dropped and malformed observations: log when it begins, and when there were none for a minute."""
        dropped, refused = self._outbox.counters["dropped"], self._outbox.counters["malformed"]
        if dropped > self._dropped:
            self._dropped, self._dropped_ms = dropped, now_ms
        if refused > self._refused:
            self._refused, self._malformed_ms = refused, now_ms
        self._dropping.update(now_ms - self._dropped_ms < 60_000, dropped=dropped, max_bytes=self._settings.max_bytes)
        self._malformed.update(now_ms - self._malformed_ms < 60_000, malformed=refused)

    def _drained(self) -> bool:
        return self._outbox.seal_due_ms() is None and self._uplink.finished

    def _wait(self, due_ms: int) -> None:
        wait_s = max(0.0, (due_ms - self._clock.monotonic_ms()) / 1000)
        with selectors.DefaultSelector() as selector:
            selector.register(self._doorbell.heard, selectors.EVENT_READ)
            source = self._driver.fileno()
            if source is not None and not self._disk_full.holds and wait_s > 0:
                selector.register(source, selectors.EVENT_READ)
            selector.select(wait_s)
        self._doorbell.silence()

    def _say_goodbye(self) -> None:
        """Leave the driver, put everything on the disk, send what can be sent in a moment."""
        self._driver.close()
        try:
            clock_ms = self._driver.clock_ms(self._clock.wall_ms())
            now_ms = self._clock.monotonic_ms()
            if self._taken:
                self._outbox.store(self._driver.source, self._taken, clock_ms=clock_ms, now_ms=now_ms)
            self._outbox.seal_due(now_ms, clock_ms=clock_ms, force=True)
        except OutboxFull as error:
            log("stopped_without_storing", level="warning", error=error, observations=self._taken_observations)
        give_up_ms = self._clock.monotonic_ms() + GOODBYE_MS
        while not self._uplink.finished and self._uplink.connected:
            now_ms = self._clock.monotonic_ms()
            if now_ms >= give_up_ms:
                break
            self._wait(min(self._send(now_ms), give_up_ms))
