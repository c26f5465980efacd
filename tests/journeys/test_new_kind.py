"""A new kind of sensor is one new file: an observation of it is followed from the agent to the chart."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts import profiles as contract
from tests.database_fixture import DatabaseProcess
from tests.journeys import ledger
from tests.journeys.demo_process import DemoProcess, dure
from tests.waiting import wait_for

PROFILE = """\
kind = "air_quality"
ngsi_type = "AirQualityObserved"
label = { en = "Air quality station", ko = "대기질 측정소" }
symbol = "lamp"
report_period_s = 60
silent_after_periods = 5
rollups = ["minute", "hour"]
display = { headline = "pm10" }

[properties.status]
type = "enum"
ngsi = "status"
label = { en = "Status", ko = "상태" }
values = ["ok", "maintenance"]
value_labels.ok = { en = "OK", ko = "정상" }
value_labels.maintenance = { en = "Maintenance", ko = "점검" }

[properties.pm10]
type = "number"
ngsi = "pm10"
label = { en = "Particulates PM10", ko = "미세먼지" }
unit = "ug/m3"
unit_code = "GQ"
plausible = [0.0, 2000.0]
decimals = 1
detectors.out_of_range = { high = 600.0, severity = "warning" }
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_one_profile_takes_an_observation_of_a_new_kind_from_the_agent_to_the_chart(
    demo: Callable[..., DemoProcess], state: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "air_quality.toml").write_text(PROFILE, encoding="utf-8")
    environment = {"DURE_PROFILES": str(folder)}
    fleet = json.loads((state / "fleet.json").read_text())
    agent = fleet["agents"][0]
    station = {
        "municipality": agent["municipality"], "device": "aq-0001", "kind": "air_quality", "agent": agent["agent"],
        "latitude": 37.65, "longitude": 126.83, "label": {"ko": "측정소", "en": "Station"}, "attributes": {},
    }  # fmt: skip
    fleet["devices"].append(station)
    (state / "fleet.json").write_text(json.dumps(fleet, ensure_ascii=False), encoding="utf-8")
    server = DatabaseProcess(state / "database")
    environment_with_database = environment | {"DURE_DATABASE_URL": server.start(), "DURE_DATABASE_SCHEMA": "dure"}
    for command in (("migrate",), ("register", str(state / "fleet.json"))):
        done = dure(*command, environment=environment_with_database)
        assert done.returncode == 0, done.stderr
    assert server.stop() == 0

    running = demo("--for", "10s", **environment)
    running.start()
    running.wait_ready()
    profile = running.get("/api/v1/profiles")["profiles"]["air_quality"]
    assert profile["label"]["ko"] == "대기질 측정소" and profile["properties"]["pm10"]["unit"] == "ug/m3"

    def stations() -> list[dict[str, object]]:
        found: list[dict[str, object]] = running.get("/api/v1/devices?kind=air_quality")["items"]
        return [item for item in found if item["observed_at"]]

    device = wait_for(stations, 30, pause_s=0.3)[0]
    assert device["device"] == "aq-0001" and device["state"] == "ok"
    newest = int(str(device["observed_at"]))
    span = f"from={newest - 3_600_000}&to={newest + 1}&points=600"
    series = running.get(f"/api/v1/devices/{device['device_id']}/series?{span}")
    assert running.wait_end() == 0, running.said()

    kinds = contract.load(environ=running.environment)
    expected = ledger.generated(running.state / "sim", running.environment)
    charted = {
        at: value
        for at, value in zip(series["observed_at"], series["properties"]["pm10"]["value"], strict=True)
        if value is not None
    }
    mine = {at: values["pm10"] for (_, name, at), values in expected.items() if name == "aq-0001"}
    assert len(charted) >= 3 and len(mine) > 50
    assert charted == {at: pytest.approx(mine[at]) for at in charted}
    with running.database() as connection:
        found = ledger.compare(expected, connection, kinds)
        assert not found, str(found)
        connection.execute("delete from observation_air_quality")
        assert len(ledger.compare(expected, connection, kinds).missing) == len(mine)
