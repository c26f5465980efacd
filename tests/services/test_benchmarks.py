"""The benchmarks still run: each at its smallest, with its checks on."""

import argparse
import importlib

import pytest

from tests.benchmarks import report


def run(name: str, *arguments: str) -> dict[str, report.Case]:
    """The cases of a benchmark, by name."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return {case.case: case for case in module.run(parser.parse_args(list(arguments)))}


@pytest.mark.slow
def test_ingest_is_measured_against_copy_and_every_row_is_checked():
    few = ("--outboxes", "20", "--devices", "1000", "--seconds", "0.5", "--rate", "20000")
    cases = run("ingest", "--only", "batches", *few)
    dure = cases["dure, batches of 100"]
    assert dure.value > 1000
    assert "20 outboxes, 1,000 devices" in dure.input


@pytest.mark.slow
def test_the_check_of_ingest_notices_every_seeded_break():
    assert run("ingest", "--self-test")["breaks noticed"].value == 6
