"""Every statement that differs with TimescaleDB: tables, rollups, chunks, retention. On its WASM build, with INSERT for
COPY; and on the server that DURE_TEST_TIMESCALE_URL names, where one is.
"""

import random
import secrets
import struct
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import psycopg
import pytest

from contracts import profiles
from contracts.profiles import Profile
from ingest_service.rollups import Roller
from ingest_service.settings import Database as Settings
from ingest_service.store import closing, engine, partitions, retention, rolling, timescale_chunks, timescale_schema
from ingest_service.store.connection import Connection, connect
from ingest_service.store.migrate import migrate
from tests.database_fixture import TIMESCALE_URL
from tests.services import pglite_fixture
from tests.services.ingest_fixture import schema
from tests.services.rolled_city import MIDNIGHT, City, random_row

SHIPPED = profiles.load(environ={})
LIGHT = SHIPPED["streetlight"]
KINDS = {kind: SHIPPED[kind] for kind in ("streetlight", "parking_spot")}
MORNING = datetime(2026, 5, 29, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOUR_MS = 3_600_000


@pytest.fixture(scope="module", params=["wasm", *(["server"] if TIMESCALE_URL else [])])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "server":
        yield TIMESCALE_URL
        return
    with pglite_fixture.serving(tmp_path_factory.mktemp("pglite") / "said") as address:
        yield address


@pytest.fixture
def settings(url: str) -> Iterator[Settings]:
    """A migrated schema with two municipalities of ten lights each."""
    made = Settings(url=url, schema=f"test_{secrets.token_hex(6)}", timescale="require")
    done = migrate(made, KINDS)
    assert done[0].startswith("engine timescale (TimescaleDB 2.")
    with connect(made, name="test") as connection:
        connection.execute(
            "INSERT INTO municipality (code, name_ko, name_en) VALUES ('41280', '', ''), ('41480', '', '')"
        )
        connection.execute(
            "INSERT INTO device (device_id, municipality, name, kind) SELECT n, CASE WHEN n <= 10 THEN '41280' ELSE "
            "'41480' END, 'sl-' || n, 'streetlight' FROM generate_series(1, 20) n"
        )
    yield made
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {made.schema} CASCADE".encode())


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    with connect(settings, name="test") as made:
        rolling.prepare(made)
        yield made


def put(connection: Connection, begin: datetime, end: datetime, devices: str = "1, 20", voltage: str = "220") -> None:
    """A report of each light every twenty minutes; its number is added to the voltage."""
    connection.execute(
        f"INSERT INTO observation_streetlight (device_id, observed_at, power_state, voltage) SELECT d, at, "
        f"CASE WHEN extract(minute FROM at) = 40 THEN NULL ELSE extract(hour FROM at)::int %% 2 END, {voltage} + d "
        f"FROM generate_series({devices}) d, generate_series(%s::timestamptz, %s, '20 minutes') at".encode(),
        (begin, end - timedelta(seconds=1)),
    )


def mark(connection: Connection, hour: datetime, devices: list[int]) -> None:
    """What a flush says of late observations."""
    connection.execute("INSERT INTO rollup_due (kind, hour, devices) VALUES ('streetlight', %s, %s)", (hour, devices))


def roller() -> Roller:
    return Roller(KINDS, grace_s=0, stopping=threading.Event())


def one(connection: Connection, text: str) -> tuple[object, ...]:
    row = connection.execute(text.encode()).fetchone()
    assert row is not None
    return row


def with_battery() -> dict[str, Profile]:
    battery = msgspec.structs.replace(LIGHT.properties["voltage"], name="battery")
    light = msgspec.structs.replace(LIGHT, properties={**LIGHT.properties, "battery": battery})
    return {**KINDS, "streetlight": light}


def test_migrating_again_changes_nothing(settings: Settings) -> None:
    assert migrate(settings, KINDS) == []


def test_closed_hours_and_days_are_rolled_up_with_the_last_state_that_was_known(connection: Connection) -> None:
    put(connection, MORNING, MORNING + DAY + 2 * HOUR)
    assert roller().roll_up(connection, LIGHT) > 0
    assert rolling.watermarks(connection, "streetlight")[0::2] == (ms(MORNING + DAY + HOUR), ms(MORNING + DAY))
    hour = "observations, voltage_mean, voltage_min, voltage_max, voltage_count, power_state_last"
    assert one(connection, "SELECT count(*), max(bucket) FROM rollup_hour_streetlight") == (500, MORNING + DAY)
    where = "WHERE device_id = 7 AND bucket"
    assert one(connection, f"SELECT {hour} FROM rollup_hour_streetlight {where} = '2026-05-29 03:00+00'") == (
        3, 227.0, 227.0, 227.0, 3, 1,
    )  # fmt: skip
    assert one(connection, f"SELECT {hour} FROM rollup_day_streetlight {where} = '2026-05-29'") == (
        72, 227.0, 227.0, 227.0, 72, 1,
    )  # fmt: skip
    assert connection.execute(
        "SELECT municipality, devices, observations, voltage_mean, voltage_max, voltage_count "
        "FROM rollup_municipality_hour_streetlight WHERE bucket = '2026-05-29 03:00+00' ORDER BY 1"
    ).fetchall() == [("41280", 10, 30, 225.5, 230.0, 30), ("41480", 10, 30, 235.5, 240.0, 30)]


def test_late_observations_correct_their_hour_their_day_and_their_municipality(connection: Connection) -> None:
    put(connection, MORNING, MORNING + DAY + 2 * HOUR)
    rolls = roller()
    rolls.roll_up(connection, LIGHT)
    rolls.close_partitions(connection, "streetlight")
    connection.execute(
        "INSERT INTO observation_streetlight (device_id, observed_at, voltage) VALUES (7, '2026-05-29 03:59+00', 427)"
    )
    mark(connection, MORNING + 3 * HOUR, [7])
    assert rolls.roll_up(connection, LIGHT) == 1
    assert one(connection, "SELECT count(*) FROM rollup_due") == (0,)
    where = "WHERE device_id = 7 AND bucket"
    assert one(
        connection, f"SELECT voltage_max, voltage_mean FROM rollup_hour_streetlight {where} = '2026-05-29 03:00+00'"
    ) == (427.0, 277.0)
    assert one(connection, f"SELECT voltage_max, voltage_count FROM rollup_day_streetlight {where} = '2026-05-29'") == (
        427.0,
        73,
    )
    assert one(
        connection,
        "SELECT voltage_max, observations FROM rollup_municipality_hour_streetlight "
        "WHERE municipality = '41280' AND bucket = '2026-05-29 03:00+00'",
    ) == (427.0, 31)


def test_chunks_close_in_order_and_once_more_when_they_grew(connection: Connection) -> None:
    put(connection, MORNING, MORNING + 13 * HOUR)
    rolls = roller()
    rolls.roll_up(connection, LIGHT)
    chunks = partitions.listed(connection, "streetlight")
    assert [((low - ms(MORNING)) // HOUR_MS, (high - ms(MORNING)) // HOUR_MS) for low, high, _ in chunks] == [
        (0, 6),
        (6, 12),
        (12, 18),
    ]
    assert rolls.close_partitions(connection, "streetlight") == 2
    assert [timescale_chunks.unsorted(connection, name) for _, _, name in chunks] == [False, False, True]
    assert rolls.close_partitions(connection, "streetlight") == 0
    put(connection, MORNING, MORNING + 6 * HOUR, devices="21, 4000")
    assert timescale_chunks.unsorted(connection, chunks[0][2])
    assert rolls.close_partitions(connection, "streetlight") == 1
    assert not timescale_chunks.unsorted(connection, chunks[0][2])
    assert one(connection, "SELECT count(*) FROM observation_streetlight") == (20 * 39 + 3980 * 18,)


def test_a_chunk_goes_when_nobody_keeps_it_and_its_rollups_stay(connection: Connection) -> None:
    put(connection, MORNING, MORNING + DAY + 2 * HOUR)
    rolls = roller()
    rolls.roll_up(connection, LIGHT)
    rolls.close_partitions(connection, "streetlight")
    retention.put(connection, retention.Span("streetlight", "", DAY, None))
    gone = retention.apply(connection, LIGHT, ms(MORNING + DAY + 12 * HOUR), rolls.pause)
    assert len(gone) == 2
    assert one(connection, "SELECT min(observed_at) FROM observation_streetlight") == (MORNING + 12 * HOUR,)
    assert one(connection, "SELECT count(*) FROM rollup_hour_streetlight") == (500,)
    mark(connection, MORNING + 3 * HOUR, [7])  # late for what is gone: its rollups stay what they were
    rolls.roll_up(connection, LIGHT)
    assert one(connection, "SELECT count(*) FROM rollup_hour_streetlight") == (500,)


def test_a_municipality_may_keep_less(connection: Connection) -> None:
    put(connection, MORNING, MORNING + DAY + 2 * HOUR)
    rolls = roller()
    rolls.roll_up(connection, LIGHT)
    rolls.close_partitions(connection, "streetlight")
    retention.put(connection, retention.Span("streetlight", "41280", 12 * HOUR, DAY))
    retention.apply(connection, LIGHT, ms(MORNING + 2 * DAY), rolls.pause)
    first = (
        "SELECT min(observed_at) FROM observation_streetlight JOIN device USING (device_id) WHERE municipality = '%s'"
    )
    assert one(connection, first % "41280") == (MORNING + DAY,)
    assert one(connection, first % "41480") == (MORNING,)
    rollups = (
        "SELECT municipality, count(*) FROM rollup_hour_streetlight JOIN device USING (device_id) GROUP BY 1 ORDER BY 1"
    )
    assert connection.execute(rollups.encode()).fetchall() == [("41280", 10), ("41480", 250)]
    towns = "SELECT municipality, count(*) FROM rollup_municipality_hour_streetlight GROUP BY 1 ORDER BY 1"
    assert connection.execute(towns.encode()).fetchall() == [("41280", 1), ("41480", 25)]


def test_settled_rollups_are_compressed_and_can_still_be_corrected(connection: Connection) -> None:
    put(connection, MORNING, MORNING + DAY + 2 * HOUR)
    rolls = roller()
    rolls.roll_up(connection, LIGHT)
    assert rolling.compress(connection, LIGHT, ms(MORNING + 30 * DAY)) == 0
    assert rolling.compress(connection, LIGHT, ms(MORNING + 300 * DAY)) == 3
    put(connection, MORNING + 3 * HOUR, MORNING + 4 * HOUR, devices="7, 7", voltage="320")
    mark(connection, MORNING + 3 * HOUR, [7])
    rolls.roll_up(connection, LIGHT)
    assert one(connection, "SELECT voltage_max, voltage_count FROM rollup_day_streetlight WHERE device_id = 7") == (
        327.0,
        75,
    )
    assert one(connection, "SELECT count(*), sum(observations) FROM rollup_hour_streetlight") == (500, 1503)


def test_a_property_that_a_profile_brings_later_becomes_a_column_of_the_rollups_and_they_keep_their_rows(
    settings: Settings,
) -> None:
    with connect(settings, name="test") as connection:
        put(connection, MORNING, MORNING + DAY + 2 * HOUR)
        rolls = roller()
        rolls.roll_up(connection, LIGHT)
        rolls.close_partitions(connection, "streetlight")
        timescale_chunks.drop(connection, "streetlight", partitions.listed(connection, "streetlight")[0][2])
    kinds = with_battery()
    assert migrate(settings, kinds) == ["kind streetlight"]
    assert migrate(settings, kinds) == []
    with connect(settings, name="test") as connection:
        assert one(
            connection, "SELECT count(*), count(battery_mean), max(voltage_mean) FROM rollup_hour_streetlight"
        ) == (500, 0, 240.0)
        assert one(connection, "SELECT count(*), min(voltage_count) FROM rollup_day_streetlight") == (20, 72)
        assert one(connection, "SELECT count(*) FROM rollup_municipality_hour_streetlight") == (50,)
        connection.execute(
            "INSERT INTO observation_streetlight (device_id, observed_at, battery) "
            "VALUES (7, '2026-05-29 23:59+00', 12)"
        )
        mark(connection, MORNING + 23 * HOUR, [7])
        roller().roll_up(connection, kinds["streetlight"])
        where = "WHERE device_id = 7 AND battery_count = 1"
        assert one(connection, f"SELECT battery_mean, voltage_mean FROM rollup_hour_streetlight {where}") == (
            12.0,
            227.0,
        )
        assert one(connection, f"SELECT battery_mean, voltage_count FROM rollup_day_streetlight {where}") == (12.0, 72)


def test_numbers_lie_in_the_columnstore_as_values_that_repeat_and_come_back_bit_for_bit(connection: Connection) -> None:
    rare = np.array([0.0, -1e-45, 1e-38, 3.4028235e38, -3.4028235e38, 16777217, 0.1, 1 / 3, 1e20, -273.15])
    usual = np.round(221 + np.random.default_rng(1).normal(0, 2, 2990), 1)
    voltage = np.concatenate([usual, rare]).astype(np.float32).tolist()
    device, at = (np.arange(3000) % 20 + 1).tolist(), [MORNING + timedelta(seconds=n) for n in range(3000)]
    connection.execute(
        "INSERT INTO observation_streetlight (device_id, observed_at, voltage, current) SELECT d, t, v, nullif(d, 7) "
        "FROM unnest(%s::int[], %s::timestamptz[], %s::float4[]) r (d, t, v)",
        (device, at, voltage),
    )
    ((_, _, name),) = partitions.listed(connection, "streetlight")
    timescale_chunks.sort(connection, name)
    assert not timescale_chunks.unsorted(connection, name)
    kept = connection.execute(
        "SELECT device_id, observed_at, float4send(voltage), current FROM observation_streetlight ORDER BY observed_at"
    ).fetchall()
    sent = [struct.pack(">f", value) for value in voltage]
    currents = [None if number == 7 else float(number) for number in device]
    assert kept == list(zip(device, at, sent, currents, strict=True))
    settings = f"_timescaledb_catalog.compression_settings WHERE relid = '{name}'::regclass"
    (columnstore,) = one(connection, f"SELECT compress_relid::text FROM {settings}")
    used = f"{columnstore} c, _timescaledb_functions.compressed_data_info(c.voltage) i"
    assert one(connection, f"SELECT array_agg(DISTINCT i.algorithm::text) FROM {used}") == (["DICTIONARY"],)


def test_a_table_whose_numbers_are_plain_keeps_them_and_takes_small_ones(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Settings(url=url, schema=f"test_{secrets.token_hex(6)}", timescale="require")
    with monkeypatch.context() as before:
        before.setattr(timescale_schema, "READING", timescale_schema.NUMBER)
        migrate(made, KINDS)
    with connect(made, name="test") as connection:
        put(connection, MORNING, MORNING + HOUR)
        ((_, _, name),) = partitions.listed(connection, "streetlight")
        timescale_chunks.sort(connection, name)
    assert [migrate(made, kinds) for kinds in (KINDS, with_battery(), with_battery())] == [[], ["kind streetlight"], []]
    with connect(made, name="test") as connection:
        connection.execute(
            "INSERT INTO observation_streetlight (device_id, observed_at, voltage, battery) SELECT 1, "
            "%s + n * interval '1 second', 230.5, n %% 3 + 0.1 FROM generate_series(1, 3000) n",
            (MORNING,),
        )
        timescale_chunks.sort(connection, name)
        types = connection.execute(
            "SELECT column_name, domain_name FROM information_schema.columns WHERE table_schema = current_schema() "
            "AND table_name = 'observation_streetlight' AND column_name IN ('voltage', 'battery')"
        )
        assert set(types.fetchall()) == {("voltage", None), ("battery", "reading")}
        sums = "SELECT sum(voltage), round(sum(battery)::numeric) FROM observation_streetlight"
        assert one(connection, sums) == (3000 * 230.5 + sum(3 * (220 + d) for d in range(1, 21)), 3300)
        connection.execute(f"DROP SCHEMA {made.schema} CASCADE".encode())


def test_a_late_observation_that_the_invalidation_log_lacks_corrects_its_rollups(connection: Connection) -> None:
    """What is committed while a refresh moves the log's threshold is not in it."""
    if connection.execute("SELECT current_setting('timescaledb.skip_cagg_invalidation', true)").fetchone() == (None,):
        pytest.skip("this TimescaleDB writes its invalidation log always")
    put(connection, MORNING, MORNING + DAY + 2 * HOUR)
    rolls = roller()
    rolls.roll_up(connection, LIGHT)
    connection.execute("SET timescaledb.skip_cagg_invalidation TO on")
    put(connection, MORNING + 3 * HOUR, MORNING + 4 * HOUR, devices="7, 7", voltage="320")
    connection.execute("RESET timescaledb.skip_cagg_invalidation")
    mark(connection, MORNING + 3 * HOUR, [7])
    rolls.roll_up(connection, LIGHT)
    for rollup in ("rollup_hour_streetlight", "rollup_day_streetlight", "rollup_municipality_hour_streetlight"):
        assert one(connection, f"SELECT max(voltage_max) FROM {rollup} WHERE voltage_max <> 240") == (327.0,)


@pytest.mark.skipif(not TIMESCALE_URL, reason="needs COPY: a server in DURE_TEST_TIMESCALE_URL")
def test_rows_that_arrive_while_a_chunk_is_sorted_are_neither_lost_nor_doubled() -> None:
    with schema(TIMESCALE_URL) as database:
        city, stop, counts = City(database), threading.Event(), []

        def write(number: int) -> None:
            rng = random.Random(number)
            with city.connect() as writer:
                while not stop.wait(0.01):
                    moments = [MIDNIGHT + rng.randrange(6 * HOUR_MS) for _ in range(rng.choice((1, 5, 200)))]
                    city.store(writer, [random_row(rng, rng.choice(city.devices), moment) for moment in moments])

        def read() -> None:
            while not stop.is_set():
                counts.append(city.stored())

        threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        threads.append(threading.Thread(target=read))
        for thread in threads:
            thread.start()
        done = 0
        with city.connect() as closer:
            ends = time.monotonic() + 30
            while done < 15 and time.monotonic() < ends:
                for chunk in partitions.listed(closer, "streetlight"):
                    done += closing.close(closer, "streetlight", chunk, lambda _: time.sleep(0.05))
        stop.set()
        for thread in threads:
            thread.join()
        assert done > 3
        assert counts == sorted(counts)
        at_ms = "(extract(epoch FROM observed_at) * 1000)::bigint"
        kept = f"SELECT device_id, {at_ms} FROM observation_streetlight ORDER BY 1, 2"
        assert database.rows(kept) == sorted((row[0], row[1]) for row in city.rows)


@pytest.mark.skipif(not TIMESCALE_URL, reason="needs COPY: a server in DURE_TEST_TIMESCALE_URL")
def test_copy_goes_into_the_columnstore_at_once() -> None:
    with schema(TIMESCALE_URL) as database:
        city, rng = City(database), random.Random(1)
        with city.connect() as connection:
            city.store(connection, [random_row(rng, city.devices[0], MIDNIGHT + second) for second in range(3000)])
            ((_, _, name),) = partitions.listed(connection, "streetlight")
            assert one(connection, f"SELECT count(*) FROM ONLY {name}") == (0,)
            assert city.stored() == 3000


def test_a_job_of_the_database_sorts_what_late_observations_left(connection: Connection) -> None:
    jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema()"
    assert one(connection, jobs) == (len(KINDS),)


def test_names_and_columns_are_those_of_the_tables_without_timescale(settings: Settings, native_url: str) -> None:
    native = Settings(url=native_url, schema=f"test_{secrets.token_hex(6)}", timescale="off")
    migrate(native, KINDS)
    text = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name ~ '^(observation|newest|rollup)_'"
    )
    found = []
    for made in (settings, native):
        with connect(made, name="test") as connection:
            found.append(set(connection.execute(text.encode()).fetchall()))
    with psycopg.connect(native_url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {native.schema} CASCADE".encode())
    assert found[0] == found[1]


def test_a_schema_on_timescale_says_so(connection: Connection) -> None:
    assert engine.stored(connection).timescale


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
