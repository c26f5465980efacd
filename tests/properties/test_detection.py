"""Detection is the same however it is compiled, cut into flushes, taken back, saved, restored or replayed."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_service.columns import Block, empty_columns
from ingest_service.detection import cadence, group_means, journal, monitors, saving, usual
from ingest_service.detection.before import words_of
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.monitor_limits import TOLD, limits_of, record_of
from tests.city_of_tests import KINDS, NOW_MS, registry

LIGHTS = [(101, "41280"), (102, "41280"), (201, "41480")]
voltages = st.one_of(
    st.sampled_from([220.0, 220.1, 300.0, 100.0, 0.0, float("nan"), float("inf"), -float("inf"), 1e38]),
    st.floats(210, 230, width=32),
)
# Enough ordinary values for the running scale to be warm, an hour before what is drawn.
WARM = [(light, minute, 220.0 + 0.1 * (minute * 7 % 11), False) for minute in range(-70, -30) for light in range(3)]
observations = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-3, 40), voltages, st.booleans()), min_size=1, max_size=80
)


class Worker:
    """A process of the ingest service as far as detection goes: its own slots, its own agent numbers."""

    def __init__(self, *, reverse=False):
        self.registry = registry() if not reverse else _reversed()
        self.fleet = Fleet(KINDS)

    def block(self, rows):
        """Rows (light, minute, voltage, by the other agent) as a block; each light speaks through its town's agent."""
        ids = np.array([LIGHTS[light][0] for light, *_ in rows], np.int32)
        agents = [self.agent_index(21 if light == 2 else 12 if other else 11) for light, _, _, other in rows]
        columns = empty_columns(KINDS["streetlight"], len(rows))
        columns["voltage"] = np.array([value for _, _, value, _ in rows], np.float64).astype(np.float32)
        return Block(
            "streetlight",
            ids,
            np.array([self.slot_of("streetlight", int(device)) for device in ids], np.int64),
            np.array([NOW_MS + 60_000 * minute for _, minute, _, _ in rows], np.int64),
            np.array(agents, np.int32),
            columns,
        )

    def examine(self, rows, clocks=None):
        """Findings by device, so that they compare across numberings."""
        blocks = [self.block(rows)] if rows else []
        told = {self.agent_index(agent): clock for agent, clock in (clocks or {}).items()}
        return self.named(self.fleet.examine(blocks, told)), (blocks, told)

    def named(self, findings):
        return [
            (
                self.registry.devices_of[found.kind][found.slot],
                found.detector,
                found.property,
                found.begins,
                found.at_ms,
                found.value,
                found.low,
                found.high,
                found.expected,
            )
            for found in findings
        ]

    def arrays(self):
        agents = self.registry.agents
        return np.array([agent.shard for agent in agents]), np.array([agent.agent_id for agent in agents])

    def save(self):
        shards, ids = self.arrays()
        return {
            shard: saving.pack(saving.take(self.fleet, shard, shards, ids, self.registry.device_arrays()))
            for shard in sorted(set(shards.tolist()))
        }

    def slot_of(self, kind, device_id):
        return self.registry.slot_of_id(device_id, kind)

    def agent_index(self, agent_id):
        agent = self.registry.agent_by_id(agent_id)
        return None if agent is None else agent.index

    def restore(self, saves, entries=()):
        for body in saves.values():
            saving.restore(self.fleet, body, self.slot_of, self.agent_index)
        for flush in entries:
            entries_of_it = [entry for _, entry in sorted(flush.items())]
            self.fleet.examine(*journal.read_flush(entries_of_it, KINDS, self.slot_of, self.agent_index))
            self.fleet.keep()


def hear(devices, slots, at, since, changes):
    """Reports of devices of one agent."""
    copies = np.empty((len(slots), cadence.WORDS), np.uint32)
    agent, told = np.zeros(len(slots), np.int32), since.view(cadence.SINCE)
    due = np.full(1, cadence.NEVER, np.int64)
    cadence.hear(devices, words_of(devices), slots, at, agent, 180_000, False, due, told, changes, copies)


def run(state, groups, of, members, slots, at, since, values, limits, changes):
    """Values of series, with what is written over put back afterwards and written again: both must be exact."""
    n = len(slots)
    series, peers = words_of(state), words_of(groups)
    before, group_before = np.empty((n, monitors.WORDS), np.uint32), np.empty((n, monitors.GROUP_WORDS), np.uint32)
    told = np.empty(n, TOLD).view(np.recarray)
    record = record_of(limits)
    first, first_peers = series.copy(), peers.copy()
    for _ in range(2):
        series[slots[::-1]], peers[of[slots[::-1]]] = first[slots[::-1]], first_peers[of[slots[::-1]]]
        monitors.run(
            state, series, groups, peers, of, members, slots, at, since, values, record, changes, told, before,
            group_before,
        )  # fmt: skip
        after, after_peers = series.copy(), peers.copy()
        series[slots[::-1]], peers[of[slots[::-1]]] = before[::-1], group_before[::-1]
        assert (series == first).all() and (peers == first_peers).all()
        series[:], peers[:] = after, after_peers


