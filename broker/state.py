"""The state directory: where everything of a broker lives, and who may hold it.

Promise: files are replaced whole and readable by their owner only; one supervisor at a time. The directory holds
`registry.json` (identities, hashes only), `credentials/` (the files that clients take), `host`, `port`, `broker.log`,
and a directory of configuration and store for each broker that has run here.
"""

import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.errors import BrokerError


class State:
    """Paths of one state directory, made on first use with access for the owner only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        try:
            for path in (self.directory, self.agents.parent, self.agents, self.services):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BrokerError(f"cannot use {self.directory} as state directory: {error.strerror}") from error

    @property
    def registry(self) -> Path:
        return self.directory / "registry.json"

    @property
    def agents(self) -> Path:
        return self.directory / "credentials" / "agents"

    @property
    def services(self) -> Path:
        return self.directory / "credentials" / "services"

    @property
    def process(self) -> Path:
        return self.directory / "process.json"

    @property
    def applied(self) -> Path:
        """Names the registry that the running broker is known to enforce."""
        return self.directory / "applied"

    @property
    def log(self) -> Path:
        return self.directory / "broker.log"

    def remembered_port(self) -> int | None:
        try:
            return int((self.directory / "port").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def remembered_host(self) -> str | None:
        try:
            return (self.directory / "host").read_text().strip() or None
        except FileNotFoundError:
            return None

    def remember_address(self, host: str, port: int) -> None:
        write(self.directory / "host", f"{host}\n")
        write(self.directory / "port", f"{port}\n")

    @contextmanager
    def supervising(self) -> Iterator[None]:
        """Hold the directory for one supervisor; BrokerError when another one does."""
        with _locked(self.directory / "supervisor.lock", wait_s=1.0):  # a glance by `supervised` is over long before
            yield

    @contextmanager
    def registering(self) -> Iterator[None]:
        """Hold the registry for one writer; waits for the other."""
        with _locked(self.directory / "registry.lock", wait_s=30.0):
            yield

    def supervised(self) -> bool:
        """Whether a supervisor holds the directory now."""
        try:
            with _locked(self.directory / "supervisor.lock", wait_s=0.0):
                return False
        except BrokerError:
            return True


@contextmanager
def _locked(path: Path, *, wait_s: float) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        give_up = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                    raise BrokerError(
                        f"cannot take {path}: process {holder} holds it; stop that one, or use another --state"
                    ) from None
                time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Replace a file whole, mode 0600, synced: a reader sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now (lingering connections of an earlier one don't count)."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str) -> int:
    """A free port below those that systems hand out for outgoing connections: one of them may not take it meanwhile."""
    for port in random.sample(range(20_000, 32_768), 200):
        if port_is_free(host, port):
            return port
    raise BrokerError(f"cannot find a free port on {host}")
