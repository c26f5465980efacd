"""What `./run bench detect` compares: batches in arrival order, detection that is truly off, peers left out."""

from contextlib import ExitStack
from itertools import islice

import numpy as np

from contracts.profiles import load
from ingest_service.columns import Block, empty_columns
from ingest_service.detection import journal
from ingest_service.detection.fleet import Fleet
from tests.benchmarks import detect


def block():
    """A bin that is far too hot."""
    profile = load(environ={})["waste_container"]
    columns = empty_columns(profile, 1)
    columns["temperature"][:] = 90.0
    one = np.zeros(1, np.int64)
    return Block("waste_container", one.astype(np.int32), one, one + 1, one.astype(np.int32), columns)


def test_a_step_has_every_series_once_in_an_order_of_its_own(monkeypatch):
    monkeypatch.setattr(detect, "FLUSH", 40)
    first, second, third, fourth = (series for series, _ in islice(detect.flushes(80, 60), 4))
    assert sorted([*first, *second]) == sorted([*third, *fourth]) == list(range(80))
    assert first.tolist() != third.tolist()


def test_without_detection_nothing_is_examined_and_without_memory_nothing_is_journalled():
    def found():
        fleet = Fleet(load(environ={}))
        findings = fleet.examine([block()], {})
        fleet.keep()
        return findings

    assert [finding.detector for finding in found()] == ["out_of_range"]
    with ExitStack() as patches:
        detect._no_detection(patches)
        assert found() == []
    nobody = np.zeros(1, np.int64)
    assert journal.entries([block()], {}, nobody, nobody)
    with ExitStack() as patches:
        detect._no_memory(patches)
        assert not journal.entries([block()], {}, nobody, nobody)


def test_a_peer_that_cannot_be_installed_is_left_out_with_a_word(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(detect.sys, "executable", "/bin/false")
    monkeypatch.setattr(detect, "ROOT", tmp_path)
    assert detect._installed(tmp_path, "river==0.0.0") is None
    assert "left out: river==0.0.0 cannot be installed" in capsys.readouterr().err
