"""The numbered stream of an agent is one stream, however often and wherever it is taken up again."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim import randomness
from firmware_sim.recordings.recording import RecordedDevice
from firmware_sim.recordings.recording_map import Municipality
from firmware_sim.recordings.stream import RecordedBlocks
from firmware_sim.stream import MAX_LINE, Stream
from tests.unit.firmware_sim.city_fixture import START_MS, city, physics, read_all, small_fleet

UNTIL_MS = START_MS + 70 * 60_000
AGENTS = sorted(city().streams)
KINDS = sorted({row["kind"] for row in small_fleet()["devices"]})
WHOLE = {agent: read_all(stream, UNTIL_MS) for agent, stream in city().streams.items()}


@settings(max_examples=40, deadline=None)
@given(agent=st.sampled_from(AGENTS), data=st.data())
def test_taken_up_anywhere_by_a_new_process_the_stream_goes_on_the_same(agent, data):
    whole = WHOLE[agent]
    after = data.draw(st.integers(0, len(whole)))
    assert read_all(city().streams[agent], UNTIL_MS, after) == whole[after:]


@settings(max_examples=30, deadline=None)
@given(agent=st.sampled_from(AGENTS), steps=st.lists(st.integers(0, 20 * 60_000), max_size=8))
def test_however_the_clock_advances_the_pieces_join_to_the_same_stream(agent, steps):
    stream, found, clock_ms = city().streams[agent], [], START_MS
    for step in [*steps, UNTIL_MS]:
        clock_ms = min(clock_ms + step, UNTIL_MS)
        found += read_all(stream, clock_ms, len(found))
        assert len(found) == stream.numbered(clock_ms)
        assert all(row[3] <= clock_ms for row in found)
    assert found == WHOLE[agent]


@settings(max_examples=20, deadline=None)
@given(agent=st.sampled_from(AGENTS), data=st.data())
def test_two_readers_of_one_agent_do_not_disturb_each_other(agent, data):
    stream = city().streams[agent]
    one, other = stream.seek(0, UNTIL_MS), stream.seek(data.draw(st.integers(0, len(WHOLE[agent]))), UNTIL_MS)
    begun, lines = other.after, {0: [], 1: []}
    for turn in data.draw(st.lists(st.integers(0, 1), max_size=60)):
        found = stream.read((one, other)[turn], UNTIL_MS)
        if found:
            lines[turn].append(found[1])
    assert one.after == sum(lines[0]) and other.after == begun + sum(lines[1])
    assert read_all(stream, UNTIL_MS, other.after) == WHOLE[agent][other.after :]


def test_no_device_has_two_observations_in_one_ms_and_lines_are_bounded():
    for agent, rows in WHOLE.items():
        assert len({(device, at) for _, _, device, at, _ in rows}) == len(rows)
        stream = city().streams[agent]
        position = stream.seek(0, UNTIL_MS)
        while (found := stream.read(position, UNTIL_MS)) is not None:
            assert 0 < found[1] <= MAX_LINE


def test_another_seed_is_another_stream_and_the_same_seed_the_same():
    agent = AGENTS[0]
    assert read_all(city(seed=7).streams[agent], UNTIL_MS) == WHOLE[agent]
    assert read_all(city(seed=8).streams[agent], UNTIL_MS) != WHOLE[agent]


@settings(max_examples=20, deadline=None)
@given(later=st.integers(1, 40), agent=st.sampled_from(AGENTS))
def test_a_city_begun_later_shows_what_the_earlier_one_shows_at_that_time(later, agent):
    """Seekable: nothing depends on how long the run has lasted, faults (which belong to the run) aside."""
    begin_ms = START_MS + later * 60_000
    early, late = city(), city(start_ms=begin_ms)
    early.faults.until(UNTIL_MS)
    late.faults.until(UNTIL_MS)
    for played in (early, late):
        played.faults._all = []
    seen = {row[1:4]: row[4] for row in read_all(early.streams[agent], UNTIL_MS) if row[3] >= begin_ms}
    assert {row[1:4]: row[4] for row in read_all(late.streams[agent], UNTIL_MS)} == seen


instants = st.dictionaries(st.integers(1, 200_000), st.fixed_dictionaries({"x": st.integers()}), max_size=40)


@settings(max_examples=60, deadline=None)
@given(devices=st.lists(instants, min_size=1, max_size=4), data=st.data())
def test_a_recording_is_played_whole_and_in_time_order_from_any_number(devices, data):
    town = Municipality("xx", {"en": "x", "ko": "x"}, 0.0, 0.0, "UTC")
    rows = [RecordedDevice(f"d{i}", f"d{i}", town, observations=dict(sorted(x.items()))) for i, x in enumerate(devices)]
    stream = Stream(RecordedBlocks("k", ["x"], rows, 0, 1_000))
    whole = read_all(stream, 10**9)
    assert [row[3] for row in whole] == sorted(at for x in devices for at in x)
    assert {(row[2], row[3]): row[4] for row in whole} == {
        (f"d{i}", at): v for i, x in enumerate(devices) for at, v in x.items()
    }
    after = data.draw(st.integers(0, len(whole)))
    assert read_all(Stream(RecordedBlocks("k", ["x"], rows, 0, 1_000)), 10**9, after) == whole[after:]


@given(seed=st.integers(0, 2**31), at=st.integers(0, 2**42))
def test_random_numbers_depend_only_on_key_and_counter_and_stay_in_bounds(seed, at):
    keys = randomness.keys_of(seed, ["a", "b", "c"])
    one, other = randomness.normal(keys, 1, at), randomness.normal(keys[1:2], 1, np.array([at]))
    assert one[1] == other[0] and np.abs(one).max() < 3.47
    assert ((randomness.uniform(keys, 2, at) >= 0) & (randomness.uniform(keys, 2, at) < 1)).all()


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), cuts=st.lists(st.integers(0, 3 * 3_600_000), min_size=1, max_size=5))
def test_reports_of_a_stretch_are_those_of_its_parts(kind, cuts):
    model = physics(kind)
    edges = [START_MS, *sorted(START_MS + cut for cut in cuts), START_MS + 3 * 3_600_000]

    def reports(from_ms, to_ms):
        return (
            sorted(zip(*(x.tolist() for x in model.instants(from_ms, to_ms)), strict=True)) if to_ms > from_ms else []
        )

    assert sorted(row for a, b in pairwise(edges) for row in reports(a, b)) == reports(edges[0], edges[-1])


@given(seed=st.integers(0, 2**31), at=st.integers(0, 2**42), period=st.integers(1_000, 10**8))
def test_smooth_noise_does_not_jump(seed, at, period):
    keys = randomness.keys_of(seed, ["a"])
    knot = (at // period + 1) * period
    around = randomness.smooth(keys, 3, np.array([at, at + 1, knot - 1, knot]), period)
    assert abs(around[1] - around[0]) < 12 / period and abs(around[3] - around[2]) < 12 / period
