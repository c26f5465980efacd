"""What was wrong in real cities is found: Melbourne's dead parking bays, HEED's lamp that was left burning.

The recordings are read through the simulator's maps and registered as `dure register` would; the detectors are those of
ingest, with the shipped profiles.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from contracts.profiles import load
from firmware_sim.recordings import places, recording, recording_map
from ingest_service.columns import Block, empty_columns
from ingest_service.detection.fleet import Fleet
from ingest_service.registry import About, Registry

CITY = Path(__file__).parents[3].parent / "shared" / "data" / "city"
BAYS = CITY / "parking_bays_melbourne" / "on-street-parking-bay-sensors_2024-12-09.csv.gz"
LAMP = CITY / "streetlight_heed" / "bluesolar_first_part.csv.gz"
KINDS = load(environ={})
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
pytestmark = pytest.mark.skipif(not CITY.is_dir(), reason=f"the real recordings are not at {CITY}")


def examined(file, name):
    """(the recording, findings by device name) of a whole recording, in order of time."""
    chosen = recording_map.read(recording_map.find(name), KINDS)
    profile = KINDS[chosen.kind]
    found = recording.read(file, chosen, profile)
    manifest = places.fleet_of(found, file)
    registry, fleet = Registry(), Fleet(KINDS)
    town = manifest["municipalities"][0]
    registry.put_municipality(town["code"], town["time_zone"])
    registry.put_agent(1, town["code"], manifest["agents"][0]["agent"], True)
    names = [row["device"] for row in manifest["devices"]]
    for number, row in enumerate(manifest["devices"]):
        about = About(1, row["latitude"], row["longitude"], by_change=chosen.reports == "changes")
        registry.put_device(number + 1, town["code"], row["device"], chosen.kind, about)
    registry.instruct(fleet)
    slot_of = {name: registry.slot_of_id(number + 1, chosen.kind) for number, name in enumerate(names)}
    rows = sorted(
        (at_ms, slot_of[device.name], values)
        for device in found.devices
        for at_ms, values in device.observations.items()
    )
    slots = np.array([slot for _, slot, _ in rows], np.int64)
    columns = empty_columns(profile, len(rows))
    for row, (_, _, values) in enumerate(rows):
        for key, value in values.items():
            item = profile.properties[key]
            columns[key][row] = item.values.index(value) if item.type == "enum" else value
    at_ms = np.array([at for at, _, _ in rows], np.int64)
    zeros = np.zeros(len(rows), np.int32)
    findings = fleet.examine([Block(chosen.kind, slots.astype(np.int32) + 1, slots, at_ms, zeros, columns)], {})
    return found, [(names[registry.devices_of[chosen.kind][item.slot] - 1], item) for item in findings]


def test_melbournes_dead_bays_are_found_and_their_neighbours_are_not_alarmed():
    bays, found = examined(BAYS, "melbourne")
    age_ms = {device.name: max(device.observations) - min(device.observations) for device in bays.devices}
    said = {name for name, _ in found}
    dead = {name for name, age in age_ms.items() if age > 30 * DAY_MS}
    assert len(dead) == 585
    assert {item.detector for _, item in found} == {"unchanging"}
    assert len(said & dead) >= 0.95 * len(dead)
    assert not said & {name for name, age in age_ms.items() if age < 7 * DAY_MS}


def test_heeds_lamp_that_was_left_burning_is_found_and_stays_found():
    lamp, found = examined(LAMP, "heed")
    said = [(item.detector, item.begins, datetime.fromtimestamp(item.at_ms / 1000, UTC)) for _, item in found]
    assert [(detector, begins, at.strftime("%d %H")) for detector, begins, at in said] == [
        ("daylight", True, "21 17"),  # switched on three hours before sunset
        ("daylight", False, "22 06"),  # and off two hours after sunrise
        ("daylight", True, "22 17"),  # on again, and never off: found a quarter of an hour later
    ]
    last_ms = max(lamp.devices[0].observations)
    assert datetime.fromtimestamp(last_ms / 1000, UTC).strftime("%d %H") == "23 16"
