"""Novelty: what is unusual scores high, whatever the unit; what repeats does not; a broken state starts anew."""

import numpy as np
import pytest

from ingest_service import alarms
from ingest_service.columns import Block, empty_columns
from ingest_service.detection import novelty
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.novelty import Novelty
from tests.city_of_tests import KINDS, NOW_MS, registry

FIVE_MINUTES_MS = 300_000
DAY = 288
ALARMING = 0.5


def scored(values, detector=None, first=0):
    detector = detector or Novelty(1)
    at_ms = (first + np.arange(len(values), dtype=np.int64)) * FIVE_MINUTES_MS
    return detector.update(np.zeros(len(values), np.int64), at_ms, np.asarray(values, np.float64))


def days(n, seed=3, noise=0.5):
    """n days of a daily wave with noise."""
    rng = np.random.default_rng(seed)
    return 20 + 5 * np.sin(np.arange(n * DAY) * 2 * np.pi / DAY) + rng.normal(0, noise, n * DAY)


def test_a_daily_wave_with_noise_is_news_less_than_every_other_day():
    assert (scored(days(14))[3 * DAY :] > ALARMING).sum() <= 11 / 2


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6, -1.0])
def test_a_spike_is_found_at_once_whatever_the_unit(unit):
    values = days(8)
    values[7 * DAY + 100] += 15
    scores = scored(values * unit)
    assert scores[7 * DAY + 100] > ALARMING
    assert scores[7 * DAY + 100] == scores[3 * DAY :].max()


def test_a_shift_of_level_is_found_within_an_hour():
    values = days(8)
    values[7 * DAY + 100 :] += 8
    assert scored(values)[7 * DAY + 100 : 7 * DAY + 112].max() > ALARMING


def test_a_noon_at_midnight_is_found_though_each_value_is_usual():
    values = days(10)
    values[9 * DAY : 10 * DAY] = np.roll(values[9 * DAY : 10 * DAY], DAY // 2)
    assert scored(values)[9 * DAY : 9 * DAY + DAY // 2].max() > ALARMING


def test_a_flat_line_is_found_in_a_series_that_always_moves():
    values = days(8)
    values[7 * DAY + 100 : 7 * DAY + 160] = values[7 * DAY + 99]
    assert scored(values)[7 * DAY + 100 : 7 * DAY + 160].max() > ALARMING


def test_a_counter_that_falls_after_a_lifetime_of_rising_is_found():
    rising = np.arange(300_000.0)
    detector = Novelty(1)
    scored(rising, detector)
    fall = scored([300_000.0, 299_000.0, 298_000.0, 297_000.0], detector, first=len(rising))
    assert fall.max() > ALARMING
    assert detector.anew == 0


def test_what_was_just_scored_is_not_scored_again():
    values = days(8)
    values[7 * DAY + 100 : 7 * DAY + 120] += 15
    scores = scored(values)[7 * DAY + 100 : 7 * DAY + 120]
    assert (scores > ALARMING).sum() <= 4


def test_a_constant_series_says_nothing_until_it_moves():
    scores = scored(np.full(1000, 7.0))
    assert not scores.any()


def test_a_state_that_is_no_longer_finite_starts_anew_and_is_counted():
    detector = Novelty(1)
    scored(days(2), detector)
    detector.state[0].long = np.nan
    scores = scored([20.0, 20.5], detector, first=2 * DAY)
    assert detector.anew == 1
    assert scores.tolist() == [0.0, 0.0]
    assert detector.state[0].seen == 1


def test_a_series_fits_in_two_kilobytes():
    assert novelty.STATE.itemsize <= 2048


def test_an_alarm_begins_with_the_news_and_ends_when_there_is_none_for_a_while():
    values = days(8)
    values[7 * DAY + 100] += 30
    at_ms = np.arange(len(values), dtype=np.int64) * FIVE_MINUTES_MS
    detector = Novelty(1, threshold=0.8, clear_after=12)
    scores, changes, band = detector.examine(np.zeros(len(values), np.int64), at_ms, values)
    begun, ended = np.flatnonzero(changes == novelty.BEGINS), np.flatnonzero(changes == novelty.ENDS)
    assert begun.tolist() == [7 * DAY + 100]
    assert ended.tolist() == [7 * DAY + 112]
    assert scores[begun[0]] >= 0.8
    low, expected, high = band[begun[0]]
    assert low < expected < high < values[begun[0]]
    assert abs(expected - (20 + 5 * np.sin(100 * 2 * np.pi / DAY))) < 1


def test_a_young_series_raises_no_alarm_though_its_values_score():
    values = days(2)[: 2 * DAY]
    values[200], values[400] = 60.0, 90.0
    at_ms = np.arange(len(values), dtype=np.int64) * FIVE_MINUTES_MS
    scores, changes, _ = Novelty(1, threshold=0.8).examine(np.zeros(len(values), np.int64), at_ms, values)
    assert scores[[200, 400]].max() > 0.8
    assert not changes.any()


def test_an_alarm_still_ends_when_the_series_has_to_start_anew():
    detector = Novelty(1, threshold=0.8, clear_after=2)
    scored(days(2), detector)
    detector.state[0].active = 1
    detector.state[0].long = np.inf
    at_ms = np.arange(2 * DAY, 2 * DAY + 3, dtype=np.int64) * FIVE_MINUTES_MS
    _, changes, _ = detector.examine(np.zeros(3, np.int64), at_ms, np.array([20.0, 20.5, 20.1]))
    assert novelty.ENDS in changes
    assert detector.anew == 1


def temperatures(slot, values):
    """A block of one bin, a value every five minutes."""
    n = len(values)
    columns = empty_columns(KINDS["waste_container"], n)
    columns["temperature"] = np.asarray(values, np.float32)
    at_ms = NOW_MS + FIVE_MINUTES_MS * np.arange(n, dtype=np.int64)
    slots = np.full(n, slot, np.int64)
    return Block("waste_container", np.full(n, 103, np.int32), slots, at_ms, np.zeros(n, np.int32), columns)


def test_that_states_start_anew_is_logged_once(capsys):
    fleet = Fleet(KINDS)
    fleet.make_room("waste_container", 2)
    for slot in (0, 1):
        fleet.kinds["waste_container"].watches["novelty:temperature"].state[slot].spread = np.nan
        fleet.examine([temperatures(slot, [20.0, 21.0])], {})
    assert capsys.readouterr().err.count("novelty.started_anew") == 1


def test_a_bin_that_warms_without_burning_is_an_alarm_with_its_score_and_what_this_hour_brings():
    known, fleet = registry(), Fleet(KINDS)
    values = np.round(days(8, noise=0.3), 1)
    values[7 * DAY + 100 :] += 20  # 45 degrees
    block = temperatures(known.slot_of_id(103, "waste_container"), values)
    found = [finding for finding in fleet.examine([block], {}) if finding.detector == "novelty"]
    assert [finding.begins for finding in found] == [True, False]
    assert found[0].at_ms == block.observed_ms[7 * DAY + 100]
    change = alarms.changes(found, fleet, known, KINDS)[0]
    assert (change.condition, change.severity) == ("novelty:temperature", alarms.SEVERITY["info"])
    evidence = change.evidence
    assert evidence["parameters"] == {"threshold": 0.8, "clear_after": 12}
    assert 0.8 <= evidence["score"] <= 1
    assert evidence["low"] < evidence["expected"] < evidence["high"] < evidence["values"][0]
