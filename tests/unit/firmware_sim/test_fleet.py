"""Fleets are plausible, whole and the same for the same seed."""

import json
from collections import Counter

import pytest

from contracts import topics
from firmware_sim import fleet
from firmware_sim.fleet import FleetError
from tests.unit.firmware_sim.city_fixture import PROFILES, small_fleet


def test_the_default_city_has_its_mix_its_agents_and_valid_names():
    made = fleet.make(2000, 8, 1)
    kinds = Counter(row["kind"] for row in made["devices"])
    assert kinds == {"streetlight": 1200, "waste_container": 300, "parking_spot": 480, "off_street_parking": 20}
    assert [row["code"] for row in made["municipalities"]] == ["41280", "41480", "41570"]
    assert len(made["agents"]) == 8 and all(topics.is_agent(row["agent"]) for row in made["agents"])
    assert all(topics.is_device(row["device"]) for row in made["devices"])
    assert len({(row["municipality"], row["device"]) for row in made["devices"]}) == 2000
    homes = {(row["municipality"], row["agent"]) for row in made["agents"]}
    assert {(row["municipality"], row["agent"]) for row in made["devices"]} == homes
    lamps = [row for row in made["devices"] if row["kind"] == "streetlight"]
    assert all(row["attributes"]["circuit"] and row["attributes"]["power_rating"] for row in lamps)


def test_neighbouring_lamps_stand_about_35_metres_apart_along_a_street():
    lamps = [
        row
        for row in small_fleet(2000, 8, 1)["devices"]
        if row["label"]["en"].startswith("Jungang-ro lamp") and row["attributes"]["district"] == "Jeongbalsan"
    ]
    lamps.sort(key=lambda row: int(row["label"]["en"].split()[-1]))
    assert len(lamps) > 10
    for a, b in zip(lamps, lamps[2:], strict=False):  # the same side of the street
        north, east = (a["latitude"] - b["latitude"]) * 111_320, (a["longitude"] - b["longitude"]) * 88_100
        assert 60 < (north**2 + east**2) ** 0.5 < 80


def test_any_size_is_laid_out_and_the_seed_decides():
    for devices, agents in ((1, 1), (10, 3), (37, 8), (500, 20)):
        made = fleet.make(devices, agents, 3)
        assert len(made["devices"]) == devices and 1 <= len(made["agents"]) <= agents
        owners = {(row["municipality"], row["agent"]) for row in made["devices"]}
        assert owners == {(row["municipality"], row["agent"]) for row in made["agents"]}
    assert fleet.text_of(fleet.make(300, 4, 5)) == fleet.text_of(fleet.make(300, 4, 5))
    assert fleet.text_of(fleet.make(300, 4, 5)) != fleet.text_of(fleet.make(300, 4, 6))


def test_a_manifest_round_trips_and_a_wrong_one_is_refused_with_file_key_and_value(tmp_path):
    file = tmp_path / "fleet.json"
    fleet.save(small_fleet(), file)
    assert fleet.read(file, PROFILES) == small_fleet()

    def check(change, expected):
        wrong = json.loads(file.read_text())
        change(wrong)
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps(wrong))
        with pytest.raises(FleetError) as refused:
            fleet.read(bad, PROFILES)
        assert str(bad) in str(refused.value) and expected in str(refused.value)

    check(lambda f: f["devices"][3].update(kind="toaster"), "devices[3].kind = 'toaster'")
    check(lambda f: f["devices"][3].update(agent="pole-99"), "devices[3].agent = 'pole-99'")
    check(lambda f: f["devices"][3].update(device="a b"), "devices[3].device = 'a b'")
    check(lambda f: f["devices"].append(f["devices"][0]), "twice")
    check(lambda f: f.pop("agents"), "agents = None")
    check(lambda f: f["devices"][0].pop("latitude"), "devices[0].latitude: missing")


def test_an_unknown_municipality_is_refused():
    with pytest.raises(FleetError, match="99999"):
        fleet.make(10, 1, 1, ["99999"])
