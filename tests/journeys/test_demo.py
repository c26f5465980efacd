"""`dure demo` as users and their scripts run it: exit codes, the report, Ctrl-C, the second start, wrong options."""

import json
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.journeys.demo_process import DemoProcess, dure
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(240)
Make = Callable[..., DemoProcess]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    """A demo that was never run before, to its end."""
    options = ("--devices", "200", "--agents", "3", "--speed", "300")
    running = DemoProcess(tmp_path_factory.mktemp("first") / "state", *options)
    running.start("--for", "15s")
    assert running.wait_end() == 0, running.said()
    yield running
    running.end()


@pytest.mark.slow
def test_a_first_run_ends_with_0_and_an_account_that_adds_up(first: DemoProcess) -> None:
    report = first.report()
    assert report["generated"] == report["committed"] + report["quarantined"] > 5000
    assert (report["lost"], report["committed_twice"], report["drained"]) == (0, 0, True)
    assert report["observations_per_s"] > 0
    assert 0 < report["latency_p50_ms"] <= report["latency_p99_ms"]
    assert report["alarms_opened"] == sum(report["alarms_by_fault"].values()) > 0
    assert (
        report["received"]
        == report["committed"] + report["duplicates"] + report["out_of_order"] + (report["quarantined"])
    )
    assert "count(*)" in report["sources"]["committed"] and "sim account" in report["sources"]["generated"]
    assert not report["continued"]


@pytest.mark.slow
def test_the_faults_that_were_put_in_are_found_and_nothing_else_is(first: DemoProcess) -> None:
    report = first.report()
    assert report["faults"].keys() >= {"stuck", "out_of_range"}
    assert all(row["found"] + row["at_work"] == row["injected"] for row in report["faults"].values()), report["faults"]
    assert sum(row["found"] for row in report["faults"].values()) >= 3
    assert report["alarms_without_fault"] == 0


@pytest.mark.slow
def test_a_second_run_goes_on_with_the_same_city_and_a_signal_ends_it_in_order(first: DemoProcess) -> None:
    before = first.report()
    first.start()
    assert float(first.wait_ready()["seconds"]) < 30  # under 10 on a machine of one's own
    wait_for(lambda: first.get("/api/v1/status")["observations"]["committed"] > before["committed"], 30)
    first.signal(signal.SIGINT)
    assert first.wait_end() == 0, first.said()
    report = first.report()
    assert report["continued"] and "everything since" in first.said()
    assert report["generated"] == report["committed"] + report["quarantined"] > before["generated"]
    assert report["this_run"]["committed"] == report["committed"] - before["committed"]


@pytest.mark.slow
def test_while_one_runs_a_second_one_is_refused_and_passwords_are_for_the_owner_only(first: DemoProcess) -> None:
    first.start()
    first.wait_ready()
    refused = dure("demo", "--headless", "--port", "0", "--state", str(first.state), *first.arguments)
    assert refused.returncode == 2
    assert "another demo (process" in refused.stderr and "--state" in refused.stderr
    assert stat.S_IMODE((first.state / "accounts.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((first.state / "now.json").stat().st_mode) == 0o600
    port = json.loads((first.state / "now.json").read_text())["url"].rpartition(":")[2]
    taken = dure("demo", "--headless", "--port", port, "--state", str(first.state.parent / "other"))
    assert taken.returncode == 2 and f"cannot serve on port {port}" in taken.stderr
    first.signal(signal.SIGINT)
    wait_for(lambda: "stopping" in first.said(), 30)
    first.signal(signal.SIGINT)  # in a hurry
    code = first.wait_end()
    assert code == 130 or (code == 0 and "The account" in first.said())


@pytest.mark.slow
def test_another_wish_for_the_same_folder_is_refused_with_the_way_out(first: DemoProcess) -> None:
    refused = dure("demo", "--headless", "--port", "0", "--state", str(first.state), "--devices", "100")
    assert refused.returncode == 2
    assert "devices = 100" in refused.stderr and "200" in refused.stderr and "--fresh" in refused.stderr


def test_wrong_options_are_named_before_anything_starts(tmp_path: Path) -> None:
    def check(message: str, *arguments: str) -> None:
        refused = dure("demo", "--state", str(tmp_path / "state"), *arguments)
        assert refused.returncode == 2 and message in refused.stderr, refused.stderr
        assert not (tmp_path / "state").exists()

    check("'5 parsecs' is not a span", "--for", "5 parsecs")
    check("'0' is not a number from 1 up", "--devices", "0")
    check("cannot put 3 devices behind 4 agents", "--devices", "3", "--agents", "4")
    check("--map says how to read a recording", "--map", "garages_de")
    check("add --map", "--recording", __file__)
    check("no such file", "--recording", "no.csv", "--map", "garages_de")
    check("a recording brings its own devices", "--recording", __file__, "--map", "garages_de", "--devices", "5")
    check("invalid choice: 'rabbit'", "--broker", "rabbit")


def test_a_recording_that_cannot_be_read_stops_the_start_with_the_reason(tmp_path: Path) -> None:
    recording = tmp_path / "empty.csv"
    recording.write_text("nothing\n")
    refused = dure(
        "demo", "--headless", "--port", "0", "--state", str(tmp_path / "state"), "--recording", str(recording),
        "--map", "garages_de",
    )  # fmt: skip
    assert refused.returncode == 1
    assert "cannot sim-fleet" in refused.stderr and "empty.csv" in refused.stderr
