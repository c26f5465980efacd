"""Files of observations out of one deployment and into another: the same bytes, the same values, each row once."""

import io
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from contracts import profiles
from ingest_service import rollups
from ingest_service.lifecycle import export_cli, import_cli
from ingest_service.settings import Database as Settings
from ingest_service.store import imports, rolling
from ingest_service.store.connection import connect
from ingest_service.store.migrate import migrate
from ingest_service.store.partitions import Partitions
from ingest_service.store.registration import Manifest, register
from tests.database_fixture import ROOT, Database
from tests.services.ingest_fixture import schema, settle
from tests.waiting import wait_for

GATE = """kind = "gate"
ngsi_type = "Device"
label = { en = "Gate", ko = "문" }
report_period_s = 60
display = { headline = "count" }

[properties.shut]
type = "boolean"
ngsi = "shut"
label = { en = "Shut", ko = "닫힘" }

[properties.count]
type = "integer"
ngsi = "count"
label = { en = "Passages", ko = "통과" }
plausible = [0.0, 2000000000.0]
"""  # no shipped kind has a boolean
KINDS: dict[str, profiles.Profile] = {}
# the hours in which clocks go back and forward, in Berlin and in New York, and a year's end
DST = ["2025-10-26T00:59:59.999Z", "2025-10-26T01:00:00.000Z", "2025-11-02T06:00:00.001Z", "2026-03-29T01:00:00.000Z"]
BIG_DEVICES = 500
NIGHT = datetime(2026, 5, 29, tzinfo=UTC)


@pytest.fixture(scope="module", autouse=True)
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The shipped kinds and one more, for us and for the commands that we start."""
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "gate.toml").write_text(GATE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURE_PROFILES", str(folder))
        KINDS.update(profiles.load())
        yield


def short(kind: str) -> str:
    """The beginning of the kind's first word and the end of its last."""
    return kind[:4] + (kind[-4:] if "_" in kind else "")


def fleet() -> dict[str, object]:
    towns = [{"code": code, "name": {}} for code in ("41280", "41480")]
    devices = [
        {"municipality": town, "device": f"{short(kind)}-{number}.{town}", "kind": kind}
        for town in ("41280", "41480")
        for kind in KINDS
        for number in range(3)
    ]
    return {"municipalities": towns, "agents": [], "devices": devices}


