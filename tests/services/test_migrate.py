"""`dure migrate`: from every earlier version, killed in the middle, held up and deadlocked by others; which of the two
databases a schema is made for.
"""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from contracts import profiles
from contracts.profiles import Profile
from ingest_service.columns import Block, empty_columns
from ingest_service.rollups import Roller
from ingest_service.settings import Database as Settings
from ingest_service.store import arrays, copy_rows, engine, rollup_marks
from ingest_service.store.connection import connect
from ingest_service.store.engine import EngineError
from ingest_service.store.migrate import MigrationBlocked, files, migrate
from ingest_service.store.partitions import Partitions
from tests.database_fixture import ROOT, Database
from tests.services.ingest_fixture import dure, schema
from tests.waiting import wait_for

EARLIER = Path(__file__).parent / "earlier"
KINDS = profiles.load(environ={})

# What a schema consists of, by name: two that were made in different ways must not be told apart by it.
LOOK = {
    "columns": "SELECT table_name, column_name, format_type(atttypid, atttypmod), attnotnull, "
    "pg_get_expr(adbin, adrelid) FROM information_schema.columns "
    "JOIN pg_attribute ON attrelid = to_regclass(table_name) AND attname = column_name "
    "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE table_schema = current_schema()",
    "indexes": "SELECT tablename, replace(indexdef, current_schema() || '.', '') FROM pg_indexes "
    "WHERE schemaname = current_schema()",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace",
    "triggers": "SELECT tgrelid::regclass::text, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid "
    "WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal",
    "options": "SELECT relname, relkind::text, reloptions::text FROM pg_class "
    "WHERE relnamespace = current_schema()::regnamespace",
}
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dure migrate' AND query LIKE '%newest_%'"


def settings(database: Database, **more: Any) -> Settings:
    return Settings(url=database.url, schema=database.schema, **more)


def look(database: Database) -> dict[str, set[tuple[object, ...]]]:
    """The schema, without the partitions that its rows needed and a rollup that no profile asks for any more."""
    passed_over = re.compile(r"_p2026052900|rollup_(hour|day)_streetlight_before|rollup_minute_streetlight")
    return {
        what: {row for row in database.rows(text) if not passed_over.search(str(row))} for what, text in LOOK.items()
    }


def brought() -> dict[str, Profile]:
    """The shipped profiles, where a parking spot has a battery too."""
    spot = KINDS["parking_spot"]
    battery = msgspec.structs.replace(KINDS["streetlight"].properties["voltage"], name="battery")
    return {**KINDS, "parking_spot": msgspec.structs.replace(spot, properties={**spot.properties, "battery": battery})}


def made_at(database: Database, version: int) -> None:
    """The schema as that version left it, with rows in it."""
    made = max(file for file in EARLIER.glob("*.sql") if int(file.stem) <= version)
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE schema_version (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for file in files()[:version]:
            connection.execute(file.read_bytes())
            connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (int(file.name[:4]),))
            if int(file.name[:4]) == int(made.stem):
                connection.execute(made.read_bytes())


@pytest.mark.parametrize("version", range(1, len(files())))
def test_a_schema_of_an_earlier_version_becomes_what_a_fresh_one_is_and_keeps_its_rows(
    postgres_url: str, version: int
) -> None:
    with schema(postgres_url) as old, schema(postgres_url) as fresh:
        made_at(old, version)
        migrate(settings(old), KINDS)  # native, whatever the server has by now
        migrate(settings(fresh, timescale="off"), KINDS)
        expected = look(fresh)
        for what, found in look(old).items():
            assert found == expected[what], what
        assert old.rows("SELECT count(*), sum(voltage) FROM observation_streetlight") == [(3, 675.0)]
        assert old.rows("SELECT voltage_mean, voltage_max, observations FROM rollup_hour_streetlight") == [
            (225, 230, 2)
        ]
        assert old.rows("SELECT seq, committed FROM cursor") == [(2, 4)]
        assert migrate(settings(old), KINDS) == []


