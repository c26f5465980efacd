"""`dure detect` on a real database: a simulated city's history with known faults, imported from files."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from contracts import profiles
from firmware_sim import fleet as fleets
from firmware_sim import listing
from firmware_sim.city import City
from firmware_sim.faults import Fault
from ingest_service.lifecycle import import_cli
from ingest_service.replay import cli, division
from tests.database_fixture import ROOT, Database
from tests.services.ingest_fixture import schema, settle
from tests.waiting import wait_for

KINDS = profiles.load(environ={})
START = datetime(2026, 11, 3, 6, tzinfo=UTC)
HOURS = 10
FLEET = fleets.make(160, 4, 7)
BIG_DEVICES, BIG_PERIOD_S = 400, 30
NAMED = ("stuck", "out_of_range", "silent")  # faults that have the name of their detector
NO_STUCK = "[streetlight.voltage]\nstuck = false\n"

TOUCHY = """[streetlight]
silent_after_periods = 1
voltage.spike = { threshold = 3.0, min_jump = 0.5 }
voltage.stuck.repeats = 3
power_consumption.spike = { threshold = 3.0, min_jump = 0.5 }
[waste_container]
silent_after_periods = 1
"""  # so that there is much to compare


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def run(database: Database, main: Callable[[list[str]], int], *arguments: object, expect: int = 0) -> str:
    """A command in this process; what it said."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        for name, value in database.environment.items():
            patch.setenv(name, value)
        code = main([str(argument) for argument in arguments])
    assert code == expect, said.getvalue()
    return said.getvalue()


def detect(database: Database, folder: Path, *arguments: object) -> dict[str, Any]:
    """What a run reports."""
    report = folder / "report.json"
    run(database, cli.main, "--from", START, "--report", report, "--quiet", "--processes", 1, *arguments)
    found: dict[str, Any] = json.loads(report.read_bytes())
    return found


def found_of(report: dict[str, Any]) -> tuple[Any, ...]:
    """What does not depend on how a run was done."""
    return tuple(report[key] for key in ("observations", "device_days", "table", "marks", "episodes"))


class Lived:
    """A city that was simulated and stored, what was wrong in it, and what detectors find."""

    def __init__(self, database: Database, faults: list[Fault]) -> None:
        self.database = database
        self.faults = faults
        self.report: dict[str, Any] = {}


