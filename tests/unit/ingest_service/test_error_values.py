"""Zeros that a broken counter says, and zeros that are true."""

import numpy as np
import pytest

from contracts.profiles import ErrorValue, Property, load
from ingest_service.columns import NULL_INTEGER, Block, empty_columns
from ingest_service.detection import error_values
from ingest_service.detection.fleet import Fleet

KINDS = load(environ={})
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
POLL_MS = 5 * MINUTE_MS


def counted(n, around=200, step=1, seed=1):
    """Free spaces that wander by a few."""
    random = np.random.default_rng(seed)
    return around + np.cumsum(random.choice([-step, 0, step], n))


def examine(values, at_ms=None, fleet=None):
    fleet = fleet or Fleet(KINDS)
    n = len(values)
    columns = empty_columns(KINDS["off_street_parking"], n)
    columns["available_spot_number"] = np.array(values, np.int32)
    at_ms = np.arange(n) * POLL_MS if at_ms is None else np.array(at_ms)
    zeros = np.zeros(n, np.int32)
    block = Block("off_street_parking", zeros, zeros.astype(np.int64), at_ms.astype(np.int64), zeros, columns)
    return [item for item in fleet.examine([block], {}) if item.detector == "error_value"]


def told(found):
    return [(item.begins, item.at_ms // POLL_MS) for item in found]


def test_a_zero_between_two_counts_that_are_alike_is_an_error_value_until_a_day_went_by_without():
    values = counted(600)
    values[99:102] = 229, 0, 228
    found = examine(values)
    assert told(found) == [(True, 101), (False, 101 + 288 + 1)]
    assert (found[0].property, found[0].value, found[0].expected) == ("available_spot_number", 228.0, 229.0)
    assert found[0].detail == {"lasted_s": 300, "error_at": 100 * POLL_MS}


def test_what_keeps_happening_is_one_condition_and_never_usual():
    values = counted(30 * 288)
    values[50 : 20 * 288 : 25] = 0
    assert told(examine(values)) == [(True, 51), (False, 20 * 288 - 10 + 1 + 288 + 1)]


def test_one_that_comes_back_when_the_last_is_a_day_old_goes_on():
    values = counted(700)
    values[50] = values[51 + 288] = 0
    assert told(examine(values)) == [(True, 51), (False, 52 + 288 + 288 + 1)]


def test_a_garage_that_fills_and_stays_full_is_well():
    values = np.concatenate([counted(100), np.arange(200, 0, -4), np.zeros(30), np.arange(0, 200, 4), counted(100)])
    assert examine(values) == []


def test_a_garage_that_is_full_for_a_while_and_then_emptier_is_well():
    jammed = np.concatenate([counted(100), [0] * 30, counted(100)])
    assert examine(jammed) == []
    elsewhere = np.concatenate([counted(100), [0], counted(100, around=60)])
    assert examine(elsewhere) == []


def test_a_garage_nearly_full_may_be_full_for_a_moment():
    random = np.random.default_rng(2)
    assert examine(np.abs(random.integers(-3, 7, 3000))) == []


def test_where_every_report_is_far_from_the_last_a_zero_is_no_news():
    random = np.random.default_rng(3)
    hourly = np.maximum(0, random.integers(-30, 200, 2000))
    assert examine(hourly, np.arange(2000) * HOUR_MS) == []


@pytest.mark.parametrize("silent", ["before", "after"])
def test_after_a_silence_the_other_way_tells(silent):
    at_ms = np.arange(120) * POLL_MS
    at_ms[100 if silent == "before" else 101 :] += 9 * HOUR_MS
    values = counted(120)
    values[99:102] = 98, 0, 98
    assert told(examine(values, at_ms)) == [(True, at_ms[101] // POLL_MS)]


def test_between_two_silences_a_garage_may_have_been_full():
    at_ms = np.arange(120) * POLL_MS
    at_ms[100:] += 9 * HOUR_MS
    at_ms[101:] += 9 * HOUR_MS
    values = counted(120)
    values[99:102] = 98, 0, 98
    assert examine(values, at_ms) == []


def test_late_reports_and_gaps_are_passed_over():
    values = counted(120)
    values[98:104] = 229, NULL_INTEGER, 0, NULL_INTEGER, 7, 228
    at_ms = np.arange(120) * POLL_MS
    at_ms[102] = 3
    assert told(examine(values, at_ms)) == [(True, 103)]


def test_values_are_compared_as_columns_hold_them():
    item = Property(type="number", label={}, ngsi="n", name="n", decimals=1, plausible=(-10, 100))
    limits = error_values.limits_of(item, ErrorValue((-0.1,)))
    series = error_values.new_state(1)[0]
    values = [*(50.0 + k % 2 for k in range(30)), np.float64(np.float32(-0.1)), 50.0]
    said = [error_values.step(series, k * POLL_MS, value, limits) for k, value in enumerate(values)]
    assert [k for k, change in enumerate(said) if change == error_values.BEGINS] == [31]


def test_nothing_is_said_of_a_series_that_is_hardly_known():
    values = counted(60)
    values[5] = 0
    assert examine(values) == []
    values[5], values[10] = 200, 0
    assert told(examine(values)) == [(True, 11)]
