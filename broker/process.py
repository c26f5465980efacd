"""The broker as a child process: started so that it cannot outlive its parent, and found again if it did.

Promise: the child gets SIGKILL when its supervisor dies (Linux), and a stale one is ended before a new one starts,
never a stranger that happens to have its number.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from broker import limits
from broker.state import write
from contracts.log import log

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Child(msgspec.Struct, frozen=True):
    """How to know a process again: its number and the tick of its start."""

    pid: int
    started: int


def start(command: list[str], record: Path) -> subprocess.Popen[bytes]:
    """Start the broker with its output on a pipe; call from a process without threads."""
    parent = os.getpid()

    def die_with_parent() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the broker in order
        preexec_fn=die_with_parent,
    )
    write(record, msgspec.json.encode(Child(child.pid, start_tick(child.pid) or 0)).decode())
    return child


def end_stale(record: Path) -> None:
    """Kill the broker of an earlier supervisor if it still runs, and wait until it is gone."""
    try:
        stale = msgspec.json.decode(record.read_bytes(), type=Child)
    except (FileNotFoundError, msgspec.MsgspecError):
        return
    if stale.started and start_tick(stale.pid) == stale.started:
        log("broker_stale", level="warning", pid=stale.pid)
        os.kill(stale.pid, signal.SIGKILL)
        give_up = time.monotonic() + 10
        while start_tick(stale.pid) == stale.started and time.monotonic() < give_up:
            time.sleep(0.02)
    record.unlink(missing_ok=True)


def start_tick(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def raise_file_limit() -> None:
    """Allow descriptors for all clients; the child inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.MAX_CLIENTS + limits.SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            log("few_descriptors", level="warning", allowed=allowed, wanted=wanted, clients=limits.MAX_CLIENTS)
