"""Keeps one broker running: starts it, waits until it really answers, restarts it, reloads it, stops it.

Promise: `on_ready` is called once, when an authenticated MQTT CONNECT has been accepted; the port stays the same across
restarts; a change of the registry reaches the running broker without a restart and is proven by signing in with a
password that only the new configuration knows. Single-threaded on purpose: see `process.start`.
"""

import contextlib
import logging
import random
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType
from typing import Protocol

from broker import limits, passwords, permissions, process, registry
from broker.errors import BrokerError
from broker.registry import User
from broker.sign_in import Answer, sign_in
from broker.state import State, write
from contracts.log import log

SUPERVISOR = "dure-supervisor"
START_WITHIN_S = 30.0
RELOAD_WITHIN_S = 10.0
STOP_WITHIN_S = 5.0
LOOK_EVERY_S = 0.5  # at the registry
ASK_EVERY_S = 15.0  # whether the broker still answers
MUTE_LIMIT = 3  # answers missed in a row before it counts as hung
STEADY_AFTER_S = 10.0  # a broker that ran this long starts with a fresh back-off
MAX_DELAY_S = 5.0
FAILED_STARTS = 3  # before its store is set aside, and before the command gives up on a broker that never ran


class Broker(Protocol):
    """What a module of one broker offers; `nats` and `mosquitto` do."""

    @property
    def NAME(self) -> str: ...
    @property
    def STORE(self) -> str | None: ...

    def find(self) -> Path: ...
    def render(self, users: Iterable[User], *, host: str, port: int, directory: Path) -> dict[str, str]: ...
    def command(self, binary: Path, directory: Path) -> list[str]: ...


def delay_s(failures: int, jitter: float) -> float:
    """Pause before the next start; jitter in 0..1."""
    return min(MAX_DELAY_S, 0.1 * 2.0 ** min(failures, 10)) * (0.5 + 0.5 * jitter)


