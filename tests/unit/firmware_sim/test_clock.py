"""The virtual clock: never ahead of the wall, on through restarts, still at its end."""

import math

import pytest

from firmware_sim.clock import Clock, group_ms_for, instant, span_ms, speed_of
from firmware_sim.run import Run, go_on

NOW = 1_800_000_000_000
DAY = 86_400_000


def test_it_runs_at_its_speed_until_it_reaches_the_wall_clock_and_then_at_1x():
    clock = Clock(start_ms=NOW - DAY, speed=60.0, first_wall_ms=NOW)
    assert clock.at(NOW) == NOW - DAY
    assert clock.at(NOW + 1000) == NOW - DAY + 60_000
    assert clock.at(NOW + DAY) == NOW + DAY
    assert not clock.ended(NOW + DAY)


def test_without_then_realtime_it_ends_where_it_catches_up():
    clock = Clock(start_ms=NOW - DAY, speed=61.0, first_wall_ms=NOW, then_realtime=False)
    assert not clock.ended(NOW + DAY // 60 - 1000) and clock.ended(NOW + DAY // 60)
    assert clock.at(NOW + 3 * DAY) == NOW + DAY // 60


def test_a_limit_holds_it_and_max_is_at_once():
    clock = Clock(start_ms=NOW - DAY, speed=math.inf, first_wall_ms=NOW, limit_ms=NOW - DAY // 2)
    assert clock.at(NOW) == NOW - DAY // 2 and clock.ended(NOW)
    assert Clock(start_ms=NOW - DAY, speed=math.inf, first_wall_ms=NOW).at(NOW) == NOW


def test_groups_divide_a_block_and_stay_short():
    for speed in (0.5, 1, 60, 100, 600, 3600, math.inf):
        assert 600_000 % group_ms_for(speed) == 0 and group_ms_for(speed) <= 10_000
    assert group_ms_for(60) == 1_000


def test_times_spans_and_speeds_are_read_or_refused_with_their_text():
    assert instant("2026-06-17T18:50:00+09:00") == instant("2026-06-17T09:50:00") == 1_781_689_800_000
    assert instant("1781689800000") == 1_781_689_800_000
    assert (span_ms("90s"), span_ms("24h"), span_ms("14d")) == (90_000, DAY, 14 * DAY)
    assert speed_of("max") == math.inf and speed_of("3600") == 3600.0
    for read, text in (
        (instant, "yesterday"),
        (span_ms, "24"),
        (speed_of, "0"),
        (speed_of, "-1"),
        (speed_of, "fast"),
        (speed_of, "nan"),
    ):
        with pytest.raises(ValueError, match=f"'{text}'"):
            read(text)


def test_a_run_that_was_stopped_goes_on_where_its_clock_stood():
    run = Run(
        seed=1, start_ms=NOW - DAY, speed=60.0, then_realtime=True, limit_ms=None, first_wall_ms=NOW, group_ms=1000,
        fleet_sha256="", frozen_at_ms=NOW - DAY + 3_601_000,
    )  # fmt: skip
    week_later = NOW + 7 * DAY
    go_on(run, week_later)
    assert run.frozen_at_ms is None
    assert run.now_ms(week_later) == NOW - DAY + 3_601_000
    assert run.now_ms(week_later + 1000) == NOW - DAY + 3_661_000
