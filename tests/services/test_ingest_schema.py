"""The tables: migrated twice and by two at once, changed with the profiles, partitioned at any width, registered again.
The tables: migrated twice and by two at once, changed with the profiles, partitioned at any width, registered again.
"""

import json
import os
import subprocess
import sys
import threading
from itertools import pairwise

import pytest

from contracts import profiles
from ingest_service.settings import Database as Settings
from ingest_service.store import partitions, registration
from ingest_service.store.connection import connect
from ingest_service.store.migrate import migrate
from ingest_service.store.partitions import HOUR_MS, Partitions
from ingest_service.store.schema import SchemaError
from ingest_service.store.store import SchemaMissing, Store
from tests.database_fixture import ROOT
from tests.services.ingest_fixture import dure, manifest, settle

KINDS = profiles.load(environ={})
DAY = 1_780_012_800_000  # midnight UTC
NOW = DAY + 30 * HOUR_MS


def settings(database):
    return Settings(url=database.url, schema=database.schema)


def opened(database):
    return connect(settings(database), name="test")


def columns_of(database, table):
    return dict(
        database.rows(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema() "
            "AND table_name = %s",
            table,
        )
    )


def changed(folder, name, *changes):
    """The shipped profiles with one of them changed."""
    for file in profiles.SHIPPED.glob("*.toml"):
        text = file.read_text(encoding="utf-8")
        if file.stem == name:
            for old, new in changes:
                assert text.count(old) == 1
                text = text.replace(old, new)
        (folder / file.name).write_text(text, encoding="utf-8")
    return folder


def test_migrating_twice_changes_nothing_the_second_time(database):
    first = dure("migrate", environment=database.environment).stdout
    assert "migration 0001_base.sql" in first
    assert "kind streetlight" in first
    assert dure("migrate", environment=database.environment).stdout == f"schema {database.schema} is up to date\n"
    assert columns_of(database, "observation_streetlight") == {
        "device_id": "integer", "observed_at": "timestamp with time zone", "power_state": "smallint",
        "illuminance_level": "real", "power_consumption": "real", "voltage": "real", "current": "real",
    }  # fmt: skip


def test_two_processes_may_migrate_at_once(database):
    command = [sys.executable, "dure.py", "migrate"]
    environment = {**os.environ, **database.environment}
    both = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("migration 0001" in text for text in said) == 1


def test_a_property_that_a_profile_brings_later_becomes_a_column_everywhere(database, tmp_path):
    migrate(settings(database), KINDS)
    kinds = profiles.load(
        changed(
            tmp_path,
            "parking_spot",
            ("[properties.status]", '[properties.battery]\ntype = "number"\nngsi = "batteryLevel"\n'
             'label = { en = "Battery", ko = "배터리" }\nunit = "1"\nplausible = [0.0, 1.0]\n\n[properties.status]'),
        )
    )  # fmt: skip
    with pytest.raises(SchemaMissing, match="profile of 'parking_spot': run `dure migrate`"):
        store(database, kinds).connection  # noqa: B018
    assert migrate(settings(database), kinds) == ["kind parking_spot"]
    for table in ("observation_parking_spot", "newest_parking_spot"):
        assert columns_of(database, table)["battery"] == "real"
    assert columns_of(database, "rollup_hour_parking_spot")["battery_mean"] == "double precision"
    assert store(database, kinds).connection.closed is False


