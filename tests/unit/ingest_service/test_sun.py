"""Where the sun stands, against tables that others worked out."""

from datetime import UTC, datetime

import pytest

from firmware_sim import sun as crossings
from ingest_service.detection import sun

HOUR_MS = 3_600_000


def ms(text):
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_the_example_of_the_solar_position_algorithm():
    # Reda and Andreas (2004), NREL/TP-560-34302, table A5.1: topocentric elevation 39.872 degrees without refraction.
    found = sun.elevation_deg(ms("2003-10-17T19:30:30"), 39.742476, -105.1786)
    assert found == pytest.approx(39.872, abs=0.01)


@pytest.mark.parametrize(
    ("at", "latitude", "longitude", "elevation"),
    [
        ("2024-03-20T03:06:00", 0.0, 135.35, 90.0),  # equinox of 03:06 UTC: above the equator, where it is noon
        ("2024-06-20T20:51:00", 90.0, 0.0, 23.44),  # solstice: the pole sees the obliquity of the ecliptic
        ("2024-06-20T20:51:00", -90.0, 0.0, -23.44),
        ("2024-12-21T09:20:00", 90.0, 0.0, -23.44),
    ],
)
def test_equinox_and_solstices(at, latitude, longitude, elevation):
    assert sun.elevation_deg(ms(at), latitude, longitude) == pytest.approx(elevation, abs=0.05)


@pytest.mark.parametrize("latitude", [-54.8, -37.8, 0.0, 37.6, 58.0])
@pytest.mark.parametrize("longitude", [-157.9, 0.0, 126.8, 179.9])
def test_the_sun_stands_where_the_simulated_lamps_switch(latitude, longitude):
    for day in (19_800, 19_893, 19_985, 20_077):
        for instant in crossings.crossings_ms(day, latitude, longitude, -4.0):
            assert sun.elevation_deg(int(instant), latitude, longitude) == pytest.approx(-4.0, abs=0.02)


def test_within_half_an_hour_the_suns_declination_hardly_moves():
    for day in range(0, 366, 5):
        at = ms("2026-01-01T00:30:00") + day * 24 * HOUR_MS
        sine, cosine, over = sun.position(at)
        later = at + 30 * 60_000
        moved = sun.sine_of_elevation(sine, cosine, over - 7.5, 0.6, 0.8, 126.8)
        assert moved == pytest.approx(sun.sine_of_elevation(*sun.position(later), 0.6, 0.8, 126.8), abs=0.0003)


def test_compiled_and_plain_give_the_same_bits():
    for at in range(ms("1971-01-01"), ms("2070-01-01"), 9_999_999_999):
        assert sun.compiled_position(at) == sun.position(at)