def test_rollups_and_partitions_of_the_first_version_are_taken_over(native_url: str) -> None:
    with schema(native_url) as old:
        made_at(old, 1)
        migrate(settings(old), KINDS)
        hours = "SELECT extract(hour FROM bucket)::int, observations, voltage_mean, voltage_min FROM {} ORDER BY bucket"
        with connect(settings(old), name="test") as connection:
            roller = Roller(KINDS, grace_s=0, stopping=threading.Event())
            kept = Partitions(KINDS, 6)
            kept.ensure(connection, "streetlight", [1_780_099_200_000], 1_780_099_200_000)
            connection.execute(
                "INSERT INTO observation_streetlight (device_id, observed_at) VALUES (1, '2026-05-30 00:00+00')"
            )
            roller.turn(connection)
            assert old.rows(hours.format("rollup_hour_streetlight")) == [(0, 2, 225, 220), (1, 1, 225, 225)]
            assert old.rows(hours.format("rollup_day_streetlight")) == [(0, 3, 225, 220)]
            columns = empty_columns(KINDS["streetlight"], 1) | {"voltage": np.array([219.0], np.float32)}
            one = np.ones(1, np.int32)
            late = Block(
                "streetlight", one, one, np.array([1_780_012_800_001]), one, columns
            )  # in the closed partition
            arrays.register(connection)
            with connection.transaction():
                copy_rows.copy(connection, KINDS["streetlight"], late.device_id, late.observed_ms, late.columns)
                rollup_marks.put(connection, [late])
            roller.turn(connection)
        assert old.rows(hours.format("rollup_hour_streetlight")) == [(0, 3, 223, 219), (1, 1, 225, 225)]
        assert old.rows(hours.format("rollup_day_streetlight")) == [(0, 4, 223.5, 219)]
        assert old.rows(hours.format("rollup_municipality_hour_streetlight"))[0] == (0, 3, 223, 219)
        (index,) = old.rows(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'observation_streetlight_p2026052900_device'"
        )
        assert index[0].endswith("(device_id) WITH (fillfactor='100')")
        assert old.rows("SELECT count(*), sum(voltage) FROM observation_streetlight") == [(5, 894.0)]


def test_the_newest_version_has_no_file_of_an_earlier_one_missing():
    """Whoever changes the tables of a kind leaves what they were before in tests/services/earlier."""
    assert {int(file.stem) for file in EARLIER.glob("*.sql")} >= {1}