def scatter(database: Database) -> None:
    """Rows of every kind with all their words, extremes and nulls, at the instants that clocks stumble over."""
    settings = Settings(url=database.url, schema=database.schema)
    with connect(settings, name="test") as connection:
        instants = [datetime.fromisoformat(text) for text in DST] + [NIGHT + timedelta(seconds=s) for s in range(40)]
        for kind, profile in KINDS.items():
            partitions = Partitions([kind], 6)
            hours = [int(at.timestamp() * 1000) // 3_600_000 * 3_600_000 for at in instants]
            partitions.ensure(connection, kind, hours, int(NIGHT.timestamp() * 1000))
            names = list(profile.properties)
            devices = [row[0] for row in connection.execute("SELECT device_id FROM device WHERE kind = %s", (kind,))]
            for place, at in enumerate(instants):
                for turn, device in enumerate(devices):
                    values = [value_of(profile.properties[name], place + turn + n) for n, name in enumerate(names)]
                    connection.execute(
                        f"INSERT INTO observation_{kind} (device_id, observed_at, {', '.join(names)}) VALUES "
                        f"(%s, %s{', %s' * len(names)})".encode(),
                        (device, at, *values),
                    )


def value_of(item: profiles.Property, turn: int) -> object:
    if turn % 4 == 3:
        return None
    if item.type == "enum":
        return turn % len(item.values)
    if item.type == "boolean":
        return turn % 2 == 0
    low, high = item.plausible or (0, 1e6)
    if item.type == "integer":
        return [int(low), int(high), turn][turn % 3]
    return [low, high, low + (high - low) / 3][turn % 3]


def run(database: Database, main: Callable[[list[str]], int], *arguments: object, expect: int = 0) -> str:
    """A command in this process, as starting one takes longer than what it does here; what it said."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        for name, value in database.environment.items():
            patch.setenv(name, value)
        code = main([str(argument) for argument in arguments])
    assert code == expect, said.getvalue()
    return said.getvalue()


def export(database: Database, kind: str, file: Path, *more: object, expect: int = 0) -> bytes:
    command = ("--kind", kind, "--format", file.suffix[1:], "--output", file, "--quiet", *more)
    run(database, export_cli.main, *command, expect=expect)
    return file.read_bytes()


def take_in(database: Database, file: Path, *more: object, expect: int = 0) -> str:
    return run(database, import_cli.main, file, "--quiet", *more, expect=expect)


def made(database: Database) -> Database:
    """Migrated, and the fleet registered."""
    settings = Settings(url=database.url, schema=database.schema)
    migrate(settings, KINDS)
    with connect(settings, name="test") as connection:
        register(connection, msgspec.convert(fleet(), Manifest))
    return database


def rows_of(database: Database, kind: str) -> list[tuple[object, ...]]:
    columns = ", ".join(KINDS[kind].properties)
    return database.rows(
        f"SELECT d.municipality, d.name, o.observed_at, {columns} FROM observation_{kind} o JOIN device d "
        f"USING (device_id) ORDER BY 3, 1, 2"
    )


@pytest.fixture(scope="module")
def origin(postgres_url: str) -> Iterator[Database]:
    """A small city of every kind."""
    with schema(postgres_url) as found:
        scatter(made(found))
        yield found


@pytest.fixture(scope="module")
def big(postgres_url: str) -> Iterator[Database]:
    """A night of one town, reported by the second: millions of rows."""
    with schema(postgres_url) as found:
        settle(found, {"municipalities": [{"code": "41280", "name": {}}]})
        with found.connect() as connection:
            connection.execute(
                "INSERT INTO device (municipality, name, kind) SELECT '41280', 'sl-' || g, 'streetlight' "
                "FROM generate_series(1, %s) g",
                (BIG_DEVICES,),
            )
        with connect(Settings(url=found.url, schema=found.schema), name="test") as connection:
            start = int(NIGHT.timestamp() * 1000)
            hours = [start + hour * 3_600_000 for hour in range(24)]
            Partitions(["streetlight"], 6).ensure(connection, "streetlight", hours, start)
            connection.execute(
                "INSERT INTO observation_streetlight (device_id, observed_at, power_state, voltage) "
                "SELECT d.device_id, t, CASE WHEN extract(minute FROM t) < 30 THEN 1 END, "
                "round((200 + d.device_id %% 40 + extract(second FROM t) / 10)::numeric, 1) "
                "FROM generate_series(%s::timestamptz, %s::timestamptz, interval '20 s') t, device d",
                (NIGHT, NIGHT + timedelta(days=1, seconds=-20)),
            )
        yield found


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_files_taken_in_elsewhere_and_written_again_are_the_same(origin, database, tmp_path, format, monkeypatch):
    made(database)
    for kind in KINDS:
        first = export(origin, kind, tmp_path / f"first.{format}")
        count = 6 * (len(DST) + 40)
        said = take_in(database, tmp_path / f"first.{format}")
        assert said == f"stored {count}, stored by an earlier run 0, present 0, refused 0\n"
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "Europe/Berlin")  # the machine's zone is nobody's business
            time.tzset()
            second = export(database, kind, tmp_path / f"second.{format}")
        time.tzset()
        if format == "csv":
            assert first == second
        else:
            assert pq.read_table(tmp_path / "first.parquet").equals(pq.read_table(tmp_path / "second.parquet"))
        assert rows_of(database, kind) == rows_of(origin, kind)
        assert len(rows_of(origin, kind)) == count


def test_an_export_is_of_the_span_municipality_and_device_that_were_asked_for(origin, tmp_path):
    span = ("--from", DST[1], "--to", "2025-11-02T15:00:00.001+09:00")
    place = ("--municipality", "41280", "--device", "stre-1.41280")
    text = export(origin, "streetlight", tmp_path / "a.csv", *span, *place)
    assert text.decode().splitlines() == [
        '# dure observations 1 {"kind": "streetlight"}',
        '# units {"illuminance_level": "1", "power_consumption": "W", "voltage": "V", "current": "A"}',
        "municipality,device,observed_at,power_state,illuminance_level,power_consumption,voltage,current",
        "41280,stre-1.41280,2025-10-26T01:00:00.000Z,low,,5000,333.33334,-1",
    ]
    refused = ("--kind", "streetlight", "--format", "csv", "--output", tmp_path / "b.csv")
    for more, words in (
        (("--municipality", "99999"), "no municipality '99999'; there are 41280, 41480"),
        (("--device", "sl-x"), "no streetlight named 'sl-x'"),
        (("--from", "tomorrow"), "cannot read the time 'tomorrow'"),
        (("--from", DST[1], "--to", DST[0]), "is not before --to"),
    ):
        assert words in run(origin, export_cli.main, *refused, *more, expect=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv"]  # no file, and no part of one, of a refusal


def test_the_same_file_again_stores_nothing_and_newest_and_rollups_follow(origin, database, tmp_path):
    made(database)
    export(origin, "streetlight", tmp_path / "a.csv")
    take_in(database, tmp_path / "a.csv")
    renamed = (tmp_path / "a.csv").rename(tmp_path / "renamed.csv")
    before = rows_of(database, "streetlight")
    assert take_in(database, renamed).startswith(f"stored 0, stored by an earlier run {len(before)}, ")
    assert rows_of(database, "streetlight") == before
    ((newest,),) = database.rows("SELECT max(observed_at) FROM newest_streetlight")
    assert newest == NIGHT + timedelta(seconds=39)
    assert database.rows("SELECT count(*) FROM newest_streetlight") == [(6,)]
    with connect(Settings(url=database.url, schema=database.schema), name="test") as connection:
        rolling.prepare(connection)
        roller = rollups.Roller(KINDS, grace_s=0, stopping=threading.Event())
        roller.roll_up(connection, KINDS["streetlight"])
        ((closed,),) = database.rows("SELECT closed_until FROM rollup_watermark WHERE kind = 'streetlight'")
        late = tmp_path / "late.csv"
        late.write_text("municipality,device,observed_at,voltage\n41280,stre-0.41280,2025-10-26T00:30:00Z,220\n")
        take_in(database, late, "--kind", "streetlight")  # an hour that is rolled up already
        roller.roll_up(connection, KINDS["streetlight"])
        assert closed > NIGHT - timedelta(hours=1)
    before = [row for row in rows_of(database, "streetlight") if row[2] < closed]
    rolled = "SELECT sum(observations) FROM rollup_hour_streetlight"
    assert database.rows(rolled) == [(len(before),)]


def test_two_imports_of_one_file_at_once_store_it_once(origin, database, tmp_path):
    made(database)
    export(origin, "streetlight", tmp_path / "a.csv")
    command = [sys.executable, "dure.py", "import", str(tmp_path / "a.csv"), "--quiet"]
    both = [subprocess.Popen(command, cwd=ROOT, env={**os.environ, **database.environment}) for _ in range(2)]
    assert sorted(process.wait(60) for process in both) in ([0, 0], [0, 2])  # 2: it is told of the other
    assert rows_of(database, "streetlight") == rows_of(origin, "streetlight")


def test_an_import_that_waits_for_another_of_the_same_file_learns_how_that_began(database):
    made(database)
    settings = Settings(url=database.url, schema=database.schema)
    with connect(settings, name="one") as one, connect(settings, name="other") as other, ThreadPoolExecutor() as pool:
        with one.transaction():
            began = imports.begin(one, "0f", "a.csv", "streetlight", 100)
            late = pool.submit(imports.begin, other, "0f", "b.csv", "streetlight", 50)
            wait_for(lambda: database.rows(f"SELECT pg_blocking_pids({other.info.backend_pid}) <> '{{}}'") == [(True,)])
        assert late.result() == began == imports.Entry("streetlight", 100, None)


def test_rows_that_overlap_what_is_stored_are_left_out_when_asked(origin, database, tmp_path):
    made(database)
    export(origin, "streetlight", tmp_path / "night.csv", "--from", NIGHT.isoformat())
    export(origin, "streetlight", tmp_path / "all.csv")
    take_in(database, tmp_path / "night.csv")
    said = take_in(database, tmp_path / "all.csv", "--skip-present")
    assert said == f"stored {6 * len(DST)}, stored by an earlier run 0, present {6 * 40}, refused 0\n"
    assert rows_of(database, "streetlight") == rows_of(origin, "streetlight")


def test_rows_that_cannot_be_stored_are_named_and_can_be_mended(database, tmp_path):
    made(database)
    good = "41280,stre-0.41280,2026-05-29T00:00:0{}Z,220.5,on"
    lines = [
        "municipality,device,observed_at,voltage,power_state",
        good.format(1),
        "41280,stre-9.41280,2026-05-29T00:00:00Z,220.5,on",
        "41280,parkspot-0.41280,2026-05-29T00:00:00Z,220.5,on",
        "41280,stre-0.41280,2026-05-29T00:00:00,220.5,on",
        "41280,stre-0.41280,2026-05-29T00:00:00Z,high,on",
        "41280,stre-0.41280,2026-05-29T00:00:00Z,1001,on",
        "41280,stre-0.41280,2026-05-29T00:00:00Z,nan,on",
        "41280,stre-0.41280,2026-05-29T00:00:00Z,220.5,glowing",
        "41280,stre-0.41280,2026-05-29T00:00:00Z,220.5",
        "41280,stre-0.41280,1999-12-31T23:59:59Z,220.5,on",
        good.format(2),
    ]
    file = tmp_path / "a.csv"
    file.write_text("\n".join(lines) + "\n")
    done = take_in(database, file, "--kind", "streetlight", expect=3)
    assert done.startswith("stored 2, stored by an earlier run 0, present 0, refused 9\n")
    refused = (tmp_path / "a.csv.refused.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in refused[1:]] == [
        ["2", "unknown_device"], ["3", "kind_mismatch"], ["4", "wrong_type"], ["5", "wrong_type"],
        ["6", "implausible_value"], ["7", "implausible_value"], ["8", "unknown_value"], ["9", "malformed_body"],
        ["10", "too_long_ago"],
    ]  # fmt: skip
    mended = tmp_path / "mended.csv"
    mended.write_text("\n".join([refused[0], refused[1]]) + "\n")
    said = take_in(database, mended, "--kind", "streetlight", "--register")
    assert said.startswith("stored 1,")
    assert database.rows("SELECT count(*) FROM device WHERE name = 'stre-9.41280'") == [(1,)]


def test_files_that_cannot_be_meant_are_refused_before_anything_is_stored(origin, database, tmp_path):
    made(database)
    export(origin, "streetlight", tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("municipality,device,time\n")
    (tmp_path / "c.csv").write_text("municipality,device,observed_at,colour\n")
    (tmp_path / "d.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-50])
    for file, more, words in (
        ("a.parquet", ("--kind", "parking_spot"), "it says it is of kind streetlight"),
        ("b.csv", ("--kind", "streetlight"), "it has no column 'observed_at'"),
        ("b.csv", (), "name it with --kind"),
        ("c.csv", ("--kind", "streetlight"), "column 'colour' is no property of streetlight"),
        ("d.parquet", (), "as Parquet"),
        ("e.csv", (), "No such file"),
    ):
        assert words in take_in(database, tmp_path / file, *more, expect=2)
    assert rows_of(database, "streetlight") == []


def peak_kb(database: Database, *arguments: object) -> int:
    """Largest memory of a command."""
    command = [sys.executable, "dure.py", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **database.environment})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert isinstance(usage, resource.struct_rusage)
    return usage.ru_maxrss


@pytest.mark.slow
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_memory_stays_flat_over_millions_of_rows(big, tmp_path, format):
    export_of = ("export", "--kind", "streetlight", "--format", format, "--quiet", "--output", tmp_path / f"a.{format}")
    little = peak_kb(big, *export_of, "--to", (NIGHT + timedelta(hours=2)).isoformat())
    much = peak_kb(big, *export_of)
    rows = pq.read_metadata(tmp_path / "a.parquet").num_rows if format == "parquet" else None
    assert rows in (None, BIG_DEVICES * 86400 // 20)
    assert much - little < 25_000, (little, much)
    if format == "csv":
        with (tmp_path / "a.csv").open("rb") as file:
            assert sum(1 for _ in file) == BIG_DEVICES * 86400 // 20 + 3


@pytest.mark.slow
def test_an_import_that_is_killed_continues_where_it_stopped(big, database, tmp_path):
    settle(database, {})
    file = tmp_path / "a.csv"
    first = export(big, "streetlight", file, "--to", (NIGHT + timedelta(hours=6)).isoformat())
    bad = b"41280,sl-1,never,,,,,\n"
    file.write_bytes(first.replace(b"\n41280", b"\n" + bad + b"41280", 1) + bad)
    kills = 0
    command = [sys.executable, "dure.py", "import", str(file), "--register", "--quiet"]
    while kills < 3:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **database.environment})
        before = database.rows("SELECT count(*) FROM import_part")[0][0]
        wait_for(lambda before=before: database.rows("SELECT count(*) FROM import_part")[0][0] > before, 60, 0.01)
        time.sleep(0.02 * kills)
        process.kill()
        assert process.wait() == -9
        kills += 1
    parts = database.rows("SELECT count(*) FROM import_part")[0][0]
    assert 3 <= parts < 9
    done = take_in(database, file, "--register", expect=3)
    assert "refused 1\n" in done
    assert f"stored by an earlier run {parts * 65_536 - 1}," in done
    assert export(database, "streetlight", tmp_path / "b.csv") == first
    refused = (tmp_path / "a.csv.refused.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in refused] == ["row", "1", str(first.count(b"\n") - 3 + 2)]
