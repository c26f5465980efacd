"""What each detector finds on a crafted series, and when it clears; and that an ordinary week raises nothing."""

import math

import numpy as np
import pytest

from ingest_service.columns import Block, empty_columns
from ingest_service.detection import cadence, jumps, usual
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.monitor_limits import LEVEL_SHIFT, limits_of, record_of
from tests.city_of_tests import KINDS, NOW_MS

MINUTE = 60_000


def examine(fleet, kind, name, values, *, start_ms=NOW_MS, step_ms=MINUTE, slot=0, clock_ms=None):
    n = len(values)
    columns = empty_columns(KINDS[kind], n)
    columns[name] = np.array(values, columns[name].dtype)
    block = Block(
        kind,
        np.full(n, 100 + slot, np.int32),
        np.full(n, slot, np.int64),
        start_ms + step_ms * np.arange(n),
        np.zeros(n, np.int32),
        columns,
    )
    return fleet.examine([block] if n else [], {} if clock_ms is None else {0: clock_ms})


def told(findings, start_ms=NOW_MS, step_ms=MINUTE):
    return [(found.detector, found.property, found.begins, (found.at_ms - start_ms) / step_ms) for found in findings]


def ordinary(n, seed=1):
    """Mains voltage: a daily curve of 3 V and noise of 0.8 V, in tenths."""
    rng = np.random.default_rng(seed)
    minutes = np.arange(n)
    return np.round(221 + 3 * np.sin(2 * math.pi * minutes / 1440) + rng.normal(0, 0.8, n), 1)


def test_a_value_outside_its_range_begins_once_and_ends_after_three_values_inside():
    fleet = Fleet(KINDS)
    values = [220.0, 220.1, 260.0, 261.0, 220.2, 259.0, 220.1, 220.2, 220.3, 220.4]
    found = [item for item in told(examine(fleet, "streetlight", "voltage", values)) if item[0] == "out_of_range"]
    assert found == [("out_of_range", "voltage", True, 2), ("out_of_range", "voltage", False, 8)]


def test_limits_themselves_are_inside():
    assert told(examine(Fleet(KINDS), "streetlight", "voltage", [187.0, 253.0])) == []
    assert len(examine(Fleet(KINDS), "streetlight", "voltage", [186.9])) == 1


def test_an_integer_below_zero_is_found_with_its_evidence():
    (found,) = examine(Fleet(KINDS), "off_street_parking", "available_spot_number", [4, -2])
    assert (found.detector, found.value, found.low, found.high) == ("out_of_range", -2.0, 0.0, 20000.0)


def test_a_value_that_repeats_is_stuck_until_it_moves():
    fleet = Fleet(KINDS)
    found = told(examine(fleet, "streetlight", "voltage", [221.0, 220.0] + [220.3] * 15 + [220.4]))
    assert found == [("stuck", "voltage", True, 13), ("stuck", "voltage", False, 17)]


def test_an_empty_bin_may_stay_empty_and_a_half_full_one_may_not():
    assert examine(Fleet(KINDS), "waste_container", "filling_level", [0.0] * 600) == []
    found = told(examine(Fleet(KINDS), "waste_container", "filling_level", [0.5] * 600))
    assert found == [("stuck", "filling_level", True, 431)]


