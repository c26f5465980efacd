"""Pictures of episodes: gaps stay gaps, peaks stay, bands and alarms are where they were, words are escaped."""

import re
from xml.etree import ElementTree

import msgspec
import numpy as np

from contracts import profiles
from ingest_service.replay import chart
from ingest_service.replay.episodes import Side

LIGHT = profiles.load(environ={})["streetlight"].properties
VOLTAGE, STATE = LIGHT["voltage"], LIGHT["power_state"]
MINUTE_MS = 60_000


def picture(item, at_ms, column, *sides):
    text = chart.svg(item, at_ms, column, sides, 0, 1000 * MINUTE_MS)
    return text, ElementTree.fromstring(text)


def of_class(root, name):
    return [element for element in root.iter() if element.get("class") == name]


def minutes(n):
    return np.arange(n, dtype=np.int64) * MINUTE_MS


def test_a_line_is_not_drawn_over_a_gap_or_a_null():
    values = np.full(300, 220.0, np.float32)
    values[100] = np.nan
    at_ms = minutes(300)
    at_ms[200:] += 30 * MINUTE_MS
    _, root = picture(VOLTAGE, at_ms, values)
    (line,) = of_class(root, "line")
    assert line.get("d", "").count("M") == 3


def test_of_many_points_the_peaks_stay_and_so_do_gaps():
    values = np.sin(np.arange(50_000) / 50)
    values[31_234], values[40_001:40_100] = 9.0, np.nan
    at_ms, kept = chart.thinned(minutes(50_000), values)
    assert len(kept) <= 2 * chart.MOST_POINTS
    assert np.nanmax(kept) == 9.0
    assert np.isnan(kept).any()
    assert (np.diff(at_ms) > 0).all()
    few = chart.thinned(minutes(10), values[:10])
    assert np.array_equal(few[1], values[:10])


def test_the_band_and_each_alarm_are_where_they_were():
    side = Side(
        100 * MINUTE_MS, 300 * MINUTE_MS, 2, {"values": [300.0], "low": 187.0, "high": 253.0, "expected": 220.0}
    )
    other = Side(200 * MINUTE_MS, None, 2, {})
    _, root = picture(VOLTAGE, minutes(1000), np.linspace(180, 300, 1000).astype(np.float32), side, other)
    (band,), (first,), (second,) = (of_class(root, name) for name in ("band", "side0", "side1"))
    wide = chart.WIDTH - chart.LEFT - chart.RIGHT
    assert float(band.get("x", "")) == float(first.get("x", "")) == round(chart.LEFT + 0.1 * wide, 1)
    assert float(first.get("width", "")) == round(0.2 * wide, 1)
    assert float(second.get("width", "")) == round(0.8 * wide, 1)
    assert float(band.get("height", "")) > 40
    (expected,) = of_class(root, "expected")
    assert expected.get("d", "").startswith(f"M{chart.LEFT + 0.1 * wide:.1f} ")


def test_words_stand_beside_their_steps_in_both_languages_and_escaped():
    labels = {**STATE.value_labels, "off": {"en": "<off>", "ko": "소등"}}
    text, root = picture(
        msgspec.structs.replace(STATE, value_labels=labels), minutes(4), np.array([0, 1, -1, 1], np.int16),
        Side(0, None, 2, {"values": ["on"], "expected": "off"}),
    )  # fmt: skip
    assert "&lt;off&gt;" in text
    assert [element.text for element in of_class(root, "ko")] == ["소등", "점등", "감광", "기동 중"]
    (line,) = of_class(root, "line")
    assert re.fullmatch(r"M\S+ \S+h\.01H\S+V\S+M\S+ \S+h\.01", line.get("d", ""))


def test_a_picture_of_nothing_or_of_one_value_is_one():
    for values in (np.zeros(0, np.float32), np.array([220], np.float32), np.full(3, np.nan, np.float32)):
        text, _ = picture(VOLTAGE, minutes(len(values)), values, Side(0, None, 1, {"low": None, "high": 1e30}))
        assert "nan" not in text and "inf" not in text


def test_round_numbers_lie_between():
    for low, high in ((0.0, 1.0), (-3.2, 250.0), (219.91, 219.97), (0.0, 3e-9), (1e6, 4e6)):
        numbers = chart.round_numbers(low, high)
        assert 3 <= len(numbers) <= 8, numbers
        assert all(low <= number <= high for number in numbers)
