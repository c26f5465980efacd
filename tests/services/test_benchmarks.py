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
def test_ingest_is_measured_and_its_check_notices_every_seeded_break():
    cases = run("ingest", "--self-test")
    assert cases["breaks noticed"].value == 6
    assert cases["dure, batches of 100"].value > 1000
    assert cases["dure, batches of 100: ingest"].unit == "CPU us/observation"
