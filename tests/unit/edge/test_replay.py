"""The driver `replay`: pace, resumption, and lines that are no observations."""

import gzip
import json

from edge.drivers.replay import Replay

LINES = [
    {"kind": "k", "device": "a", "observed_at": 1000, "v": 1},
    {"kind": "k", "device": "b", "observed_at": 2000, "w": 2},
    {"kind": "l", "device": "c", "observed_at": 6000},
]


def recording(path, lines=LINES):
    text = "".join(json.dumps(line) + "\n" if isinstance(line, dict) else line + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def played(driver, now_ms, wall_ms=0):
    reading = driver.poll(now_ms, wall_ms)
    return [device for kind in reading.groups.values() for device in kind["device"]] if reading else []


def test_plays_at_its_speed_and_ends(tmp_path):
    for name in ("r.jsonl", "r.jsonl.gz"):
        driver = Replay(recording(tmp_path / name), speed=10)
        driver.resume(0)
        assert played(driver, 100) == ["a"]
        assert driver.due_ms(100) == 200
        assert played(driver, 199) == []
        assert played(driver, 200) == ["b"]
        assert driver.clock_ms(77) == 2000
        assert not driver.ended
        assert played(driver, 600) == ["c"]
        assert driver.ended


def test_goes_on_behind_the_line_stored_last(tmp_path):
    driver = Replay(recording(tmp_path / "r.jsonl"), speed=0)
    driver.resume(1)
    reading = driver.poll(0, 0)
    assert reading.last == 3
    assert reading.groups["k"] == {"device": ["b"], "observed_at": [2000], "w": [2]}


def test_as_fast_as_it_is_taken_joins_columns(tmp_path):
    driver = Replay(recording(tmp_path / "r.jsonl"), speed=0)
    reading = driver.poll(0, 0)
    assert reading.groups["k"] == {"device": ["a", "b"], "observed_at": [1000, 2000], "v": [1, None], "w": [None, 2]}
    assert driver.ended


def test_times_can_be_shifted_to_now(tmp_path):
    driver = Replay(recording(tmp_path / "r.jsonl"), speed=0, times="shifted")
    reading = driver.poll(0, 1_000_000)
    assert reading.groups["k"]["observed_at"] == [1_000_000, 1_001_000]
    assert driver.clock_ms(1_000_123) == 1_000_123


def test_torn_lines_keep_their_number_and_stop_nothing(tmp_path):
    driver = Replay(recording(tmp_path / "r.jsonl", ["{torn", LINES[0], "[]", '{"kind": 7, "device": 1}']), speed=0)
    reading = driver.poll(0, 0)
    assert reading.last == 4
    assert reading.groups["k"]["device"] == ["a"]


def test_missing_recording_is_waited_for(tmp_path):
    driver = Replay(str(tmp_path / "r.jsonl"), speed=0)
    assert driver.poll(0, 0) is None
    assert driver.due_ms(0) > 0
    recording(tmp_path / "r.jsonl")
    assert played(driver, driver.due_ms(0)) == ["a", "b", "c"]
