"""A city divided among processes: what is compared stays together, and nobody's clock depends on how many there are."""

from collections import defaultdict

from ingest_service.replay.division import PART_DEVICES, Placed, divide


def city(agents=4, circuits=5, lamps=20):
    """Lamps of circuits; two agents share each odd circuit's name but not its group."""
    return {
        ("streetlight", number): Placed(
            speaker=("agent", str(number // (circuits * lamps))), bonds=(("peers", number // lamps),), weight=1 / 60
        )
        for number in range(agents * circuits * lamps)
    }


def clocks(shares):
    """The sets of devices that have one clock."""
    found = set()
    for share in shares:
        members = defaultdict(set)
        for kind, ids in share.devices.items():
            for device_id, part in zip(ids, share.parts[kind], strict=True):
                members[part].add((kind, device_id))
        found |= {frozenset(part) for part in members.values()}
    return found


def test_every_device_is_in_one_share_and_bonds_are_not_torn():
    devices = city()
    for processes in (1, 2, 3, 7):
        shares = divide(devices, processes)
        assert len(shares) == min(processes, 4)
        placed = [(kind, device_id) for share in shares for kind, ids in share.devices.items() for device_id in ids]
        assert sorted(placed) == sorted(devices)
        groups = [{devices["streetlight", number].bonds for number in share.devices["streetlight"]} for share in shares]
        assert sum(map(len, groups)) == len(set.union(*groups))


def test_clocks_are_the_same_however_many_processes_there_are():
    devices = city()
    devices["waste_container", 9000] = Placed(("municipality", "41280"), (), 1 / 600)
    of_one = clocks(divide(devices, 1))
    assert of_one == clocks(divide(devices, 2)) == clocks(divide(devices, 5))
    assert len(of_one) == 5  # an agent each, and one municipality


def test_groups_that_reach_over_agents_keep_these_in_one_process():
    devices = city(agents=2)
    devices |= {
        ("parking_spot", number): Placed(("agent", str(number % 2)), (("wider", "parking_spot"),), 1 / 600)
        for number in range(10)
    }
    (share,) = divide(devices, 2)
    assert len(share.devices["parking_spot"]) == 10
    assert len(clocks([share])) == 2


def test_one_great_speaker_is_parted_so_that_one_city_keeps_all_cores_busy():
    devices = {
        ("streetlight", number): Placed(("municipality", "41280"), (("peers", number // 10),), 1 / 60)
        for number in range(4 * PART_DEVICES)
    }
    shares = divide(devices, 2)
    assert [len(share.devices["streetlight"]) for share in shares] == [2 * PART_DEVICES, 2 * PART_DEVICES]
    assert clocks(shares) == clocks(divide(devices, 1))
    assert all(len(part) >= PART_DEVICES for part in clocks(shares))
    few = {device: Placed(placed.speaker, (("peers", device[1] % 7),), 1.0) for device, placed in devices.items()}
    assert len(clocks(divide(few, 2))) == 1  # a dead circuit must leave others in its part that go on


def test_shares_weigh_much_the_same():
    devices = {
        ("streetlight", number): Placed(("agent", str(number)), (), float(1 + number % 5)) for number in range(40)
    }
    first, second, third = (share.weight for share in divide(devices, 3))
    assert first >= second >= third > 0.9 * first
