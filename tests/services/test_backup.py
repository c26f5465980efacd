"""A whole deployment saved while it goes on, and put back: of one instant, complete or not at all, and agents fill in
what came after.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import profiles
from ingest_service import migrate_cli
from ingest_service.lifecycle import backup_cli, restore_cli
from ingest_service.settings import Database as Settings
from ingest_service.store import migrate, snapshot, whole_schema
from ingest_service.store import schema as tables
from ingest_service.store.connection import connect
from ingest_service.store.store import LOCK
from tests.database_fixture import ROOT, Database, DatabaseProcess
from tests.services.broker_fixture import RunningBroker
from tests.services.ingest_fixture import (
    Agent,
    Ingest,
    KeepSending,
    Row,
    account,
    agent,
    assert_exactly_once,
    broker,
    load,
    running_ingest,
    schema,
    seal_load,
    settle,
    wait_for_rows,
)
from tests.services.test_export_import import run
from tests.services.test_ingest import ALARMS, faulty_street
from tests.waiting import wait_for

__all__ = ["broker"]

# what is made anew in a restored schema, or grows by the restoration itself
NOT_COMPARED = {"schema_version", "schema_engine", "closed_partition", "session", "restoration"}


def everything(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    with connect(Settings(url=database.url, schema=database.schema), name="test") as connection:
        names = sorted(set(snapshot.listed(connection)) - NOT_COMPARED)
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}".encode()).fetchall(), key=repr) for name in names
        }


def backup(database: Database, file: Path, *more: object, expect: int = 0) -> str:
    return run(database, backup_cli.main, file, "--quiet", *more, expect=expect)


def restore(database: Database, file: Path, *more: object, expect: int = 0) -> str:
    return run(database, restore_cli.main, file, "--quiet", *more, expect=expect)


def migrated(database: Database) -> str:
    return run(database, migrate_cli.main)


def backup_amid(database: Database, file: Path, sender: Agent, batches: list[list[Row]]) -> list[Row]:
    """`dure backup` as a process while the agent goes on sending, batch by batch; what it sent in all."""
    command = [sys.executable, "dure.py", "backup", str(file), "--quiet"]
    generated = seal_load(sender, batches[:20])
    sender.deliver()
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **database.environment}, stdout=subprocess.DEVNULL)
    for batch in batches[20:]:
        generated += seal_load(sender, [batch])
        sender.deliver()
        if process.poll() is None:
            time.sleep(0.05)
    assert process.wait(60) == 0
    return generated


@pytest.fixture(scope="module")
def saved(postgres_url: str, broker: RunningBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A street with its alarms that was stopped in order, and its backup."""
    folder = tmp_path_factory.mktemp("saved")
    with schema(postgres_url) as database:
        settle(database)
        database.rows("INSERT INTO account (name, password_hash, role) VALUES ('minji', 'x', 'admin')")
        database.rows("INSERT INTO session (token_hash, account_id, expires_at) VALUES ('t', 1, now())")
        with running_ingest(database, broker, folder, save_period_s=1), agent(broker) as sender:
            generated = seal_load(sender, faulty_street())
            sender.deliver()
            wait_for_rows(database, "SELECT 1 FROM alarm WHERE condition = 'silent' AND state = 'cleared'")
        said = backup(database, folder / "a.zip", "--broker-state", broker.state)
        yield database, folder / "a.zip", said, generated


def test_every_row_is_put_back_and_the_file_is_for_its_owner_only(saved, database, broker, tmp_path):
    origin, file, said, generated = saved
    assert f"{len(generated)} observations and " in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and "holds secrets" in said
    assert ": good; made " in run(database, backup_cli.main, "--verify", file)
    words = restore(database, file, "--files", tmp_path / "state")
    assert f"schema {database.schema} is restored to " in words
    assert everything(database) == everything(origin)
    assert database.rows("SELECT count(*) FROM session") == [(0,)]  # people sign in again
    assert database.rows("SELECT backup FROM restoration") == [("a.zip",)]
    credentials = "credentials/agents/41280.pole-01.toml"
    assert (tmp_path / "state" / "broker" / credentials).read_bytes() == (broker.state / credentials).read_bytes()
    assert (tmp_path / "state" / "profiles" / "streetlight.toml").is_file()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert not (tmp_path / "state" / "broker" / "nats").exists()
    # what is given out next follows on what was
    assert database.rows("SELECT nextval('flush')") == origin.rows("SELECT nextval('flush')")
    assert migrated(database) == f"schema {database.schema} is up to date\n"


