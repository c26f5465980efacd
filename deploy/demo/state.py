"""The demo's folder: what it plays, its lock, its passwords. What lies in it makes a killed demo go on.

demo.json       what was begun here; other wishes are refused, or get a folder of their own
demo.lock       held by the one demo that runs here
accounts.json   who may sign in, with passwords made here (mode 0600)
now.json        where the running demo can be reached
fleet.json  database/  broker/  sim/  agents/  logs/
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

from deploy.demo.processes import ROOT

WORDS = "alder birch cedar elder hazel larch maple rowan spruce willow plum cherry pear quince olive"


class StateError(ValueError):
    """A folder that cannot be used as asked; the message says why and what to do."""


class Configuration(msgspec.Struct, frozen=True):
    """What makes two demos two."""

    devices: int
    agents: int
    seed: int
    speed: float
    recording: str | None = None
    map: str | None = None
    database: str | None = None  # digest of the address and schema of somebody's own database

    @property
    def folder_name(self) -> str:
        """A readable name, a different one for each configuration."""
        if self.recording is None:
            name = f"city-{self.devices}-devices-{self.agents}-agents-{self.speed:g}x-seed-{self.seed}"
        else:
            digest = hashlib.sha256(f"{self.recording}\0{self.map}".encode()).hexdigest()[:6]
            stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(self.recording).name.split(".")[0]).strip("-")
            name = f"recording-{stem[:60]}-{digest}-{self.speed:g}x"
        return name if self.database is None else f"{name}-database-{self.database[:8]}"


class Begun(msgspec.Struct):
    """demo.json"""

    configuration: Configuration
    begun_at: int  # ms
    schema: str
    prepared: bool = False  # fleet registered, credentials and accounts made


class Account(msgspec.Struct):
    name: str
    password: str
    role: str
    municipality: str | None = None


class Folder:
    """A locked folder. Raises StateError when another demo runs there or it was begun otherwise."""

    def __init__(self, path: Path, wanted: Configuration, *, fresh: bool, schema: str | None) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.path / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot use {self.path} as state folder: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StateError(
                f"cannot start: another demo (process {holder}) runs on {self.path}. Stop that one, "
                "or give this one a --state of its own and another --port"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        self._fresh = fresh
        try:
            self.begun, self.is_new = self._begin(wanted, schema)
        except StateError:
            self.release()
            raise

    def _begin(self, wanted: Configuration, schema: str | None) -> tuple[Begun, bool]:
        file = self.path / "demo.json"
        if not self._fresh and file.exists():
            try:
                begun = msgspec.json.decode(file.read_bytes(), type=Begun)
            except msgspec.MsgspecError as error:
                raise StateError(f"{file}: cannot be read: {error}. --fresh begins anew") from error
            for field in Configuration.__struct_fields__:
                mine, theirs = getattr(begun.configuration, field), getattr(wanted, field)
                if mine != theirs:
                    raise StateError(
                        f"cannot go on in {self.path} with {field} = {theirs!r}: what runs there was begun with "
                        f"{mine!r}. --fresh deletes it and begins anew; another --state keeps both"
                    )
            return begun, False
        begun = Begun(wanted, time.time_ns() // 1_000_000, schema or f"demo_{secrets.token_hex(4)}")
        return begun, True

    def clear(self) -> None:
        """Delete all but the lock, when this is to begin anew; then write down what begins."""
        if self.is_new:
            for path in self.path.iterdir():
                if path.name == "demo.lock":
                    continue
                if path.is_dir() and not path.is_symlink():
                    _remove(path)
                else:
                    path.unlink()
            self.save()

    def release(self) -> None:
        """Let somebody else have it."""
        os.close(self._lock)

    def save(self) -> None:
        self.write("demo.json", msgspec.json.format(msgspec.json.encode(self.begun), indent=1))

    def write(self, name: str, content: bytes) -> None:
        """Replace a file whole, readable by its owner only."""
        part = self.path / f"{name}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content + b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path / name)

    def fleet(self) -> dict[str, list[dict[str, Any]]]:
        """The manifest that is played."""
        found: dict[str, list[dict[str, Any]]] = msgspec.json.decode((self.path / "fleet.json").read_bytes())
        return found

    def accounts(self) -> list[Account]:
        """Who may sign in; passwords are made the first time."""
        file = self.path / "accounts.json"
        if not file.exists():
            town = self.fleet()["municipalities"][0]["code"]
            made = [Account("admin", _password(), "admin"), Account(f"operator-{town}", _password(), "operator", town)]
            self.write("accounts.json", msgspec.json.format(msgspec.json.encode(made), indent=1))
        return msgspec.json.decode(file.read_bytes(), type=list[Account])


def default_folder(configuration: Configuration) -> Path:
    """Where this configuration lives unless --state says otherwise."""
    return ROOT / ".dure" / "demo" / configuration.folder_name


def _remove(folder: Path, tries: int = 20) -> None:
    """Remove a tree in which a dying database may still be writing."""
    for left in reversed(range(tries)):
        try:
            shutil.rmtree(folder)
            return
        except OSError:
            if not left:
                raise
            time.sleep(0.25)


def _password() -> str:
    """Easy to type, 40 bits and a rate limit."""
    words = WORDS.split()
    return f"{secrets.choice(words)}-{secrets.choice(words)}-{secrets.randbelow(10**10):010d}"
