"""Labels say exactly what is wrong in the stream."""

from contracts.profiles import Profile
from firmware_sim import faults, word_faults
from firmware_sim.city import Faults
from firmware_sim.labels import Fault
from tests.unit.firmware_sim.city_fixture import DAY_MS, PROFILES, START_MS, city, read_all, small_fleet

HOURS_24 = START_MS + DAY_MS
MINUTE_MS = 60_000


def schedule(seed=7, days=1):
    return faults.schedule(small_fleet()["devices"], PROFILES, seed, START_MS, days)


def test_the_opening_has_each_named_fault_where_the_shipped_detectors_can_see_it():
    kinds = {(row["municipality"], row["device"]): PROFILES[row["kind"]] for row in small_fleet()["devices"]}
    for seed in range(20):
        early: dict[str, tuple[Fault, Profile]] = {}
        for fault in schedule(seed):
            early.setdefault(fault.fault, (fault, kinds[fault.municipality, fault.device]))
        for name in ("stuck", "out_of_range", "silent"):
            assert early[name][0].onset_at <= START_MS + 25 * MINUTE_MS
        spike, profile = early["spike"]
        detector = profile.properties[spike.property].detectors.spike
        warm_ms = 20 * profile.report_period_s * 1000
        assert START_MS + warm_ms < spike.onset_at <= START_MS + warm_ms + 5 * MINUTE_MS
        stuck, profile = early["stuck"]
        detector = profile.properties[stuck.property].detectors.stuck
        assert stuck.end_at - stuck.onset_at > detector.repeats * profile.report_period_s * 1000
        silent, profile = early["silent"]
        assert silent.end_at - silent.onset_at > profile.silent_after_periods * profile.report_period_s * 1000
        assert early["out_of_range"][1].properties[early["out_of_range"][0].property].detectors.out_of_range


def test_a_longer_schedule_begins_with_the_shorter_one_and_no_device_has_two_faults_at_once():
    assert schedule(days=3)[: len(schedule(days=1))] == schedule(days=1)
    found = schedule(days=3)
    assert len(found) > 30 and {fault.fault for fault in found} == {*faults.SHAPES, "unchanging", "daylight"}
    for i, fault in enumerate(found):
        for other in found[i + 1 :]:
            same = (fault.municipality, fault.device) == (other.municipality, other.device)
            assert not same or other.onset_at >= fault.end_at or other.end_at <= fault.onset_at


