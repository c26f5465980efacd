"""Watches of words, counters and lamps are the same however they are compiled, cut into flushes, taken back, saved and
restored.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import profiles
from contracts.profiles import Backwards, ErrorValue, Property
from ingest_service.columns import NULL_INTEGER, Block, empty_columns
from ingest_service.detection import counters, daylight, error_values, journal, saving, unchanging
from ingest_service.detection.fleet import Fleet
from ingest_service.registry import About, Registry

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = 1_780_000_000_000
METER = """\
kind = "meter"
ngsi_type = "StreetlightControlCabinet"
label = { en = "Cabinet", ko = "제어함" }
report_period_s = 60
display = { headline = "energy" }

[properties.energy]
type = "number"
ngsi = "energyConsumed"
label = { en = "Energy", ko = "전력량" }
unit = "kW.h"
decimals = 1
plausible = [0.0, 1000000.0]
detectors.backwards = { modulus = 1000.0 }

[properties.power]
type = "number"
ngsi = "totalActivePower"
label = { en = "Power", ko = "전력" }
unit = "kW"
decimals = 1
plausible = [0.0, 1000000.0]
detectors.novelty = { threshold = 0.3, clear_after = 2 }
"""
AGENTS = {11: "pole-01", 12: "pole-02"}
BAYS = 14  # of two agents, in two areas
GARAGES = 8
energies = st.one_of(st.sampled_from([0.0, 1.0, 999.5, 500.0, float("nan"), float("inf"), -1.0]), st.floats(0, 999))
words = st.sampled_from([0, 1, 2, 3, -1])
free = st.sampled_from([0, 1, 98, 99, -2, NULL_INTEGER])
# (kind, device, hours, word or power state, number), in any order of time
rows = st.lists(
    st.one_of(
        st.tuples(st.just("parking_spot"), st.integers(0, BAYS - 1), st.integers(0, 400), words, st.just(0.0)),
        st.tuples(st.just("streetlight"), st.integers(0, 2), st.integers(0, 400), words, st.floats(0, 200)),
        st.tuples(st.just("off_street_parking"), st.integers(0, GARAGES - 1), st.integers(0, 400), free, st.just(0.0)),
        st.tuples(st.just("meter"), st.integers(0, 1), st.integers(0, 400), st.just(0), energies),
    ),
    min_size=1,
    max_size=120,
)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "meter.toml").write_text(METER, encoding="utf-8")
    return profiles.load(environ={"DURE_PROFILES": str(folder)})


class Worker:
    """A process of the ingest service, as far as its detectors go; `reverse`: with other slots and numbers."""

    def __init__(self, kinds, *, reverse=False):
        self.kinds = kinds
        self.registry = Registry()
        self.registry.put_municipality("41280", "Asia/Seoul")
        order = -1 if reverse else 1
        for agent_id in list(AGENTS)[::order]:
            self.registry.put_agent(agent_id, "41280", AGENTS[agent_id], False)
        devices = [(100 + bay, f"bay-{bay}", "parking_spot", 11 + bay % 2) for bay in range(BAYS)]
        devices += [(200 + lamp, f"lamp-{lamp}", "streetlight", 11) for lamp in range(3)]
        devices += [(400 + place, f"garage-{place}", "off_street_parking", 11) for place in range(GARAGES)]
        devices += [(300 + meter, f"meter-{meter}", "meter", 12) for meter in range(2)]
        for device_id, name, kind, agent_id in devices[::order]:
            plan = "23:00-05:00" if device_id == 201 else None
            self.registry.put_device(device_id, "41280", name, kind, About(agent_id, 37.66, 126.83, schedule=plan))
        self.fleet = Fleet(kinds)
        self.meet()

    def meet(self):
        for kind, groups in self.registry.peers.items():
            self.fleet.group(kind, groups.of_slot, self.registry.wider[kind].of_slot)
            self.fleet.place(kind, self.registry.places[kind])

    def blocks(self, some):
        found = []
        first = {"parking_spot": 100, "streetlight": 200, "meter": 300, "off_street_parking": 400}
        for kind in dict.fromkeys(row[0] for row in some):
            mine = [row for row in some if row[0] == kind]
            ids = np.array([first[kind] + row[1] for row in mine], np.int32)
            columns = empty_columns(self.kinds[kind], len(mine))
            numbers = np.array([row[3] for row in mine], np.int32)
            word = numbers.astype(np.int16)
            number = np.array([row[4] for row in mine], np.float64).astype(np.float32)
            columns |= {
                "parking_spot": {"status": word},
                "streetlight": {"power_state": word, "power_consumption": number},
                "meter": {"energy": number, "power": number},
                "off_street_parking": {"available_spot_number": numbers},
            }[kind]
            at_ms = np.array([START_MS + HOUR_MS * row[2] for row in mine], np.int64)
            slots = np.array([self.registry.slot_of_id(int(device), kind) for device in ids], np.int64)
            agents = [
                self.agent_index(12 if kind == "meter" or (kind == "parking_spot" and row[1] % 2) else 11)
                for row in mine
            ]
            found.append(Block(kind, ids, slots, at_ms, np.array(agents, np.int32), columns))
        return found

    def examine(self, some):
        """Findings by device, in an order of their own."""
        found = [
            (self.registry.devices_of[item.kind][item.slot], repr(item)[repr(item).index("detector") :])
            for item in self.fleet.examine(self.blocks(some), {})
        ]
        return sorted(found)

    def agent_index(self, agent_id):
        agent = self.registry.agent_by_id(agent_id)
        return None if agent is None else agent.index

    def slot_of(self, kind, device_id):
        return self.registry.slot_of_id(device_id, kind)

    def arrays(self):
        agents = self.registry.agents
        return np.array([agent.shard for agent in agents]), np.array([agent.agent_id for agent in agents])

    def save(self):
        shards, ids = self.arrays()
        return {
            int(shard): saving.pack(saving.take(self.fleet, int(shard), shards, ids, self.registry.device_arrays()))
            for shard in set(shards)
        }


def past(some):
    """A month in which bays and lamps behave, before what is drawn: so that there is something to raise."""
    return [
        *(("parking_spot", bay, -600 + 3 * k, (k + bay) // 2 % 2, 0.0) for k in range(200) for bay in range(1, BAYS)),
        *(("parking_spot", 0, -600 + 3 * k, 0, 0.0) for k in range(200)),
        *(("off_street_parking", place, -200 + k, 99 - k % 2, 0.0) for k in range(200) for place in range(1, GARAGES)),
        *(("off_street_parking", 0, -200 + k, 0, 0.0) for k in range(200)),
        *(("off_street_parking", 1, k, 99 * (k != 1), 0.0) for k in range(3)),
        *(("meter", meter, -60 + k, 0, 700.0 + k) for k in range(60) for meter in range(2)),
        *some,
    ]


@settings(max_examples=40, deadline=None)
@given(rows, st.lists(st.integers(0, 120), max_size=4))
def test_findings_do_not_depend_on_how_the_stream_is_cut_into_flushes(kinds, some, cuts):
    whole, cut = Worker(kinds), Worker(kinds)
    everything = past(some)
    expected = whole.examine(everything)
    found = []
    start = len(everything) - len(some)
    edges = [0, *sorted({min(start + edge, len(everything)) for edge in cuts}), len(everything)]
    for low, high in pairwise(edges):
        found += cut.examine(everything[low:high])
    assert sorted(found) == expected
    assert any("unchanging" in item and "'available_spot_number'" in item for _, item in expected)
    assert any("unchanging" in item and "'status'" in item for _, item in expected)
    assert any("error_value" in item for _, item in expected)
    assert cut.save() == whole.save()


@settings(max_examples=40, deadline=None)
@given(rows, rows)
def test_a_flush_that_is_taken_back_leaves_no_trace(kinds, some, lost):
    tried, never = Worker(kinds), Worker(kinds)
    assert tried.examine(past([])) == never.examine(past([]))
    tried.fleet.keep()
    before = never.save()
    tried.examine(lost)
    tried.examine(some)
    tried.fleet.undo()
    assert tried.save() == before
    assert tried.examine(some) == never.examine(some)


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), st.integers(0, 4), st.integers(0, 4))
def test_a_restart_continues_exactly_with_other_slots_and_other_numbers_of_groups(kinds, flushes, saved, killed):
    steady, first = Worker(kinds), Worker(kinds)
    flushes = [past([]), *flushes]
    saves, entries, expected = {}, [], []
    for number, some in enumerate(flushes):
        found = steady.examine(some)
        if number < killed:
            assert first.examine(some) == found
            shards, ids = first.arrays()
            entries.append(journal.entries(first.blocks(some), {}, shards, ids))
            if number < saved:
                saves, entries = first.save(), []
        else:
            expected.append(found)
    fresh = Worker(kinds, reverse=True)
    for body in saves.values():
        assert saving.restore(fresh.fleet, body, fresh.slot_of, fresh.agent_index)
    for flush in entries:
        ordered = [entry for _, entry in sorted(flush.items())]
        fresh.fleet.examine(*journal.read_flush(ordered, kinds, fresh.slot_of, fresh.agent_index))
        fresh.fleet.keep()
    for some, found in zip(flushes[killed:], expected, strict=False):
        assert fresh.examine(some) == found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 90), energies), max_size=80), st.sampled_from([None, 1000.0]))
def test_the_compiled_counter_is_the_plain_step_bit_for_bit(series, modulus):
    item = Property(type="number", label={}, ngsi="e", name="e", decimals=1, plausible=(0, 1000))
    limits = counters.limits_of(item, Backwards(modulus=modulus))
    at = np.array([minute * 60_000 for minute, _ in series], np.int64)
    values = np.array([value for _, value in series], np.float64)
    compiled, plain = counters.new_state(1), counters.new_state(1)
    changes = np.zeros(len(series), np.uint8)
    counters.run(compiled, np.zeros(len(series), np.int64), at, values, limits, changes, np.empty(len(series)))
    expected = [counters.step(plain[0], int(at[row]), float(values[row]), limits) for row in range(len(series))]
    assert changes.tolist() == expected
    assert compiled.tobytes() == plain.tobytes()


counted = st.sampled_from([0.0, -0.0, 1.0, 50.0, 51.0, 99.0, -1.0, float("nan"), float("inf"), 1e300])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 40), counted), max_size=80))
def test_the_compiled_error_value_is_the_plain_step_bit_for_bit(series):
    item = Property(type="number", label={}, ngsi="n", name="n", decimals=0, plausible=(-1, 100))
    limits = error_values.limits_of(item, ErrorValue((0.0, -1.0), clear_after_s=36_000))
    start = [(k, 50.0 + k % 2) for k in range(30)]
    steps = [(5, value) for _, value in start] + series
    at = np.cumsum([minutes for minutes, _ in steps]) * 60_000
    values = np.array([value for _, value in steps])
    compiled, plain = error_values.new_state(1), error_values.new_state(1)
    changes, fell = np.zeros(len(steps), np.uint8), np.empty(len(steps), np.int64)
    zeros = np.zeros(len(steps), np.int64)
    error_values.run(compiled, zeros, at, values, limits, changes, np.empty(len(steps)), fell)
    expected = [error_values.step(plain[0], int(at[row]), float(values[row]), limits) for row in range(len(steps))]
    assert changes.tolist() == expected
    assert compiled.tobytes() == plain.tobytes()
    assert np.isfinite(float(compiled[0].moves))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from([0, 1, -1])), max_size=120))
def test_the_compiled_lamp_is_the_plain_step_bit_for_bit(series):
    place = daylight.place_of(np.array([37.66]), np.array([126.83]))
    at = np.array([START_MS + minute * 600_000 for minute, _ in series], np.int64)
    lit = np.array([word for _, word in series], np.int8)
    compiled, plain = daylight.new_state(1), daylight.new_state(1)
    changes = np.zeros(len(series), np.uint8)
    zeros = np.zeros(len(series), np.int64)
    daylight.run(compiled, zeros, at, lit, zeros.astype(np.uint8), place, 900_000, changes)
    expected = []
    for row in range(len(series)):
        sun = daylight.sine_at(int(at[row]), place, 0)
        should = daylight.wanted(sun, daylight.BY_THE_SUN)
        expected.append(daylight.step(plain[0], int(at[row]), int(lit[row]), should, 900_000) if lit[row] >= 0 else 0)
    assert changes.tolist() == expected
    assert compiled.tobytes() == plain.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 900), free, st.integers(0, 300)), max_size=60))
def test_the_compiled_number_that_stays_is_the_plain_step_bit_for_bit(series):
    item = profiles.load(environ={})["off_street_parking"].properties["available_spot_number"]
    limits = unchanging.limits_of(item, profiles.Unchanging(min_duration_s=3600))
    compiled, plain = unchanging.new_state(1), unchanging.new_state(1)
    for hours, number, total in series:
        args = (hours * HOUR_MS, int(number), total, 9, limits)
        assert unchanging.compiled_step(compiled[0], *args) == unchanging.step(plain[0], *args)
    assert compiled.tobytes() == plain.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 900), st.integers(-1, 5), st.integers(0, 300)), max_size=60))
def test_the_compiled_word_is_the_plain_step_bit_for_bit(series):
    status = profiles.load(environ={})["parking_spot"].properties["status"]
    limits = unchanging.limits_of(
        status, profiles.Unchanging(ignore=("closed",), unknown=("unknown",), min_duration_s=3600)
    )
    compiled, plain = unchanging.new_state(1), unchanging.new_state(1)
    words = unchanging.words_of(status, np.array([code for _, code, _ in series], np.int16)).tolist()
    for (hours, _, total), word in zip(series, words, strict=True):
        args = (hours * HOUR_MS, word, total, 9, limits)
        assert unchanging.compiled_step(compiled[0], *args) == unchanging.step(plain[0], *args)
    assert compiled.tobytes() == plain.tobytes()
