"""Settings of the agent: the annotated sample shows each with its default, and what clashes is refused by name."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from contracts import config
from contracts.config import ConfigError
from edge.settings import Settings, read_broker

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "deploy" / "config" / "edge.toml"
REQUIRED = {
    "DURE_EDGE_MUNICIPALITY": "41280",
    "DURE_EDGE_AGENT": "pole-01",
    "DURE_EDGE_BROKER_FILE": "b.toml",
    "DURE_EDGE_DRIVER": "sim",
    "DURE_EDGE_SOURCE": "s.sock",
}


def load(**environ: str) -> Settings:
    return config.load(Settings, name="edge", file=None, environ={**REQUIRED, **environ})


def test_sample_shows_every_setting_with_its_default():
    text = SAMPLE.read_text(encoding="utf-8")
    uncommented = "\n".join(line.removeprefix("# ") if " = " in line else line for line in text.splitlines())
    shown = tomllib.loads(uncommented)["edge"]
    settings = {setting.key: setting for setting in config.settings_of(Settings, name="edge")}
    assert shown.keys() == settings.keys()
    for key, setting in settings.items():
        assert setting.description, key
        if not setting.required:
            assert shown[key] == setting.default, key


def test_sample_is_a_usable_configuration():
    settings = config.load(Settings, name="edge", file=SAMPLE, environ={})
    assert settings == load(DURE_EDGE_BROKER_FILE="/etc/dure/broker.toml", DURE_EDGE_SOURCE="/run/dure/source.sock")


def test_metered_links_wait_longer_unless_told():
    assert load().seal_after_ms == 1000
    assert load(DURE_EDGE_METERED="true").seal_after_ms == 30_000
    assert load(DURE_EDGE_METERED="true", DURE_EDGE_MAX_AGE_S="2").seal_after_ms == 2000


def test_what_cannot_be_used_is_named():
    def check(message: str, **environ: str) -> None:
        with pytest.raises(ConfigError, match=message):
            load(**environ)

    check("DURE_EDGE_MAX_BYTES = '5'", DURE_EDGE_MAX_BYTES="5")
    check("municipality = 'GO/YANG'", DURE_EDGE_MUNICIPALITY="GO/YANG")
    check(r"agent = 'pole\.01'", DURE_EDGE_AGENT="pole.01")
    check("DURE_EDGE_QOS", DURE_EDGE_QOS="2")
    check("cert_file", DURE_EDGE_CERT_FILE="c.pem")
    check("reconnect_max_s", DURE_EDGE_RECONNECT_MAX_S="0.5")
    check("DURE_EDGE_DRIVER", DURE_EDGE_DRIVER="toaster")


def test_broker_file_is_named_and_its_secret_is_not(tmp_path):
    file = tmp_path / "broker.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_broker(file)
    file.write_text('host = "h"\nport = 1883\nusername = "u"\npassword = "s3cret"\nclient_id = "c"\n')
    assert read_broker(file).port == 1883
    assert "s3cret" not in repr(read_broker(file))
    file.write_text(file.read_text().replace("1883", '"x"'))
    with pytest.raises(ConfigError, match=r"broker\.toml.*port"):
        read_broker(file)


def test_agent_imports_nothing_that_a_small_box_has_not():
    code = "import sys, edge.cli; print(sorted(m.split('.')[0] for m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for heavy in ("numpy", "numba", "psycopg", "fastapi", "pydantic", "asyncio"):
        assert f"'{heavy}'" not in loaded
    assert "'paho'" in loaded


def test_wrong_configuration_ends_before_any_socket_with_2(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text("[edge]\nmax_byte = 5\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "dure.py"), "edge", "--config", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "max_byte = 5: unknown key" in done.stderr
