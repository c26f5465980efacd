"""Sunset and sunrise against published almanac values."""

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np

from firmware_sim import sun
from firmware_sim.clock import default_start_ms

SEOUL = 37.5665, 126.9780
KST = timezone(timedelta(hours=9))


def day_of(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def minutes_off(found_ms: int, expected: str, zone: timezone) -> float:
    return abs(found_ms / 1000 - datetime.fromisoformat(expected).replace(tzinfo=zone).timestamp()) / 60


def test_sunset_is_within_three_minutes_of_the_almanac():
    def check(day, place, expected, zone=KST):
        assert minutes_off(int(sun.crossings_ms(day_of(day), *place)[1]), f"{day}T{expected}", zone) < 3

    check("2024-06-21", SEOUL, "19:57")
    check("2024-12-21", SEOUL, "17:17")
    check("2024-06-20", (51.4779, 0.0), "20:21", UTC)  # Greenwich, 21:21 BST
    check("2024-12-21", (-33.8688, 151.2093), "20:05", timezone(timedelta(hours=11)))  # Sydney


def test_sunrise_is_within_three_minutes_of_the_almanac():
    def check(day, place, expected):
        assert minutes_off(int(sun.crossings_ms(day_of(day), *place)[0]), f"{day}T{expected}", KST) < 3

    check("2024-06-21", SEOUL, "05:11")
    check("2024-12-21", SEOUL, "07:43")


def test_civil_dusk_follows_sunset_by_about_half_an_hour_in_seoul():
    day = day_of("2024-06-21")
    sunset, dusk = (int(sun.crossings_ms(day, *SEOUL, deg)[1]) for deg in (sun.SUNRISE_DEG, sun.CIVIL_TWILIGHT_DEG))
    assert 28 < (dusk - sunset) / 60_000 < 34


def test_a_polar_night_has_no_day_and_raises_nothing():
    rise, sets = sun.crossings_ms(day_of("2024-12-21"), np.array([78.2]), np.array([15.6]))
    assert int(rise[0]) == int(sets[0])


def test_the_default_start_is_an_hour_before_sunset_at_least_a_day_ago():
    for hour in range(0, 72, 5):
        now = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000) + hour * 3_600_000
        start = default_start_ms(now)
        assert 86_400_000 <= now - start < 2 * 86_400_000 + 180_000
        sunsets = [int(sun.crossings_ms(start // 86_400_000 + d, 37.6583, 126.832)[1]) for d in (-1, 0, 1)]
        assert min(abs(at - 3_600_000 - start) for at in sunsets) < 60_000
