"""kill -9 of each process in the middle of a load: every generated observation is in the database exactly once."""

import os
import time
from collections.abc import Callable

import pytest

from tests.journeys.demo_process import DemoProcess
from tests.journeys.proof import assert_exactly_once
from tests.waiting import wait_for

LOAD = 1500  # observations committed before the kill: it falls into the middle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Make = Callable[..., DemoProcess]


@pytest.mark.parametrize("parts", ["agent", "nats", "ingest", "postgres", "broker database sim api"])
def test_a_process_that_is_killed_in_the_middle_of_a_load_is_started_again_and_nothing_is_lost_or_doubled(
    demo: Make, parts: str
) -> None:
    running = demo("--for", "11s")
    running.start()
    running.wait_ready()
    running.wait_committed(LOAD)
    agent = next(name for name in running.parts() if name.startswith("agent-"))
    names = [agent if part == "agent" else part for part in parts.split()]
    killed = {name: running.pid(name) for name in names}
    for pid in killed.values():
        os.kill(pid, 9)
    wait_for(lambda: all(_pid(running, name) not in (pid, None) for name, pid in killed.items()), 30)
    assert running.wait_end() == 0, running.said()
    report = running.report()
    assert report["lost"] == 0 and report["drained"], report
    for name in set(names) - {"nats", "postgres"}:  # those have a supervisor of their own
        assert report["processes"][name]["starts"] == 2
    assert_exactly_once(running)


def _pid(running: DemoProcess, name: str) -> int | None:
    try:
        return running.pid(name)
    except (OSError, ValueError, KeyError):
        return None


def test_the_demo_itself_is_killed_and_started_again(demo: Make) -> None:
    running = demo("--for", "9s")
    running.start()
    running.wait_ready()
    running.wait_committed(LOAD)
    parts = running.parts()
    running.signal(9)
    assert running.wait_end() == -9
    wait_for(lambda: not any(_lives(pid) for pid in parts.values()), 10)  # they die with it
    time.sleep(1)
    running.start()
    assert float(running.wait_ready()["seconds"]) < 30
    assert running.wait_end() == 0, running.said()
    assert running.report()["continued"]
    assert_exactly_once(running)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
