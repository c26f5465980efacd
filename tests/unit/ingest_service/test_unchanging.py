"""Bays that never change while their neighbours do."""

import numpy as np
import pytest

from contracts.profiles import load
from ingest_service.columns import Block, empty_columns
from ingest_service.detection import saving, unchanging
from ingest_service.detection.fleet import Fleet

KINDS = load(environ={})
FREE, OCCUPIED, CLOSED, UNKNOWN = range(4)
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
PERIOD_MS = 10 * MINUTE_MS


def bays(rates, days, seed=1, dead_from=None):
    """Rows (at_ms, slot, code) of bays that change as a Poisson process, `rate` times a day; {slot: day of death}."""
    random = np.random.default_rng(seed)
    rows = []
    for slot, rate in enumerate(rates):
        end = days * DAY_MS if dead_from is None else int(dead_from.get(slot, days) * DAY_MS)
        changes = np.sort(random.uniform(0, end, random.poisson(rate * end / DAY_MS)))
        at = np.arange(slot * 1000, days * DAY_MS, PERIOD_MS)
        codes = np.searchsorted(changes, at) % 2
        rows += list(zip(at.tolist(), [slot] * len(at), codes.tolist(), strict=True))
    return sorted(rows)


def examine(rows, peers, fleet=None, wider=None):
    fleet = fleet or Fleet(KINDS)
    fleet.group("parking_spot", np.array(peers, np.int32), None if wider is None else np.array(wider, np.int32))
    at_ms, slots, codes = (np.array(column) for column in zip(*rows, strict=True))
    zeros = np.zeros(len(rows), np.int32)
    block = Block(
        "parking_spot", slots.astype(np.int32), slots.astype(np.int64), at_ms, zeros, {"status": codes.astype(np.int16)}
    )
    return [item for item in fleet.examine([block], {}) if item.detector == "unchanging"]


def told(found):
    return [(item.slot, item.begins, round(item.at_ms / DAY_MS, 1)) for item in found]


def test_a_bay_that_dies_among_busy_neighbours_is_found_within_days_and_no_other():
    found = examine(bays([12.0] * 20, 14, dead_from={3: 7}), [0] * 20)
    assert [(item.slot, item.begins) for item in found] == [(3, True)]
    assert 8 <= found[0].at_ms / DAY_MS <= 10.5
    assert found[0].detail["neighbours_changes"] > 10


def test_a_bay_that_never_changed_needs_more_to_be_called_dead():
    found = examine(bays([12.0] * 20, 20, dead_from={3: 0}), [0] * 20)
    assert [(item.slot, item.begins) for item in found] == [(3, True)]
    assert 7 <= found[0].at_ms / DAY_MS <= 14


def test_a_bay_that_changes_again_is_well():
    rows = bays([12.0] * 20, 14, dead_from={3: 5})
    again = max(at for at, slot, _ in rows if slot == 3)
    last = [code for at, slot, code in rows if slot == 3][-1]
    found = examine([*rows, (again + HOUR_MS, 3, 1 - last)], [0] * 20)
    assert [(item.slot, item.begins) for item in found] == [(3, True), (3, False)]


def test_quiet_bays_among_busy_ones_are_told_from_dead_ones_by_their_past():
    rates = [0.5, 1.0, 2.0] + [15.0] * 20
    assert examine(bays(rates, 28, seed=7), [0] * 23) == []


def test_where_everybody_is_quiet_nobody_is_dead():
    assert examine(bays([0.05] * 30, 60, seed=3), [0] * 30) == []


def test_a_bay_without_peers_or_with_too_few_is_not_judged():
    rows = bays([12.0] * 5, 20, dead_from={3: 0})
    assert examine(rows, [0] * 5) == []
    assert examine(rows, [-1] * 5) == []


