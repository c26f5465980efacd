"""The systemd unit: systemd itself finds nothing wrong with it, and it stays locked in."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "dure-edge.service"
ANALYZE = shutil.which("systemd-analyze")
wants_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is missing: apt-get install systemd")


def test_unit_gives_the_agent_its_own_room_and_nothing_else():
    settings = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"[A-Z]\w+=", line))
    assert settings["ExecStart"] == "/opt/dure/bin/dure edge --config /etc/dure/edge.toml"
    assert settings["StateDirectory"] == "dure", "the default of `outbox` is /var/lib/dure/outbox.db"
    for key, value in {
        "DynamicUser": "yes",
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "Restart": "always",
        "StartLimitIntervalSec": "0",
    }.items():
        assert settings[key] == value, key
    assert "MemoryMax" in settings


@wants_systemd
def test_systemd_accepts_the_unit(tmp_path):
    dure = tmp_path / "dure"
    dure.write_text("#!/bin/sh\n")
    dure.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/dure/bin/dure", str(dure)))
    done = subprocess.run([ANALYZE, "verify", str(copy)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert UNIT.name not in done.stderr


@wants_systemd
def test_exposure_is_low():
    done = subprocess.run([ANALYZE, "security", "--offline=true", str(UNIT)], capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip("this systemd cannot judge a file offline")
    assert float(found[1]) <= 2.0
