"""The benchmarks still run: each at its smallest, with its checks on."""

import argparse
import importlib
import os
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.asking import ROOT
from tests.database_fixture import TIMESCALE_URL
from tests.waiting import wait_for


def run(name: str, *arguments: str) -> dict[str, report.Case]:
    """The cases of a benchmark, by name."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return {case.case: case for case in module.run(parser.parse_args(list(arguments)))}


@pytest.mark.slow
def test_ingest_is_measured_and_its_check_notices_every_seeded_break():
    cases = run("ingest", "--self-test")
    assert cases["breaks noticed"].value == 6
    assert cases["dure, batches of 100"].value > 0
    assert cases["dure, batches of 100: ingest"].unit == "CPU us/observation"


@pytest.mark.slow
def test_latency_is_measured_with_a_load_and_a_real_agent():
    few = ("--rate", "1000", "--outboxes", "10", "--devices", "200", "--agents", "1", "--agent-devices", "300")
    cases = run("latency", *few, "--seconds", "3")
    assert 0 < cases["sealed to committed, p50"].value < 60_000
    assert 0 < cases["sensor to live stream, dure edge, p50"].value < 60_000
    assert cases["bare commit, p50"].value > 0


@pytest.mark.slow
def test_storage_is_measured_and_closed_observations_are_small():
    cases = run("storage", "--outboxes", "2", "--hours", "6", "--peer-rows", "5000")
    assert cases["PostgreSQL: streetlight"].value <= 75
    assert cases["PostgreSQL: of it indexes"].value > 0
    assert cases["PostgreSQL: all kinds"].ratio < 0.25
    if TIMESCALE_URL:
        assert cases["TimescaleDB: streetlight"].value <= 12
        assert cases["TimescaleDB: of it numbers"].value > 0


@pytest.mark.slow
def test_alarms_are_measured_and_a_storm_is_one_alarm():
    cases = run("alarms", "--devices", "3000", "--flushes", "3")
    assert cases["a flush without changes"].value > 0
    assert cases["storm"].ratio is not None
    assert cases["its end"].value > 0


def started_by(mark: str) -> list[str]:
    """Command lines of the processes that inherited this variable."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.slow
def test_a_benchmark_that_is_ended_takes_what_it_started_along(tmp_path):
    mark = f"DURE_TEST_MARK={uuid.uuid4()}"
    few = ("--only", "batches", "--outboxes", "10", "--devices", "200", "--seconds", "120")
    name, value = mark.split("=")
    with (tmp_path / "words").open("w") as words:
        bench = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks", "ingest", *few],
            cwd=ROOT, env={**os.environ, name: value}, stdout=words, stderr=words,
        )  # fmt: skip
    wait_for(lambda: any("dure.py ingest" in line for line in started_by(mark)), 60)
    assert any("nats-server" in line for line in started_by(mark))
    bench.send_signal(signal.SIGTERM)
    assert bench.wait(60) == 130, (tmp_path / "words").read_text()
    wait_for(lambda: started_by(mark) == [], 10)