def _reversed():
    """The same city, read in another order: other slots, other agent numbers."""
    from ingest_service.registry import Registry

    found = Registry()
    found.put_municipality("41480")
    found.put_municipality("41280")
    found.put_agent(77, "41480", "newcomer", False)
    found.put_agent(21, "41480", "pole-01", False)
    found.put_agent(12, "41280", "pole-02", False)
    found.put_agent(11, "41280", "pole-01", False)
    for device_id, town in [(500, "41280"), *reversed(LIGHTS)]:
        found.put_device(device_id, town, f"d{device_id}", "streetlight")
    return found


def through_one_agent(rows):
    """The rows with each light speaking through one agent, as the journal asks of a flush."""
    through = {light: other for light, _, _, other in rows}
    return [(light, minute, value, through[light]) for light, minute, value, _ in rows]


def clocks_alone(number):
    """Clocks of agents that speak for nobody, four minutes on at each flush."""
    return dict.fromkeys((11, 12, 21), NOW_MS + 60_000 * (100 + 4 * number))


def clocks_after(rows):
    """What agents say of their clocks after these rows: the newest minute that each saw."""
    clocks: dict = {}
    for light, minute, _, other in rows:
        agent = 21 if light == 2 else 12 if other else 11
        clocks[agent] = max(clocks.get(agent, 0), NOW_MS + 60_000 * minute)
    return clocks


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 60), voltages), max_size=120))
def test_the_compiled_kernel_is_the_plain_step_bit_for_bit(series):
    limits = limits_of(KINDS["streetlight"].properties["voltage"])
    at = np.array([NOW_MS + 60_000 * minute for minute, _ in series], np.int64)
    values = np.array([value for _, value in series], np.float64)
    at = np.concatenate([NOW_MS - 7_200_000 * np.arange(60, 0, -1), at])
    values = np.concatenate([220 + np.arange(60) % 7 * 0.3, values])
    n, slots = len(at), np.zeros(len(at), np.int64)
    devices, alike = cadence.new_devices(1), cadence.new_devices(1)
    since, changed, told = np.zeros(n, np.int64), np.zeros(n, np.uint8), np.zeros(1, cadence.SINCE).view(np.recarray)[0]
    hear(devices, slots, at, since, changed)
    for row in range(n):
        assert cadence.step(alike[0], int(at[row]), 0, told) == changed[row]
        assert told.ms == since[row]
    assert devices.tobytes() == alike.tobytes()
    compiled, plain = usual.new_series(1), usual.new_series(1)
    groups, group = group_means.new_groups(2), group_means.new_groups(2)
    changes, words = np.zeros(n, np.int32), np.zeros(1, TOLD).view(np.recarray)[0]
    of, members = np.zeros(1, np.int32), np.array([5, 0], np.int32)
    run(compiled, groups, of, members, slots, at, since, values, limits, changes)
    with np.errstate(all="ignore"):
        expected = [
            monitors.step(
                plain[0],
                group[0],
                5,
                int(at[row]),
                abs(int(since[row])),
                bool(since[row] < 0),
                float(values[row]),
                limits,
                words,
            )
            if since[row]
            else 0
            for row in range(n)
        ]
    assert changes.tolist() == expected
    for field in usual.SERIES.names:
        assert compiled[field].tobytes() == plain[field].tobytes(), field
    assert groups.tobytes() == group.tobytes()


@settings(max_examples=80, deadline=None)
@given(observations, st.lists(st.integers(0, 80), max_size=5))
def test_findings_do_not_depend_on_how_the_stream_is_cut_into_flushes(rows, cuts):
    whole, cut = Worker(), Worker()
    assert whole.examine(WARM)[0] == cut.examine(WARM)[0]
    expected, _ = whole.examine(rows)
    found = []
    edges = [0, *sorted(min(edge, len(rows)) for edge in cuts), len(rows)]
    for low, high in pairwise(edges):
        found += cut.examine(rows[low:high])[0]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert cut.save() == whole.save()


@settings(max_examples=60, deadline=None)
@given(observations, observations, st.booleans())
def test_a_flush_that_is_taken_back_leaves_no_trace(rows, lost, first):
    tried, never = Worker(), Worker()
    if not first:
        assert tried.examine(WARM)[0] == never.examine(WARM)[0]
        assert tried.examine(rows, clocks_after(rows))[0] == never.examine(rows, clocks_after(rows))[0]
        tried.fleet.keep()
        tried.fleet.keep()
    before = tried.save()
    tried.examine(lost, {11: NOW_MS + 10**9, **clocks_after(lost)})
    tried.examine(rows, {12: NOW_MS + 10**9})  # prepared while the flush before it was being stored
    tried.fleet.undo()
    assert tried.save() == before == never.save()
    assert tried.examine(rows, clocks_after(rows))[0] == never.examine(rows, clocks_after(rows))[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(observations, min_size=1, max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_a_restart_continues_exactly_where_the_last_process_was_killed(flushes, saved_after, killed_after):
    steady, killed = Worker(), Worker()
    saves, entries, expected = {}, [], []
    flushes = [
        WARM,
        *map(through_one_agent, flushes),
        [],
        [],
        [],
    ]  # at last only the clocks go on, and every device is silent
    for number, rows in enumerate(flushes):
        clocks = clocks_after(rows) or clocks_alone(number)
        found, (blocks, told) = steady.examine(rows, clocks)
        if number < killed_after:
            assert killed.examine(rows, clocks)[0] == found
            shards, ids = killed.arrays()
            entries.append(journal.entries(blocks, told, shards, ids))
            if number < saved_after:
                saves, entries = killed.save(), []
        else:
            expected.append(found)
    fresh = Worker(reverse=True)
    fresh.restore(saves, entries)
    for number, (rows, found) in enumerate(zip(flushes[killed_after:], expected, strict=False), killed_after):
        clocks = clocks_after(rows) or clocks_alone(number)
        assert sorted(fresh.examine(rows, clocks)[0], key=repr) == sorted(found, key=repr)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 1440)), max_size=40))