def garage(days, quiet=(), seed=1):
    """Free spaces every five minutes: half of the readings repeat, by night and on quiet days nine of ten."""
    rng = np.random.default_rng(seed)
    reading = np.arange(days * 288)
    by_day = (reading % 288 >= 84) & (reading % 288 < 240) & ~np.isin(reading // 288, quiet)
    moves = np.where(rng.random(len(reading)) < np.where(by_day, 0.5, 0.1), rng.choice([-2, -1, 1, 2], len(reading)), 0)
    return 200 + np.cumsum(moves)


def stuck(values):
    midnight_ms = NOW_MS - NOW_MS % 86_400_000
    found = told(
        examine(
            Fleet(KINDS),
            "off_street_parking",
            "available_spot_number",
            values,
            start_ms=midnight_ms,
            step_ms=5 * MINUTE,
        ),
        midnight_ms,
        86_400_000,
    )
    return [(begins, day) for detector, _, begins, day in found if detector == "stuck"]


def test_a_quiet_day_of_the_first_week_is_usual_and_so_are_those_that_come():
    assert stuck(garage(17, quiet=(6, 13))) == []


def test_a_garage_that_has_quiet_days_is_stuck_all_the_same_when_it_stops():
    values = garage(17, quiet=(6, 13))
    values[15 * 288 + 96 :] = values[15 * 288 + 96]  # on a busy day at eight
    ((begins, day),) = stuck(values)
    assert begins and 15 + 8 / 24 < day < 15 + 20 / 24


def test_what_hardly_ever_repeats_is_stuck_in_its_first_week_too():
    """Every half an hour from eight to five, as car parks of Birmingham report."""
    days, by_day = np.divmod(np.arange(8 * 18), 18)
    at_ms = NOW_MS - NOW_MS % 86_400_000 + days * 86_400_000 + (8 * 60 + 30 * by_day) * MINUTE
    random = np.random.default_rng(4)
    values = np.round(300 - 20 * np.abs(by_day - 9) + random.normal(0, 8, len(by_day)))
    values[7 * 18 + 1 :] = values[7 * 18 + 1]
    columns = empty_columns(KINDS["off_street_parking"], len(values))
    columns["occupied_spot_number"] = values.astype(np.int32)
    zeros = np.zeros(len(values), np.int32)
    block = Block("off_street_parking", zeros, zeros.astype(np.int64), at_ms, zeros, columns)
    hung = [found.at_ms for found in Fleet(KINDS).examine([block], {}) if found.detector == "stuck"]
    assert [int(np.searchsorted(at_ms, at)) - 7 * 18 for at in hung] == [14]


def test_zeros_of_a_broken_counter_are_no_spikes_and_a_spike_after_them_is_one():
    values = garage(12)
    values[2 * 288 : 10 * 288 : 50] = 0
    values[11 * 288 + 100] += 150
    at_ms = NOW_MS - NOW_MS % 86_400_000
    found = examine(
        Fleet(KINDS), "off_street_parking", "available_spot_number", values, start_ms=at_ms, step_ms=5 * MINUTE
    )
    begun = {(item.detector, (item.at_ms - at_ms) // 86_400_000) for item in found if item.begins}
    assert begun - {("novelty", 2)} == {("error_value", 2), ("spike", 11)}


def test_nothing_is_called_noise_before_a_day_is_known():
    def noisy(begins):
        random = np.random.default_rng(5)
        values = random.normal(100, 1, begins + 200)
        values[begins:] = random.normal(100, 12, 200)
        return "noise" in {item.detector for item in examine(Fleet(KINDS), "streetlight", "power_consumption", values)}

    assert not noisy(400)
    assert noisy(1500)


def test_nothing_is_nothing_in_any_unit():
    assert jumps.unit_of(0.0, 4.0, 0.1, 1.0) == 0.0
    assert jumps.unit_of(40.0, 4.0, 0.1, 1.0) == 10.0


def test_a_full_garage_may_stay_full():
    values = garage(10)
    values[8 * 288 + 96 : 8 * 288 + 230] = 0
    assert stuck(values) == []


def test_a_jump_out_of_the_noise_is_a_spike_and_shows_what_was_expected():
    values = ordinary(200)
    values[150] += 25
    found = examine(Fleet(KINDS), "streetlight", "voltage", values)
    assert told(found) == [("spike", "voltage", True, 154), ("spike", "voltage", False, 167)]
    assert found[0].low < found[0].expected < found[0].high
    assert abs(found[0].expected - 221) < 6


def of_days(days, day, seed=1, noise=0.3):
    """Readings at five minutes of a day's 24 hours' levels, which change at half past."""
    rng = np.random.default_rng(seed)
    step = np.arange(288 * days)
    hour = (step + 6) % 288 // 12
    return np.round(np.array(day, float)[hour] + rng.normal(0, noise, len(step)), 1)


LAMP = [100.0] * 6 + [2.0] * 12 + [100.0] * 6
FIVE = 5 * MINUTE
MIDNIGHT_MS = NOW_MS - NOW_MS % (24 * 60 * MINUTE)


def spikes(kind, name, values, **more):
    """(row of the alarm) of each spike, of readings at five minutes from midnight."""
    found = examine(Fleet(KINDS), kind, name, values, start_ms=MIDNIGHT_MS, step_ms=FIVE, **more)
    return [(item.at_ms - MIDNIGHT_MS) // FIVE for item in found if item.detector == "spike" and item.begins]


def test_one_reading_that_stands_out_is_a_spike_in_the_hour_in_which_a_lamp_switches():
    values = of_days(10, LAMP)
    assert spikes("streetlight", "power_consumption", values) == []
    row = 9 * 288 + 18 * 12  # half an hour after it was lit
    values[row] -= 40
    assert spikes("streetlight", "power_consumption", values) == [row + 4]


def test_a_lamp_that_is_lit_earlier_than_yesterday_is_neither_a_spike_nor_another_unit():
    values = of_days(10, LAMP)
    row = 9 * 288 + 17 * 12 - 6
    values[row : row + 12] = 100.0 + values[row : row + 12] % 1
    found = examine(Fleet(KINDS), "streetlight", "power_consumption", values, start_ms=MIDNIGHT_MS, step_ms=FIVE)
    assert [item for item in found if item.detector != "daylight"] == []


def test_in_an_hour_lively_by_what_switches_a_value_between_its_levels_is_no_shift_and_one_beyond_is():
    def changed(value):
        series = usual.new_series(1).view(np.recarray)[0]
        series.hours, series.hour, series.exponent, series.scale, series.keeps = 200, 21, 0, 0.75, 56_000
        series.day[21], series.day[22], series.texture[10] = 100, 60, 6 << 4
        series.day[20] = 100
        series.jump, series.since, series.last = 5, 5 * (value - 100), value
        limits = record_of(limits_of(KINDS["streetlight"].properties["power_consumption"]))[0]
        base, scale = 0.75, 8 * 0.75
        return jumps.follow(series, value, value - 100.0, 0.0, 100.0, base, scale, 1, FIVE, limits)

    assert changed(60.0) == 0
    assert changed(20.0) == LEVEL_SHIFT


def said_of(kind, name, usual_value, away):
    """What is said of a property with noise of 1 whose values become others on the tenth day, by reading."""
    values = np.round(of_days(10, [usual_value] * 24, noise=1.0))
    row = 9 * 288 + 100
    values[row : row + len(away)] = np.array(away) + np.round(values[row : row + len(away)] - usual_value)
    values[row + len(away) :] += away[-1] - usual_value
    found = examine(Fleet(KINDS), kind, name, values, start_ms=MIDNIGHT_MS, step_ms=FIVE)
    return [(item.detector, (item.at_ms - MIDNIGHT_MS) // FIVE - row) for item in found if item.begins]


def said_of_garage(away):
    found = said_of("off_street_parking", "available_spot_number", 120.0, away)
    return [item for item in found if item[0] != "novelty"]


def test_a_step_is_a_shift_and_a_garage_that_empties_over_half_an_hour_is_none():
    assert said_of_garage([180]) == [("level_shift", 5)]
    for steps in (5, 6, 7):
        assert "level_shift" not in dict(said_of_garage([120 + 10 * step for step in range(1, steps + 1)]))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_step_of_what_is_averaged_is_a_shift_though_a_reading_lies_between(share):
    assert dict(said_of("streetlight", "voltage", 220.0, [220 + 20 * share, 240])).get("level_shift") in (5, 6)


def test_what_is_out_of_range_for_longer_than_a_spike_is_said_to_be():
    assert said_of_garage([-30] * 5 + [120])[0] == ("out_of_range", 3)
    assert said_of_garage([-30] * 2 + [120])[0][0] == "spike"


def test_a_step_of_its_own_after_a_spike_does_not_hide_it():
    values = of_days(10, [20.0] * 24)
    row = 9 * 288 + 100
    values[row] += 40
    values[row + 3 :] += 4
    assert spikes("streetlight", "power_consumption", values) == [row + 4]


def test_noise_in_the_hour_in_which_a_lamp_switches_is_seldom_called_a_spike():
    row, first = 9 * 288 + 18 * 12, []
    for seed in range(12):
        values = of_days(10, LAMP)
        values[row : row + 72] += np.random.default_rng(seed).normal(0, 40, 72)
        found = examine(Fleet(KINDS), "streetlight", "power_consumption", values, start_ms=MIDNIGHT_MS, step_ms=FIVE)
        first += [item.detector for item in found if item.detector in ("noise", "spike")][:1]
    assert len(first) == 12
    assert first.count("spike") <= 4


def test_what_the_peers_do_is_no_spike_of_one_that_follows():
    values = np.array([of_days(10, LAMP, seed=seed) for seed in range(6)])
    lit = 9 * 288 + 18 * 12 - 6
    values[0, lit : lit + 3] = values[0, lit - 3 : lit]  # a quarter of an hour after the others
    fleet = Fleet(KINDS)
    fleet.group("streetlight", np.zeros(6, np.int32))
    n = values.size
    columns = empty_columns(KINDS["streetlight"], n)
    columns["power_consumption"] = values.T.ravel().astype(columns["power_consumption"].dtype)
    slot, row = np.tile(np.arange(6), n // 6), np.repeat(np.arange(n // 6), 6)
    at_ms = MIDNIGHT_MS + row * FIVE + slot
    block = Block("streetlight", slot.astype(np.int32) + 1, slot, at_ms, np.zeros(n, np.int32), columns)
    found = fleet.examine([block], {})
    assert [item for item in found if item.property == "power_consumption" and item.detector == "spike"] == []


def bin_weights(days, seed=1):
    """Kilograms at ten minutes, filling by what people bring, emptied at eight."""
    rng = np.random.default_rng(seed)
    step = np.arange(144 * days)
    brought = rng.gamma(0.5, 1.0, len(step))
    day = np.maximum(0, (step - 48) // 144 + 1)
    total = np.cumsum(brought)
    start = np.array([0.0, *(total[48 + 144 * n] for n in range(int(day.max())))])
    return np.round(total - start[day] + rng.normal(0, 0.4, len(step)), 1)


def test_what_is_brought_to_a_bin_is_no_shift_and_ten_times_as_much_is():
    step_ms, alarms = 10 * MINUTE, 0

    def shifts(values):
        found = examine(Fleet(KINDS), "waste_container", "cargo_weight", values, start_ms=MIDNIGHT_MS, step_ms=step_ms)
        return [told for told in found if told.detector == "level_shift" and told.begins]

    for seed in range(20):
        values = bin_weights(21, seed)
        alarms += len(shifts(values))
        row = 15 * 144 + 12  # at two o'clock
        values[row : row + 36] += 100
        assert (row + 5) * step_ms + MIDNIGHT_MS in [item.at_ms for item in shifts(values)]
    assert alarms <= 2  # in 280 days


def test_a_bins_reading_that_stands_out_is_a_spike_in_the_hour_in_which_it_is_emptied():
    values = bin_weights(12)
    row = 11 * 144 + 48 + 8
    values[row] += 40
    found = examine(Fleet(KINDS), "waste_container", "cargo_weight", values, start_ms=MIDNIGHT_MS, step_ms=10 * MINUTE)
    assert [(item.detector, item.begins) for item in found][:1] == [("spike", True)]


def test_cares_share_a_word_and_leave_each_other_alone():
    series = usual.new_series(1)[0]
    for of, quarters in ((usual.SHIFTS, 7), (usual.SPIKES, 40), (usual.SLOW, 3), (usual.SHIFTS, -1)):
        usual.take_care(series, of, quarters)
    assert [usual.care(series, of) for of in (usual.SHIFTS, usual.SPIKES, usual.SLOW)] == [0, usual.MOST_CARE, 3]


def test_switching_a_lamp_on_is_no_spike():
    values = [2.0] * 100 + [120.0] * 100 + [2.0] * 50
    assert examine(Fleet(KINDS), "streetlight", "power_consumption", values) == []


def test_a_week_of_ordinary_voltage_raises_nothing():
    assert told(examine(Fleet(KINDS), "streetlight", "voltage", ordinary(7 * 1440))) == []


def test_a_device_is_silent_by_its_agents_clock_once_and_heard_again():
    fleet = Fleet(KINDS)
    assert examine(fleet, "streetlight", "voltage", [220.0], clock_ms=NOW_MS) == []
    assert examine(fleet, "streetlight", "voltage", [], clock_ms=NOW_MS + 5 * MINUTE) == []
    (fell,) = examine(fleet, "streetlight", "voltage", [], clock_ms=NOW_MS + 5 * MINUTE + 1)
    assert (fell.detector, fell.begins, fell.at_ms) == ("silent", True, NOW_MS + 5 * MINUTE)
    assert examine(fleet, "streetlight", "voltage", [], clock_ms=NOW_MS + 9 * MINUTE) == []
    (back,) = examine(fleet, "streetlight", "voltage", [220.0], start_ms=NOW_MS + 51 * MINUTE)
    assert (back.detector, back.begins, back.at_ms) == ("silent", False, NOW_MS + 51 * MINUTE)


def test_an_agent_that_was_away_gives_its_devices_time_to_report():
    fleet = Fleet(KINDS)
    examine(fleet, "streetlight", "voltage", [220.0], clock_ms=NOW_MS)
    back_ms = NOW_MS + 600 * MINUTE  # ten hours without power
    assert examine(fleet, "streetlight", "voltage", [], clock_ms=back_ms) == []
    assert examine(fleet, "streetlight", "voltage", [], clock_ms=back_ms + 5 * MINUTE) == []
    (fell,) = examine(fleet, "streetlight", "voltage", [], clock_ms=back_ms + 5 * MINUTE + 1)
    assert (fell.detector, fell.at_ms) == ("silent", back_ms + 5 * MINUTE)


def test_a_backlog_that_is_told_in_long_strides_hides_no_silence():
    fleet = Fleet(KINDS)
    examine(fleet, "streetlight", "voltage", [220.0], clock_ms=NOW_MS)
    examine(fleet, "streetlight", "voltage", [220.0], slot=1, clock_ms=NOW_MS)
    spoke = [220.0 + 0.1 * minute for minute in range(25)]  # the other lamp of the agent, in one batch of 25 minutes
    found = examine(
        fleet, "streetlight", "voltage", spoke, slot=1, start_ms=NOW_MS + MINUTE, clock_ms=NOW_MS + 25 * MINUTE
    )
    assert [(item.slot, item.detector, item.begins) for item in found] == [(0, "silent", True)]


def test_a_report_told_twice_at_the_start_is_not_taken_for_the_cadence():
    rng = np.random.default_rng(1)
    n = 2000
    values = np.round(221 + rng.normal(0, 0.8, n), 1).astype(np.float32)
    values[n - 100] += 25
    at_ms = NOW_MS + 5 * MINUTE * np.arange(n)
    at_ms[8] = at_ms[7] + 1000  # the last interval before the cadence is the device's own
    columns = empty_columns(KINDS["streetlight"], n)
    columns["voltage"] = values
    fleet, zeros = Fleet(KINDS), np.zeros(n, np.int64)
    block = Block("streetlight", zeros.astype(np.int32) + 1, zeros, at_ms, zeros.astype(np.int32), columns)
    found = fleet.examine([block], {0: int(at_ms[-1])})
    assert [(item.detector, item.at_ms) for item in found if item.begins] == [("spike", at_ms[n - 96])]
    fell = [item for minute in range(18) for item in fleet.examine([], {0: int(at_ms[-1]) + minute * MINUTE})]
    assert [(item.detector, item.begins) for item in fell] == [("silent", True)]


def test_a_device_that_reports_changes_only_is_never_silent():
    fleet = Fleet(KINDS)
    fleet.excuse("streetlight", [0])
    examine(fleet, "streetlight", "voltage", [220.0], clock_ms=NOW_MS)
    for minute in range(0, 60, 4):
        assert examine(fleet, "streetlight", "voltage", [], clock_ms=NOW_MS + minute * MINUTE) == []


def test_while_an_agent_says_nothing_its_devices_are_not_silent():
    fleet = Fleet(KINDS)
    examine(fleet, "streetlight", "voltage", [220.0], clock_ms=NOW_MS)
    assert fleet.examine([], {1: NOW_MS + 10**9}) == []  # another agent's clock


def test_a_late_observation_ends_no_silence():
    fleet = Fleet(KINDS)
    examine(fleet, "streetlight", "voltage", [220.0], clock_ms=NOW_MS + 10 * MINUTE)
    assert examine(fleet, "streetlight", "voltage", [220.5], start_ms=NOW_MS - MINUTE) == []


def test_state_keeps_to_its_budget():
    assert usual.SERIES.itemsize + cadence.DEVICE.itemsize <= 128
    ten_million = usual.new_series(0).itemsize * 10_000_000
    assert ten_million < 2**30
