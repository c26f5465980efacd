"""Parameters to try: what is taken over the profiles, and what is refused in which words."""

import re

import pytest

from contracts import profiles
from contracts.config import ConfigError
from ingest_service.replay import overrides

KINDS = profiles.load(environ={})


def read(tmp_path, text):
    file = tmp_path / "try.toml"
    file.write_text(text)
    return overrides.read(file, KINDS)


def test_keys_that_are_given_replace_those_of_the_profile_and_the_rest_stays(tmp_path):
    found = read(
        tmp_path,
        "[waste_container.filling_level.stuck]\nrepeats = 200\n[waste_container]\nsilent_after_periods = 6\n",
    )
    before = KINDS["waste_container"].properties["filling_level"].detectors.stuck
    after = found["waste_container"].properties["filling_level"].detectors.stuck
    assert before is not None and after is not None
    assert (after.repeats, after.ignore, after.severity) == (200, before.ignore, before.severity)
    assert found["waste_container"].silent_after_periods == 6
    assert found["streetlight"] == KINDS["streetlight"]
    assert list(overrides.differences(KINDS, found)) == [
        ("waste_container.silent_after_periods", 3, 6),
        ("waste_container.filling_level.stuck.repeats", before.repeats, 200),
    ]


def test_a_detector_is_added_with_its_defaults_or_taken_away(tmp_path):
    found = read(tmp_path, "[streetlight]\ncurrent.spike = true\ncurrent.stuck.repeats = 9\nvoltage.spike = false\n")
    properties = found["streetlight"].properties
    assert properties["current"].detectors.spike == profiles.Spike()
    assert properties["current"].detectors.stuck == profiles.Stuck(repeats=9)
    assert properties["voltage"].detectors.spike == profiles.Spike(on=False)
    assert KINDS["streetlight"].properties["voltage"].detectors.spike is not None


def test_what_cannot_be_used_is_refused_with_file_key_and_value(tmp_path):
    def check(text, words):
        with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/try.toml: {words}")):
            read(tmp_path, text)

    stuck = "waste_container.filling_level.stuck"
    check(f"[{stuck}]\nrepeats = 'many'", f"{stuck}.repeats = 'many': Expected `int`, got `str`")
    check(f"[{stuck}]\nrepeats = 1", f"{stuck}.repeats = 1: must be at least 2")
    check(f"[{stuck}]\nrepeat = 3", f"{stuck}.repeat = 3: no such key; known are on, repeats, ")
    check(f"[{stuck}]\nignore = ['x']", f"{stuck}.ignore.0 = 'x': Expected `float`, got `str`")
    check("[waste_container.filling_level.wobble]\n", "waste_container.filling_level.wobble = {}: no such detector")
    check("[waste_container.weight.stuck]\n", "waste_container.weight = {'stuck': {}}: no such property or key")
    check("[bin.filling_level.stuck]\n", "bin = {'filling_level': {'stuck': {}}}: no such kind; known are")
    check("[waste_container]\nreport_period_s = 5", "waste_container.report_period_s = 5: no such property or key")
    check("[waste_container]\nsilent_after_periods = 0", "waste_container.silent_after_periods = 0: must be at least 1")
    check("[waste_container]\nsilent_severity = 'loud'", "waste_container.silent_severity = 'loud': Invalid enum value")
    check("waste_container = 3", "waste_container = 3: not a table")
    check("[waste_container]\nfilling_level = 3", "waste_container.filling_level = 3: not a table")
    check("[streetlight.power_state.stuck]\n", "streetlight.power_state = 'enum': ")
    check("[waste", "not TOML: ")
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        overrides.read(tmp_path / "none.toml", KINDS)


def test_a_database_in_the_same_file_is_not_taken_for_a_kind(tmp_path):
    assert read(tmp_path, "[database]\nurl = 'postgresql://'\n") == KINDS
