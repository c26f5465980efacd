"""The benchmark of the wire at its smallest, and that it notices an encoding which loses something."""

import argparse

import pytest

from tests.benchmarks import encodings, report, wire


def options(tmp_path, *arguments):
    parser = argparse.ArgumentParser()
    wire.add_arguments(parser)
    return parser.parse_args(["--batches", "2", "--devices", "40", "--recordings", str(tmp_path), *arguments])


def test_every_kind_is_compared_with_every_encoding(tmp_path):
    cases = wire.run(options(tmp_path))
    assert {case.case for case in cases} == {
        f"dure, simulated, {kind}"
        for kind in ("streetlight", "waste_container", "parking_spot", "off_street_parking", "mix")
    }
    assert {case.baseline for case in cases} >= {"SenML JSON", "SenML CBOR", "Sparkplug B", "Sparkplug B + zstd"}
    assert all(case.value < 20 and case.unit == "B/observation" for case in cases)


def test_an_encoding_that_loses_a_value_is_noticed(tmp_path, monkeypatch):
    def forgetful(data, profiles, known):
        found = encodings.from_sparkplug(data, profiles, known)
        found[0][2].popitem()
        return found

    lossy = encodings.ENCODINGS[2]._replace(decode=forgetful)
    monkeypatch.setattr(wire, "ENCODINGS", (*encodings.ENCODINGS[:2], lossy))
    with pytest.raises(report.Wrong, match="Sparkplug B"):
        wire.run(options(tmp_path))


def test_cbor_is_as_its_specification_shows():
    # RFC 8949, appendix A
    examples = {
        "00": 0, "1903e8": 1000, "3863": -100, "6449455446": "IETF", "83010203": [1, 2, 3], "a201020304": {1: 2, 3: 4},
        "fb3ff199999999999a": 1.1, "1b000000e8d4a51000": 1000000000000,
    }  # fmt: skip
    for text, value in examples.items():
        assert encodings.cbor(value).hex() == text
        assert encodings.from_cbor(bytes.fromhex(text), 0) == (value, len(text) // 2)


def test_protocol_buffers_are_as_their_specification_shows():
    assert encodings._varint_field(1, 150).hex() == "089601"
    assert list(encodings._fields(bytes.fromhex("089601120774657374696e67"))) == [(1, 150), (2, b"testing")]
