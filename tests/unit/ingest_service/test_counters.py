"""Counters: what runs backwards, and what only seems to."""

import numpy as np
import pytest

from contracts.profiles import Backwards, Property
from ingest_service.detection import counters
from ingest_service.detection.counters import BACKWARDS, ENDED, RESET, RESTARTED, ROLLED_OVER

MINUTE_MS = 60_000
KWH = Property(
    type="number", label={"en": "E", "ko": "E"}, ngsi="energyConsumed", name="energy", decimals=1, plausible=(0, 1e7)
)


def said(values, period_ms=MINUTE_MS, **chosen):
    """What each value was taken for."""
    state = counters.new_state(1)
    at_ms = np.arange(len(values), dtype=np.int64) * period_ms
    changes = np.zeros(len(values), np.uint8)
    limits = counters.limits_of(KWH, Backwards(**chosen))
    column = np.round(np.array(values, np.float64), 1).astype(np.float32)
    counters.run(state, np.zeros(len(values), np.int64), at_ms, column, limits, changes, np.empty(len(values)))
    return {row: int(changes[row]) for row in np.flatnonzero(changes)}


def counting(start, n, step=0.5):
    return [start + step * i for i in range(n)]


def test_a_counter_that_counts_or_stands_is_well():
    assert said(counting(1000, 500)) == {}
    assert said([1000.0] * 500) == {}
    assert said(counting(5_000_000, 500, 0.03)) == {}  # float4 has steps of half a unit here
    night_and_day = [1000.0]
    for minute in range(3 * 1440):
        night_and_day.append(night_and_day[-1] + (0.2 if minute % 1440 < 600 else 0.0))
    assert said(night_and_day) == {}


@pytest.mark.parametrize("step", [0.1, 0.5, 3.0])
def test_a_counter_that_falls_twice_runs_backwards_until_it_counts_again(step):
    values = counting(1000, 60, step) + counting(1000 + 59 * step, 30, -step)[1:]
    found = said(values + counting(values[-1], 10, step)[1:])
    assert found == {61: BACKWARDS, 91: ENDED}


def test_a_slow_fall_with_equal_readings_between_is_one_alarm():
    falling = [1000.0 - 0.1 * (i // 5) for i in range(100)]
    assert list(said(counting(990, 21) + falling).values()) == [BACKWARDS]


def test_a_great_fall_to_no_round_number_is_backwards_at_once():
    assert said(counting(1000, 60) + counting(400, 10)) == {60: BACKWARDS, 63: ENDED}


def test_a_meter_that_was_replaced_is_named_so():
    assert said(counting(5000, 60) + counting(0, 20)) == {61: RESET}
    assert said([*counting(5000, 60), 0.0, 0.0, 0.0, *counting(0.5, 20)]) == {63: RESET}
    assert said(counting(5000, 60) + counting(3.2, 20)) == {61: RESET}  # what the factory counted for a test


def test_a_device_that_restarts_from_what_it_saved_is_named_so():
    values = counting(5000, 120)
    assert said(values + counting(values[-1] - 20, 60)) == {121: RESTARTED}
    standing = values + [values[-1]] * 300  # lamps are off since hours, and it restarts by day
    assert said(standing + [values[-1] - 20] * 30 + counting(values[-1] - 19.8, 10)) == {450: RESTARTED}


def test_a_restart_that_loses_too_much_is_backwards():
    values = counting(5000, 300)
    assert said(values + counting(values[-1] - 140, 60))[300] == BACKWARDS


def test_a_counter_that_rolls_over_is_well():
    rolled = [value % 10_000 for value in counting(9950, 200)]
    assert said(rolled, modulus=10_000.0) == {100: ROLLED_OVER}
    assert said(rolled) == {101: RESET}  # nobody said where it ends
    # Over is over: far below the modulus it is no roll-over.
    assert said(counting(5000, 60) + counting(2000, 9), modulus=10_000.0)[60] == BACKWARDS


def test_a_zero_between_two_good_readings_is_no_replaced_meter():
    values = [*counting(5000, 60), 0.0, *counting(5030.5, 20)]
    assert said(values) == {61: BACKWARDS, 64: ENDED}


def test_gaps_and_late_readings_leave_no_trace():
    state, again = counters.new_state(1), counters.new_state(1)
    limits = counters.limits_of(KWH, Backwards())
    for minute, value in enumerate(counting(100, 50)):
        assert counters.step(state[0], minute * MINUTE_MS, value, limits) == 0
        assert counters.step(again[0], minute * MINUTE_MS, value, limits) == 0
        for odd in (float("nan"), float("inf"), -float("inf")):
            assert counters.step(again[0], (minute + 9) * MINUTE_MS, odd, limits) == 0
        assert counters.step(again[0], minute * MINUTE_MS, 0.0, limits) == 0
        assert counters.step(again[0], (minute - 9) * MINUTE_MS, 0.0, limits) == 0
    assert state.tobytes() == again.tobytes()
