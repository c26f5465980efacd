"""Who is whose peer, by what the registry says."""

import math

import pytest

from contracts import topics
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.peers import AREA_M, METRES_A_DEGREE, NOBODY, cell, group_of
from ingest_service.registry import About, Registry
from tests.city_of_tests import KINDS, registry

GOYANG = (37.6583, 126.8320)


def goyang(**agents):
    found = Registry()
    found.put_municipality("41280")
    for name, agent_id in agents.items():
        found.put_agent(agent_id, "41280", name, False)
    return found


def lamps(found, count, about, kind="streetlight", first=1):
    for device_id in range(first, first + count):
        found.put_device(device_id, "41280", f"d-{device_id}", kind, about)


def test_a_circuit_comes_before_a_place_and_nothing_is_nobodys_peer():
    assert group_of("c-1", *GOYANG) == "c-1"
    assert group_of(None, *GOYANG) == group_of("", *GOYANG) == cell(*GOYANG) == (8384, 22354)
    assert group_of(None, None, 126.8) is None
    assert group_of(None, math.nan, 126.8) is None


@pytest.mark.parametrize("latitude", [-85.0, -37.8, -0.001, 0.0, 37.6, 64.1, 85.0])
def test_an_area_is_about_as_wide_as_it_is_high_at_any_latitude(latitude):
    columns = cell(latitude, 20.0)[1] - cell(latitude, 10.0)[1]
    assert 10.0 * METRES_A_DEGREE * math.cos(math.radians(latitude)) / columns == pytest.approx(AREA_M, rel=0.05)
    assert cell(latitude + AREA_M / METRES_A_DEGREE, 10.0)[0] == cell(latitude, 10.0)[0] + 1


def test_devices_of_another_municipality_kind_or_shard_are_no_peers():
    found = registry()
    shards = {name: topics.shard_of("41280", name) for name in ("pole-01", "pole-02")}
    assert len(set(shards.values())) == 2
    here = About(11, *GOYANG)
    for device_id, town, name, kind, about in [
        (301, "41280", "a", "streetlight", here),
        (302, "41280", "b", "streetlight", here),
        (303, "41280", "c", "streetlight", About(12, *GOYANG)),
        (304, "41280", "d", "parking_spot", here),
        (305, "41480", "e", "streetlight", About(21, *GOYANG)),
    ]:
        found.put_device(device_id, town, name, kind, about)
    peers = {
        device: int(found.peers["streetlight"].of_slot[found.slot_of_id(device, "streetlight")])
        for device in (301, 302, 303, 305)
    }
    assert peers[301] == peers[302] != NOBODY
    assert len({peers[301], peers[303], peers[305], NOBODY}) == 4


def test_a_device_that_moves_to_another_circuit_leaves_its_old_one():
    found = goyang(p=1)
    lamps(found, 3, About(1, circuit="c-1"))
    before = found.peers["streetlight"].of_slot.copy()
    found.put_device(2, "41280", "d-2", "streetlight", About(1, circuit="c-2"))
    after = found.peers["streetlight"].of_slot
    assert after[0] == after[2] == before[0]
    assert after[1] != before[1]


def test_a_device_that_becomes_another_kind_leaves_its_old_place_among_its_peers():
    found = goyang(p=1)
    lamps(found, 3, About(1, *GOYANG))
    slot = found.slot_of_id(2, "streetlight")
    found.put_device(2, "41280", "d-2", "parking_spot", About(1, *GOYANG))
    assert found.peers["streetlight"].of_slot[slot] == NOBODY
    assert found.peers["parking_spot"].of_slot.tolist() == [0]


def test_the_fleet_is_told_who_is_whose_peer():
    fleet = Fleet(KINDS)
    found = goyang(p=1)
    lamps(found, 200, About(1, circuit="c-1"))
    fleet.group("streetlight", found.peers["streetlight"].of_slot)
    fleet.make_room("streetlight", 300)
    peers = fleet.kinds["streetlight"].peers
    assert set(peers[:200].tolist()) == {0}
    assert set(peers[200:].tolist()) == {NOBODY}
