"""How detection is counted: episodes, recall less chance, delays, names; and faults lie where their labels say."""

import argparse
import math

import numpy as np
import pytest

from contracts.profiles import DETECTOR_CODES as CODE
from tests.benchmarks import score_faults
from tests.benchmarks import score_synthetic as synthetic
from tests.benchmarks.report import Wrong
from tests.benchmarks.score_counting import (
    CODES,
    DROPOUT,
    SHIFT,
    SPIKE,
    Alarms,
    Label,
    Outcome,
    cell,
    device_days,
    episodes,
    macro_f1,
    outcomes,
    quantile,
)
from tests.benchmarks.score_injection import CELLS, HOURS, cadence_of, healthy, inject, residual_sd
from tests.benchmarks.score_trial import Source, prepared

DAY = 86_400


def alarms(*rows: tuple[int, int, str]) -> Alarms:
    series, at_s, names = zip(*rows, strict=True) if rows else ((), (), ())
    codes = [CODE[name] for name in names]
    return Alarms(np.array(series, np.int32), np.array(at_s, np.int64), np.array(codes, np.int16))


def label(fault: str, onset_s: int, end_s: int, series: int = 1, twin: int = 0) -> Label:
    return Label(series, twin, fault, "4 sd", onset_s, end_s, 300)


def test_an_episode_is_new_after_an_hour_of_quiet_and_counts_after_the_warm_up():
    found = alarms((0, 100, "spike"), (0, 8000, "spike"), (0, 9000, "stuck"), (0, 12600, "spike"), (1, 9000, "spike"))
    counted = episodes(found, np.array([5000, 5000]))
    assert list(zip(counted.series.tolist(), counted.at_s.tolist(), strict=True)) == [(0, 8000), (0, 12600), (1, 9000)]


def test_a_chain_of_alarms_without_an_hour_of_quiet_is_one_episode():
    chain = alarms(*((0, at, "spike") for at in range(0, 36_000, 3599)))
    assert len(episodes(chain, np.zeros(1)).series) == 1


def test_device_days_leave_the_first_seven_out():
    assert device_days(np.array([0, 0]), np.array([21 * DAY, 5 * DAY])) == 14


def test_delay_is_counted_in_observations_and_a_miss_is_infinite():
    labels = [label(SHIFT, 3000, 9000), label(SHIFT, 30_000, 36_000)]
    first, second = outcomes(labels, alarms((1, 2999, "spike"), (1, 3600, "spike")))
    assert first.delay == 2
    assert math.isinf(second.delay)
    assert cell([first, second]).delay_median == 2
    assert math.isinf(cell([first, second]).delay_p90)


def test_an_alarm_counts_until_an_hour_after_the_end_and_for_a_silence_while_it_lasts():
    late = alarms((1, 9000 + 3600, "level_shift"))
    assert outcomes([label(SHIFT, 3000, 9000)], late)[0].first
    assert not outcomes([label(SHIFT, 3000, 8999)], late)[0].first
    assert not outcomes([label(DROPOUT, 3000, 9000)], alarms((1, 9001, "silent")))[0].first


def test_recall_is_less_what_the_healthy_twin_would_have_given():
    labels = [label(SHIFT, 3000, 9000), label(SHIFT, 30_000, 36_000)]
    found = alarms((1, 4000, "level_shift"), (1, 31_000, "level_shift"), (0, 4000, "spike"))
    figures = cell(outcomes(labels, found))
    assert (figures.recall, figures.chance) == (0.5, 0.5)


def test_the_name_is_that_of_the_first_alarm_that_names_a_fault():
    found = alarms((1, 3000, "out_of_range"), (1, 3300, "level_shift"), (1, 3600, "drift"))
    (outcome,) = outcomes([label(SHIFT, 3000, 9000)], found)
    assert outcome.first == CODE["out_of_range"]
    assert outcome.named == CODE["level_shift"]
    assert macro_f1([outcome]) == 1
    assert macro_f1([outcome], strict=True) == 0


