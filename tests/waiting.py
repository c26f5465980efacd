"""Waiting for something that another process will do, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def wait_for(condition: Callable[[], Result], seconds: float = 30.0, pause_s: float = 0.05) -> Result:
    """Poll until the condition returns something true, and return that; fails when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {seconds} s: {condition}")
        time.sleep(pause_s)
