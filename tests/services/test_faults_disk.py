"""The database's disk fills up, for the tables and for the WAL, and has room again: ingest waits and says why.

The disk is a small mount in a namespace of its own. Without room for a table PostgreSQL refuses (53100); without room
for its WAL it panics, and again at every attempt, until there is some.
"""

import os

import pytest

from tests.database_fixture import Database, DatabaseProcess
from tests.services.faults_fixture import SmallDisk, Town, hold_for, watched_ingest
from tests.services.ingest_fixture import broker, settle

__all__ = ["broker"]

MB = 1 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts want root")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A server whose tables may lie on one small disk and whose WAL lies on another."""
    folder = tmp_path_factory.mktemp("disk")
    tables, wal, state = folder / "tables", folder / "wal", folder / "state"
    first = DatabaseProcess(state)  # makes the data directory
    first.start()
    assert first.stop() == 0
    disk = SmallDisk((tables, 12 * MB), (wal, 96 * MB))
    disk.run(
        f"cp -a '{state}/data/pg_wal/.' '{wal}' && rm -rf '{state}/data/pg_wal' && ln -s '{wal}' '{state}/data/pg_wal' "
        f"&& chown -h --reference='{state}/data' '{wal}' '{state}/data/pg_wal' '{tables}' && "
        f"chmod 700 '{wal}' '{tables}'"
    )
    server = disk.database(state)
    yield server, server.start(), disk, tables, wal
    server.stop()
    disk.close()


@pytest.fixture(scope="module")
def town(place, broker, tmp_path_factory):
    _, url, *_ = place
    database = Database(url, "dure")
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE SCHEMA dure")
        connection.execute("ALTER SYSTEM SET min_wal_size = '32MB'")
        connection.execute("ALTER SYSTEM SET checkpoint_timeout = '1h'")  # a checkpoint would make room in the WAL
        connection.execute("SELECT pg_reload_conf()")
    settle(database)
    with watched_ingest(database, broker, tmp_path_factory.mktemp("town")) as watched:
        found = Town(database, broker, watched)
        with found.sending(20):
            pass
        yield found
        assert watched.ingest.process.poll() is None, watched.ingest.log.read_text()
    database.rows("DROP SCHEMA dure CASCADE")


def use_up_spare_wal(database):
    """Leave 2 MB of WAL that can be written without a new file: files made ahead could take in all that is sent."""
    with database.connect(autocommit=True) as connection:

        def ask(select):
            return connection.execute(f"SELECT {select}").fetchone()[0]

        write = f"pg_logical_emit_message(false, 'ballast', repeat('x', {MB}))"
        segments = "FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
        while ask(f"max(name) > pg_walfile_name(pg_current_wal_lsn()) {segments}"):
            ask(write)
            ask("pg_switch_wal()")
        while ask("(pg_current_wal_lsn() - '0/0') % (16 * 1024 * 1024)") < 14 * MB:
            ask(write)


def test_a_full_disk_for_tables_is_waited_for_and_then_all_goes_in(town, place):
    _, _, disk, tables, _ = place
    with town.database.connect(autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{tables}'")
        ((partition,),) = connection.execute(
            "SELECT DISTINCT tableoid::regclass::text FROM observation_streetlight"
        ).fetchall()
        connection.execute(f"ALTER TABLE {partition} SET TABLESPACE small")
    disk.fill(tables)
    with town.sending(60, reports=20) as sender:
        words = town.watched.wait_reason("disk_full")
        assert "No space left on device" in words and "could not extend file" in words
        held = sender.sender.acked
        hold_for(2, lambda: "disk_full" in town.watched.reasons() and sender.sender.acked == held < 60)
        disk.relieve(tables)
    assert town.changes() == [("database", "not_ready", "disk_full"), ("database", "ready", "disk_full")]
    with town.database.connect(autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {partition} SET TABLESPACE pg_default")
        connection.execute("DROP TABLESPACE small")


def test_a_full_disk_for_the_wal_panics_the_server_and_afterwards_all_goes_in(town, place):
    server, _, disk, _, wal = place
    disk.fill(wal)
    use_up_spare_wal(town.database)
    with town.sending(400, reports=40, within_s=90) as sender:
        town.watched.wait_reason("no_database", "disk_full", seconds=40)
        assert sender.sender.acked < 400
        hold_for(3, lambda: not sender.sender.finished)
        assert "PANIC" in (server.state / "postgres.log").read_text()
        disk.relieve(wal)
    seen = town.changes()
    assert seen[-1][1] == "ready"
    assert {reason for _, _, reason in seen} <= {"no_database", "disk_full", "cursor_moved", "database_fails"}, seen
    assert len(seen) < 40, seen
