"""docs/guides/first-agent.md does what it says: its commands run as written against a platform of real processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.database_fixture import Database
from tests.services.broker_fixture import ROOT, RunningBroker, mosquitto_broker, nats_broker

__all__ = ["mosquitto_broker", "nats_broker"]  # fixtures

GUIDE = ROOT / "docs" / "guides" / "first-agent.md"
NAME, PASSWORD = "guide", "a-long-enough-password"


def blocks(info: str) -> list[str]:
    """Fenced blocks of the guide whose language line is exactly this."""
    return re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)


def dure(*arguments: object, environment: dict[str, str], given: str | None = None) -> None:
    command = [sys.executable, str(ROOT / "dure.py"), *map(str, arguments)]
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=60, text=True, input=given)


def serve(name: str, *arguments: object, environment: dict[str, str]) -> tuple[subprocess.Popen[str], str]:
    """Start a service; its process and its `ready` line."""
    command = [sys.executable, str(ROOT / "dure.py"), name, *map(str, arguments)]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready "), f"{name} did not start"
    return process, line


@pytest.mark.slow
def test_commands_of_the_guide_bring_an_observation_onto_the_map(database: Database, nats_broker, tmp_path):
    environment = {**database.environment, **services(nats_broker)}
    dure("migrate", environment=environment)
    account = ("api", "add-account", "--name", NAME, "--role", "admin", "--password-file", "-")
    dure(*account, environment=environment, given=PASSWORD + "\n")
    ingest, _ = serve("ingest", environment=environment)
    api, ready = serve("api", "--port", 0, environment={**environment, "DURE_API_MAP_MAX_AGE_S": "0"})
    try:
        box = tmp_path / "checkout"
        box.mkdir()
        (box / "run").write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" "{ROOT}/dure.py" "$@"\n')
        (box / "run").chmod(0o755)
        script = "set -eu\n" + "\n".join(blocks("sh"))
        url = re.search(r"url=(\S+)", ready)
        assert url is not None
        given = {
            **environment,
            "STATE": "unused: both are given",
            "BROKER_STATE": str(nats_broker.state),
            "API": url[1].rstrip("/"),
            "DURE_NAME": NAME,
            "DURE_PASSWORD": PASSWORD,
        }
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=box,
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"waiting": 0' in done.stdout
        shown = done.stdout.strip().splitlines()[-1]
        assert '"power_consumption":61.5' in shown, shown
        assert '"state":"ok"' in shown, shown
    finally:
        for process in (api, ingest):
            process.terminate()
            assert process.wait(20) == 0


def services(broker: RunningBroker) -> dict[str, str]:
    return {
        "DURE_INGEST_BROKER_FILE": str(broker.file_of("ingest")),
        "DURE_API_BROKER_FILE": str(broker.file_of("api")),
    }


def test_files_that_the_guide_installs_exist():
    commands = "\n".join(blocks("sh root"))
    named = re.findall(r"(?:deploy|requirements)/\S+", commands)
    assert len(named) == 3
    for path in named:
        assert Path(ROOT, path).is_file(), path


def test_log_words_of_the_guide_are_those_of_the_agent():
    """The table of troubles names events; each is one that the code can log."""
    rows = re.findall(r"^\| `(\w+)", GUIDE.read_text(encoding="utf-8"), re.M)
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "edge").rglob("*.py"))
    assert len(rows) >= 7
    for event in rows:
        assert f'"{event}"' in code, event
