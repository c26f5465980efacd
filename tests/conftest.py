"""What every test may ask for: a database. Compiled kernels are kept out of the source tree. Several processes may run
the tests: see `side_by_side`.
"""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parent.parent / ".dure" / "cache" / "numba"))

from tests.database_fixture import database, native_database, native_url, postgres_url
from tests.side_by_side import SideBySide, arrange, scheduler

__all__ = ["database", "native_database", "native_url", "postgres_url"]


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        meeting_place = Path(__file__).parent.parent / ".dure" / "tests"
        meeting_place.mkdir(parents=True, exist_ok=True)
        config.pluginmanager.register(SideBySide(meeting_place))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        arrange(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return scheduler(config, log)
