"""Journeys begin in a city that is prepared (database made, fleet registered, credentials given) but has not played."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.demo.services import Options, Services
from deploy.demo.state import Configuration, Folder
from tests.journeys.demo_process import DemoProcess

DEVICES, AGENTS, SPEED, SEED = 120, 3, 600.0, 1
OPTIONS = ("--devices", str(DEVICES), "--agents", str(AGENTS), "--speed", f"{SPEED:g}", "--seed", str(SEED))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a demo that was begun with OPTIONS; made once, however many processes run the tests."""
    several = "PYTEST_XDIST_WORKER" in os.environ
    shared = tmp_path_factory.getbasetemp().parent if several else tmp_path_factory.mktemp("prepared")
    state = shared / "prepared" / "state"
    with (shared / "prepared.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (state.parent / "done").exists():
            _prepare(state)
            (state.parent / "done").touch()
    return state


def _prepare(state: Path) -> None:
    state.parent.mkdir()
    folder = Folder(state, Configuration(DEVICES, AGENTS, SEED, SPEED), fresh=False, schema="dure")
    options = Options(broker="nats", port=0, headless=True, for_s=None, report=None, database_url=None)
    services = Services(folder, options, lambda: False)
    try:
        folder.clear()
        services.start_platform()
        services.stop_in_order()
    finally:
        services.kill()


@pytest.fixture
def state(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test."""
    copy = tmp_path / "state"
    subprocess.run(["cp", "-a", str(prepared), str(copy)], check=True)
    return copy


@pytest.fixture
def demo(state: Path) -> Iterator[Callable[..., DemoProcess]]:
    """Makes the demo of the test's folder; what it leaves running is ended."""
    made: list[DemoProcess] = []

    def make(*arguments: str, **environment: str) -> DemoProcess:
        made.append(DemoProcess(state, *OPTIONS, *arguments, environment=environment))
        return made[-1]

    yield make
    for process in made:
        process.end()
    shutil.rmtree(state, ignore_errors=True)  # tens of MB each
