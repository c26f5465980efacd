"""`./run score states`: what it counts can differ from nothing."""

import pytest

from tests.benchmarks import score_states


@pytest.fixture(scope="module")
def bays():
    """Findings of a small city whose every twelfth bay sticks after a day."""
    died_ms = score_states.SUMMER_MS + score_states.DAY_MS
    count, found = score_states.simulated("parking_spot", 250, score_states.SUMMER_MS, 12, died_ms)
    return count, [item for item in found if item.detector == "unchanging"]


def test_dead_bays_are_found_and_no_living_one(bays):
    count, found = bays
    assert count == 60
    assert {item.slot for item in found} <= set(range(0, count, score_states.EVERY))
    assert len({item.slot for item in found if item.begins}) >= 3
