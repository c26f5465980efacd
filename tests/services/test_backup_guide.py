"""docs/guides/backup.md does what it says: its commands run as written on a deployment with observations in it."""

import os
import re
import subprocess
import sys

from tests.database_fixture import Database
from tests.services.broker_fixture import ROOT, nats_broker
from tests.services.ingest_fixture import settle

__all__ = ["nats_broker"]  # fixture

GUIDE = ROOT / "docs" / "guides" / "backup.md"


def test_commands_of_the_guide_save_restore_export_and_import(database: Database, nats_broker, tmp_path):
    settle(database)
    if not database.rows("SELECT 1 FROM schema_engine WHERE engine = 'timescale'"):  # an operator's own partition
        database.rows("CREATE TABLE observation_streetlight_all PARTITION OF observation_streetlight DEFAULT")
    database.rows(
        "INSERT INTO observation_streetlight (device_id, observed_at, power_state, voltage) SELECT device_id, "
        "timestamptz '2026-05-29Z' + t * interval '1 min', 1, 220.5 FROM generate_series(1, 10) t, device "
        "WHERE kind = 'streetlight'"
    )
    (tmp_path / "run").write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" "{ROOT}/dure.py" "$@"\n')
    (tmp_path / "run").chmod(0o755)
    text = GUIDE.read_text(encoding="utf-8")
    script = "set -eu\n" + "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S))
    names = {
        name: f"{database.schema}_{name}" for name in ("rehearsal", "copy")
    }  # the server is shared with other tests
    for name, own in names.items():
        assert f"DURE_DATABASE_SCHEMA={name}" in script
        script = script.replace(f"DURE_DATABASE_SCHEMA={name}", f"DURE_DATABASE_SCHEMA={own}")
    given = {**database.environment, "STATE": "unused: both are given", "BROKER_STATE": str(nats_broker.state)}
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path, env={**os.environ, **given}, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        observations = 23 * 10
        assert f"{observations} observations and " in done.stdout
        assert f'"committed": {observations},' in done.stdout
        assert "41280,sl-0,2026-05-29T00:01:00.000Z,on,,,220.5," in done.stdout
        assert [line for line in done.stdout.splitlines() if line.startswith("stored ")] == [
            f"stored {observations}, stored by an earlier run 0, present 0, refused 0",
            f"stored 0, stored by an earlier run 0, present {observations}, refused 0",
            f"stored 0, stored by an earlier run {observations}, present 0, refused 0",
        ]
        assert (tmp_path / "rehearsal" / "broker" / "registry.json").is_file()
    finally:
        for own in names.values():
            database.rows(f"DROP SCHEMA IF EXISTS {own} CASCADE")


def test_words_of_the_guide_are_those_of_the_commands():
    """The table of troubles quotes messages; each is one that the code can say."""
    rows = re.findall(r"^\| `([^`]+)`", GUIDE.read_text(encoding="utf-8"), re.M)
    folders = (ROOT / "ingest_service" / "lifecycle", ROOT / "ingest_service" / "store")
    code = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.py"))
    code = re.sub(r'"\n\s+f?"', "", code)  # strings that go on in the next line
    assert len(rows) >= 7
    for words in rows:
        assert words in code, words
