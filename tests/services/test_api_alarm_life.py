# ruff: noqa: E501 - tables of seeded rows read better unbroken
"""What people do with alarms: assign, comment, close groups, plan work, and see which detector to trust."""

import asyncio
import time

import pytest

from tests.services.api_fixture import NOON, City, city, client_of, problem

__all__ = ["city"]

AT = f"to_timestamp({NOON}/1000.0)"
GROUP = f"""
INSERT INTO alarm (alarm_id, municipality, device_id, agent_id, kind, circuit, condition, detector, severity, state, opened_at, last_finding_at, parent_id, group_scope,
                   group_key, group_size, members_open, members_most) VALUES
 (991000, '41480', null, null, 'streetlight', null, 'silent', 'silent', 3, 'open', {AT}, {AT}, null, 'municipality', '', 80, 2, 2),
 (991001, '41480', null, null, 'streetlight', 'pj-c1', 'silent', 'silent', 2, 'open', {AT}, {AT}, 991000, 'circuit', 'pj-c1', 4, 2, 3),
 (991002, '41480', 9002, 9101, 'streetlight', 'pj-c1', 'silent', 'silent', 2, 'open', {AT}, {AT}, 991001, null, null, null, 0, 0),
 (991003, '41480', 9004, 9102, 'streetlight', 'pj-c1', 'silent', 'silent', 2, 'acknowledged', {AT}, {AT}, 991001, null, null, null, 0, 0),
 (991004, '41480', 9001, 9101, 'streetlight', 'pj-c1', 'drift:voltage', 'drift', 2, 'cleared', {AT}, {AT}, 991001, null, null, null, 0, 0),
 (991005, '41480', 9003, 9102, 'waste_container', null, 'silent', 'silent', 2, 'open', {AT}, {AT}, 991000, null, null, null, 0, 0),
 (991006, '41480', 9003, 9102, 'waste_container', null, 'stuck:filling_level', 'stuck', 2, 'suppressed', {AT}, {AT}, null, null, null, null, 0, 0);
UPDATE alarm SET window_id = 950001 WHERE alarm_id = 991006
"""


@pytest.fixture(autouse=True)
def as_seeded(city: City) -> None:
    city.run("DELETE FROM alarm WHERE alarm_id BETWEEN 991000 AND 991999")
    city.run(
        "UPDATE alarm SET state = CASE alarm_id WHEN 990002 THEN 'acknowledged' WHEN 990003 THEN 'cleared' ELSE 'open' END, acknowledged_at = null, "
        "acknowledged_by = null, closed_at = null, closed_by = null, cause = null, note = null, assigned_to = null, raised_at = now()"
    )
    city.run("DELETE FROM alarm_event WHERE event_id NOT IN (660001, 990101)")
    city.run("DELETE FROM maintenance_window WHERE window_id NOT IN (550001, 950001)")


async def test_an_alarm_is_assigned_to_who_sees_it_and_to_nobody_else(city: City) -> None:
    async with client_of(city, "operator") as client:
        found = (await client.get("/api/v1/assignees", params={"municipality": "41480"})).json()
        assert found["items"] == ["admin", "engineer", "operator", "viewer"]
        assert (await client.get("/api/v1/assignees", params={"municipality": "41280"})).json() == {"items": []}
        alarm = (await client.post("/api/v1/alarms/990001/assign", json={"account": "engineer"})).json()
        assert (alarm["assigned_to"], alarm["state"]) == ("engineer", "open")
        mine = (await client.get("/api/v1/alarms", params={"assigned_to": "engineer"})).json()
        assert [item["alarm_id"] for item in mine["items"]] == [990001]
        assert mine["counts"]["open"] == 1
        assert (
            "no account"
            in problem(await client.post("/api/v1/alarms/990001/assign", json={"account": "ghost"}), 422)["detail"]
        )
        assert (await client.post("/api/v1/alarms/990001/assign", json={"account": None})).json()["assigned_to"] is None
        await client.post("/api/v1/alarms/990001/close", json={"cause": "real"})
        problem(await client.post("/api/v1/alarms/990001/assign", json={"account": "engineer"}), 409)
    city.run(
        "INSERT INTO account (name, password_hash, role, municipality) VALUES ('gy-jun', 'x', 'operator', '41280')"
    )
    async with client_of(city) as client:
        problem(await client.post("/api/v1/alarms/990002/assign", json={"account": "gy-jun"}), 422)  # sees another town
        assert (await client.post("/api/v1/alarms/770001/assign", json={"account": "gy-jun"})).status_code == 200


