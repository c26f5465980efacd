"""Profiles: the shipped ones hold, and every wrong key is named with file, key and value."""

import subprocess
import sys
from pathlib import Path

import pytest

from contracts import profiles
from contracts.profiles import ProfileError

ROOT = Path(__file__).parents[3]
GOOD = """\
kind = "air_quality"
ngsi_type = "AirQualityObserved"
label = { en = "Air quality", ko = "대기질" }
report_period_s = 60
display = { headline = "pm25", state = "level" }

[properties.pm25]
type = "number"
ngsi = "pm25"
label = { en = "PM2.5", ko = "초미세먼지" }
unit = "ug/m3"
unit_code = "GQ"
plausible = [0.0, 2000.0]
detectors.out_of_range = { high = 500.0 }
detectors.stuck = { repeats = 30 }
detectors.spike = { threshold = 12.0 }
detectors.novelty = { threshold = 0.8, clear_after = 6 }

[properties.level]
type = "enum"
ngsi = "level"
label = { en = "Level", ko = "단계" }
values = ["good", "bad"]
value_labels.good = { en = "Good", ko = "좋음" }
"""


def written(folder, text, name="air_quality.toml"):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shipped_kinds_load():
    kinds = profiles.load(environ={})
    assert list(kinds) == [
        "off_street_parking",
        "parking_spot",
        "streetlight",
        "streetlight_control_cabinet",
        "waste_container",
    ]
    light = kinds["streetlight"]
    assert light.properties["power_state"].values == ("off", "on", "low", "booting_up")
    assert light.properties["voltage"].detectors.out_of_range.high == 253.0
    assert [item.name for item in light.numeric] == ["illuminance_level", "power_consumption", "voltage", "current"]


def test_every_quantity_of_a_shipped_kind_has_a_unit_and_every_value_a_label():
    for profile in profiles.load(environ={}).values():
        for item in profile.properties.values():
            assert not item.numeric or (item.unit and item.unit_code), (profile.kind, item.name)
            assert set(item.value_labels) == set(item.values), (profile.kind, item.name)


def test_every_detector_has_a_label_in_both_languages():
    detectors = set(profiles.Detectors.__struct_fields__)
    assert detectors <= set(profiles.CONDITIONS)
    assert all(set(label) == {"en", "ko"} for label in profiles.CONDITIONS.values())
    assert set(profiles.CONDITIONS) - set(profiles.DETECTOR_CODES) == {
        "agent_silent",
        "counter_reset",
        "counter_restart",
    }
    assert sorted(profiles.DETECTOR_CODES.values()) == list(range(1, len(profiles.DETECTOR_CODES) + 1))


