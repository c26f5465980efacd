"""Configuration: the annotated sample shows every setting with its default, and what is wrong is named before any
socket opens.
"""

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from contracts import config
from ingest_service.settings import Database, Settings

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "deploy" / "config" / "ingest.toml"
SECTIONS = {"ingest": Settings, "database": Database}


def shown() -> dict[str, dict[str, object]]:
    """Every setting of the sample, those commented out as well."""
    return tomllib.loads(re.sub(r"(?m)^# ?(?=[a-z_]+ = )", "", SAMPLE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", SECTIONS)
def test_every_setting_appears_in_the_sample_with_its_default(name):
    found = shown()[name]
    settings = {setting.key: setting for setting in config.settings_of(SECTIONS[name], name=name)}
    assert list(found) == list(settings)
    for key, setting in settings.items():
        assert setting.required or found[key] == setting.default, key


def test_the_sample_is_a_good_configuration():
    for name, section in SECTIONS.items():
        config.load(section, name=name, file=SAMPLE, environ={})


def test_every_setting_is_described_in_the_sample():
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(# )?[a-z_]+ = ", line):
            assert lines[number - 1].startswith("# "), line


@pytest.fixture
def listener():
    """A socket that stands for broker and database: whoever connects to it is seen."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(0.05)
        yield found


def start(tmp_path, listener, *, ingest="", database="", credentials="", profile=None, **environ):
    port = listener.getsockname()[1]
    broker = tmp_path / "broker.toml"
    broker.write_text(
        credentials or f'host = "127.0.0.1"\nport = {port}\nusername = "ingest"\npassword = "x"\nclient_id = "ingest"\n'
    )
    file = tmp_path / "ingest.toml"
    url = f"postgresql://dure@127.0.0.1:{port}/dure"
    file.write_text(f'[ingest]\nbroker_file = "{broker}"\n{ingest}\n[database]\nurl = "{url}"\n{database}\n')
    if profile is not None:
        (tmp_path / "kinds").mkdir()
        (tmp_path / "kinds" / "buoy.toml").write_text(profile)
        environ["DURE_PROFILES"] = str(tmp_path / "kinds")
    done = subprocess.run(
        [sys.executable, "dure.py", "ingest", "--config", str(file)],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    with pytest.raises(TimeoutError):
        listener.accept()
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.replace(str(tmp_path), "DIR")


def test_what_is_wrong_is_named_with_file_key_and_value_before_any_socket_opens(tmp_path, listener):
    def check(message, **wrong):
        assert start(tmp_path, listener, **wrong) == (2, message + "\n")

    check("DIR/ingest.toml: [ingest] flush_wait_ms = 0: Expected `int` >= 1", ingest="flush_wait_ms = 0")
    check(
        "DIR/ingest.toml: [ingest] shards = '0-64': cannot read '0-64'; they run from 0 to 63", ingest='shards = "0-64"'
    )
    check("DIR/broker.toml: Expected `int`, got `str` - at `$.port`", credentials='host = "h"\nport = "no"\n')
    returned, said = start(tmp_path, listener, database="partition_hour = 6")
    assert returned == 2
    assert said.startswith("DIR/ingest.toml: [database] partition_hour = 6: unknown key; known are ")
    returned, said = start(tmp_path, listener, DURE_DATABASE_URL="no such thing")
    assert returned == 2
    assert said.startswith("DURE_DATABASE_URL: not a connection URL: ")
    returned, said = start(tmp_path, listener, profile='kind = "buoy"\nreport_period_s = "often"\n')
    assert returned == 2
    assert said.startswith("DIR/kinds/buoy.toml: report_period_s = 'often': ")