def store(database, kinds):
    return Store(settings(database), kinds, worker="test", shards=[0], quarantine_bytes=0)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (
            'values = ["free", "occupied",',
            'values = ["occupied", "free",',
            "parking_spot.toml: properties.status.values = ",
        ),
        ('["free", "occupied", "closed", "unknown"]\nvalue_labels.free', '["free"]\nvalue_labels.free', ""),
        (
            'type = "enum"',
            'type = "boolean"',
            "parking_spot.toml: properties.status.type = 'boolean': stored as 'enum'",
        ),
    ],
)
def test_a_profile_that_would_change_the_meaning_of_stored_rows_is_refused_by_name(database, tmp_path, old, new, named):
    migrate(settings(database), KINDS)
    kinds = dict(KINDS)
    status = kinds["parking_spot"].properties["status"]
    import msgspec

    fields = {"type": "boolean", "values": ()} if "boolean" in new else {}
    if "occupied" in new:
        fields = {"values": ("occupied", "free", "closed", "unknown")}
    elif not fields:
        fields, named = {"values": ("free",)}, "parking_spot.toml: properties.status.values = ['free']: "
    kinds["parking_spot"] = msgspec.structs.replace(
        kinds["parking_spot"], properties={"status": msgspec.structs.replace(status, **fields)}
    )
    with pytest.raises(SchemaError) as caught:
        migrate(settings(database), kinds)
    assert str(caught.value).startswith(named)
    with pytest.raises(SchemaMissing):
        store(database, kinds).connection  # noqa: B018


def test_dure_migrate_refuses_reordered_values_with_exit_code_2(database, tmp_path):
    migrate(settings(database), KINDS)
    extra = tmp_path / "extra"
    extra.mkdir()
    good = (profiles.SHIPPED / "parking_spot.toml").read_text(encoding="utf-8").replace("parking_spot", "loading_bay")
    (extra / "loading_bay.toml").write_text(good, encoding="utf-8")
    environment = {**database.environment, "DURE_PROFILES": str(extra)}
    dure("migrate", environment=environment)
    (extra / "loading_bay.toml").write_text(good.replace('"free", "occupied"', '"occupied", "free"'), encoding="utf-8")
    said = dure("migrate", environment=environment, expect=2).stderr
    assert said.startswith("loading_bay.toml: properties.status.values = ['occupied', 'free'")


