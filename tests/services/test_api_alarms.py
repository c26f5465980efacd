# ruff: noqa: E501
"""Alarms and quarantine: pages, and what people may do in which state."""

import asyncio

import pytest

from tests.services.api_fixture import NOON, City, city, client_of, problem

__all__ = ["city"]


@pytest.fixture(autouse=True)
def as_seeded(city: City) -> None:
    city.run(
        "UPDATE alarm SET state = CASE alarm_id WHEN 990002 THEN 'acknowledged' WHEN 990003 THEN 'cleared' ELSE 'open' END,"
        " acknowledged_at = null, acknowledged_by = null, closed_at = null, closed_by = null, cause = null, note = null, assigned_to = null"
    )
    city.run("UPDATE quarantine SET admit_requested_at = null, admit_requested_by = null, admitted_at = null")


async def test_alarms_are_listed_newest_first_filtered_and_counted(city: City) -> None:
    async with client_of(city) as client:

        async def found(**parameters: object) -> list[int]:
            answer = await client.get("/api/v1/alarms", params=parameters)
            assert answer.status_code == 200, answer.text
            return [item["alarm_id"] for item in answer.json()["items"]]

        assert await found() == [990004, 990003, 990002, 990001, 770002, 770001]
        assert await found(state="open,acknowledged", municipality="41480") == [990004, 990002, 990001]
        assert await found(severity="3") == [990001, 770001]
        assert await found(severity="1,3") == [990003, 990001, 770001]
        assert await found(device_id=9001) == [990002, 990001]
        assert await found(detector="agent_silent") == [990004, 770002]
        first = (await client.get("/api/v1/alarms", params={"limit": 4})).json()
        assert first["next"] == 990001
        assert first["counts"] == {"open": 4, "acknowledged": 1, "suppressed": 0, "cleared": 1, "closed": 0}
        assert await found(limit=4, after=first["next"]) == [770002, 770001]
        for wrong in ({"state": "ajar"}, {"severity": "4"}, {"device_id": "x"}):
            problem(await client.get("/api/v1/alarms", params=wrong), 422)


async def test_an_alarm_shows_its_device_agent_and_evidence(city: City) -> None:
    async with client_of(city) as client:
        alarm = (await client.get("/api/v1/alarms/990001")).json()
        problem(await client.get("/api/v1/alarms/1"), 404)
    assert (alarm["device"], alarm["kind"], alarm["agent"]) == ("pj-sl-1", "streetlight", "pj-pole-1")
    assert alarm["label"] == {"ko": "파주 가로등 1", "en": "Paju light 1"}
    assert (alarm["opened_at"], alarm["evidence"], alarm["severity"]) == (NOON, {"values": [400.0]}, 3)


async def test_acknowledging_records_who_and_when_and_only_once(city: City) -> None:
    async with client_of(city, "operator") as client:
        alarm = (await client.post("/api/v1/alarms/990001/acknowledge")).json()
        assert (alarm["state"], alarm["acknowledged_by"]) == ("acknowledged", "operator")
        assert alarm["acknowledged_at"] == alarm["changed_at"] > NOON
        assert (
            "acknowledged by 'operator'"
            in problem(await client.post("/api/v1/alarms/990001/acknowledge"), 409)["detail"]
        )
        problem(await client.post("/api/v1/alarms/990003/acknowledge"), 409)  # cleared


async def test_of_two_who_acknowledge_at_once_one_is_told_so(city: City) -> None:
    async with client_of(city, "operator") as client:
        answers = await asyncio.gather(*(client.post("/api/v1/alarms/990001/acknowledge") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]


async def test_closing_needs_a_cause_and_works_from_every_state_but_closed(city: City) -> None:
    async with client_of(city, "operator") as client:
        for body in ({}, {"cause": "boredom"}, {"cause": "real", "mood": "good"}):
            problem(await client.post("/api/v1/alarms/990001/close", json=body), 422)
        for alarm_id in (990001, 990002, 990003):
            answer = await client.post(
                f"/api/v1/alarms/{alarm_id}/close", json={"cause": "planned_work", "note": " 램프 교체 "}
            )
            assert answer.status_code == 200
            alarm = answer.json()
            assert (alarm["state"], alarm["closed_by"], alarm["cause"], alarm["note"]) == (
                "closed",
                "operator",
                "planned_work",
                "램프 교체",
            )
        assert (
            "closed by"
            in problem(await client.post("/api/v1/alarms/990001/close", json={"cause": "real"}), 409)["detail"]
        )


async def test_quarantine_shows_reasons_and_what_was_only_counted(city: City) -> None:
    async with client_of(city) as client:
        shown = (await client.get("/api/v1/quarantine")).json()
        assert [item["quarantine_id"] for item in shown["items"]] == [880004, 880003, 880002, 880001]
        assert shown["items"][2]["epoch"] == "9100000000000000001"
        assert shown["items"][2]["content"] == {"device": "pj-sl-9"}
        assert [item["observations"] for item in shown["refused"]] == [5, 6]
        one = (await client.get("/api/v1/quarantine", params={"reason": "unknown_device", "agent": "pj-pole-1"})).json()
        assert [item["quarantine_id"] for item in one["items"]] == [880002]
        problem(await client.get("/api/v1/quarantine", params={"reason": "bad_mood"}), 422)


async def test_admitting_is_asked_for_once_and_only_of_an_observation(city: City) -> None:
    async with client_of(city, "operator") as client:
        problem(await client.post("/api/v1/quarantine/880002/admit"), 403)
    async with client_of(city, "engineer") as client:
        answer = await client.post("/api/v1/quarantine/880002/admit")
        assert answer.status_code == 202
        assert answer.json()["admit_requested_by"] == "engineer"
        assert "already" in problem(await client.post("/api/v1/quarantine/880002/admit"), 409)["detail"]
        assert "not an observation" in problem(await client.post("/api/v1/quarantine/880004/admit"), 409)["detail"]
    city.run("UPDATE quarantine SET admitted_at = now() WHERE quarantine_id = 880002")
    async with client_of(city) as client:
        assert "admitted already" in problem(await client.post("/api/v1/quarantine/880002/admit"), 409)["detail"]


async def test_agents_show_sums_over_their_epochs_and_their_state(city: City) -> None:
    async with client_of(city, agent_behind_backlog=10) as client:
        agents = {item["agent"]: item for item in (await client.get("/api/v1/agents")).json()["items"]}
    assert {name: item["state"] for name, item in agents.items()} == {
        "gy-pole-1": "ok",
        "pj-pole-1": "behind",
        "pj-pole-2": "silent",
    }
    pole = agents["pj-pole-1"]
    assert [pole[name] for name in ("received", "committed", "duplicate", "out_of_order", "quarantined", "lost")] == [
        150,
        140,
        5,
        3,
        2,
        7,
    ]
    assert (pole["devices"], pole["backlog"], pole["replay"]) == (2, 12, False)
    city.run("DELETE FROM agent_status WHERE agent_id = 9102")
    async with client_of(city) as client:
        items = (await client.get("/api/v1/agents")).json()["items"]
    assert [item["state"] for item in items] == ["ok", "ok", "never"]
