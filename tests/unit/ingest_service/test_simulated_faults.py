"""The simulator's faults of words and counters are found by ingest's detectors, and nothing else is said of healthy
devices.
"""

import numpy as np

from contracts.profiles import load
from firmware_sim import fleet as fleets
from firmware_sim.city import City
from ingest_service.columns import Block, empty_columns
from ingest_service.detection.fleet import Fleet
from ingest_service.registry import About, Registry

KINDS = load(environ={})
START_MS = 1_780_272_000_000  # 2026-06-01T00:00Z, nine in the morning of Korea
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NAMES = ("daylight", "unchanging", "backwards", "counter_reset", "counter_restart")


def small_city():
    """A few lamps of whole circuits, and cabinets."""
    made = fleets.make(150, 2, 5, ["41280"])
    lamps = [row for row in made["devices"] if row["kind"] == "streetlight"]
    cabinets = [
        {**lamp, "device": f"sc-{number}", "kind": "streetlight_control_cabinet"}
        for number, lamp in enumerate(lamps[:4])
    ]
    return made | {"devices": lamps + cabinets}


def watched(made, hours):
    """(labels, findings by device) of a city's first hours."""
    city = City(made, KINDS, 5, START_MS, 1000)
    registry, fleet = Registry(), Fleet(KINDS)
    registry.put_municipality("41280", "Asia/Seoul")
    for number, row in enumerate(made["agents"]):
        registry.put_agent(number + 1, "41280", row["agent"], False)
    for number, row in enumerate(made["devices"]):
        agent = next(i + 1 for i, item in enumerate(made["agents"]) if item["agent"] == row["agent"])
        about = About(agent, row["latitude"], row["longitude"], row["attributes"].get("circuit"))
        registry.put_device(number + 1, "41280", row["device"], row["kind"], about)
    registry.instruct(fleet)
    number_of = {row["device"]: number + 1 for number, row in enumerate(made["devices"])}
    found = []
    for blocks in city.blocks.values():
        for number in range(blocks.first, blocks.first + hours * 6):
            one = blocks.block(number)
            taken = [
                block_of(kind, columns, registry, number_of)
                for kind, columns in zip(one.kinds, one.columns, strict=True)
            ]
            found += fleet.examine([block for block in taken if len(block)], {})
            fleet.keep()
    names = list(number_of)
    said = [(names[registry.devices_of[item.kind][item.slot] - 1], item) for item in found if item.detector in NAMES]
    return city.faults.until(START_MS), said


def block_of(kind, columns, registry, number_of):
    ids = np.array([number_of[name] for name in columns["device"]], np.int32)
    filled = empty_columns(KINDS[kind], len(ids))
    for name, item in KINDS[kind].properties.items():
        if name in columns:
            values = columns[name]
            filled[name][:] = [item.values.index(value) for value in values] if item.type == "enum" else values
    slots = np.array([registry.slot_of_id(int(device), kind) for device in ids], np.int64)
    at_ms = np.array(columns["observed_at"], np.int64)
    return Block(kind, ids, slots, at_ms, np.zeros(len(ids), np.int32), filled)


def test_lamps_and_counters_that_go_wrong_are_found_in_time_and_no_others():
    labels, said = watched(small_city(), 24)
    wrong = [label for label in labels if label.fault in NAMES and label.onset_at + HOUR_MS < START_MS + DAY_MS]
    assert {label.fault for label in wrong} == {"daylight", "backwards"}
    assert any(label.circuit for label in wrong)
    others = {label.device for label in labels if label.fault not in NAMES}  # a meter that drifts lights a dark lamp
    begun = {(name, item.detector): item.at_ms for name, item in said if item.begins and name not in others}
    assert set(begun) == {(label.device, label.fault) for label in wrong}
    for label in wrong:
        assert label.onset_at <= begun[label.device, label.fault] <= label.onset_at + HOUR_MS
