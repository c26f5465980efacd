"""What is read from recordings of garages: what was heard, what was wrong, and how a list of alarms is folded."""

import numpy as np

from contracts.profiles import DETECTOR_CODES
from tests.benchmarks import score_cases as cases
from tests.benchmarks.score_counting import Alarms
from tests.benchmarks.score_recordings import Garages, filled, healthy_garages, recorded

T = np.arange(0, 86_400, 300)


def garages(*names: str, wrong: dict[str, list[tuple[str, int]]] | None = None) -> Garages:
    sources = sorted({name.split("-")[0] for name in names})
    series = [(np.arange(3000) * 300, np.full(3000, 7.0)) for _ in names]
    return Garages(
        list(names), series, np.array([sources.index(n.split("-")[0]) for n in names], np.int32), wrong or {}
    )


def test_an_empty_cell_repeats_what_was_before_it_and_nothing_stands_before_the_first():
    found = filled(np.array([np.nan, 3.0, np.nan, np.nan, 5.0]))
    assert np.array_equal(found, [np.nan, 3, 3, 3, 5], equal_nan=True)


def test_a_source_is_heard_between_changes_that_are_near_and_not_in_a_long_silence():
    changes = np.zeros(len(T), bool)
    changes[[0, 10, 100, 101]] = True  # 50 minutes, then seven and a half hours
    heard = recorded(T, changes)
    assert heard[:11].all()
    assert not heard[11:100].any()
    assert heard[100:102].all()


def test_zeros_count_when_they_are_alone_between_counts_that_are_alike():
    value = np.array([229.0, 0, 228, 10, 0, 11, 300, 0, 100, 0, 0, 5])
    assert cases._zeros(T[: len(value)], value) == [300]


def test_a_count_below_zero_is_told_where_it_falls():
    assert cases._negatives(T[:6], np.array([-1.0, -2, 3, -1, -1, 2])) == [0, 900]


def test_a_garage_with_anything_visibly_wrong_is_not_healthy():
    found = garages(
        "a-one", "a-two", "a-three", wrong={"a-one": [("negative_free", 0)], "a-two": [("above_meta_capacity", 0)]}
    )
    assert [found.name[n] for n in healthy_garages(found)] == ["a-two", "a-three"]


def test_garages_of_a_source_that_fall_silent_together_are_one_line():
    found = garages("a-one", "a-two", "a-three", "b-one")
    silent, spike = DETECTOR_CODES["silent"], DETECTOR_CODES["spike"]
    rows = [(0, 900, silent), (1, 900, silent), (2, 900, silent), (3, 900, silent), (1, 900, spike)]
    series, at_s, code = (np.array(column) for column in zip(*rows, strict=True))
    lines = cases.folded(found, Alarms(series, at_s, code), [0, 1, 3])
    assert [(who, what) for _, who, what, _ in lines] == [
        ("a (3 garages)", "source silent"),
        ("a-two", "spike"),
        ("b-one", "silent"),
    ]
