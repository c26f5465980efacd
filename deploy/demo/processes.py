"""The demo's children: processes that are started, seen to be ready, started again when they die, and stopped.

Promises: a child dies with us, whatever kills us (Linux); Ctrl-C reaches us alone, so that we stop the children in
order; a child that dies unasked is started again, more and more slowly while it keeps dying. What a child says on
stderr is appended to its log, its `ready` line is read from a file, so no pipe can fill or break. What is started, and
in which order, belongs to `city`.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from contracts.log import log

ROOT = Path(__file__).parents[2]
DURE = [sys.executable, str(ROOT / "dure.py")]
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
PAUSE_S = 0.02
SHORT_LIFE_S = 10.0  # who lived no longer than this is started again more slowly
RETRY_S, MAX_RETRY_S = 0.2, 10.0
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class StartError(RuntimeError):
    """A service or command that did not do what it was started for; the message holds its last words."""


class Child:
    """One process, through all its lives."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        may_end: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.may_end = may_end  # whether exit 0 is an end rather than a death
        self.ended = False
        self.starts = 0
        self._folder = folder
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0
        self._log_from = 0
        self._retry_s = 0.0
        self._again_s: float | None = None

    @property
    def log_file(self) -> Path:
        return self._folder / "logs" / f"{self.name}.log"

    @property
    def _said_file(self) -> Path:
        return self._folder / "logs" / f"{self.name}.out"

    @property
    def pid(self) -> int | None:
        """Its process number; None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it; call from the main thread (a child is tied to the thread that made it)."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()

        def die_with_us() -> None:
            if _libc is not None:
                _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:  # we died before the line above
                    os._exit(1)

        with self.log_file.open("ab") as errors, self._said_file.open("wb") as said:
            self._log_from = errors.tell()
            self._process = subprocess.Popen(
                [*DURE, *self.arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
                start_new_session=True,
                preexec_fn=die_with_us,
            )
        self.starts += 1
        self.ended = False
        self.started_s, self._again_s = time.monotonic(), None

    def said(self) -> str:
        """What its present life has written to stdout."""
        return self._said_file.read_text(encoding="utf-8", errors="replace") if self._said_file.exists() else ""

    def ready(self) -> dict[str, str] | None:
        """The fields of its `ready` line, once it has said it."""
        for line in self.said().splitlines(keepends=True):
            if line.startswith("ready ") and line.endswith("\n"):
                return dict(part.partition("=")[::2] for part in line.split()[1:])
        return None

    def last_words(self, lines: int = 12) -> str:
        """The end of what its present life logged."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(self._log_from)
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def tend(self) -> None:
        """Note an end, or start it again after a death; logs the change."""
        if self._process is None or self.ended:
            return
        code = self._process.poll()
        now = time.monotonic()
        if code is None:
            return
        if code == 0 and self.may_end():
            self.ended = True
        elif self._again_s is None:
            short = now - self.started_s < SHORT_LIFE_S
            self._retry_s = min(MAX_RETRY_S, max(RETRY_S, self._retry_s * 2)) if short else RETRY_S
            self._again_s = now + self._retry_s
            log("died", level="warning", process=self.name, how=_how(code), again_in_s=self._retry_s)
        elif now >= self._again_s:
            self.start()
            log("started_again", process=self.name, pid=self.pid, start=self.starts)

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, within_s: float = 60.0) -> int | None:
        """Stop it in order, by force when it takes too long; its exit code."""
        if self._process is None:
            return None
        self.ask_to_stop()
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            log("killed", level="warning", process=self.name, reason=f"did not stop within {within_s:.0f} s")
            self.kill()
            return self._process.returncode

    def kill(self) -> None:
        """kill -9, and reap."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def wait_ready(children: Iterable[Child], within_s: float, pulse: Callable[[], None]) -> dict[str, dict[str, str]]:
    """Wait for the `ready` lines of all; their fields by name. StartError when one ends or the time is over."""
    waiting, found = list(children), {}
    give_up_s = time.monotonic() + within_s
    while waiting:
        pulse()
        for child in list(waiting):
            fields = child.ready()
            if fields is not None:
                found[child.name] = fields
                waiting.remove(child)
            elif child.exit_code is not None and child.ready() is None:
                raise StartError(
                    f"cannot start {child.name} ({_how(child.exit_code)}). It says:\n{child.last_words()}\n"
                    f"The whole log: {child.log_file}"
                )
        if time.monotonic() > give_up_s:
            names = ", ".join(child.name for child in waiting)
            raise StartError(
                f"cannot start {names}: not ready within {within_s:.0f} s. {waiting[0].name} says:\n"
                f"{waiting[0].last_words()}\nThe whole log: {waiting[0].log_file}"
            )
        time.sleep(PAUSE_S)
    return found


def finish(child: Child, pulse: Callable[[], None], within_s: float = 120.0) -> str:
    """Wait for a command that ends by itself; what it printed. StartError unless it ends with 0."""
    give_up_s = time.monotonic() + within_s
    while (code := child.exit_code) is None:
        pulse()
        if time.monotonic() > give_up_s:
            child.kill()
            raise StartError(f"cannot {child.name}: not done within {within_s:.0f} s\n{child.last_words()}")
        time.sleep(PAUSE_S)
    if code != 0:
        raise StartError(f"cannot {child.name} ({_how(code)}):\n{child.last_words() or child.said()}")
    return child.said()


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


# Who was there when we were killed: a child's number and the tick of its start, to know it again.


def start_tick(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def remember(children: Iterable[Child], record: Path) -> None:
    """Write down who runs: {name: [process number, tick of its start]}."""
    running = {child.name: [pid, start_tick(pid)] for child in children if (pid := child.pid) is not None}
    part = record.with_suffix(".part")
    part.write_text(json.dumps(running))
    part.replace(record)


def end_leftovers(record: Path, within_s: float = 20.0) -> int:
    """End children of an earlier demo that are still there; how many there were."""
    try:
        known = {pid: tick for pid, tick in json.loads(record.read_text()).values() if tick is not None}
    except (OSError, ValueError):
        return 0
    left = {pid for pid, tick in known.items() if start_tick(pid) == tick}
    found = len(left)
    give_up_s = time.monotonic() + within_s
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while left and time.monotonic() < give_up_s:
        left = {pid for pid in left if start_tick(pid) == known[pid]}
        time.sleep(PAUSE_S)
    record.unlink(missing_ok=True)
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, its children and those of them that have ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    with contextlib.suppress(OSError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total = sum(int(fields[i]) for i in (11, 12, 13, 14)) / ticks
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += cpu_seconds(int(child))
    return total
