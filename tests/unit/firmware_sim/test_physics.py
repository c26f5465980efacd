"""What devices measure is what such devices would measure."""

import numpy as np

from contracts.profiles import Profile, Property
from firmware_sim.city import population_of
from firmware_sim.physics import physics_of
from firmware_sim.physics.population import DAY_MS, HOUR_MS
from tests.unit.firmware_sim.city_fixture import KST_MS, START_MS, everyone, physics, small_fleet

MIDNIGHT_MS = (START_MS + KST_MS) // DAY_MS * DAY_MS - KST_MS  # of the local day of the start
OFF, ON, LOW, BOOTING_UP = range(4)


def test_lamps_are_off_at_noon_on_at_ten_in_the_evening_and_dimmed_at_two():
    model = physics("streetlight")

    def check(hour, state, low_w, high_w, level):
        found = model.values(*everyone(model, MIDNIGHT_MS + hour * HOUR_MS))
        assert (found["power_state"] == state).all()
        assert np.allclose(found["illuminance_level"], level)
        share = found["power_consumption"] / model.rating_w
        assert low_w <= share.min() and share.max() <= high_w

    check(12, OFF, 0.0, 0.06, 0.0)
    check(22, ON, 0.85, 1.15, 1.0)
    check(26, LOW, 0.5, 0.7, 0.6)


def test_each_lamp_switches_once_between_sunset_and_the_end_of_civil_twilight():
    model = physics("streetlight")
    minutes = MIDNIGHT_MS + np.arange(18 * 60, 22 * 60) * 60_000
    states = np.stack([model.values(*everyone(model, int(at)))["power_state"] for at in minutes])
    switched = (states != OFF).argmax(axis=0)
    assert ((states != OFF).sum(axis=0) == len(minutes) - switched).all()
    assert switched.min() >= 115 and switched.max() <= 155  # sunset 19:55, civil dusk 20:27
    assert len(set(switched.tolist())) > 5
    assert (states == BOOTING_UP).any()


def test_current_times_voltage_times_power_factor_is_power():
    model = physics("streetlight")
    found = model.values(*everyone(model, MIDNIGHT_MS + 22 * HOUR_MS))
    assert np.allclose(found["current"] * found["voltage"] * model.power_factor, found["power_consumption"])


def test_lamps_of_one_circuit_share_their_voltage_more_than_strangers_do():
    model = physics("streetlight")
    volts = np.stack([model.values(*everyone(model, MIDNIGHT_MS + m * 60_000))["voltage"] for m in range(0, 600, 3)])
    together = np.corrcoef(np.diff(volts, axis=0).T)
    same = model.circuit_keys[:, None] == model.circuit_keys[None, :]
    np.fill_diagonal(same, False)
    assert together[same].mean() > together[~same].mean() + 0.2


def test_bins_fill_and_rounds_empty_them_in_the_morning():
    model = physics("waste_container")
    steps = MIDNIGHT_MS + np.arange(0, 28 * 144) * 600_000
    levels = np.stack([model.level(*everyone(model, int(at))) for at in steps])
    assert levels.min() >= 0 and levels.max() <= 1
    falls = np.diff(levels, axis=0) < -1e-9
    hour = (steps[1:] + KST_MS) % DAY_MS / HOUR_MS
    assert falls.any() and ((hour >= 5) & (hour <= 11.2))[falls.any(axis=1)].all()
    assert (falls.sum(axis=0) >= 4).all()  # once a week at the least
    assert levels.max() > 0.7


def test_a_bins_level_at_an_instant_does_not_depend_on_what_was_asked_before():
    one, other = physics("waste_container"), physics("waste_container")
    for day in range(20):
        one.level(*everyone(one, MIDNIGHT_MS + day * DAY_MS))
    at = MIDNIGHT_MS + 20 * DAY_MS + 7 * HOUR_MS
    assert (one.level(*everyone(one, at)) == other.level(*everyone(other, at))).all()


def test_every_change_of_a_bay_is_an_arrival_or_a_departure_in_turn():
    model = physics("parking_spot")
    device, at = model.changes(MIDNIGHT_MS, MIDNIGHT_MS + 7 * DAY_MS)
    for bay in range(model.count):
        instants = np.sort(at[device == bay])
        assert len(np.unique(instants)) == len(instants)
        who = np.full(len(instants), bay)
        before, after = model.taken(who, instants - 1), model.taken(who, instants)
        assert (before != after).all()
        assert (after[1:] != after[:-1]).all()
        arrivals, departures = int(after.sum()), int((~after).sum())
        start, end = model.taken(np.array([bay, bay]), np.array([MIDNIGHT_MS, MIDNIGHT_MS + 7 * DAY_MS - 1]))
        assert int(end) - int(start) == arrivals - departures
    assert len(at) > 20 * model.count


def test_a_bay_reports_every_change_and_every_period_and_never_twice_in_one_ms():
    model = physics("parking_spot")
    device, at = model.instants(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS)
    changed = set(zip(*(x.tolist() for x in model.changes(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS)), strict=True))
    reported = list(zip(device.tolist(), at.tolist(), strict=True))
    assert changed <= set(reported) and len(set(reported)) == len(reported)
    gaps = [np.diff(np.sort(at[device == bay])).max() for bay in range(model.count)]
    assert max(gaps) <= 602_000


def test_a_garage_never_holds_more_cars_than_spaces_and_fills_on_a_workday():
    model = physics("off_street_parking")
    paths = np.stack([model.cars(*everyone(model, MIDNIGHT_MS + m * 60_000)) for m in range(0, 7 * 1440, 5)])
    assert paths.min() >= 0 and (paths <= model.total).all()
    found = model.values(*everyone(model, MIDNIGHT_MS + 14 * HOUR_MS))
    assert (found["available_spot_number"] + found["occupied_spot_number"] == model.total).all()
    noon, night = (
        model.cars(*everyone(model, MIDNIGHT_MS + 14 * HOUR_MS)),
        model.cars(*everyone(model, MIDNIGHT_MS + 3 * HOUR_MS)),
    )
    assert noon.sum() > 2 * night.sum()
    assert np.abs(np.diff(paths, axis=0)).max() < 0.25 * model.total.max()


def test_a_kind_without_physics_gets_smooth_values_inside_its_normal_range():
    label = {"en": "x", "ko": "x"}
    profile = Profile(
        kind="air_quality",
        ngsi_type="AirQualityObserved",
        label=label,
        display={"headline": "pm25"},
        report_period_s=60,
        properties={
            "pm25": Property(name="pm25", type="number", label=label, ngsi="pm25", plausible=(0.0, 500.0)),
            "count": Property(name="count", type="integer", label=label, ngsi="count", plausible=(0, 50)),
            "mode": Property(name="mode", type="enum", label=label, ngsi="mode", values=("a", "b")),
            "open": Property(name="open", type="boolean", label=label, ngsi="open"),
        },
    )
    rows = [row | {"kind": "air_quality"} for row in small_fleet()["devices"][:10]]
    model = physics_of(population_of(profile, rows, 1, KST_MS))
    device, at = model.instants(START_MS, START_MS + HOUR_MS)
    found = model.values(device, at)
    assert len(at) == 600 and set(found) == {"pm25", "count", "mode", "open"}
    assert found["pm25"].min() > 0 and found["pm25"].max() < 500 and found["pm25"].std() > 0
    steps = np.abs(np.diff(found["pm25"][device == 3]))
    assert steps.max() < 25
