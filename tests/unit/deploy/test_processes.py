"""The demo's children: ready or not, started again when they die, and ended with whoever started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.demo import processes
from deploy.demo.processes import Child, StartError, end_leftovers, finish, remember, start_tick, wait_ready

PROGRAM = """\
import sys, time
words = sys.argv[1:]
print("hello", file=sys.stderr)
if "ready" in words: print("ready port=17 url=http://x", flush=True)
if "stay" in words: time.sleep(60)
if "fail" in words: sys.exit(3)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Makes children that run a small program in place of dure."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(processes, "DURE", [sys.executable, str(tmp_path / "program.py")])
    made: list[Child] = []

    def make(*words: str, may_end: bool = False) -> Child:
        one = Child("one", words, folder=tmp_path, environment=os.environ, may_end=lambda: may_end)
        one.start()
        made.append(one)
        return one

    yield make
    for one in made:
        one.kill()


def wait(one: Child, seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while one.pid is not None:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_the_ready_line_gives_its_fields(child):
    assert wait_ready([child("ready", "stay")], 20, lambda: None) == {"one": {"port": "17", "url": "http://x"}}


def test_one_that_ends_or_is_never_ready_is_named_with_its_last_words(child):
    with pytest.raises(StartError, match=r"cannot start one \(exit code 3\)(.|\n)*hello(.|\n)*logs/one\.log"):
        wait_ready([child("fail")], 20, lambda: None)
    with pytest.raises(StartError, match="cannot start one: not ready within 0 s"):
        wait_ready([child("stay")], 0.3, lambda: None)


def test_a_command_is_waited_for_and_must_end_with_0(child):
    assert finish(child("ready"), lambda: None) == "ready port=17 url=http://x\n"
    with pytest.raises(StartError, match=r"cannot one \(exit code 3\)"):
        finish(child("fail"), lambda: None)


def test_one_that_is_killed_is_started_again_more_and_more_slowly(child, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(processes.time, "monotonic", lambda: now[0])
    one = child("stay")
    waits = []
    for _ in range(3):
        os.kill(one.pid, signal.SIGKILL)
        while one.pid is not None:
            time.sleep(0.01)
        one.tend()
        began = now[0]
        while one.pid is None:
            now[0] += 0.1
            one.tend()
        waits.append(round(now[0] - began, 1))
    assert waits == [0.2, 0.4, 0.8] and one.starts == 4


def test_an_end_is_a_death_unless_it_may_end(child):
    one = child()
    wait(one)
    one.tend()
    assert not one.ended
    other = child(may_end=True)
    wait(other)
    other.tend()
    assert other.ended and other.starts == 1
    failed = child("fail", may_end=True)
    wait(failed)
    failed.tend()
    assert not failed.ended


def test_stop_is_in_order_first(child):
    assert child("stay").stop(10) == -signal.SIGTERM


def test_children_die_with_their_parent(tmp_path):
    script = (
        "import os, time; from pathlib import Path; from deploy.demo import processes; "
        f"processes.DURE = ['sleep']; one = processes.Child('one', ['60'], folder=Path({str(tmp_path)!r}), "
        "environment=os.environ); one.start(); print(one.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=processes.ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert start_tick(pid) is not None
        parent.kill()
    give_up = time.monotonic() + 10
    while start_tick(pid) is not None:
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_leftovers_are_ended_and_strangers_with_their_numbers_are_not(child, tmp_path):
    record = tmp_path / "processes.json"
    one = child("stay")
    remember([one], record)
    assert end_leftovers(record) == 1 and not record.exists()
    wait(one)
    stranger = child("stay")
    record.write_text(f'{{"one": [{stranger.pid}, 1]}}')  # the tick is another's
    assert end_leftovers(record) == 0
    assert stranger.pid is not None
    assert end_leftovers(tmp_path / "none.json") == 0
