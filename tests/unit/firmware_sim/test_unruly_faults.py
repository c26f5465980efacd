"""Faults that only a city has which asks for them: doubled reports, skewed clocks, wrong units, hanging sensors."""

import numpy as np
import pytest

from firmware_sim import faults
from firmware_sim.city import BLOCK_MS, City, Faults
from tests.unit.firmware_sim.city_fixture import DAY_MS, PROFILES, START_MS, small_fleet


@pytest.fixture(scope="module")
def both():
    """(labels by shape, a city with them, the same city without any)."""
    devices = small_fleet()["devices"]
    wrong, none = (Faults(devices, PROFILES, 7, START_MS, shapes) for shapes in (faults.UNRULY, faults.UNRULY))
    none.until = lambda to_ms: []
    found = {}
    for fault in wrong.until(START_MS + DAY_MS):
        found.setdefault(fault.fault, fault)
    played = [City(small_fleet(), PROFILES, 7, START_MS, 1000, schedule) for schedule in (wrong, none)]
    return found, *played


def said(city, fault, name):
    """(observed_at, value) of what the device reported while it was faulty, in the order of the blocks."""
    agent = next(
        f"{row['municipality']}/{row['agent']}"
        for row in small_fleet()["devices"]
        if (row["municipality"], row["device"]) == (fault.municipality, fault.device)
    )
    rows = []
    for number in range(fault.onset_at // BLOCK_MS, fault.end_at // BLOCK_MS + 1):
        block = city.blocks[agent].block(number)
        for columns in block.columns:
            rows += [
                (at, columns[name][row])
                for row, (device, at) in enumerate(zip(columns["device"], columns["observed_at"], strict=True))
                if device == fault.device
            ]
    return rows


def test_a_report_that_is_doubled_comes_twice_and_no_other_does(both):
    labels, wrong, healthy = both
    fault = labels["duplicates"]
    times = [at for at, _ in said(wrong, fault, "observed_at")]
    once = [at for at, _ in said(healthy, fault, "observed_at")]
    within = [at for at in once if fault.onset_at <= at < fault.end_at]
    assert len(within) >= 12
    assert sorted(times) == sorted(once + within)


def test_a_skewed_clock_is_off_by_what_its_label_says_and_right_again_after(both):
    labels, wrong, healthy = both
    fault = labels["clock_skew"]
    times = [at for at, _ in said(wrong, fault, "observed_at")]
    once = [at for at, _ in said(healthy, fault, "observed_at")]
    off = np.array(times) - np.array(once)
    within = (np.array(once) >= fault.onset_at) & (np.array(once) < fault.end_at)
    assert within.any()
    assert set(off[within].tolist()) == {round(fault.severity) * 1000}
    assert not off[~within].any()


def test_a_wrong_unit_multiplies_what_is_true(both):
    labels, wrong, healthy = both
    fault = labels["unit_error"]
    item = PROFILES[next(r["kind"] for r in small_fleet()["devices"] if r["device"] == fault.device)].properties[
        fault.property
    ]
    pairs = zip(said(wrong, fault, fault.property), said(healthy, fault, fault.property), strict=True)
    wrongly = [(value, true) for (at, value), (_, true) in pairs if fault.onset_at <= at < fault.end_at]
    slack = fault.severity * 10.0**-item.decimals
    assert wrongly
    assert all(abs(value - true * fault.severity) <= slack for value, true in wrongly)


def test_an_intermittent_sensor_hangs_and_lives_by_turns(both):
    labels, wrong, _ = both
    fault = labels["intermittent"]
    values = [value for at, value in said(wrong, fault, fault.property) if fault.onset_at <= at < fault.end_at]
    turns = [values[i : i + faults.HANGS] for i in range(0, len(values), faults.HANGS + faults.LIVES)]
    hung = sum(len(set(turn[:-1])) == 1 for turn in turns)
    assert len(turns) >= 4
    assert hung >= len(turns) - 1