def test_from_25_minutes_on_a_few_lasting_faults_are_at_work_in_different_towns_and_kinds():
    made = small_fleet(2000, 8, 1)
    kind_of = {(row["municipality"], row["device"]): row["kind"] for row in made["devices"]}
    for seed in range(5):
        found = faults.schedule(made["devices"], PROFILES, seed, START_MS, 3)
        opening = [
            x for x in found if x.onset_at <= START_MS + 25 * MINUTE_MS and x.end_at > START_MS + 120 * MINUTE_MS
        ]
        assert len({x.municipality for x in opening}) == 3
        assert len({kind_of[x.municipality, x.device] for x in opening}) == 3
        counts = [
            len({x.circuit or x.device for x in found if x.onset_at <= at < x.end_at})
            for at in range(START_MS + 25 * MINUTE_MS, START_MS + 3 * DAY_MS, 15 * MINUTE_MS)
        ]
        assert sorted(counts)[len(counts) // 10] >= 3 and sorted(counts)[len(counts) * 9 // 10] <= 10
        assert {x.fault for x in found if x.onset_at <= START_MS + 25 * MINUTE_MS} >= set(faults.OPENING)


def test_a_lasting_undervoltage_lies_below_the_limit_all_the_time():
    played = city()
    labels = played.faults.until(START_MS)
    low = next(x for x in labels if x.property == "voltage" and x.fault == "out_of_range" and x.severity < 0)
    agent = next(
        f"{r['municipality']}/{r['agent']}"
        for r in small_fleet()["devices"]
        if (r["municipality"], r["device"]) == (low.municipality, low.device)
    )
    rows = read_all(played.streams[agent], HOURS_24)
    volts = [v["voltage"] for _, _, d, t, v in rows if d == low.device and low.onset_at <= t < low.end_at]
    assert len(volts) > 200 and max(volts) < PROFILES["streetlight"].properties["voltage"].detectors.out_of_range.low


def test_labels_match_the_stream_and_everything_else_is_as_without_faults(monkeypatch):
    faulty = city()
    labels = faulty.faults.until(START_MS)
    healthy = city()
    monkeypatch.setattr(Faults, "until", lambda self, to_ms: self._all)
    differing: dict[tuple[str, str, str | None], list[int]] = {}
    for agent in faulty.streams:
        municipality = agent.split("/")[0]
        faulty.faults._all, healthy.faults._all = labels, []
        with_faults = {(k, d, t): v for _, k, d, t, v in read_all(faulty.streams[agent], HOURS_24)}
        without = {(k, d, t): v for _, k, d, t, v in read_all(healthy.streams[agent], HOURS_24)}
        assert with_faults.keys() <= without.keys()
        for key, values in without.items():
            if key not in with_faults:
                differing.setdefault((municipality, key[1], None), []).append(key[2])
                continue
            for name, value in values.items():
                if with_faults[key][name] != value:
                    differing.setdefault((municipality, key[1], name), []).append(key[2])
    seen = set()
    for (municipality, device, name), instants in differing.items():
        mine = [x for x in labels if (x.municipality, x.device) == (municipality, device)]
        label = next(x for x in mine if name == x.property or name in word_faults.touched(x))
        assert label.onset_at <= min(instants) and max(instants) < label.end_at
        seen.add(label)
    assert {label for label in labels if label.end_at <= HOURS_24} <= seen


def test_values_lie_inside_the_plausible_range_and_inside_the_alarm_limits_when_no_label_says_otherwise():
    played = city()
    labels = {(x.municipality, x.device) for x in played.faults.until(START_MS)}
    out_of_range = {
        (x.municipality, x.device, x.property): x for x in played.faults.until(START_MS) if x.fault == "out_of_range"
    }
    beyond = set()
    for agent, stream in played.streams.items():
        municipality = agent.split("/")[0]
        for _, kind, device, at, values in read_all(stream, HOURS_24):
            for name, value in values.items():
                item = PROFILES[kind].properties[name]
                if not item.numeric:
                    assert value in item.values
                    continue
                assert item.plausible[0] <= value <= item.plausible[1]
                limits = item.detectors.out_of_range
                if limits is None:
                    continue
                low, high = (-1e9 if limits.low is None else limits.low), (1e9 if limits.high is None else limits.high)
                if not low <= value <= high:
                    assert (municipality, device) in labels
                    fault = out_of_range.get((municipality, device, name))
                    if fault and fault.onset_at <= at < fault.end_at:
                        beyond.add(fault)
    assert beyond == set(out_of_range.values()) or all(x.end_at > HOURS_24 for x in set(out_of_range.values()) - beyond)
    assert beyond


def test_a_stuck_property_repeats_one_value_for_as_long_as_its_label_says():
    played = city()
    stuck = next(x for x in played.faults.until(START_MS) if x.fault == "stuck" and x.end_at < HOURS_24)
    agent = next(
        f"{r['municipality']}/{r['agent']}"
        for r in small_fleet()["devices"]
        if (r["municipality"], r["device"]) == (stuck.municipality, stuck.device)
    )
    rows = read_all(played.streams[agent], HOURS_24)
    values = [v[stuck.property] for _, _, d, t, v in rows if d == stuck.device and stuck.onset_at <= t < stuck.end_at]
    assert len(values) == round(stuck.severity) and len(set(values)) == 1


def of_device(played, fault, streams):
    """(instant, values) of a faulty device while it is faulty. streams: what was read of the agents so far."""
    rows = small_fleet()["devices"]
    agent = next(
        f"{row['municipality']}/{row['agent']}"
        for row in rows
        if (row["municipality"], row["device"]) == (fault.municipality, fault.device)
    )
    if agent not in streams:
        streams[agent] = read_all(played.streams[agent], HOURS_24)
    return [(t, v) for _, _, d, t, v in streams[agent] if d == fault.device and fault.onset_at <= t < fault.end_at]


def test_lamps_burn_by_day_and_stay_dark_at_night_and_a_circuit_is_dark_as_a_whole():
    played, streams = city(), {}
    lamps = [x for x in played.faults.until(START_MS) if x.fault == "daylight" and x.onset_at < HOURS_24]
    by_day, at_night = [x for x in lamps if x.severity > 0], [x for x in lamps if x.severity < 0]
    assert len({x.circuit for x in lamps} - {""}) == 1 and len([x for x in at_night if x.circuit]) >= 5
    assert by_day and any(not x.circuit for x in at_night)
    for fault in [*by_day, *at_night[:2], next(x for x in at_night if x.circuit)]:
        said = [values for _, values in of_device(played, fault, streams)]
        assert said
        if fault.severity > 0:
            assert {values["power_state"] for values in said} == {"on"}
            assert min(values["power_consumption"] for values in said) > 30
        else:
            assert {values["power_state"] for values in said} == {"off"}
            assert max(values["power_consumption"] for values in said) < 4
    for circuit in {x.circuit for x in lamps} - {""}:
        rows = [row for row in small_fleet()["devices"] if row["attributes"].get("circuit") == circuit]
        dark = {x.device for x in lamps if x.circuit == circuit}
        assert dark <= {row["device"] for row in rows} and len(dark) >= 0.7 * len(rows)


def test_a_bay_that_sticks_says_the_same_for_days():
    played = city()
    fault = next(x for x in played.faults.until(START_MS) if x.fault == "unchanging")
    assert fault.end_at - fault.onset_at >= 12 * DAY_MS
    assert len({values["status"] for _, values in of_device(played, fault, {})}) == 1