class Supervisor:
    def __init__(self, state: State, broker: Broker, *, host: str) -> None:
        """raises: BrokerError when the broker is not installed."""
        self._binary = broker.find()
        self._state = state
        self._broker = broker
        self._host = host
        self._port = 0
        self._directory = state.directory / broker.NAME
        self._password = ""  # the supervisor's own, new with every configuration, never on disk
        self._client_id = registry.client_id(SUPERVISOR)
        self._version = ""
        self._stopping = False
        self._hung_up = False
        self._output: deque[str] = deque(maxlen=5)  # the broker's last words, for a start that fails
        self._selector = selectors.DefaultSelector()
        self._logfile = RotatingFileHandler(state.log, maxBytes=limits.LOG_BYTES, backupCount=1)
        state.log.chmod(0o600)
        process.end_stale(state.process)  # its port shall be free when one is chosen

    def run(self, port: int, on_ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; raises BrokerError when the broker never gets ready."""
        self._port = port
        process.raise_file_limit()
        self._listen_to_signals()
        failures, ready_before, set_aside = 0, False, False
        while not self._stopping:
            self._configure()
            child = process.start(self._broker.command(self._binary, self._directory), self._state.process)
            log("broker_started", broker=self._broker.NAME, pid=child.pid, port=self._port)
            assert child.stdout is not None
            self._selector.register(child.stdout, selectors.EVENT_READ, child)
            started = time.monotonic()
            if self._accepted(child, START_WITHIN_S):
                write(self._state.applied, self._version)
                log("broker_ready", broker=self._broker.NAME, port=self._port)
                if not ready_before:
                    on_ready()
                ready_before = True
                self._watch(child)
                failures = 0 if time.monotonic() - started > STEADY_AFTER_S else failures + 1
            else:
                failures += 1
                if failures % FAILED_STARTS == 0 and not self._stopping:
                    if not ready_before and (set_aside or not self._store_exists()):
                        self._end(child)
                        raise BrokerError(
                            f"cannot start {self._broker.NAME}: {' | '.join(self._output) or 'it said nothing'}"
                        )
                    self._end(child)
                    set_aside = self._set_store_aside()
            status = self._end(child)
            if not self._stopping:
                pause = delay_s(failures - 1, random.random())
                log("broker_died", level="error", broker=self._broker.NAME, status=status, retry_in_s=f"{pause:.2f}")
                self._pump(pause, until_stopped=True)
        self._state.process.unlink(missing_ok=True)
        log("broker_stopped", broker=self._broker.NAME)

    def _configure(self) -> None:
        """Render the registry of this moment, with a new password for the supervisor itself."""
        self._version = registry.version(self._state)
        self._password = passwords.new_password()
        users = registry.users(registry.load(self._state).values())
        users.append(
            User(
                SUPERVISOR,
                passwords.for_nats(self._password),
                passwords.for_mosquitto(self._password),
                permissions.NOTHING,
            )
        )
        files = self._broker.render(users, host=self._host, port=self._port, directory=self._directory)
        for name, text in files.items():
            write(self._directory / name, text)

    def _accepted(self, child: subprocess.Popen[bytes], within_s: float) -> bool:
        """Whether the broker lets the supervisor in before the time is over."""
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up and child.poll() is None and not self._stopping:
            if self._sign_in(1.0) is Answer.ACCEPTED and child.poll() is None:
                return True
            self._pump(0.05)
        self._pump(0)
        return False

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Return when the child is gone, is hung, would not reload, or the supervisor shall stop."""
        next_ask, mute = time.monotonic() + ASK_EVERY_S, 0
        while not self._stopping and child.poll() is None:
            self._pump(LOOK_EVERY_S)
            if self._hung_up or registry.version(self._state) != self._version:
                self._hung_up = False
                if not self._reload(child):
                    return
            if time.monotonic() >= next_ask:
                mute = mute + 1 if self._sign_in(5.0) is Answer.MUTE else 0
                next_ask = time.monotonic() + ASK_EVERY_S
                if mute >= MUTE_LIMIT:
                    log("broker_hung", level="error", broker=self._broker.NAME, pid=child.pid)
                    child.kill()
                    return

    def _reload(self, child: subprocess.Popen[bytes]) -> bool:
        self._configure()
        child.send_signal(signal.SIGHUP)
        if not self._accepted(child, RELOAD_WITHIN_S):
            if child.poll() is None and not self._stopping:
                log("reload_failed", level="error", broker=self._broker.NAME, said=" | ".join(self._output))
            return False
        write(self._state.applied, self._version)
        log("broker_reloaded", broker=self._broker.NAME, users=len(registry.load(self._state)))
        return True

    def _sign_in(self, timeout_s: float) -> Answer:
        return sign_in(
            self._host,
            self._port,
            client_id=self._client_id,
            username=SUPERVISOR,
            password=self._password,
            timeout_s=timeout_s,
        )

    def _end(self, child: subprocess.Popen[bytes]) -> int:
        """Stop the child in order, or by force, and reap it; returns its exit status."""
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
        status = child.wait()
        assert child.stdout is not None
        self._pump(0)
        if not child.stdout.closed:
            if child.stdout in {key.fileobj for key in self._selector.get_map().values()}:
                self._selector.unregister(child.stdout)
            child.stdout.close()
        return status

    def _store_exists(self) -> bool:
        return self._broker.STORE is not None and (self._directory / self._broker.STORE).exists()

    def _set_store_aside(self) -> bool:
        """Let the broker begin with an empty store: nothing of ours is only there. True when there was one."""
        if not self._store_exists():
            return False
        assert self._broker.STORE is not None
        damaged = self._directory / f"{self._broker.STORE}.damaged-{time.time_ns()}"
        (self._directory / self._broker.STORE).rename(damaged)
        log("store_set_aside", level="error", broker=self._broker.NAME, kept_as=damaged)
        return True

    def _pump(self, timeout_s: float, *, until_stopped: bool = False) -> None:
        """Carry the broker's output into its log until something happens or the time is over."""
        give_up = time.monotonic() + timeout_s
        while True:
            for key, _ in self._selector.select(max(0.0, give_up - time.monotonic())):
                if key.data is None:
                    self._wakeup.recv(256)
                    continue
                chunk = key.data.stdout.read1(65536)
                if not chunk:  # the child is gone, or about to be
                    self._selector.unregister(key.fileobj)
                    key.data.stdout.close()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        key.data.wait(1.0)
                self._record(chunk)
            if time.monotonic() >= give_up or self._stopping or not until_stopped:
                return

    def _record(self, chunk: bytes) -> None:
        for line in chunk.decode(errors="replace").splitlines():
            self._output.append(line)
            self._logfile.emit(logging.makeLogRecord({"msg": line}))

    def _listen_to_signals(self) -> None:
        self._wakeup, write_end = socket.socketpair()
        self._wakeup.setblocking(False)
        write_end.setblocking(False)
        self._write_end = write_end  # kept open
        signal.set_wakeup_fd(write_end.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, None)

        def stop(_signal: int, _frame: FrameType | None) -> None:
            self._stopping = True

        def hang_up(_signal: int, _frame: FrameType | None) -> None:
            self._hung_up = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, hang_up)
