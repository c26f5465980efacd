"""One data directory of PostgreSQL and everything about it that lies on disk.

Promises: a directory appears complete or not at all; only our own account may connect, through a socket that only it
can reach; whatever an earlier start left running is gone before the next one begins. When to start and stop the server
is decided by `supervisor`.

    STATE/data           the data directory            STATE/database.url   where to connect (mode 0600)
    STATE/socket         the socket's directory        STATE/postgres.log   what the server says
    STATE/supervisor.lock
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from contracts.log import log
from ingest_service.database import programs, unprivileged

NAME = "dure"  # of the database and of its only role
PORT = 5432  # names the socket; no TCP port is opened
MAX_SOCKET_PATH_BYTES = 100  # a socket's address holds 108, less what PostgreSQL appends
NEEDS_BYTES = 120_000_000  # a fresh data directory with its first WAL segments takes 60 MB
INIT_TIMEOUT_S = 300
ORDERLY_S, IMMEDIATE_S = 20.0, 5.0  # how long leftovers may take to stop when asked, and when told


class ClusterError(Exception):
    """The data directory cannot be made or used; the message says what to do."""


def _bytes_of_memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        return min(total, int(limit.read_text()))
    except (OSError, ValueError):  # no cgroup, or "max"
        return total


def settings(memory_bytes: int) -> dict[str, str]:
    """postgresql.conf for a small server that must not lose what it has committed."""
    buffers_mb = max(128, min(2048, memory_bytes // 8 // 2**20))
    return {
        "listen_addresses": "''",
        "max_connections": "60",
        "shared_buffers": f"{buffers_mb}MB",
        "effective_cache_size": f"{max(256, memory_bytes // 2 // 2**20)}MB",
        "maintenance_work_mem": "128MB",
        "work_mem": "16MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_compression": "on",
        "max_wal_size": "1GB",  # bounds the replay after a kill: 0.76 GB took 6.7 s
        "min_wal_size": "128MB",
        "checkpoint_timeout": "10min",
        "recovery_init_sync_method": "syncfs",  # 0.2 s instead of 3.2 s to come back after a kill
        "restart_after_crash": "on",
        "jit": "off",  # our queries are short; compiling them is not
        "timezone": "'UTC'",
        "log_timezone": "'UTC'",
        "log_line_prefix": "'%m [%p] '",
        "log_checkpoints": "off",
        "log_min_duration_statement": "5s",
    }


class Cluster:
    """The data directory of one state directory, and the way its programs are started."""

    def __init__(self, state: Path, program_directory: Path | None = None) -> None:
        self.state = state.resolve()
        self.data = self.state / "data"
        self.log_file = self.state / "postgres.log"
        self.url_file = self.state / "database.url"
        self.programs = programs.find(program_directory)
        self.mode = ""
        self.socket_directory = self.state / "socket"

    @property
    def url(self) -> str:
        """Where to connect; the same at every start with the same state directory."""
        return self.url_of(NAME)

    def url_of(self, database: str) -> str:
        """Where to connect to one database of the cluster."""
        return f"postgresql://{NAME}@/{database}?host={quote(str(self.socket_directory), safe='/')}&port={PORT}"

    @property
    def marker(self) -> str:
        """`cluster_name` of the server: it stands in the command line of each of its processes, and in no other's."""
        stat = self.data.stat()
        return f"dure-{stat.st_dev:x}-{stat.st_ino:x}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What the programs see of our environment: nothing that could change what they do."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line that starts a program as somebody who is not root and dies with us."""
        launcher = [sys.executable, "-I", "-S", unprivileged.__file__, self.mode, str(os.getpid())]
        return [*launcher, str(self.programs / program), *arguments]

    def choose_mode(self) -> None:
        """Find a way to run programs as somebody who is not root, by trying."""
        said = []
        for mode in unprivileged.modes(os.geteuid()):
            self.mode = mode
            trial = subprocess.run(
                self.command("postgres", "--version"), capture_output=True, text=True, env=self.environment, check=False
            )
            if trial.returncode == 0:
                return
            said.append(f"{mode}: {(trial.stderr or trial.stdout).strip()}")
        raise ClusterError(
            f"cannot run PostgreSQL as uid {os.geteuid()}, which it refuses, nor as another account "
            f"({'; '.join(said)}). Run as an ordinary user, or set DURE_DATABASE_URL to a server you have"
        )

    def make(self) -> None:
        """Create the data directory where there is none, and check the one there is."""
        version = programs.major_version(self.programs)
        if not self.data.exists():
            self._initialise()
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise ClusterError(
                f"cannot use {str(self.data)!r}: it is not a data directory of PostgreSQL "
                f"({error.strerror}: PG_VERSION). Move it away to start with an empty database"
            ) from error
        if found != str(version):
            raise ClusterError(
                f"cannot use {str(self.data)!r}: PostgreSQL {found} made it, and this is PostgreSQL {version}. "
                f"Start it with version {found} (--programs DIRECTORY), save it with pg_dump, move {str(self.data)!r} "
                "away, start again and restore"
            )
        self._own(self.data)
        self._configure()

    def _initialise(self) -> None:
        fresh = self.state / "data.new"
        if fresh.exists():  # an earlier start was killed in the middle
            shutil.rmtree(fresh)
        free = shutil.disk_usage(self.state).free
        if free < NEEDS_BYTES:
            raise ClusterError(
                f"cannot create a database in {str(self.state)!r}: the disk is full, "
                f"{free / 1e6:.0f} MB free and {NEEDS_BYTES / 1e6:.0f} MB needed. Make room, or choose another --state"
            )
        log("database creating", data=self.data, mode=self.mode)
        fresh.mkdir(mode=0o700)
        self._own(fresh)
        collation = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"]
        access = [f"--username={NAME}", "--auth=peer", "--no-instructions"]
        done = subprocess.run(
            self.command("initdb", f"--pgdata={fresh}", *collation, *access, "--sync-method=syncfs"),
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=INIT_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            said = (done.stderr or done.stdout).strip()
            if "No space left on device" in said or "Disk quota exceeded" in said:
                raise ClusterError(f"cannot create a database in {str(self.state)!r}: the disk is full. {said}")
            raise ClusterError(f"cannot create a database in {str(self.state)!r}: initdb says: {said}")
        fresh.rename(self.data)

    def _own(self, tree: Path) -> None:
        """Give a tree to the account the server runs as, where the mode differs from last time."""
        uid, gid = unprivileged.owner(self.mode)
        if tree.stat().st_uid == uid:
            return
        for directory, _, files in os.walk(tree):
            for path in (directory, *(os.path.join(directory, name) for name in files)):  # noqa: PTH118
                os.chown(path, uid, gid, follow_symlinks=False)

    def _configure(self) -> None:
        lines = [f"{name} = {value}" for name, value in settings(_bytes_of_memory()).items()]
        note = "# Written at every start. To change a setting, use ALTER SYSTEM, which wins over this file."
        (self.data / "postgresql.conf").write_text("\n".join([note, *lines, ""]))
        (self.data / "pg_hba.conf").write_text(
            "# Only our own account, told by the kernel.\nlocal all all peer map=dure\n"
        )
        (self.data / "pg_ident.conf").write_text(f'dure "{unprivileged.peer_name(self.mode)}" {NAME}\n')

    def place_socket(self) -> None:
        """A directory for the socket that only we can enter, at the same place each time."""
        path = self.state / "socket"
        plain = re.fullmatch(r"[\w./@+-]+", str(path), re.ASCII) is not None
        if not plain or len(os.fsencode(path / f".s.PGSQL.{PORT}.lock")) > MAX_SOCKET_PATH_BYTES:
            short = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]
            path = Path(tempfile.gettempdir()) / f"dure-{os.geteuid()}-{short}"
        path.mkdir(mode=0o700, exist_ok=True)
        stat = path.lstat()
        if stat.st_uid != os.geteuid() or path.is_symlink():
            raise ClusterError(f"cannot use {str(path)!r} for the database's socket: it belongs to uid {stat.st_uid}")
        path.chmod(0o700)
        self.socket_directory = path

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server; it is not ready yet."""
        with self.log_file.open("ab") as output:
            return subprocess.Popen(
                self.command(
                    "postgres", "-D", str(self.data), "-k", str(self.socket_directory), "-p", str(PORT),
                    "-c", f"cluster_name={self.marker}",
                ),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self.environment,
                start_new_session=True,  # Ctrl-C in a terminal is for the supervisor alone
            )  # fmt: skip

    def processes(self) -> set[int]:
        """Every living process of this cluster, whoever started it."""
        marker, found = self.marker.encode(), set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:  # gone meanwhile
                    continue
                if marker in command and b"postgres" in command:
                    found.add(int(entry.name))
        return found - {os.getpid()}

    def end_leftovers(self) -> None:
        """Wait until no process of an earlier start is left: ask, then tell, then kill. Without data they end alone."""
        started, told = time.monotonic(), ""
        while left := self.processes() if self.data.exists() else set():
            waited = time.monotonic() - started
            if not told:
                log("database leftovers", processes=len(left))
                told = self._tell(left & self._postmaster(), signal.SIGINT)
            elif told == "SIGINT" and waited > ORDERLY_S:
                told = self._tell(left & self._postmaster(), signal.SIGQUIT)
            elif waited > ORDERLY_S + IMMEDIATE_S:
                told = self._tell(left, signal.SIGKILL)
            time.sleep(0.02)
        for stale in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            (self.socket_directory / stale).unlink(missing_ok=True)
        # PostgreSQL believes any living process that got the old number meanwhile, and waits for zombies for ever.
        # Its own check of the shared memory segment still stands between two servers on one directory.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _postmaster(self) -> set[int]:
        try:
            return {int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])}
        except (OSError, ValueError):
            return set()

    def _tell(self, processes: set[int], number: signal.Signals) -> str:
        for process in processes:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue
        return number.name

    def last_words(self, lines: int = 8) -> str:
        """The end of the server's log."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(max(0, self.log_file.stat().st_size - 8192))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""
