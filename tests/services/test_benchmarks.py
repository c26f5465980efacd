"""The benchmarks still run: each at its smallest, with its checks on."""

import argparse
import importlib

import pytest

from tests.benchmarks import report
from tests.database_fixture import TIMESCALE_URL


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