def ranges(connection, kind="streetlight"):
    return [((low - DAY) // HOUR_MS, (high - DAY) // HOUR_MS) for low, high, _ in partitions.listed(connection, kind)]


def made(connection, hours, width, *, now_ms=NOW):
    maker = Partitions(KINDS, width)
    maker.ensure(connection, "streetlight", [DAY + hour * HOUR_MS for hour in hours], now_ms)
    return ranges(connection)


def test_partitions_of_odd_and_changed_widths_never_overlap_and_cover_every_hour(native_database):
    migrate(settings(native_database), KINDS)
    with opened(native_database) as connection:
        assert made(connection, [7, 8], 6) == [(6, 12)]
        assert made(connection, [7, 12, 20], 6) == [(6, 12), (12, 18), (18, 24)]
        found = made(connection, [0, 25, 26, 27, 30], 5)
        found = made(connection, [40, -3], 168)
        found = made(connection, range(-30, 60), 1)
        assert all(first[1] <= second[0] for first, second in pairwise(found))
        for hour in range(-30, 60):
            assert sum(low <= hour < high for low, high in found) == 1, hour


def test_history_gets_wide_partitions_that_live_ones_fit_beside(native_database):
    migrate(settings(native_database), KINDS)
    with opened(native_database) as connection:
        long_ago = [-24 * 400, -24 * 390]
        found = made(connection, [*long_ago, 0], 6)
        assert len(found) <= 3
        assert max(high - low for low, high in found) == 28 * 24
        assert (0, 6) in found


def test_two_makers_at_once_make_each_partition_once(native_database):
    migrate(settings(native_database), KINDS)
    failures = []

    def make(offset):
        try:
            with opened(native_database) as connection:
                maker = Partitions(KINDS, 1)
                for hour in range(12):
                    maker.ensure(connection, "streetlight", [DAY + ((hour + offset) % 12) * HOUR_MS], NOW)
        except Exception as error:
            failures.append(error)

    makers = [threading.Thread(target=make, args=(offset,)) for offset in (0, 3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert failures == []
    with opened(native_database) as connection:
        assert ranges(connection) == [(hour, hour + 1) for hour in range(12)]


def test_an_older_observation_never_replaces_a_newer_one_in_the_table_either(database):
    import numpy as np

    from ingest_service.newest import Rows
    from ingest_service.store import arrays, statements

    migrate(settings(database), KINDS)
    with opened(database) as connection:
        arrays.register(connection)
        for at, status in ((DAY, 1), (DAY - 1000, 2), (DAY, 3)):
            device, moment = np.array([7], np.int32), np.array([at], np.int64)
            rows = Rows("parking_spot", np.array([0]), device, moment, {"status": np.array([status], np.int16)})
            statements.newest_put(connection, KINDS["parking_spot"], rows)
        found = connection.execute(
            "SELECT status, extract(epoch FROM observed_at)::bigint * 1000 FROM newest_parking_spot"
        )
        assert found.fetchall() == [(3, DAY)]


def test_registering_again_updates_and_an_unknown_municipality_is_named(database, tmp_path):
    settle(database)
    content = manifest()
    content["devices"][0] |= {"label": {"ko": "첫째", "en": "First"}, "attributes": {"circuit": "c-1"}}
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    said = dure("register", file, environment=database.environment).stdout
    assert said == "registered 2 municipalities, 3 agents, 26 devices\n"
    assert database.rows("SELECT count(*), max(label_ko), max(attributes ->> 'circuit') FROM device") == [
        (26, "첫째", "c-1")
    ]

    def refused(words, code=2, **more):
        file.write_text(json.dumps(manifest() | more), encoding="utf-8")
        assert words in dure("register", file, environment=database.environment, expect=code).stderr

    refused("code = 'Goyang!'", municipalities=[{"code": "Goyang!", "name": {}}])
    refused("kind = 'toaster': no such profile", devices=[{"municipality": "41280", "device": "t", "kind": "toaster"}])
    refused("device = 'a/b'", devices=[{"municipality": "41280", "device": "a/b", "kind": "streetlight"}])
    refused("99999", 1, agents=[{"municipality": "99999", "agent": "pole-01"}])
    assert database.rows("SELECT count(*) FROM device") == [(26,)]


def test_a_registration_is_seen_whole(database):
    """Changes are read in one snapshot: nothing committed between two reads is passed over."""
    from ingest_service.registry import Registry

    settle(database)
    known, reader = Registry(), store(database, KINDS)
    assert reader.refresh(known)
    assert len(known.names) == 26
    assert not reader.refresh(known)
    select, between = reader._changed, []

    def slow(text):
        rows = select(text)
        if not between:
            between.append(
                database.rows(
                    "WITH town AS (INSERT INTO municipality (code, name_ko, name_en) VALUES ('41570', '', '') "
                    "RETURNING code) "
                    "INSERT INTO agent (municipality, name) SELECT code, 'pole-01' FROM town RETURNING 1"
                )
            )
            database.rows("INSERT INTO device (municipality, name, kind) VALUES ('41570', 'gimpo-1', 'streetlight')")
        return rows

    database.rows("UPDATE municipality SET name_en = 'Paju' WHERE code = '41480'")
    reader._changed = slow
    reader.refresh(known)
    reader._changed = select
    reader.refresh(known)
    reader.close()
    assert "41570" in known.municipalities
    assert known.agent("41570", "pole-01") is not None
    assert known.find("41570", ["gimpo-1"])[0] >= 0


def test_a_device_of_an_agent_that_nobody_registered_is_refused_and_nothing_is_stored(database):
    migrate(settings(database), profiles.load())
    fleet = registration.Manifest(
        municipalities=[registration.Place("41280", {"ko": "고양시", "en": "Goyang-si"})],
        devices=[registration.Device("41280", "sl-1", "streetlight", agent="pole-x")],
    )
    with connect(settings(database), name="test") as connection:
        with pytest.raises(registration.ManifestError, match="pole-x"):
            registration.register(connection, fleet)
        assert connection.execute("SELECT count(*) FROM municipality").fetchone() == (0,)
