"""Labels say exactly what is wrong in the stream."""

from contracts.profiles import Profile
from firmware_sim import faults
from firmware_sim.city import Faults
from tests.unit.firmware_sim.city_fixture import DAY_MS, PROFILES, START_MS, city, read_all, small_fleet

HOURS_24 = START_MS + DAY_MS
MINUTE_MS = 60_000


def schedule(seed=7, days=1):
    return faults.schedule(small_fleet()["devices"], PROFILES, seed, START_MS, days)


def test_the_opening_has_each_named_fault_where_the_shipped_detectors_can_see_it():
    kinds = {(row["municipality"], row["device"]): PROFILES[row["kind"]] for row in small_fleet()["devices"]}
    for seed in range(20):
        early: dict[str, tuple[faults.Fault, Profile]] = {}
        for fault in schedule(seed):
            early.setdefault(fault.fault, (fault, kinds[fault.municipality, fault.device]))
        for name in ("stuck", "out_of_range", "silent"):
            assert early[name][0].onset_at <= START_MS + 25 * MINUTE_MS
        spike, profile = early["spike"]
        detector = profile.properties[spike.property].detectors.spike
        warm_ms = detector.warm_up * profile.report_period_s * 1000
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
    assert len(found) > 30 and {fault.fault for fault in found} == set(faults.SHAPES)
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
            sum(x.onset_at <= at < x.end_at for x in found)
            for at in range(START_MS + 25 * MINUTE_MS, START_MS + 3 * DAY_MS, 15 * MINUTE_MS)
        ]
        assert sorted(counts)[len(counts) // 10] >= 3 and sorted(counts)[len(counts) * 9 // 10] <= 9
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
        label = next(x for x in labels if (x.municipality, x.device, x.property) == (municipality, device, name))
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
