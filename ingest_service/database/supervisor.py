"""Keeps one PostgreSQL running: starts it, sees that it answers, starts it again when it dies, stops it in order.

Promises: the address never changes; nobody is told `ready` before the server answers; one supervisor per state
directory; the server and we die together (`unprivileged` sees to the other half). It reaps every orphan of the server,
since PostgreSQL does not start beside a zombie of its own. What lies on disk belongs to `cluster`.

Runs in a process of its own: it waits for any child and holds back signals.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from contracts.log import log
from ingest_service.database.cluster import NAME, Cluster, ClusterError

WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
STOPPING = WATCHED - {signal.SIGCHLD}
MAX_LOG_BYTES = 16 * 1024 * 1024
SHORT_LIFE_S = 10.0  # a server that lived no longer than this is started again more and more slowly
RETRY_S, MAX_RETRY_S = 0.2, 5.0
STOP_S = 60.0  # for the checkpoint of an orderly stop, on a slow disk; then recovery at the next start is quicker
PR_SET_CHILD_SUBREAPER = 36


class Supervisor:
    """The one parent of the server on a state directory."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.stop_requests = 0
        self.server: subprocess.Popen[bytes] | None = None

    def run(self, ready: Callable[[str], None]) -> None:
        """Run the server until a signal asks to stop; calls `ready(url)` once. ClusterError when it cannot start."""
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        _adopt_orphans()
        with locked(self.cluster.state):
            self.cluster.choose_mode()
            self.cluster.place_socket()
            self.cluster.end_leftovers()
            self.cluster.make()
            told, retry_s = False, RETRY_S / 2
            while not self._stopping():
                started = time.monotonic()
                if self._start():
                    if not told:
                        write_atomically(self.cluster.url_file, self.cluster.url + "\n")
                        ready(self.cluster.url)
                        told = True
                    log("database ready", url=self.cluster.url, seconds=f"{time.monotonic() - started:.2f}")
                    while self._alive() and not self._stopping():
                        self._wait(5.0)
                        self._bound_log()
                if self._stopping():
                    break
                exit_code = self.server.returncode if self.server else None
                if not told:
                    raise ClusterError(
                        f"cannot start PostgreSQL in {str(self.cluster.data)!r} (exit code {exit_code}). It says, in "
                        f"{str(self.cluster.log_file)!r}:\n{self.cluster.last_words()}"
                    )
                retry_s = RETRY_S if time.monotonic() - started > SHORT_LIFE_S else min(MAX_RETRY_S, retry_s * 2)
                log("database died", level="error", exit_code=exit_code, again_in_s=f"{retry_s:.1f}")
                self._wait_until(time.monotonic() + retry_s)
                self.cluster.end_leftovers()
            self._stop()

    def _start(self) -> bool:
        """Start the server and wait until it answers; False when it ended, or we are to stop, before."""
        self.server = self.cluster.start()
        begun, patient = time.monotonic(), True
        while self._alive() and not self._stopping():
            if self._answers():
                return True
            if patient and time.monotonic() - begun > 10.0:
                log("database recovering", level="warning", log=self.cluster.log_file)
                patient = False
            self._wait(0.03)
        return False

    def _answers(self) -> bool:
        """Whether the server takes connections and has our database, which is made where it is missing."""
        try:
            with psycopg.connect(self.cluster.url_of("postgres"), autocommit=True, connect_timeout=5) as connection:
                if not connection.execute("select 1 from pg_database where datname = %s", [NAME]).fetchone():
                    connection.execute(sql.SQL("create database {}").format(sql.Identifier(NAME)))
        except psycopg.OperationalError:
            return False
        return True

    def _alive(self) -> bool:
        """Reap every child that has ended; whether the server is not among them."""
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    break
                if self.server and process == self.server.pid:
                    self.server.returncode = os.waitstatus_to_exitcode(status)
        return self.server is not None and self.server.returncode is None

    def _stopping(self) -> bool:
        return self.stop_requests > 0

    def _wait(self, seconds: float) -> None:
        """Sleep until a child ends, a signal asks to stop, or the time is over."""
        received = signal.sigtimedwait(WATCHED, seconds)
        if received is not None and received.si_signo in STOPPING:
            self.stop_requests += 1

    def _wait_until(self, deadline: float) -> None:
        while not self._stopping() and (left := deadline - time.monotonic()) > 0:
            self._wait(left)
            self._alive()

    def _bound_log(self) -> None:
        """Keep the last two log files' worth; the server appends, so it goes on at the new end."""
        with contextlib.suppress(OSError):
            if self.cluster.log_file.stat().st_size > MAX_LOG_BYTES:
                with self.cluster.log_file.open("rb+") as file:
                    self.cluster.log_file.with_suffix(".log.1").write_bytes(file.read(MAX_LOG_BYTES))
                    file.truncate(0)

    def _stop(self) -> None:
        """Stop in order; a second request, or a checkpoint without end, stops at once; the next start then recovers."""
        if self.server is None or not self._alive():
            return
        begun = time.monotonic()
        self.server.send_signal(signal.SIGINT)
        urged = False
        while self._alive():
            waited = time.monotonic() - begun
            if not urged and (self.stop_requests > 1 or waited > STOP_S):
                self.server.send_signal(signal.SIGQUIT)
                urged = True
            if waited > STOP_S + 10.0:
                self.server.kill()
            self._wait(0.2)
        log("database stopped", seconds=f"{time.monotonic() - begun:.2f}", orderly=not urged)


def _adopt_orphans() -> None:
    """Have the server's children handed to us when it is killed, so that none stays a zombie under a slow process 1."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the state directory, creating it where there is none; raises ClusterError when somebody else holds it."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ClusterError(f"cannot use {str(state)!r} for the database: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise ClusterError(
                f"cannot use {str(state)!r}: another dure database (process {holder}) is running on it. "
                f"Its address is in {str(state / 'database.url')!r}"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content for readers who may look at any moment."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
