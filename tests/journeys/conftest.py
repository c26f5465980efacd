"""Journeys begin in a city that is prepared (database made, fleet registered, credentials given) but has not played."""

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
    """The state folder of a demo that was begun with OPTIONS."""
    state = tmp_path_factory.mktemp("prepared") / "state"
    folder = Folder(state, Configuration(DEVICES, AGENTS, SEED, SPEED), fresh=False, schema="dure")
    options = Options(broker="nats", port=0, headless=True, for_s=None, report=None, database_url=None)
    services = Services(folder, options, lambda: False)
    try:
        folder.clear()
        services.start_platform()
        services.stop_in_order()
    finally:
        services.kill()
    return state


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
