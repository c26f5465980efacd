"""What was wrong in real cities is found: Melbourne's dead parking bays, HEED's lamp that was left burning.

The recordings are read through the simulator's maps and registered as `dure register` would; the detectors are those of
ingest, with the shipped profiles.
"""

from datetime import UTC, datetime

import pytest

from tests.benchmarks.score_recordings import BAYS, CITY, LAMP, played

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
pytestmark = pytest.mark.skipif(not CITY.is_dir(), reason=f"the real recordings are not at {CITY}")


def test_melbournes_dead_bays_are_found_and_their_neighbours_are_not_alarmed():
    bays, found = played(CITY / BAYS, "melbourne")
    age_ms = {device.name: max(device.observations) - min(device.observations) for device in bays.devices}
    said = {name for name, _ in found}
    dead = {name for name, age in age_ms.items() if age > 30 * DAY_MS}
    assert len(dead) == 585
    assert {item.detector for _, item in found} == {"unchanging"}
    assert len(said & dead) >= 0.95 * len(dead)
    assert not said & {name for name, age in age_ms.items() if age < 7 * DAY_MS}


def test_heeds_lamp_that_was_left_burning_is_found_and_stays_found():
    lamp, found = played(CITY / LAMP, "heed")
    said = [
        (item.detector, item.begins, datetime.fromtimestamp(item.at_ms / 1000, UTC))
        for _, item in found
        if item.detector == "daylight"
    ]
    assert [(detector, begins, at.strftime("%d %H")) for detector, begins, at in said] == [
        ("daylight", True, "21 17"),  # switched on three hours before sunset
        ("daylight", False, "22 06"),  # and off two hours after sunrise
        ("daylight", True, "22 17"),  # on again, and never off: found a quarter of an hour later
    ]
    last_ms = max(lamp.devices[0].observations)
    assert datetime.fromtimestamp(last_ms / 1000, UTC).strftime("%d %H") == "23 16"