def test_a_migration_killed_in_the_middle_leaves_nothing_and_runs_again(database: Database, tmp_path: Path) -> None:
    with database.connect() as held, (tmp_path / "said").open("w") as said:
        held.execute("CREATE TABLE newest_streetlight (device_id int)")  # uncommitted: migrate comes so far, and waits
        environment = {**os.environ, **database.environment}
        command = [sys.executable, "dure.py", "migrate"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
        wait_for(lambda: database.rows(f"{OURS} AND wait_event_type = 'Lock'") != [(0,)])
        process.kill()
        process.wait()
        held.rollback()
    wait_for(lambda: database.rows(OURS) == [(0,)])
    assert database.rows("SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace") == [(0,)]
    assert "kind waste_container" in dure("migrate", environment=database.environment).stdout


def test_a_migration_says_who_holds_it_up_and_changes_nothing_until_they_let_go(database: Database) -> None:
    migrate(settings(database), KINDS)
    before = look(database)
    with database.connect(application_name="an analyst") as reader:
        reader.execute("SELECT count(*) FROM newest_parking_spot")
        with pytest.raises(MigrationBlocked, match=r"an analyst.*idle in transaction.*Nothing was changed"):
            migrate(settings(database), brought(), patience_s=0)
        assert look(database) == before
        later = threading.Timer(1.0, reader.rollback)
        later.start()
        assert migrate(settings(database), brought()) == ["kind parking_spot"]
        later.join()
    assert ("newest_parking_spot", "battery", "real", False, None) in look(database)["columns"]


def test_a_migration_with_nothing_to_do_waits_for_nobody(database: Database) -> None:
    migrate(settings(database), KINDS)
    with database.connect() as busy:
        for kind in KINDS:
            busy.execute(f"INSERT INTO newest_{kind} (device_id, observed_at, as_of) VALUES (1, now(), now())")
            busy.execute(f"SELECT count(*) FROM rollup_hour_{kind}")
            busy.execute(f"SELECT count(*) FROM observation_{kind}")
        assert migrate(settings(database), KINDS, patience_s=0) == []


def test_a_migration_that_loses_a_deadlock_tries_again(database: Database) -> None:
    migrate(settings(database), KINDS)
    done: list[list[str]] = []
    with database.connect() as other:
        other.execute("SET deadlock_timeout = '60s'")  # the migration finds it first, and is the one to give way
        other.execute("LOCK TABLE newest_parking_spot IN ACCESS SHARE MODE")
        thread = threading.Thread(target=lambda: done.append(migrate(settings(database), brought())))
        thread.start()
        blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = to_regclass('newest_parking_spot')"
        wait_for(lambda: database.rows(blocked)[0][0] > 0, 20)
        other.execute("LOCK TABLE observation_parking_spot IN ACCESS SHARE MODE")  # granted once the migration let go
    thread.join(60)
    assert done == [["kind parking_spot"]]


def test_a_schema_stays_on_the_database_that_it_was_made_for(database: Database) -> None:
    migrate(settings(database), KINDS)
    name = database.rows("SELECT engine FROM schema_engine")[0][0]
    other = {"postgresql": "require", "timescale": "off"}[name]
    with pytest.raises(EngineError, match=f"was made for {name}, and stays so"):
        migrate(settings(database, timescale=other), KINDS)
    with connect(settings(database), name="test") as connection:
        assert engine.stored(connection).name == name


def test_timescale_that_is_required_and_cannot_be_had_is_refused_in_words(native_url: str) -> None:
    with schema(native_url) as fresh:
        environment = {**fresh.environment, "DURE_DATABASE_TIMESCALE": "require"}
        said = dure("migrate", environment=environment, expect=2).stderr
        assert '[database] timescale = "require": this PostgreSQL has no TimescaleDB' in said
        assert dure("migrate", environment=fresh.environment).stdout.startswith(
            "engine postgresql (this PostgreSQL has no TimescaleDB)\n"
        )


def test_tables_of_timescale_without_timescale_are_not_touched(native_url: str) -> None:
    """A backup of a TimescaleDB schema that was brought to a server without it."""
    with schema(native_url) as moved:
        migrate(settings(moved), KINDS)
        moved.rows("UPDATE schema_engine SET engine = 'timescale'")
        with pytest.raises(EngineError, match="are TimescaleDB's, and this database has no extension timescaledb"):
            migrate(settings(moved), KINDS)
        said = dure("migrate", environment=moved.environment, expect=2).stderr
        assert "has no extension timescaledb" in said


def test_alarms_of_an_earlier_version_keep_what_people_said_and_get_a_history(postgres_url: str) -> None:
    with schema(postgres_url) as old:
        made_at(old, 4)
        old.rows(
            "INSERT INTO alarm (municipality, device_id, condition, detector, severity, state, opened_at, "
            "last_finding_at, acknowledged_at, acknowledged_by, closed_at, closed_by, cause, comment) VALUES "
            "('41280', 1, 'stuck:voltage', 'stuck', 2, 'closed', now(), now(), now(), 'minji', now(), 'minji', "
            "'false_alarm', 'a still night')"
        )
        old.rows('UPDATE device SET attributes = \'{"circuit": "c-1"}\' WHERE device_id = 1')
        migrate(settings(old), KINDS)
        found = "SELECT kind, circuit, agent_id, cause, note, occurrences, subject FROM alarm"
        assert old.rows(found) == [("streetlight", "c-1", 1, "false", "a still night", 1, "device 1")]
        assert old.rows("SELECT event, who, detail FROM alarm_event ORDER BY event_id") == [
            ("opened", None, {}),
            ("acknowledged", "minji", {}),
            ("closed", "minji", {"cause": "false", "note": "a still night"}),
        ]