def test_what_a_backup_says_of_tables_can_be_made_on_either_database(database):
    migrated(database)
    with snapshot.opened(Settings(url=database.url, schema=database.schema), None, name="test") as found:
        described = {table.name: table for table in whole_schema.describe(found).tables}
    table = described["observation_streetlight"]
    assert set(table.columns.values()) == {"timestamp with time zone", "integer", "real", "smallint"}
    assert "voltage real" in table.ddl[0]
    assert "reading" not in table.ddl[0]


def test_a_schema_that_is_not_empty_is_moved_aside_only_when_told(saved, database):
    _, file, _, generated = saved
    settle(database)
    before = everything(database)
    assert "it is not empty" in restore(database, file, expect=2)
    assert everything(database) == before
    words = restore(database, file, "--replace")
    aside = words.partition("is in schema ")[2].split(" ")[0]
    assert everything(Database(database.url, aside)) == before
    assert database.rows("SELECT count(*) FROM observation_streetlight") == [(len(generated),)]
    with database.connect(autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {aside} CASCADE".encode())


def test_a_damaged_backup_is_found_and_restores_nothing(saved, database, tmp_path):
    _, file, _, _ = saved
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        member = next(item for item in archive.infolist() if "observation_streetlight" in item.filename)
    content[member.header_offset + 200 + member.compress_size // 2] ^= 1
    (tmp_path / "flipped.zip").write_bytes(content)
    (tmp_path / "short.zip").write_bytes(file.read_bytes()[:-1000])
    for name, words in (("flipped.zip", "is damaged"), ("short.zip", "it is no whole backup")):
        assert words in run(database, backup_cli.main, "--verify", tmp_path / name, expect=1)
        assert words in restore(database, tmp_path / name, expect=2)
        assert database.rows("SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace") == [
            (0,)
        ]


def test_a_restore_that_is_killed_leaves_nothing_under_the_name_and_runs_again(saved, database):
    origin, file, _, _ = saved
    process = subprocess.Popen(
        [sys.executable, "dure.py", "restore", str(file)], cwd=ROOT, env={**os.environ, **database.environment}
    )
    scratch = (
        f"SELECT 1 FROM pg_tables WHERE schemaname = '{database.schema}_restoring' AND tablename = 'newest_streetlight'"
    )
    wait_for(lambda: database.rows(scratch), 30, 0.01)
    process.kill()
    process.wait()
    assert database.rows("SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace") == [(0,)]
    locks = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = hashtext(%s)::oid"
    wait_for(lambda: not database.rows(locks, LOCK, database.schema))  # the server notices that it is gone
    restore(database, file)
    assert everything(database) == everything(origin)
    assert database.rows("SELECT 1 FROM pg_namespace WHERE nspname LIKE '%restoring'") == []


def test_an_older_backup_is_brought_up_to_this_version(postgres_url, database, tmp_path):
    """A schema of the first migration, as an earlier dure made it."""
    kinds = profiles.load(environ={})
    with schema(postgres_url) as old:
        settings = Settings(url=old.url, schema=old.schema)
        with connect(settings, name="test") as connection:
            connection.execute("CREATE TABLE schema_version (version int PRIMARY KEY, applied_at timestamptz)")
            connection.execute(migrate.files()[0].read_bytes())
            connection.execute("INSERT INTO schema_version VALUES (1, now())")
            for profile in kinds.values():
                for statement in tables.statements(profile):
                    connection.execute(statement.encode())
                connection.execute("INSERT INTO profile (kind, definition) VALUES (%s, %s)", (
                    profile.kind, json.dumps(tables.definition(profile))
                ))  # fmt: skip
            connection.execute("CREATE TABLE rollup_minute_streetlight (device_id int, bucket timestamptz)")
            connection.execute("INSERT INTO rollup_minute_streetlight VALUES (7, now())")
            connection.execute("INSERT INTO municipality (code, name_ko, name_en) VALUES ('41280', '고양시', 'Goyang')")
            connection.execute("INSERT INTO rollup_watermark (kind, closed_until) VALUES ('streetlight', now())")
        backup(old, tmp_path / "old.zip")
    words = restore(database, tmp_path / "old.zip")
    assert "migration 0002_lifecycle.sql: done on top of the backup" in words
    assert migrated(database) == f"schema {database.schema} is up to date\n"
    assert database.rows("SELECT name_ko FROM municipality") == [("고양시",)]
    # a migration saw the rows of the backup, not an empty table
    assert database.rows("SELECT count(*) FROM rollup_watermark WHERE closing_until = closed_until") == [(1,)]
    assert database.rows("SELECT device_id FROM rollup_minute_streetlight") == [(7,)]


def test_a_backup_while_ingest_writes_is_of_one_instant(database, broker, postgres_url, tmp_path):
    settle(database)
    with running_ingest(database, broker, tmp_path), agent(broker) as sender, schema(postgres_url) as other:
        generated = backup_amid(database, tmp_path / "a.zip", sender, load(100))
        assert "stop that first" in restore(database, tmp_path / "a.zip", "--replace", expect=2)
        assert_exactly_once(database, generated)
        restore(other, tmp_path / "a.zip")
        seq = other.rows("SELECT seq FROM cursor")[0][0]
        assert 20 <= seq < 100
        assert_exactly_once(other, generated[: 20 * seq])  # rows and cursor agree
        assert account(other, sender.epoch)["committed"] == 20 * seq


class Street:
    """An ingest with a database server of its own, and an agent."""

    def __init__(self, folder: Path, broker: RunningBroker) -> None:
        self.server = DatabaseProcess(folder / "database")
        self.database = Database(self.server.start(), "dure")
        settle(self.database)
        self.ingest = Ingest(self.database, broker, folder / "ingest.log", save_period_s=1)
        self.sender = Agent(broker)

    def lose_the_server(self) -> None:
        """The machine burns down; an empty server takes its place."""
        self.server.kill()
        wait_for(lambda: not self._postgres_lives())
        shutil.rmtree(self.server.state / "data")
        assert self.server.start() == self.database.url
        assert self.database.rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'dure'") == [(0,)]

    def _postgres_lives(self) -> bool:
        try:
            os.kill(self.server.postmaster, 0)
        except (OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        self.sender.close()
        self.ingest.stop()
        assert self.server.stop() == 0


@pytest.fixture
def street(broker: RunningBroker, tmp_path: Path) -> Iterator[Street]:
    found = Street(tmp_path, broker)
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.parametrize("agent_is", ["busy", "idle"])
def test_agents_fill_in_what_came_after_the_backup_and_alarms_are_those_of_an_undisturbed_run(
    saved, street, tmp_path, agent_is
):
    steady = saved[0].rows(ALARMS)
    sender, batches = street.sender, faulty_street()
    generated = backup_amid(street.database, tmp_path / "a.zip", sender, batches[:80])
    manifest = json.loads(zipfile.ZipFile(tmp_path / "a.zip").read("manifest.json"))
    rows = sum(piece["rows"] for piece in manifest["pieces"] if piece["table"] == "observation_streetlight")
    assert 400 <= rows < len(generated) - 100  # some minutes of the street are not in it
    street.lose_the_server()
    if agent_is == "busy":
        generated += seal_load(sender, batches[80:])
        sending = KeepSending(sender)
        restore(street.database, tmp_path / "a.zip")
        sending.finish()
    else:  # it has nothing to send, and hears of the restored database by its heartbeat
        restore(street.database, tmp_path / "a.zip")
        clock_ms = batches[79][-1][1]
        wait_for(lambda: sender.heartbeat(clock_ms) or sender.sender.acked < 80, 30, 0.3)
        for _ in range(3):
            sender.heartbeat(clock_ms)
        sender.deliver()
        generated += seal_load(sender, batches[80:])
        sender.deliver()
    assert_exactly_once(street.database, generated)
    counted = account(street.database, sender.epoch)
    assert (counted["committed"], counted["lost"]) == (len(generated), 0)
    wait_for_rows(street.database, "SELECT 1 FROM alarm WHERE condition = 'silent' AND state = 'cleared'")
    assert street.database.rows(ALARMS) == steady
    assert "restored from a backup" in street.ingest.log.read_text()
