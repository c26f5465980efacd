"""Processes of an earlier supervisor: ended when they are ours, left alone when only the number is the same."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from broker import process
from broker.errors import BrokerError
from broker.process import Child
from broker.state import State, free_port, write


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child
        child.kill()


def record(path: Path, child: Child) -> Path:
    path.write_bytes(msgspec.json.encode(child))
    return path


def test_ends_the_process_that_the_record_means(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    started = process.start_tick(sleeper.pid)
    assert started is not None
    file = record(tmp_path / "process.json", Child(sleeper.pid, started))
    process.end_stale(file)
    assert sleeper.wait(5) == -signal.SIGKILL
    assert not file.exists()


def test_spares_a_stranger_with_the_same_number(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    started = process.start_tick(sleeper.pid)
    assert started is not None
    process.end_stale(record(tmp_path / "process.json", Child(sleeper.pid, started - 1)))
    assert sleeper.poll() is None


@pytest.mark.parametrize("text", ["", "{", '{"pid": "x"}'])
def test_a_torn_record_is_no_obstacle(tmp_path: Path, text: str) -> None:
    (tmp_path / "process.json").write_text(text)
    process.end_stale(tmp_path / "process.json")


def test_one_supervisor_at_a_time_and_the_other_is_named(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert not state.supervised()
    with state.supervising():
        assert state.supervised()
        with pytest.raises(BrokerError, match=f"process {os.getpid()} holds it"), state.supervising():
            pass
    with state.supervising():
        pass


def test_files_are_replaced_whole_and_private(tmp_path: Path) -> None:
    write(tmp_path / "file", "old")
    write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    assert 20_000 <= free_port("127.0.0.1") < 32_768