async def test_the_history_of_an_alarm_tells_who_did_what_and_when(city: City) -> None:
    began_ms = int(time.time() * 1000) - 1000
    async with client_of(city, "operator") as client:
        await client.post("/api/v1/alarms/990001/acknowledge")
        await client.post("/api/v1/alarms/990001/assign", json={"account": "engineer"})
        shown = (await client.post("/api/v1/alarms/990001/comment", json={"text": " 안정기 교체 예정 "})).json()
        await client.post("/api/v1/alarms/990001/close", json={"cause": "real", "note": "안정기"})
        events = (await client.get("/api/v1/alarms/990001")).json()["events"]
        problem(await client.post("/api/v1/alarms/990001/comment", json={"text": " "}), 422)
        problem(await client.post("/api/v1/alarms/990001/comment", json={"text": "a\x00b"}), 422)
        assert (await client.post("/api/v1/alarms/990001/comment", json={"text": "afterwards"})).status_code == 200
    assert [(item["event"], item["who"], item["detail"]) for item in events if item["who"] != "viewer"] == [
        ("acknowledged", "operator", {}),
        ("assigned", "operator", {"account": "engineer"}),
        ("commented", "operator", {"text": "안정기 교체 예정"}),
        ("closed", "operator", {"cause": "real", "note": "안정기"}),
    ]
    assert all(began_ms <= item["at"] <= int(time.time() * 1000) + 1000 for item in events if item["who"] == "operator")
    assert [item["event"] for item in shown["events"] if item["who"] == "operator"] == [
        "acknowledged",
        "assigned",
        "commented",
    ]


async def test_a_group_stands_for_its_members_which_are_shown_when_asked_for(city: City) -> None:
    city.run(GROUP)
    async with client_of(city) as client:

        async def found(**parameters: object) -> list[int]:
            answer = await client.get("/api/v1/alarms", params=parameters)
            assert answer.status_code == 200, answer.text
            return [item["alarm_id"] for item in answer.json()["items"] if item["alarm_id"] > 991_000 - 1]

        assert await found() == [991000]
        assert await found(folded="true", state="open,acknowledged") == [991005, 991003, 991002, 991001, 991000]
        assert await found(group=991001) == [991004, 991003, 991002]
        assert await found(group=991001, state="acknowledged") == [991003]
        assert await found(device_id=9002) == [991002]
        assert await found(state="suppressed") == [991006]
        assert await found(kind="waste_container", folded="true") == [991005]
        shown = (await client.get("/api/v1/alarms/991000")).json()
        assert shown["group"] == {
            "scope": "municipality",
            "key": "41480",
            "size": 80,
            "members_open": 2,
            "members_most": 2,
        }
        assert [item["alarm_id"] for item in shown["members"]] == [991005, 991001]
        assert shown["members"][1]["group"]["key"] == "pj-c1"
        assert (await client.get("/api/v1/alarms/991002")).json()["parent_id"] == 991001
        counts = (await client.get("/api/v1/status")).json()["open_alarms"]
        assert counts["total"] == 6
        lamp = (await client.get("/api/v1/devices/9002")).json()
        assert (lamp["state"], [item["alarm_id"] for item in lamp["open_alarms"]]) == ("silent", [991002])


