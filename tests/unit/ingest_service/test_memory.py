"""What a worker remembers: the registry, the newest of each device, columns, counters."""

import numpy as np
import pytest

from contracts.profiles import Property
from ingest_service import columns
from ingest_service.counters import LATENCY_BOUNDS_MS, Counters, Latency
from ingest_service.newest import Newest
from ingest_service.registry import UNKNOWN
from ingest_service.settings import parse_shards
from tests.city_of_tests import KINDS, registry


def block(slots, times, voltages):
    n = len(slots)
    filled = columns.empty_columns(KINDS["streetlight"], n)
    filled["voltage"] = np.array(voltages, np.float32)
    ids = np.array(slots, np.int32) + 1000
    return columns.Block(
        "streetlight", ids, np.array(slots, np.int64), np.array(times, np.int64), np.zeros(n, np.int32), filled
    )


def written(newest, most=1000):
    return {
        int(device): (int(at), float(value))
        for rows in newest.due(most)
        for device, at, value in zip(rows.device_id, rows.observed_ms, rows.columns["voltage"], strict=True)
    }


def test_a_devices_name_means_its_own_municipality_only():
    known = registry()
    assert known.find("41280", ["sl-1", "paju-1", "nobody"]).tolist()[1:] == [UNKNOWN, UNKNOWN]
    assert known.device_ids(known.find("41480", ["paju-1"])).tolist() == [201]
    assert known.exists_elsewhere("paju-1")
    assert not known.exists_elsewhere("nobody")


def test_slots_stay_and_a_device_of_a_new_kind_gets_a_new_one():
    known = registry()
    before = known.slot_of_id(102, "streetlight")
    known.put_device(102, "41280", "sl-2", "streetlight")
    assert known.slot_of_id(102, "streetlight") == before
    known.put_device(102, "41280", "sl-2", "parking_spot")
    assert known.slot_of_id(102, "streetlight") is None
    assert known.devices_of["parking_spot"][known.slot_of_id(102, "parking_spot")] == 102
    known.put_device(300, "41280", "sl-3", "streetlight")
    slots = [known.slot_of_id(device, "streetlight") for device in (101, 201, 300)]
    assert len({*slots, before}) == 4


def test_the_registry_grows_beyond_its_first_arrays():
    known = registry(more_lights=3000)
    codes = known.find("41280", [f"light-{number}" for number in range(3000)])
    assert known.device_ids(codes).tolist() == list(range(1000, 4000))
    assert known.is_kind(codes, "streetlight").all()


def test_an_agent_registered_again_keeps_its_index_and_takes_the_new_word():
    known = registry()
    before = known.agent("41280", "pole-01")
    known.put_agent(11, "41280", "pole-01", True)
    after = known.agent_by_id(11)
    assert (after.index, after.replay) == (before.index, True)


def test_an_older_observation_never_replaces_a_newer_one():
    newest = Newest(KINDS)
    newest.take([block([0, 1, 0], [50, 60, 40], [1.0, 2.0, 3.0])])
    newest.take([block([0, 1], [49, 61], [4.0, 5.0])])
    assert written(newest) == {1000: (50, 1.0), 1001: (61, 5.0)}
    assert written(newest) == {}


def test_of_one_time_the_last_to_arrive_counts():
    newest = Newest(KINDS)
    newest.take([block([0, 0], [50, 50], [1.0, 2.0])])
    assert written(newest) == {1000: (50, 2.0)}


def test_what_the_table_holds_already_is_not_replaced_by_older_after_a_start():
    newest = Newest(KINDS)
    newest.load("streetlight", [0, 1], [100, 100])
    changed = newest.take([block([0, 1], [99, 101], [1.0, 2.0])])
    assert changed[0].device_id.tolist() == [1001]
    assert written(newest) == {1001: (101, 2.0)}


def test_a_failed_flush_is_taken_back_with_what_it_would_have_written():
    newest = Newest(KINDS)
    newest.take([block([0], [50], [1.0])])
    newest.keep()
    newest.take([block([0, 200], [60, 60], [2.0, 3.0])])
    assert len(written(newest)) == 2
    newest.undo()
    assert written(newest) == {1000: (50, 1.0)}


def test_the_budget_writes_those_that_wait_longest_first():
    newest = Newest(KINDS)
    newest.take([block([0], [50], [1.0])])
    newest.take([block([1, 2], [51, 51], [1.0, 1.0])])
    newest.take([block([0], [52], [9.0])])
    assert written(newest, 1) == {1000: (52, 9.0)}
    assert len(written(newest, 1)) == 1
    assert len(written(newest, 1)) == 1
    assert written(newest, 1) == {}


def test_values_come_back_as_the_wire_spells_them():
    def check(type_, stored, spelled, **more):
        item = Property(type=type_, label={}, ngsi="", **more)
        column = np.array(stored, columns.DTYPES[type_])
        assert columns.to_json(item, column) == spelled

    check("number", [1.25, np.nan, 0.1], [1.2, None, 0.1], decimals=1)
    check("integer", [-5, columns.NULL_INTEGER], [-5, None])
    check("boolean", [1, 0, -1], [True, False, None])
    check("enum", [0, 1, -1, 7], ["a", "b", None, None], values=("a", "b"))


def test_latency_is_weighted_by_observations_and_survives_a_restart():
    latency = Latency()
    assert latency.quantile(0.5) is None
    latency.add(10.0, 99)
    latency.add(5000.0, 1)
    assert 10 <= latency.quantile(0.5) <= 12.5
    assert latency.quantile(0.995) >= 5000
    counters = Counters()
    counters.latency = latency
    assert Counters(counters.tell(0.0, 0)).latency.counts == latency.counts
    assert Counters({"latency_ms_histogram": {"counts": [1, 2]}}).latency.quantile(0.5) is None
    latency.add(1e12, 1)
    assert latency.quantile(1.0) == LATENCY_BOUNDS_MS[-1]


def test_the_rate_forgets_what_is_older_than_ten_seconds():
    counters = Counters()
    counters.note_rate(0.0, 1000)
    counters.note_rate(9.0, 500)
    assert counters.rate(9.5) == 150
    assert counters.rate(10.5) == 50
    assert counters.rate(30.0) == 0


def test_shards_are_read_from_ranges_and_lists():
    assert parse_shards("0-63") == list(range(64))
    assert parse_shards("5, 7-8,7") == [5, 7, 8]
    for text in ("", "64", "5-3", "-1", "a", "1--2", "1,", "1-2-3"):
        with pytest.raises(ValueError, match="shards = "):
            parse_shards(text)
