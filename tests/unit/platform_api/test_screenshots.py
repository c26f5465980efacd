"""Where `dure screenshots` looks when nobody says where the city is."""

import json
from pathlib import Path

import pytest

from platform_api import screenshots_cli

ACCOUNTS = [
    {"name": "admin", "role": "admin", "password": "a", "municipality": None},
    {"name": "operator-41280", "role": "operator", "password": "b", "municipality": "41280"},
]
NOW = {"url": "http://127.0.0.1:8080", "accounts": ACCOUNTS}


def test_a_running_demo_says_where_it_is_and_who_may_sign_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screenshots_cli, "DEMOS", tmp_path)
    stopped, running = tmp_path / "a", tmp_path / "b"
    stopped.mkdir()
    running.mkdir()
    assert screenshots_cli.running_demo(None) is None
    (running / "now.json").write_text(json.dumps(NOW))
    found = screenshots_cli.running_demo(None)
    assert found is not None
    assert (found.url, next(iter(found.passwords.items()))) == ("http://127.0.0.1:8080", ("operator-41280", "b"))
    assert screenshots_cli.running_demo(stopped) is None


def test_without_a_demo_the_city_and_the_account_have_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screenshots_cli, "DEMOS", tmp_path)
    monkeypatch.setattr(screenshots_cli.importlib.util, "find_spec", lambda _: True)
    assert screenshots_cli.main(["--chromium", "/bin/true"]) == 1
    assert screenshots_cli.main(["--chromium", "/bin/true", "--url", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.count("say where the city is: --url and --account") == 2