def test_gaps_infinities_and_late_values_never_poison_a_series(odd):
    with_odd, without = Worker(), Worker()
    steady = [(0, minute, 220.0 + 0.1 * (minute % 7), False) for minute in range(60)]
    with_odd.examine(steady)
    without.examine(steady)
    for value, minute in odd:
        with_odd.examine([(0, 59, 999.0, False), (0, 60 + minute, value, False)])  # repeated; new, but no number
    series = [worker.fleet.kinds["streetlight"].monitors["voltage"].state for worker in (with_odd, without)]
    assert series[0].tobytes() == series[1].tobytes()
    after = [(0, 2000 + minute, 260.0, False) for minute in range(5)]
    assert [found[1] for found in with_odd.examine(after)[0] if found[3]][:1] == ["out_of_range"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(2**40), 2**43), st.floats(width=32)), min_size=1, max_size=60), st.integers(1, 12)
)
def test_any_time_and_any_value_leave_a_state_that_is_finite_and_goes_on(series, members):
    limits = limits_of(KINDS["streetlight"].properties["voltage"])
    state, devices, groups = usual.new_series(1), cadence.new_devices(1), group_means.new_groups(2)
    n = len(series)
    at, values = np.array([at for at, _ in series], np.int64), np.array([value for _, value in series], np.float64)
    since, changes, slots = np.zeros(n, np.int64), np.zeros(n, np.uint8), np.zeros(n, np.int64)
    hear(devices, slots, at, since, changes)
    said, of = np.zeros(n, np.int32), np.zeros(1, np.int32)
    count = np.array([members, 0], np.int32)
    run(state, groups, of, count, slots, at, since, values, limits, said)
    for field in ("level", "left", "scale", "hour_sum", "hour_scale", "before", "since"):
        assert np.isfinite(state[field]).all(), field
    assert np.isfinite(devices["interval"]).all()


def test_a_journal_entry_holds_the_rows_of_its_own_shard_only():
    worker = Worker()
    rows = [(0, 1, 220.0, False), (2, 2, 221.0, False), (0, 3, 222.0, False)]
    shards, ids = worker.arrays()
    # Rows of two shards, and a clock of one only, as when an observation comes back from quarantine.
    entries = journal.entries([worker.block(rows)], {worker.agent_index(11): NOW_MS}, shards, ids)
    assert len(entries) == 2
    seen = {}
    for shard, entry in entries.items():
        blocks, clocks = journal.read(entry, KINDS, worker.slot_of, worker.agent_index)
        seen[shard] = ([device for block in blocks for device in block.device_id.tolist()], clocks)
    assert sorted(seen.values(), key=repr) == sorted(
        [([101, 101], {worker.agent_index(11): NOW_MS}), ([201], {})], key=repr
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 299), st.integers(-90, 90), st.integers(0, 2)), min_size=20, max_size=200),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), min_size=5, max_size=12),
)
def test_who_is_silent_does_not_depend_on_who_is_passed_by(reports, words):
    """Devices that none of a sweep's clocks can reach are not looked at; looking at everybody finds the same."""
    passing, looking = Fleet(KINDS), Fleet(KINDS)
    for fleet in (passing, looking):
        fleet.make_room("streetlight", 300)
    now, found = NOW_MS, {id(passing): [], id(looking): []}
    for number, (agent, minutes) in enumerate(words):
        now += 60_000 * minutes
        rows = reports[number :: len(words)]
        slots = np.array([slot for slot, *_ in rows], np.int64)
        columns = empty_columns(KINDS["streetlight"], len(rows))
        at = np.array([now + 1000 * late for _, late, _ in rows], np.int64)
        speakers = np.array([speaker for *_, speaker in rows], np.int32)
        block = Block("streetlight", slots.astype(np.int32), slots, at, speakers, columns)
        for fleet in (passing, looking):
            if fleet is looking:
                fleet.kinds["streetlight"].due_ms[:] = cadence.NEVER
            found[id(fleet)] += fleet.examine([block], {agent: now})
            fleet.keep()
    assert found[id(passing)] == found[id(looking)]
    assert passing.kinds["streetlight"].devices.tobytes() == looking.kinds["streetlight"].devices.tobytes()
