"""Fleets are plausible, whole and the same for the same seed."""

import json
import math
import time
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
        assert 55 < (north**2 + east**2) ** 0.5 < 85


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


def metres(a, b):
    return math.hypot((a["latitude"] - b["latitude"]) * 111_320, (a["longitude"] - b["longitude"]) * 88_100)


def test_each_town_of_a_small_fleet_is_one_contiguous_district():
    for town in ("41280", "41480", "41570"):
        places = [row for row in small_fleet(2000, 8, 1)["devices"] if row["municipality"] == town]
        near = {i: [j for j, b in enumerate(places) if metres(a, b) < 130] for i, a in enumerate(places)}
        reached, waiting = {0}, [0]
        while waiting:
            for j in near[waiting.pop()]:
                if j not in reached:
                    reached.add(j)
                    waiting.append(j)
        assert len(reached) == len(places)
        assert max(metres(places[0], place) for place in places) < 2_600


def test_circuits_are_consecutive_lamps_of_one_street_and_stay_with_one_agent():
    circuits: dict[tuple[str, str], list[dict]] = {}
    for row in small_fleet(2000, 8, 1)["devices"]:
        if row["kind"] == "streetlight":
            circuits.setdefault((row["municipality"], row["attributes"]["circuit"]), []).append(row)
    for lamps in circuits.values():
        words = [row["label"]["en"].rsplit(" lamp ", 1) for row in lamps]
        assert len({street for street, _ in words}) == 1 and len({row["agent"] for row in lamps}) == 1
        numbers = sorted(int(number) for _, number in words)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) <= 24


def test_agents_look_after_quarters_that_hardly_overlap():
    rows = [row for row in small_fleet(2000, 8, 1)["devices"] if row["municipality"] == "41280"]
    agents = {row["agent"] for row in rows}
    centres = {
        agent: {
            axis: sum(row[axis] for row in rows if row["agent"] == agent) / sum(row["agent"] == agent for row in rows)
            for axis in ("latitude", "longitude")
        }
        for agent in agents
    }
    strangers = sum(min(agents, key=lambda agent: metres(row, centres[agent])) != row["agent"] for row in rows)
    assert len(agents) > 2 and strangers < 0.35 * len(rows)


def test_no_two_devices_stand_in_one_place():
    places = Counter((row["latitude"], row["longitude"]) for row in small_fleet(2000, 8, 1)["devices"])
    assert max(places.values()) == 1


@pytest.mark.alone
def test_a_hundred_thousand_devices_are_laid_out_within_25_seconds():
    begun_s = time.monotonic()
    made = fleet.make(100_000, 100, 1)
    assert time.monotonic() - begun_s < 25
    assert len(made["devices"]) == 100_000 and len(made["agents"]) == 100
    assert max(Counter((row["latitude"], row["longitude"]) for row in made["devices"]).values()) == 1