async def test_closing_a_group_closes_what_is_active_under_it_and_closing_a_member_counts_it_out(city: City) -> None:
    city.run(GROUP)
    states = (
        "SELECT alarm_id, state, cause, members_open FROM alarm WHERE alarm_id BETWEEN 991000 AND 991999 ORDER BY 1"
    )
    async with client_of(city, "operator") as client:
        assert (await client.post("/api/v1/alarms/991002/close", json={"cause": "false"})).status_code == 200
        assert city.run(states)[1] == (991001, "open", None, 1)
        assert (await client.post("/api/v1/alarms/991003/close", json={"cause": "false"})).status_code == 200
        assert city.run(states)[1] == (991001, "cleared", None, 0)
    city.run("DELETE FROM alarm WHERE alarm_id BETWEEN 991000 AND 991999")
    city.run(GROUP)
    async with client_of(city, "operator") as client:
        assert (
            await client.post("/api/v1/alarms/991000/close", json={"cause": "planned_work", "note": "blackout"})
        ).status_code == 200
    assert city.run(states) == [
        (991000, "closed", "planned_work", 0), (991001, "closed", "planned_work", 0), (991002, "closed", "planned_work", 0),
        (991003, "closed", "planned_work", 0), (991004, "cleared", None, 0), (991005, "closed", "planned_work", 0), (991006, "suppressed", None, 0),
    ]  # fmt: skip
    assert city.run(
        "SELECT count(*) FROM alarm_event WHERE event = 'closed' AND who = 'operator' AND alarm_id >= 991000"
    ) == [(7,)]


async def test_detectors_show_what_people_made_of_their_alarms(city: City) -> None:
    city.run(GROUP)
    city.run("UPDATE alarm SET raised_at = now() - interval '60 s' WHERE alarm_id = 990001")
    async with client_of(city, "operator") as client:
        await client.post("/api/v1/alarms/990001/acknowledge")
        for number, cause in ((990001, "false"), (991002, "false"), (991000, "real"), (990002, "planned_work")):
            await client.post(f"/api/v1/alarms/{number}/close", json={"cause": cause})
        shown = (await client.get("/api/v1/detectors")).json()["items"]
        later = (await client.get("/api/v1/detectors", params={"since": int(time.time() * 1000) + 60_000})).json()
    assert later == {"items": []}
    found = {(item["detector"], item["kind"]): item for item in shown}
    assert next(iter(found)) == ("out_of_range", "streetlight")  # least trusted
    voltage, silent = found["out_of_range", "streetlight"], found["silent", "streetlight"]
    assert (voltage["false"], voltage["false_share"], voltage["closed"], voltage["open"]) == (1, 1.0, 1, 0)
    assert 60 <= voltage["median_acknowledge_s"] < 90
    assert (silent["real"], silent["false"], silent["planned_work"], silent["false_share"]) == (
        1,
        0,
        1,
        0.0,
    )  # of the group, not its members
    assert found["stuck", "waste_container"]["open"] == 1
    assert found["agent_silent", None]["false_share"] is None
    assert ("stuck", "streetlight") not in found  # of another municipality
    async with client_of(city) as client:
        everything = (await client.get("/api/v1/detectors")).json()["items"]
        assert ("stuck", "streetlight") in {(item["detector"], item["kind"]) for item in everything}


