"""Lamps against the sun and counters that run backwards, through ingest to alarms, with a kill in between."""

import time

from tests.services.ingest_fixture import agent, broker, manifest, running_ingest, settle, wait_for_rows

__all__ = ["broker"]

DAY_MS, MINUTE_MS = 86_400_000, 60_000
NOON_MS = (time.time_ns() // 1_000_000 // DAY_MS - 1) * DAY_MS + 210 * MINUTE_MS  # 12:30 in Goyang, at most 44 h ago
KILLED_AT = 9  # minute; a lamp is wrong for a quarter of an hour before it is said
ALARMS = (
    "SELECT d.name, condition, evidence -> 'values' ->> 0, evidence ->> 'expected', "
    "evidence -> 'parameters' ->> 'lit', "
    "(extract(epoch FROM opened_at) * 1000)::bigint FROM alarm JOIN device d USING (device_id) ORDER BY 1, 2"
)


def street():
    """Three lamps that know where they stand, one of them planned to burn always, and their cabinet."""
    place = {"municipality": "41280", "agent": "pole-01", "latitude": 37.6583, "longitude": 126.8320}
    lamps = [
        {"device": f"lamp-{number}", "kind": "streetlight", "attributes": {"circuit": "c-1"} | plan, **place}
        for number, plan in enumerate(({}, {}, {"schedule": "always"}))
    ]
    cabinet = {"device": "cabinet", "kind": "streetlight_control_cabinet", "attributes": {"circuit": "c-1"}, **place}
    return manifest() | {"devices": [*lamps, cabinet]}


def report(minute):
    """What all say in one minute: two lamps burn, one is dark, the counter turns at minute 20."""
    counted = 5000.0 + min(minute, 40 - minute)
    return {
        "streetlight": {
            "device": ["lamp-0", "lamp-1", "lamp-2"],
            "observed_at": [NOON_MS + minute * MINUTE_MS] * 3,
            "power_state": ["on", "off", "on"],
            "power_consumption": [81.5, 1.6, 80.2],
        },
        "streetlight_control_cabinet": {
            "device": ["cabinet"],
            "observed_at": [NOON_MS + minute * MINUTE_MS],
            "energy_consumed": [counted],
        },
    }


def test_a_lamp_at_noon_and_a_counter_that_turns_are_alarms_whoever_is_killed_meanwhile(database, broker, tmp_path):
    settle(database, street())
    with running_ingest(database, broker, tmp_path) as ingest, agent(broker) as sender:
        for minute in range(30):
            if minute == KILLED_AT:
                sender.deliver()
                assert database.rows(ALARMS) == []
                ingest.kill()
                ingest.restart()
            sender.seal(report(minute), clock_ms=NOON_MS + minute * MINUTE_MS)
        sender.deliver()
        wait_for_rows(database, "SELECT 1 FROM alarm WHERE condition = 'backwards:energy_consumed'")
        assert database.rows(ALARMS) == [
            ("cabinet", "backwards:energy_consumed", "5018.0", "5020.0", None, NOON_MS + 22 * MINUTE_MS),
            ("lamp-0", "daylight:power_state", "on", "off", "true", NOON_MS + 15 * MINUTE_MS),
        ]
