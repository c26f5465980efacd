"""Which TimescaleDB will do, and what is said of one that will not."""

import pytest

from ingest_service.store.engine import Extension


@pytest.mark.parametrize("version", ["2.22.0", "2.23.0-dev", "2.29.2", "2.100.1", "3.0.0"])
def test_a_timescale_of_today_or_later_will_do(version):
    assert Extension(version, "public", True, "timescale").complaint == ""


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        (Extension("2.21.4", "public", True, "timescale"), "TimescaleDB 2.21.4 is older than 2.22"),
        (Extension("2.9.3", "public", True, "timescale"), "TimescaleDB 2.9.3 is older than 2.22"),
        (Extension("1.7.5", "public", True, "timescale"), "TimescaleDB 1.7.5 is older than 2.22"),
        (Extension("2.29.2", "public", True, "apache"), "timescaledb.license is 'apache'"),
        (Extension("2.29.2", "public", False, "None"), "is not loaded: shared_preload_libraries lacks timescaledb"),
    ],
)
def test_one_that_will_not_do_is_told_why(extension, words):
    assert words in extension.complaint