@pytest.fixture(scope="module")
def lived(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("history")
    city = City(FLEET, KINDS, 3, ms(START), 1000)
    end_ms = ms(START + timedelta(hours=HOURS))
    written = {kind: (folder / f"{kind}.csv").open("w", newline="") for kind in KINDS}
    writers = {kind: csv.writer(file) for kind, file in written.items()}
    for kind, profile in KINDS.items():
        writers[kind].writerow(["municipality", "device", "observed_at", *profile.properties])
    for agent, stream in city.streams.items():
        for row in listing.rows(stream, agent.split("/")[0], 1, stream.numbered(end_ms)):
            at = datetime.fromtimestamp(row["observed_at"] / 1000, UTC).isoformat(timespec="milliseconds")
            cells = [row["values"].get(name, "") for name in KINDS[row["kind"]].properties]
            writers[row["kind"]].writerow([row["municipality"], row["device"], at, *cells])
    with schema(postgres_url) as database:
        settle(database, FLEET)
        for kind, file in written.items():
            file.close()
            run(database, import_cli.main, file.name, "--kind", kind, "--quiet")
        faults = [fault for fault in city.faults.until(end_ms) if fault.end_at < end_ms - 3_600_000]
        yield Lived(database, faults)


@pytest.fixture(scope="module")
def marked(lived: Lived, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """The same, with live alarms: one that people found right, one that they found wrong, one still open. Replayed
    once, which writes nothing.
    """
    stuck = next(fault for fault in lived.faults if (fault.fault, fault.property) == ("stuck", "voltage"))
    healthy = next(
        row["device"] for row in FLEET["devices"]
        if row["kind"] == "streetlight" and row["device"] not in {fault.device for fault in lived.faults}
    )  # fmt: skip
    at_ms = stuck.onset_at + 20 * 60_000
    for device, cause in ((stuck.device, "real"), (healthy, "false"), (healthy, None)):
        lived.database.rows(
            "INSERT INTO alarm (municipality, device_id, condition, detector, property, severity, state, opened_at, "
            "last_finding_at, closed_at, cause) SELECT municipality, device_id, 'stuck:voltage', 'stuck', 'voltage', "
            "2, CASE WHEN %s::text IS NULL THEN 'open' ELSE 'closed' END, to_timestamp(%s / 1000.0), "
            "to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0), %s FROM device WHERE name = %s",
            cause, at_ms, at_ms, at_ms + 60_000, cause, device,
        )  # fmt: skip
    before = every_table(lived.database)
    lived.report = detect(lived.database, tmp_path_factory.mktemp("report"))
    assert every_table(lived.database) == before
    assert before["alarm"][0][0] == 3
    yield lived


def every_table(database: Database) -> dict[str, Any]:
    """Content of each table, as a hash."""
    names = database.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') "
        "AND NOT relispartition ORDER BY 1"
    )
    digest = "SELECT count(*), md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {} t"
    return {name: database.rows(digest.format(name)) for (name,) in names}


def test_faults_that_the_simulator_labels_are_found_with_their_evidence(marked: Lived):
    report = marked.report
    assert report["complete"] is True
    stored = [marked.database.rows(f"SELECT count(*) FROM observation_{kind}")[0][0] for kind in KINDS]
    assert report["observations"] == sum(stored)
    assert report["device_days"]["streetlight"] == pytest.approx(96 * HOURS / 24, rel=0.05)
    labels = [fault for fault in marked.faults if fault.fault in NAMED]
    assert {fault.fault for fault in labels} == set(NAMED)
    for fault in labels:
        assert any(
            all(item[key] == getattr(fault, key) for key in ("municipality", "device"))
            and item["detector"] == fault.fault
            and fault.onset_at <= ms(datetime.fromisoformat(item["began_at"])) <= fault.end_at
            for item in report["episodes"]
        ), fault  # fmt: skip
    for item in report["episodes"]:
        if item["detector"] == "stuck":
            assert item["profiles"]["evidence"]["values"]
            assert item["profiles"]["evidence"]["parameters"]
    starts = [item["began_at"] for item in report["episodes"]]
    assert starts == sorted(starts)
    for row in report["table"]:
        of_row = [
            item
            for item in report["episodes"]
            if all(item[key] == row[key] for key in ("kind", "property", "detector"))
        ]
        assert row["profiles"]["episodes"] == len(of_row)
        assert row["profiles"]["devices"] == len({(item["municipality"], item["device"]) for item in of_row})


def test_the_number_of_processes_changes_nothing(marked: Lived, tmp_path: Path):
    (tmp_path / "touchy.toml").write_text(TOUCHY)
    one, three = (
        detect(marked.database, tmp_path, "--config", tmp_path / "touchy.toml", "--processes", count)
        for count in (1, 3)
    )
    assert (one["processes"], three["processes"]) == (1, 3)
    assert found_of(one) == found_of(three)
    assert len(one["episodes"]) > 100


@pytest.fixture(scope="module")
def bays(postgres_url: str) -> Iterator[Database]:
    """Bays of three towns, without agents: cars come and go, but some sensors hang from the second day on."""
    towns = ("41280", "41480", "41570")
    devices = [
        {"municipality": town, "device": f"ps-{number}", "kind": "parking_spot", "latitude": 37.6 + 0.01 * (number % 4),
         "longitude": 126.8}
        for town in towns for number in range(24)
    ]  # fmt: skip
    with schema(postgres_url) as found:
        settle(found, {"municipalities": [{"code": town, "name": {}} for town in towns], "devices": devices})
        if not found.rows("SELECT 1 FROM schema_engine WHERE engine = 'timescale'"):
            found.rows("CREATE TABLE observation_parking_spot_all PARTITION OF observation_parking_spot DEFAULT")
        found.rows(
            "INSERT INTO observation_parking_spot (device_id, observed_at, status) SELECT device_id, "
            "t + device_id * interval '1 s', CASE WHEN device_id %% 5 = 0 AND t > %s::timestamptz THEN 1 "
            "ELSE abs(hashint4(device_id * 977 + extract(epoch FROM t)::int / 5400)) %% 2 END "
            "FROM generate_series(%s::timestamptz, %s::timestamptz, interval '10 min') t, device",
            START + timedelta(days=1), START, START + timedelta(days=5),
        )  # fmt: skip
        yield found


def test_devices_that_are_compared_stay_in_one_process(bays: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(division, "PART_DEVICES", 4)
    monkeypatch.setattr(division, "PART_SETS", 2)
    page = tmp_path / "bays.html"
    one, three = (detect(bays, tmp_path, "--processes", count, "--report", page) for count in (1, 3))
    assert (one["processes"], three["processes"]) == (1, 3)
    assert found_of(one) == found_of(three)
    assert page.read_text().count("<svg") == 3
    assert {item["condition"] for item in one["episodes"]} == {"unchanging:status"}
    assert len(one["episodes"]) >= 5


def test_parameters_to_try_are_shown_beside_those_in_use(marked: Lived, tmp_path: Path):
    (tmp_path / "try.toml").write_text(NO_STUCK)
    page = tmp_path / "try.html"
    more = ("--compare", "--kind", "streetlight", "--config", tmp_path / "try.toml", "--report", page)
    report = detect(marked.database, tmp_path, *more)
    assert {item["key"] for item in report["changed"]} >= {"streetlight.voltage.stuck.repeats"}
    for row in report["table"]:
        stuck = (row["property"], row["detector"]) == ("voltage", "stuck")
        assert row["config"]["alone"] == 0
        assert (row["both"] == 0, row["profiles"]["alone"] > 0) == (stuck, stuck)
    assert {item["in"] for item in report["episodes"] if item["condition"] == "stuck:voltage"} == {"profiles"}
    (real, false) = report["marks"]
    assert (real["cause"], real["found"]["profiles"]) == ("real", "same")
    assert real["found"]["config"] in (None, "other")
    assert (false["cause"], false["found"]) == ("false", {"profiles": None, "config": None})
    text = page.read_text()
    assert "전압" in text and "Voltage" in text and "현재 프로필에만" in text
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|url\(", text)
    pictures = re.findall(r"<svg.*?</svg>", text)
    assert len(pictures) >= len(report["table"])
    for picture in pictures:
        lines = [item for item in ElementTree.fromstring(picture).iter("path") if item.get("class") == "line"]
        assert lines and len(lines[0].get("d", "")) > 100
        assert "nan" not in picture and "inf" not in picture


def test_a_span_a_kind_and_a_municipality_are_all_that_is_read(marked: Lived, tmp_path: Path):
    end = START + timedelta(hours=2)
    report = detect(marked.database, tmp_path, "--to", end, "--kind", "waste_container", "--municipality", "41280")
    count = (
        "SELECT count(*) FROM observation_waste_container JOIN device USING (device_id) "
        "WHERE observed_at < %s AND municipality = '41280'"
    )
    assert report["observations"] == marked.database.rows(count, end)[0][0] > 0
    assert {item["municipality"] for item in report["episodes"]} <= {"41280"}


def test_detectors_learn_in_the_warm_up_and_what_begins_there_is_not_reported(marked: Lived, tmp_path: Path):
    later = START + timedelta(hours=4)
    whole = marked.report
    warm = detect(marked.database, tmp_path, "--from", later, "--warm-up", 4 / 24)
    assert warm["observations"] == whole["observations"]
    assert warm["episodes"] == [item for item in whole["episodes"] if datetime.fromisoformat(item["began_at"]) >= later]
    assert 0 < len(warm["episodes"]) < len(whole["episodes"])
    assert sum(warm["device_days"].values()) < 0.7 * sum(whole["device_days"].values())


def test_commands_of_the_guide_run_as_written(marked: Lived, tmp_path: Path):
    (tmp_path / "dure").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/dure.py" "$@"\n')
    (tmp_path / "dure").chmod(0o755)
    text = (ROOT / "docs" / "guides" / "tuning-detectors.md").read_text(encoding="utf-8")
    script = "set -eu\n" + "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S))
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={**os.environ, **marked.database.environment, "PATH": path},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "stuck:voltage" in done.stdout
    assert re.search(r"[\d,]+ observations of [\d,]+ devices, [\d.]+ device-days", done.stdout)
    assert "config: 1 of 1 marked false would vanish" in done.stdout
    assert (tmp_path / "try.html").stat().st_size > 10_000


def test_what_cannot_be_meant_is_refused(marked: Lived, tmp_path: Path):
    (tmp_path / "try.toml").write_text("[streetlight.voltage.stuck]\nrepeats = 1\n")
    for more, words in (
        (("--kind", "bin"), "no kind 'bin'"),
        (("--municipality", "99999"), "no municipality '99999'; there are 41280"),
        (("--from", "2026-11-02", "--to", "2026-11-01"), "is not before --to"),
        (("--compare",), "--compare wants --config"),
        (("--report", tmp_path / "x.pdf"), "a report is .json or .html"),
        (("--report", tmp_path / "no" / "x.json"), "no folder"),
        (("--config", tmp_path / "try.toml"), "try.toml: streetlight.voltage.stuck.repeats = 1: must be at least 2"),
        (("--processes", 0), "--processes must be at least 1"),
    ):
        assert words in run(marked.database, cli.main, *more, expect=2)
    with schema(marked.database.url) as bare:
        assert "run `dure migrate`" in run(bare, cli.main, "--quiet", expect=2)


@pytest.fixture(scope="module")
def big(postgres_url: str) -> Iterator[Database]:
    """A day of one town's lamps without an agent, more than a million rows."""
    with schema(postgres_url) as found:
        settle(found, {"municipalities": [{"code": "41280", "name": {}}]})
        found.rows(
            "INSERT INTO device (municipality, name, kind) SELECT '41280', 'sl-' || g, 'streetlight' "
            "FROM generate_series(1, %s) g",
            BIG_DEVICES,
        )
        if not found.rows("SELECT 1 FROM schema_engine WHERE engine = 'timescale'"):
            found.rows("CREATE TABLE observation_streetlight_all PARTITION OF observation_streetlight DEFAULT")
        found.rows(
            "INSERT INTO observation_streetlight (device_id, observed_at, power_state, voltage) "
            "SELECT d.device_id, t, 1, CASE WHEN extract(hour FROM t)::int %% 2 = 0 AND d.device_id %% 10 = 0 THEN 220 "
            "ELSE round((220 + sin(d.device_id * 7 + extract(epoch FROM t) / 30))::numeric, 2) END "
            "FROM generate_series(%s::timestamptz, %s::timestamptz, %s * interval '1 s') t, device d",
            START, START + timedelta(days=1, seconds=-1), BIG_PERIOD_S,
        )  # fmt: skip
        yield found


def command(database: Database, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "dure.py", "detect", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **database.environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background has it ignored
    )  # fmt: skip


@pytest.mark.slow
def test_memory_stays_flat_over_any_span(big: Database, tmp_path: Path):
    def peak_kb(*more: object) -> int:
        process = command(big, "--from", START, "--quiet", "--report", tmp_path / "r.json", *more)
        assert process.stdout is not None and process.stderr is not None
        said = process.stdout.read() + process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)  # of the greatest of its processes
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, said
        return usage.ru_maxrss

    little = peak_kb("--to", START + timedelta(hours=2))
    much = peak_kb()
    report = json.loads((tmp_path / "r.json").read_bytes())
    assert report["observations"] == BIG_DEVICES * 86400 // BIG_PERIOD_S
    assert len(report["episodes"]) > 400
    assert much - little < 25_000, (little, much)


@pytest.mark.slow
def test_an_interruption_leaves_a_partial_report_that_says_so(big: Database, tmp_path: Path):
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    process = command(big, "--from", START, "--report", report, "--report", page)
    reading = (
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'dure detect' AND state = 'active' "
        "AND query LIKE 'COPY%observation_streetlight%'"
    )
    wait_for(lambda: big.rows(reading), 60, 0.02)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "PARTIAL" in said
    assert "interrupted" in errors
    found = json.loads(report.read_bytes())
    assert found["complete"] is False
    assert found["observations"] < BIG_DEVICES * 86400 // BIG_PERIOD_S
    assert "부분 결과" in page.read_text()
    assert not big.rows("SELECT 1 FROM pg_stat_activity WHERE application_name = 'dure detect'")