def test_macro_f1_is_a_mean_over_faults_and_not_over_cases():
    def case(fault: str, said: str) -> Outcome:
        return Outcome(label(fault, 0, 1), 0.0, CODE[said], CODE[said], False)

    many = [case(SHIFT, "level_shift")] * 98 + [case(SPIKE, "level_shift"), case(SPIKE, "spike")]
    assert macro_f1(many) == pytest.approx((2 * 98 / (2 * 98 + 1) + 2 / 3) / 2)


def test_a_quantile_takes_a_miss_for_a_value():
    assert quantile(np.array([1, 2, math.inf]), 0.5) == 2
    assert math.isinf(quantile(np.array([1, math.inf, math.inf]), 0.5))


@pytest.mark.parametrize(("fault", "variant"), CELLS)
def test_a_fault_alters_its_span_and_nothing_else(fault, variant):
    random = np.random.default_rng(2)
    t = np.arange(0, 14 * DAY, 300)
    value = np.round(20 + 5 * np.sin(t / DAY * 2 * np.pi) + random.normal(0, 1, len(t)), 2)
    faulty, onset, end = inject(healthy(t, value), fault, variant, 9 * DAY + 17, 2, random)
    assert onset == 9 * DAY + 300
    assert np.all(np.diff(faulty.arrived_s) >= 0)
    before, after = faulty.arrived_s < onset, faulty.arrived_s > end
    for part, mine in ((before, t < onset), (after, t > end)):
        assert np.array_equal(faulty.observed_s[part], t[mine])
        assert np.array_equal(faulty.value[part], value[mine])
    within = ~before & ~after
    same = within.sum() == ((t >= onset) & (t <= end)).sum() and np.array_equal(faulty.value, value)
    assert not (same and np.array_equal(faulty.observed_s, t))
    if fault not in (SPIKE, DROPOUT):
        assert end - onset == HOURS[fault] * 3600 - 300


def test_severity_is_in_sd_of_what_the_time_of_day_leaves():
    random = np.random.default_rng(2)
    t = np.arange(0, 28 * DAY, 300)
    noise = random.normal(0, 2, len(t))
    value = 100 + 50 * np.floor(t % DAY / 3600) + noise
    assert residual_sd(t, value) == pytest.approx(2, rel=0.02)
    faulty, onset, _ = inject(healthy(t, value), SPIKE, "4 sd", 9 * DAY, 6, random)
    moved = np.abs(faulty.value - value)
    assert moved[t == onset] == pytest.approx(8, rel=0.02)
    assert cadence_of(t) == 300


def test_a_trial_has_each_fault_after_the_warm_up_and_a_twin_for_each():
    when = synthetic.moments(21, 3600)
    random = np.random.default_rng(1)
    t = synthetic.times(20, when, random)
    healthy_series = list(zip(t, synthetic.temperature(20, when, random), strict=True))
    source = Source("a", "waste_container.temperature", healthy_series, np.zeros(20, np.int32))
    series, labels = prepared(source, 3, 1)
    assert len(series) == 80
    assert {(one.fault, one.variant) for one in labels} == set(CELLS)
    assert all(one.onset_s >= synthetic.START_S + 7 * DAY and one.series % 20 == one.twin for one in labels)
    assert set(CODES) > {fault for fault, _ in CELLS}


@pytest.mark.parametrize("shape", synthetic.SHAPES, ids=lambda shape: shape.property)
def test_healthy_series_are_the_same_from_the_same_seed_and_alike_among_neighbours(shape):
    when = synthetic.moments(7, 1800)
    first, again, other = (shape.make(20, when, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.isfinite(first).all()
    assert first.std(axis=1).min() > 0


def test_the_scorer_finds_an_oracle_good_a_guess_no_better_than_chance_and_moved_labels_wrong(monkeypatch):
    assert score_faults.self_test(argparse.Namespace(seed=1))
    monkeypatch.setattr(score_faults, "Oracle", score_faults.Guess)
    with pytest.raises(Wrong, match="recall of oracle"):
        score_faults.self_test(argparse.Namespace(seed=1))
