"""How the tests share a machine when several processes run them (`./run test`, pytest-xdist).

A file stays together in one process, because its tests share what is costly to start. So do journeys that are copies of
one prepared city: they have its credentials and its broker's port, and two at once would talk to each other. What takes
longest begins first. A test marked `alone` measures something: nothing else runs meanwhile, in whatever process. The
browser's tests are not run side by side with anything: pictures are drawn by the processor.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FIRST = ("journeys", "services")  # folders by how long their longest chain takes
COPIES = ("tests/journeys/test_kills.py", "tests/journeys/test_outages.py", "tests/journeys/test_new_kind.py")


def group_of(node: str) -> str:
    """Tests of one group run in one process, in order."""
    file = node.split("::")[0]
    return "copies of the prepared city" if file in COPIES else file


def place_of(node: str) -> int:
    folder = node.split("/")[1]
    return FIRST.index(folder) if folder in FIRST else len(FIRST)


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the machine: for oneself, or beside any number of others. Who wants it alone lets nobody begin any more."""
    with (folder / "door").open("a") as door, (folder / "room").open("a") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        if not alone:
            fcntl.flock(room, fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
        else:
            fcntl.flock(room, fcntl.LOCK_EX)  # with the door shut, those inside come to their end
        yield


class SideBySide:
    """Hooks of one process among several."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @pytest.hookimpl(tryfirst=True, hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Outside of the time limit of the test: waiting for its turn is not its fault."""
        with turn(self._folder, alone=item.get_closest_marker("alone") is not None):
            yield


def arrange(items: list[pytest.Item]) -> None:
    """The longest first."""
    items.sort(key=lambda item: place_of(item.nodeid))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """xdist's own that keeps scopes together, for our groups."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)
