"""The database's machine is lost in the middle of a load; a backup is restored into an empty server while the agents go
on: every generated observation is there exactly once.
"""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.demo_process import DemoProcess, dure
from tests.journeys.proof import assert_exactly_once
from tests.waiting import wait_for

LOAD = 1500

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
Make = Callable[..., DemoProcess]


def test_agents_serve_a_restored_database_from_their_reserve(demo: Make, tmp_path: Path) -> None:
    running = demo("--for", "20s")
    running.start()
    running.wait_ready()
    running.wait_committed(LOAD)
    environment = {"DURE_DATABASE_URL": (running.state / "database" / "database.url").read_text().strip()}
    saved = dure(
        "backup", str(tmp_path / "a.zip"), "--broker-state", str(running.state / "broker"), environment=environment
    )
    assert saved.returncode == 0, saved.stderr
    running.wait_committed(3 * LOAD)  # this much at least is not in the backup
    supervisor = running.pid("database")
    os.kill(supervisor, signal.SIGSTOP)
    running.kill("postgres")
    shutil.rmtree(running.state / "database" / "data")
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: running.parts()["database"] != supervisor, 30)

    def restored() -> bool:
        """An empty server is up, and holds the backup."""
        done = dure("restore", str(tmp_path / "a.zip"), environment=environment)
        assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: not up yet
        return done.returncode == 0

    wait_for(restored, 60, pause_s=0.5)
    assert running.wait_end() == 0, running.said()
    assert running.report()["processes"]["database"]["starts"] == 2
    went_back = [
        file for file in (running.state / "logs").glob("agent-*.log") if "cursor_went_back" in file.read_text()
    ]
    assert went_back, "no agent was asked for what came after the backup"
    assert_exactly_once(running)