async def test_windows_are_planned_changed_and_taken_away(city: City) -> None:
    now = int(time.time() * 1000)
    planned = {
        "municipality": "41480",
        "scope": "circuit",
        "target": "pj-c1",
        "from": now - 60_000,
        "to": now + 3_600_000,
        "reason": "등주 교체",
    }
    async with client_of(city, "operator") as client:
        answer = await client.post("/api/v1/maintenance-windows", json=planned)
        assert answer.status_code == 201, answer.text
        window = answer.json()
        assert {name: window[name] for name in planned} == planned
        assert (window["phase"], window["suppressed"], window["created_by"]) == ("active", 0, "operator")
        where = f"/api/v1/maintenance-windows/{window['window_id']}"
        changed = {**planned, "scope": "municipality", "target": None, "from": now + 10_000, "reason": "정전"}
        shown = (await client.put(where, json=changed)).json()
        assert (shown["scope"], shown["target"], shown["phase"], shown["changed_by"]) == (
            "municipality",
            None,
            "planned",
            "operator",
        )
        city.run("INSERT INTO alarm (alarm_id, municipality, device_id, condition, detector, severity, state, opened_at, last_finding_at, window_id) "
                 f"VALUES (991100, '41480', 9001, 'noise:voltage', 'noise', 2, 'suppressed', now(), now(), {window['window_id']})")  # fmt: skip
        listed = (await client.get("/api/v1/maintenance-windows", params={"phase": "planned"})).json()["items"]
        assert [(item["window_id"], item["suppressed"]) for item in listed] == [(950001, 0), (window["window_id"], 1)]
        first = (await client.get("/api/v1/maintenance-windows", params={"limit": 1})).json()
        assert first["next"] == 950001
        for wrong in (
            {"target": "no-such-circuit"}, {"scope": "device", "target": "gy-sl-1"}, {"scope": "kind", "target": "volcano"}, {"target": None},
            {"scope": "municipality", "target": "x"}, {"to": now - 60_000}, {"reason": " "}, {"scope": "planet"}, {"from": -1},
        ):  # fmt: skip
            problem(await client.post("/api/v1/maintenance-windows", json={**planned, **wrong}), 422)
        assert (await client.delete(where)).status_code == 204
        problem(await client.delete(where), 404)
        problem(await client.get(where), 404)
    async with client_of(city) as client:
        problem(
            await client.post(
                "/api/v1/maintenance-windows",
                json={**planned, "municipality": "99999", "scope": "municipality", "target": None},
            ),
            422,
        )


async def test_of_two_who_close_a_group_and_its_member_at_once_nobody_waits_for_the_other_for_ever(city: City) -> None:
    city.run(GROUP)
    async with client_of(city, "operator") as client:
        numbers = (991000, 991001, 991002, 991003, 991005)
        answers = await asyncio.gather(
            *(client.post(f"/api/v1/alarms/{number}/close", json={"cause": "real"}) for number in numbers)
        )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert city.run(
        "SELECT count(*) FROM alarm WHERE alarm_id BETWEEN 991000 AND 991005 AND state IN ('open', 'acknowledged')"
    ) == [(0,)]


async def test_an_alarm_shows_the_values_that_led_up_to_it(city: City) -> None:
    city.partition("streetlight", "2025-10-09 06:00+00", "2025-10-09 18:00+00")
    city.run(
        f"INSERT INTO observation_streetlight (device_id, observed_at, voltage, power_state) SELECT 9001, to_timestamp({NOON}/1000.0) - n * interval '1 min', "
        "CASE WHEN n = 3 THEN NULL ELSE 220 + n END, 1 FROM generate_series(-5, 30) n"
    )
    evidence = f'{{"values": [220.0], "observed_at": [{NOON}], "low": 187, "high": 219, "parameters": {{"low": 187}}}}'
    city.run("UPDATE alarm SET evidence = %s WHERE alarm_id = 990001", evidence)
    try:
        async with client_of(city) as client:
            shown = (await client.get("/api/v1/alarms/990001")).json()["evidence"]
            listed = (await client.get("/api/v1/alarms", params={"device_id": 9001})).json()["items"]
        assert (shown["low"], shown["high"], shown["parameters"]) == (187, 219, {"low": 187})
        assert shown["observed_at"] == [NOON - n * 60_000 for n in range(19, -1, -1)]
        assert shown["values"] == [None if n == 3 else 220.0 + n for n in range(19, -1, -1)]
        assert listed[-1]["evidence"]["values"] == [220.0]
        city.run("DELETE FROM observation_streetlight")  # kept no longer: the detector's own value stays
        async with client_of(city) as client:
            assert (await client.get("/api/v1/alarms/990001")).json()["evidence"]["values"] == [220.0]
    finally:
        city.run("UPDATE alarm SET evidence = '{\"values\":[400.0]}' WHERE alarm_id = 990001")
