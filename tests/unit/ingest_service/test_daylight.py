"""Lamps against the sun and their plans."""

from datetime import UTC, datetime

import numpy as np
import pytest

from contracts.profiles import load
from ingest_service.columns import Block, empty_columns
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.places import ALL_DAY, NEVER, Places, read_plan

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
KINDS = load(environ={})
OFF, ON = 0, 1
GOYANG = 37.6583, 126.8320, None, "Asia/Seoul"
NOON = round(datetime(2026, 6, 21, 3, 30, tzinfo=UTC).timestamp() * 1000)  # 12:30 in Goyang
MIDNIGHT = NOON + 12 * HOUR_MS
DAWN = NOON + 17 * HOUR_MS  # 05:30; the sun rises at 05:11


def found(reports, place=GOYANG):
    """Findings of lamp 0: reports are (instant, power_state or None, power or None)."""
    fleet = Fleet(KINDS)
    places = Places()
    if place is not None:
        places.put(0, *place)
    fleet.place("streetlight", places)
    columns = empty_columns(KINDS["streetlight"], len(reports))
    for row, (_, state, power) in enumerate(reports):
        columns["power_state"][row] = -1 if state is None else state
        columns["power_consumption"][row] = np.nan if power is None else power
    at_ms = np.array([at for at, _, _ in reports], np.int64)
    zeros = np.zeros(len(reports), np.int64)
    block = Block("streetlight", zeros.astype(np.int32), zeros, at_ms, zeros.astype(np.int32), columns)
    return [
        ("begins" if item.begins else "ends", (item.at_ms - reports[0][0]) // MINUTE_MS)
        for item in fleet.examine([block], {})
        if item.detector == "daylight"
    ]


def through(first_ms, minutes, state, power=None, every=1):
    return [(first_ms + minute * MINUTE_MS, state, power) for minute in range(0, minutes, every)]


def test_a_lamp_that_burns_at_noon_is_found_after_its_minutes_and_well_when_it_is_dark():
    assert found(through(NOON, 60, ON) + through(NOON + HOUR_MS, 5, OFF)) == [("begins", 15), ("ends", 60)]
    assert found(through(NOON, 60, OFF)) == []


def test_a_lamp_that_is_dark_at_night_is_found_and_well_when_it_burns():
    assert found(through(MIDNIGHT, 60, OFF) + through(MIDNIGHT + HOUR_MS, 5, ON)) == [("begins", 15), ("ends", 60)]
    assert found(through(MIDNIGHT, 60, ON)) == []


def test_what_a_lamp_draws_tells_better_than_its_word():
    assert found(through(NOON, 60, OFF, 80.0)) == [("begins", 15)]
    assert found(through(MIDNIGHT, 60, ON, 1.6)) == [("begins", 15)]
    assert found(through(NOON, 60, ON, 1.6)) == []
    assert found(through(NOON, 60, None, None)) == []


def test_a_burning_lamp_is_not_well_because_night_has_come():
    assert found(through(NOON, 30 * 60, ON, every=5)) == [("begins", 15)]
    assert found(through(MIDNIGHT, 30 * 60, OFF, every=5)) == [("begins", 15)]


def test_in_twilight_a_lamp_may_do_either():
    assert found(through(DAWN - 60 * MINUTE_MS, 65, ON)) == []
    assert found(through(DAWN - 50 * MINUTE_MS, 65, OFF)) == []


def test_few_reports_and_reports_far_apart_prove_nothing():
    assert found(through(NOON, 14, ON)) == []
    assert found([(NOON, ON, None), (NOON + 20 * MINUTE_MS, ON, None)]) == []
    assert found([(NOON + day * 24 * HOUR_MS, ON, None) for day in range(9)]) == []
    assert found(through(NOON, 100, ON, every=20)) == [("begins", 40)]


def test_a_lamp_whose_place_nobody_knows_is_not_judged():
    assert found(through(NOON, 60, ON), None) == []
    assert found(through(NOON, 60, ON), (None, None, None, "Asia/Seoul")) == []


def test_the_other_side_of_the_world_has_night_at_our_noon():
    here = (-34.6, -58.4, None, "America/Argentina/Buenos_Aires")
    assert found(through(NOON, 60, ON), here) == []
    assert found(through(NOON, 60, OFF), here) == [("begins", 15)]


def test_a_plan_of_part_of_the_night_is_respected():
    part_night = (*GOYANG[:2], "23:30-04:00", GOYANG[3])
    assert found(through(MIDNIGHT, 180, OFF), part_night) == []
    assert found(through(MIDNIGHT - 3 * HOUR_MS, 150, OFF), part_night) == [("begins", 15)]  # 21:30: should burn
    assert found(through(MIDNIGHT, 60, ON), part_night) == [("begins", 15)]
    around = through(MIDNIGHT - 65 * MINUTE_MS, 10, OFF) + through(MIDNIGHT - 55 * MINUTE_MS, 4, ON)
    assert found(around, part_night) == []  # ten minutes either way are its clock's
    assert found(through(NOON, 60, ON), part_night) == [("begins", 15)]


def test_a_plan_is_kept_by_the_towns_clock_in_summer_and_winter():
    berlin = (52.52, 13.40, "00:00-05:00", "Europe/Berlin")
    summer = round(datetime(2026, 7, 21, 22, 15, tzinfo=UTC).timestamp() * 1000)  # 00:15
    winter = round(datetime(2026, 1, 21, 22, 15, tzinfo=UTC).timestamp() * 1000)  # 23:15
    assert found(through(summer, 20, OFF), berlin) == []
    assert found(through(winter, 20, OFF), berlin) == [("begins", 15)]


def test_what_burns_by_plan_or_by_a_plan_that_nobody_can_read_is_not_judged():
    for plan in ("always", "when the moon is up", "25:00-26:00", "01:00-01:00"):
        assert found(through(NOON, 60, ON), (*GOYANG[:2], plan, GOYANG[3])) == []


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        (None, (ALL_DAY, ALL_DAY)),
        ("dusk-dawn", (ALL_DAY, ALL_DAY)),
        ("00:30-05:00", (30, 300)),
        ("23:00-04:15", (1380, 255)),
        ("always", (NEVER, NEVER)),
        ("00:30", (NEVER, NEVER)),
    ],
)
def test_plans_are_read(text, plan):
    assert read_plan(text) == plan