def test_a_new_kind_is_one_file_in_a_folder_of_its_own(tmp_path):
    written(tmp_path, GOOD)
    kinds = profiles.load(environ={"DURE_PROFILES": str(tmp_path)})
    assert kinds["air_quality"].properties["pm25"].name == "pm25"
    assert "streetlight" in kinds


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('kind = "air_quality"', 'kind = "air-quality"', "kind = 'air-quality'"),
        ('kind = "air_quality"', 'kind = "water_quality"', "kind = 'water_quality'"),
        ("report_period_s = 60", "report_period_s = 0", "report_period_s = 0"),
        ("report_period_s = 60", 'report_period_s = "60"', "report_period_s = '60'"),
        ("report_period_s = 60", "", "report_period_s = None"),
        ("report_period_s = 60", "report_period_s = 60\nsilent_after_periods = 0", "silent_after_periods = 0"),
        ("report_period_s = 60", "report_period_s = 60\nreport_perod_s = 6", "report_perod_s = 6"),
        ("report_period_s = 60", 'report_period_s = 60\nsymbol = "tree"', "symbol = 'tree'"),
        ("report_period_s = 60", 'report_period_s = 60\nrollups = ["day"]', "'day'"),
        (
            'label = { en = "Air quality", ko = "대기질" }',
            'label = { en = "Air quality" }',
            "label = {'en': 'Air quality'}",
        ),
        ('headline = "pm25"', 'headline = "pm10"', "display.headline = 'pm10'"),
        ('state = "level"', 'state = "pm25"', "display.state = 'pm25'"),
        ('type = "number"', 'type = "float"', "properties.pm25.type = 'float'"),
        ("plausible = [0.0, 2000.0]", "plausible = [2.0, 2.0]", "properties.pm25.plausible = [2.0, 2.0]"),
        ("plausible = [0.0, 2000.0]", "", "properties.pm25.plausible = None"),
        ("plausible = [0.0, 2000.0]", "plausible = [0.0]", "properties.pm25.plausible = [0.0]"),
        ("{ high = 500.0 }", "{}", "properties.pm25.detectors.out_of_range = {}"),
        ("{ high = 500.0 }", "{ low = 9.0, high = 1.0 }", "properties.pm25.detectors.out_of_range = [9.0, 1.0]"),
        ("{ high = 500.0 }", "{ hihg = 500.0 }", "properties.pm25.detectors.out_of_range.hihg = 500.0"),
        ("{ high = 500.0 }", '{ high = "x" }', "properties.pm25.detectors.out_of_range.high = 'x'"),
        ("repeats = 30", "repeats = 1", "properties.pm25.detectors.stuck.repeats = 1"),
        ("threshold = 12.0", "threshold = 0.0", "properties.pm25.detectors.spike.threshold = 0.0"),
        ("threshold = 0.8", "threshold = 1.0", "properties.pm25.detectors.novelty.threshold = 1.0"),
        ("clear_after = 6", "clear_after = 0", "properties.pm25.detectors.novelty.clear_after = 0"),
        ("{ threshold = 12.0 }", '{ }\ndetectors.daylight = { lit = ["x"] }', "properties.pm25.detectors = 'number'"),
        ("{ threshold = 12.0 }", "{ }\ndetectors.error_value = { values = [] }", "error_value.values = []"),
        (
            "{ threshold = 12.0 }",
            "{ }\ndetectors.error_value = { values = [0.0], clear_after_s = 0 }",
            "error_value.clear_after_s = 0",
        ),
        (
            "{ threshold = 12.0 }",
            '{ }\ndetectors.unchanging = { ignore = ["0"] }',
            "properties.pm25.detectors.unchanging.ignore = '0'",
        ),
        ("{ threshold = 12.0 }", "{ }\ndetectors.backwards = { }", "properties.pm25.detectors = 'pm25'"),
        (
            "{ threshold = 12.0 }",
            "{ }\ndetectors.backwards = { modulus = 0.0 }",
            "pm25.detectors.backwards.modulus = 0.0",
        ),
        ("value_labels.good", "detectors.stuck = {}\nvalue_labels.good", "properties.level.detectors = 'enum'"),
        (
            "value_labels.good",
            'detectors.unchanging = { unknown = ["x"] }\nvalue_labels.good',
            "unchanging.unknown = 'x'",
        ),
        ("value_labels.good", 'detectors.daylight = { lit = ["x"] }\nvalue_labels.good', "daylight.lit = 'x'"),
        (
            "value_labels.good",
            'detectors.daylight = { lit = ["good"], lit_above = { level = 1.0 } }\nvalue_labels.good',
            "properties.level.detectors.daylight.lit_above = 'level'",
        ),
        ('values = ["good", "bad"]', "values = []", "properties.level.values = []"),
        ('values = ["good", "bad"]', 'values = ["good", "good"]', "properties.level.values = ['good', 'good']"),
        ("value_labels.good", "value_labels.best", "properties.level.value_labels = 'best'"),
        ("[properties.pm25]", "[properties.PM25]", "properties.PM25 = 'PM25'"),
        ("[properties.pm25]", "[properties.bucket]", "properties.bucket = 'bucket'"),
        ("[properties.pm25]", "[properties.limit]", "properties.limit = 'limit'"),
    ],
)
def test_a_wrong_key_is_named_with_file_key_and_value(tmp_path, old, new, named):
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    if new.startswith("[properties"):
        text = text.replace('headline = "pm25"', f'headline = "{new[12:-1]}"')
    file = written(tmp_path, text)
    with pytest.raises(ProfileError) as caught:
        profiles.read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert named in str(caught.value)


def test_a_kind_whose_tables_names_would_be_cut_is_refused(tmp_path):
    kind = "a" * 33
    with pytest.raises(ProfileError, match="at most 32 letters"):
        profiles.read(written(tmp_path, GOOD.replace('"air_quality"', f'"{kind}"'), f"{kind}.toml"))


def test_files_that_cannot_be_read_are_named(tmp_path):
    def check(file, words):
        with pytest.raises(ProfileError) as caught:
            profiles.read(file)
        assert str(caught.value).startswith(f"{file}: {words}")

    check(tmp_path / "missing.toml", "cannot be read: No such file")
    check(written(tmp_path, "kind = ", "broken.toml"), "not TOML: ")
    (tmp_path / "bytes.toml").write_bytes(b"kind = '\xff'")
    check(tmp_path / "bytes.toml", "not TOML: ")
    with pytest.raises(ProfileError, match="no such folder"):
        profiles.load(environ={"DURE_PROFILES": str(tmp_path / "nowhere")})


def test_a_kind_defined_twice_is_refused(tmp_path):
    source = (profiles.SHIPPED / "streetlight.toml").read_text()
    file = written(tmp_path, source, "streetlight.toml")
    with pytest.raises(ProfileError) as caught:
        profiles.load(environ={"DURE_PROFILES": str(tmp_path)})
    assert str(caught.value) == f"{file}: kind = 'streetlight': defined twice"


def test_dure_check_prints_what_is_wrong_and_exits_2(tmp_path):
    good = written(tmp_path, GOOD)
    bad = written(tmp_path, GOOD.replace("report_period_s = 60", "report_period_s = 0"), "bad.toml")
    config = written(tmp_path, '[database]\nurl = "postgresql://"\nurll = 1\n', "config.toml")

    def check(*files):
        return subprocess.run(
            [sys.executable, "dure.py", "check", *files], cwd=ROOT, capture_output=True, text=True, timeout=60
        )

    fine = check(good)
    assert fine.returncode == 0
    assert f"{good}: profile of air_quality: good" in fine.stdout
    wrong = check(good, bad, config)
    assert wrong.returncode == 2
    assert f"{bad}: kind = 'air_quality'" in wrong.stderr
    assert f"{config}: [database] urll = 1: unknown key" in wrong.stderr
