"""Widths and gaps: pure functions. Thinning itself is in tests/properties/test_thinning.py."""

import random

from platform_api import thinning

HOUR = 3_600_000


def test_a_width_never_gives_more_buckets_than_points() -> None:
    shuffled = random.Random(7)
    for _ in range(2000):
        begin = shuffled.randrange(0, 10**13)
        end = begin + shuffled.randrange(1, 400 * 24 * HOUR * shuffled.choice((1, 1, 40)))
        points, least = shuffled.randrange(10, 2000), shuffled.choice((60, 3600))
        width = thinning.width_s(begin, end, points, least)
        assert width % least == 0
        starts = {thinning.floor(at, width) for at in (begin, end - 1)}
        assert (max(starts) - min(starts)) // (width * 1000) + 1 <= points


def test_a_break_longer_than_the_gap_is_a_gap_and_an_equal_one_is_not() -> None:
    assert thinning.gaps([0, 1000, 4000, 8001], 3000) == {2: 7000}
    assert thinning.gaps([0], 10) == {}


def test_a_break_of_a_device_that_reports_changes_is_a_gap_only_where_its_agent_was_silent() -> None:
    times = [0, 10_000, 50_000, 90_000]
    assert thinning.gaps(times, 5_000, silences=[]) == {}
    assert thinning.gaps(times, 5_000, silences=[(60_000, 70_000)]) == {2: 65_000}
    assert thinning.gaps(times, 5_000, silences=[(12_000, 20_000), (21_000, 40_000), (60_000, 70_000)]) == {
        1: 17_000,
        2: 65_000,
    }
    assert thinning.gaps(times, 5_000, silences=[(85_000, 95_000)]) == {}
    assert thinning.gaps(times, 5_000, silences=[(85_000, 95_000)], slack_ms=5_000) == {2: 89_999}


def test_gaps_stand_between_the_rows_they_part() -> None:
    times = [0, 1000, 9000]
    assert thinning.with_gaps(times, [0, 2], {1: 4000}) == [(0, 0), (4000, None), (9000, 2)]