def test_one_flickering_neighbour_does_not_speak_for_all():
    rows = bays([0.1] * 20, 20, seed=5)
    flicker = [(at, 20, at // (10 * 1000) % 2) for at in range(500, 20 * DAY_MS, 10 * 1000)]
    assert [item for item in examine(sorted(rows + flicker), [0] * 21) if item.slot != 20] == []


def test_a_closed_bay_may_stay_closed_and_an_unknown_one_may_not_stay_unknown():
    closed = [(at, 20, CLOSED) for at in range(700, 20 * DAY_MS, PERIOD_MS)]
    assert examine(sorted(bays([12.0] * 20, 20) + closed), [0] * 21) == []
    unknown = [(at, 0, UNKNOWN) for at in range(0, 7 * HOUR_MS, PERIOD_MS)]
    found = examine([*unknown, (8 * HOUR_MS, 0, FREE)], [-1])
    assert [(item.begins, item.at_ms) for item in found] == [(True, 6 * HOUR_MS), (False, 8 * HOUR_MS)]


def shown(ages_h, end_ms=100 * DAY_MS):
    """Of each bay its last change and its last report, as in a table of states."""
    rows = [(end_ms - round(age * HOUR_MS), slot, FREE) for slot, age in enumerate(ages_h)]
    return sorted(rows) + [(end_ms, slot, FREE) for slot in range(len(ages_h))]


def test_a_table_of_states_tells_the_dead_by_their_neighbours_ages():
    ages = [0.5, 0.8, 1.0, 0.2, 2.0, 9.0, 30.0, 0.1, 1.5, 24 * 40.0]
    assert told(examine(shown(ages), [0] * 10)) == [(9, True, 100.0)]
    assert told(examine(shown([10 * age for age in ages[:-1]] + ages[-1:]), [0] * 10)) == []


def test_an_area_that_is_dead_as_a_whole_is_seen_against_the_town_and_a_quiet_one_is_not():
    busy = [0.5, 0.8, 1.0, 0.2, 2.0] * 12
    dead, quiet = [24 * 36.0] * 10, [24.0, 30.0, 20.0, 40.0, 50.0, 12.0, 60.0, 24.0, 24 * 36.0]
    peers = [0] * 60 + [1] * 10 + [2] * 9
    found = examine(shown(busy + dead + quiet), peers, wider=[0] * 79)
    assert sorted(item.slot for item in found) == list(range(60, 70))
    assert examine(shown(busy + dead + quiet), peers) == []


def test_new_neighbours_change_nothing_of_what_was_seen():
    rows = bays([12.0] * 20, 14, dead_from={3: 5})
    half = [row for row in rows if row[0] < 6 * DAY_MS]
    expected = examine(rows, [0] * 20)
    fleet = Fleet(KINDS)
    examine([(at, slot + 20, code) for at, slot, code in bays([50.0] * 9, 6)], [0] * 20 + [1] * 9, fleet)
    assert examine(half, [0] * 20 + [1] * 9, fleet) == []
    found = examine(rows[len(half) :], [0] * 29, fleet)  # who joins brings no changes of before along
    assert [(item.slot, item.begins) for item in found if item.slot < 20] == [(3, True)]
    assert found[0].at_ms == pytest.approx(expected[0].at_ms, abs=2 * DAY_MS)


def quiet_and_restless(fleet):
    """Twenty quiet bays, of which one has not changed for long, in one group, sixty restless ones in another;
    last rows of the quiet.
    """
    rows = bays([3.0] * 20, 7, dead_from={3: 1})
    restless = [(at, slot + 20, code) for at, slot, code in bays([60.0] * 60, 7)]
    assert examine(rows[:-200], [0] * 20 + [1] * 60, fleet) == []
    assert examine(restless, [0] * 20 + [1] * 60, fleet) == []
    fleet.keep()
    fleet.keep()
    return rows[-200:]


def test_a_flush_taken_back_across_a_change_of_groups_starts_anew_instead_of_alarming():
    fleet = Fleet(KINDS)
    last = quiet_and_restless(fleet)
    assert examine(last, [0] * 20 + [1] * 60, fleet) == []
    fleet.group("parking_spot", np.zeros(80, np.int32))
    fleet.undo()
    assert examine(last, [0] * 80, fleet) == []


def test_a_restart_into_other_groups_brings_no_changes_of_before_along():
    fleet, fresh = Fleet(KINDS), Fleet(KINDS)
    last = quiet_and_restless(fleet)
    saved = saving.pack(saving.take(fleet, 0, np.zeros(1), np.array([7]), {"parking_spot": np.arange(80)}))
    fresh.group("parking_spot", np.zeros(80, np.int32))
    assert saving.restore(fresh, saved, lambda kind, device: device, lambda agent: 0)
    assert examine(last, [0] * 80, fresh) == []


FREE_SPACES = "available_spot_number"


def garages(living, dead, days, dead_every_ms=PERIOD_MS, seed=1):
    """Rows (at_ms, slot, free spaces) of garages that move by day; after them those that always say the same."""
    random = np.random.default_rng(seed)
    rows = []
    for slot in range(living):
        at = np.arange(slot * 1000, days * DAY_MS, PERIOD_MS)
        moves = (random.random(len(at)) < 0.5) & (at % DAY_MS > 7 * HOUR_MS)
        free = 100 + np.cumsum(moves * random.choice([-1, 1], len(at)))
        rows += list(zip(at.tolist(), [slot] * len(at), free.tolist(), strict=True))
    for slot in range(living, living + dead):
        rows += [(at, slot, 40 * (slot % 3)) for at in range(slot * 1000, days * DAY_MS, dead_every_ms)]
    return sorted(rows)


def examine_garages(rows, peers, wider=None):
    fleet = Fleet(KINDS)
    fleet.group("off_street_parking", np.array(peers, np.int32), None if wider is None else np.array(wider, np.int32))
    at_ms, slots, free = (np.array(column) for column in zip(*rows, strict=True))
    columns = empty_columns(KINDS["off_street_parking"], len(rows))
    columns[FREE_SPACES] = free.astype(np.int32)
    zeros = np.zeros(len(rows), np.int32)
    block = Block("off_street_parking", slots.astype(np.int32), slots.astype(np.int64), at_ms, zeros, columns)
    found = [item for item in fleet.examine([block], {}) if item.detector == "unchanging"]
    assert {item.property for item in found} <= {FREE_SPACES}
    return found


def test_counters_that_never_move_are_found_after_a_week_and_no_other():
    found = examine_garages(garages(12, 3, 14), [0] * 15)
    assert [(item.slot, item.begins) for item in found] == [(12, True), (13, True), (14, True)]
    assert all(7 <= item.at_ms / DAY_MS <= 10 for item in found)
    assert [item.value for item in found] == [0.0, 40.0, 80.0]


def test_a_counter_that_reports_at_midnight_is_judged_by_those_reports():
    found = examine_garages(garages(12, 1, 14, dead_every_ms=DAY_MS), [0] * 13)
    assert [(item.slot, item.begins) for item in found] == [(12, True)]
    assert found[0].at_ms // DAY_MS <= 12


def test_where_most_counters_are_dead_they_are_no_measure_of_each_other():
    found = examine_garages(garages(8, 25, 14), [0] * 33)
    assert sorted(item.slot for item in found) == list(range(8, 33))
    assert examine_garages(garages(5, 25, 14), [0] * 30) != []
    assert examine_garages(garages(4, 25, 14), [0] * 29) == []  # too few that live


def test_garages_without_peers_enough_are_compared_with_the_towns():
    rows = garages(12, 3, 14)
    peers = [slot // 3 for slot in range(15)]
    assert examine_garages(rows, peers) == []
    assert sorted(item.slot for item in examine_garages(rows, peers, wider=[0] * 15)) == [12, 13, 14]


def test_a_garage_that_is_closed_over_the_weekend_is_not_unchanging():
    rows = garages(12, 0, 28)
    day = [at // DAY_MS % 7 for at, _, _ in rows]
    shut = [(at, slot, 100 if slot == 0 and d >= 5 else free) for (at, slot, free), d in zip(rows, day, strict=True)]
    assert examine_garages(shut, [0] * 12) == []


def test_words_differ_where_values_do():
    integer, number = (
        KINDS[kind].properties[name] for kind, name in (("off_street_parking", FREE_SPACES), ("streetlight", "voltage"))
    )
    nothing = unchanging.NOTHING
    assert unchanging.words_of(integer, np.array([5, -5, nothing], np.int32)).tolist() == [5, -5, nothing]
    zero, minus_zero, null, one, minus_one = unchanging.words_of(
        number, np.array([0.0, -0.0, np.nan, 1.5, -1.5], np.float32)
    ).tolist()
    assert zero == minus_zero != nothing
    assert null == nothing
    assert len({zero, null, one, minus_one}) == 4
    status = KINDS["parking_spot"].properties["status"]
    assert unchanging.words_of(status, np.array([0, 3, 4, -1], np.int16)).tolist() == [0, 3, nothing, nothing]


def test_the_chance_of_a_quiet_bay():
    assert not unchanging.unlikely(0.0, 0.0, 50.0)
    assert unchanging.unlikely(0.0, 0.0, 70.0)
    assert unchanging.unlikely(20.0, 20.0, 14.0)
    assert not unchanging.unlikely(1.0, 20.0, 70.0)
    assert round(unchanging.OLDER, 1) == 176.7
