"""Closing a partition: no row is lost or doubled whatever arrives meanwhile, whatever cuts it short, whoever reads."""

import random
import threading
import time

import pytest

from ingest_service.store import closing, partitions
from ingest_service.store.connection import DatabaseError
from ingest_service.store.partitions import HOUR_MS
from tests.services.rolled_city import MIDNIGHT, City, random_row

WIDTH = 6 * HOUR_MS
NAME = "observation_streetlight_p2026052900"
LEFT_OVER = (
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
    "AND (relname LIKE '%\\_next%' OR relname LIKE '%\\_late%')"
)
TRIGGERS = "SELECT count(*) FROM pg_trigger WHERE tgname = 'keep_late' AND tgrelid = %s::regclass"
KEPT = "SELECT device_id, (extract(epoch FROM observed_at) * 1000)::bigint FROM observation_streetlight ORDER BY 1, 2"


@pytest.fixture
def database(native_database):
    """Partitions; the chunks of TimescaleDB are in test_timescale."""
    return native_database


def rows_of(city, count, seed=1):
    """Distinct (device, instant) in the partition."""
    rng = random.Random(seed)
    moments = rng.sample(range(MIDNIGHT, MIDNIGHT + WIDTH), count)
    return [random_row(rng, rng.choice(city.devices), moment) for moment in moments]


def partition(connection):
    (found,) = (item for item in partitions.listed(connection, "streetlight") if item[2] == NAME)
    return found


def assert_whole(city):
    assert city.database.rows(KEPT) == sorted((row[0], row[1]) for row in city.rows)


def test_a_closed_partition_is_in_order_of_device_and_time_small_and_takes_late_rows(native_database):
    city = City(native_database, partition_hours=6)
    with city.connect() as connection:
        city.store(connection, rows_of(city, 3000))
        seen: dict[str, int] = {}
        assert closing.due(connection, "streetlight", MIDNIGHT + WIDTH - 1, seen) == []
        (due,) = closing.due(connection, "streetlight", MIDNIGHT + WIDTH, seen)
        assert closing.close(connection, "streetlight", due)
        order = f"SELECT device_id, observed_at FROM {NAME} ORDER BY ctid"
        assert native_database.rows(order) == sorted(native_database.rows(order))
        assert native_database.rows(LEFT_OVER) == []
        assert closing.due(connection, "streetlight", MIDNIGHT + WIDTH, seen) == []
        city.store(connection, rows_of(city, 100, seed=2))
        assert_whole(city)
        end = f"to_timestamp({(MIDNIGHT + WIDTH) // 1000})"
        asked = f"EXPLAIN SELECT * FROM observation_streetlight WHERE device_id = 1 AND observed_at < {end}"
        plan = "\n".join(row[0] for row in native_database.rows(asked))
        assert f"{NAME}_device" in plan


def test_a_partition_that_grew_is_rewritten_when_it_is_quiet_or_grew_much(native_database):
    city = City(native_database, partition_hours=6)
    with city.connect() as connection:
        city.store(connection, rows_of(city, 3000))
        assert closing.close(connection, "streetlight", partition(connection))
        seen: dict[str, int] = {}

        def due():
            return [name for _, _, name in closing.due(connection, "streetlight", MIDNIGHT + WIDTH, seen)]

        assert due() == []
        city.store(connection, rows_of(city, 600, seed=3))
        assert due() == []  # grown, but perhaps still growing
        assert due() == [NAME]
        assert closing.close(connection, "streetlight", partition(connection))
        assert due() == []
        city.store(connection, rows_of(city, 4000, seed=4))
        assert due() == [NAME]
        assert_whole(city)


def test_rows_that_arrive_while_it_is_rewritten_are_neither_lost_nor_doubled(native_database, monkeypatch):
    monkeypatch.setattr(closing, "LATE_MOST", 40)
    city, stop, failures, counts = City(native_database, partition_hours=6), threading.Event(), [], []
    late = rows_of(city, 20_000, seed=5)

    def write():
        try:
            with city.connect() as connection:
                while late and not stop.is_set():
                    city.store(connection, [late.pop() for _ in range(min(20, len(late)))])
        except Exception as error:
            failures.append(error)

    def read():
        with city.connect() as connection:
            while not stop.is_set():
                counts.append(connection.execute(b"SELECT count(*) FROM observation_streetlight").fetchone()[0])

    with city.connect() as connection:
        city.store(connection, late[:4000])
        del late[:4000]
        threads = [threading.Thread(target=work) for work in (write, write, read)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            before = len(city.rows)
            assert closing.close(connection, "streetlight", partition(connection))
            assert len(city.rows) > before  # rows did arrive meanwhile
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert counts == sorted(counts)  # nobody ever saw fewer rows than before
    assert_whole(city)
    assert native_database.rows(LEFT_OVER) == []


@pytest.mark.parametrize("late_most", [10, 5000])
def test_rows_on_either_side_of_the_copys_snapshot_are_there_once(native_database, monkeypatch, late_most):
    monkeypatch.setattr(closing, "LATE_MOST", late_most)
    city, copy = City(native_database, partition_hours=6), closing._copy
    rows = rows_of(city, 3000, seed=10)

    def copy_amid_rows(connection, name):
        city.store(writer, rows[1000:1500])  # the trigger has kept these, and the copy will see them
        copy(connection, name)
        city.store(writer, rows[1500:])  # only the trigger has these

    monkeypatch.setattr(closing, "_copy", copy_amid_rows)
    with city.connect() as connection, city.connect() as writer:
        city.store(writer, rows[:1000])
        assert closing.close(connection, "streetlight", partition(connection))
    assert_whole(city)


def test_cut_short_anywhere_it_leaves_all_rows_and_is_done_again(native_database):
    city, rng, cut, done = City(native_database, partition_hours=6), random.Random(6), 0, 0
    late = rows_of(city, 6000, seed=6)
    with city.connect() as writer:
        city.store(writer, late[:3000])
        del late[:3000]
        for attempt in range(30):
            connection = city.connect("closer")
            pid = connection.info.backend_pid
            reaper = threading.Timer(
                rng.random() * 0.04 if attempt else 0.005,
                lambda pid=pid: native_database.rows("SELECT pg_terminate_backend(%s)", pid),
            )
            reaper.start()
            try:
                done += closing.close(connection, "streetlight", partition(connection))
            except DatabaseError:
                cut += 1
            connection.close()
            reaper.join()
            city.store(writer, [late.pop() for _ in range(50)])
            assert_whole(city)
        assert cut >= 5
        assert closing.close(writer, "streetlight", partition(writer))
    assert_whole(city)
    assert native_database.rows(LEFT_OVER) == []
    assert native_database.rows(TRIGGERS, NAME) == [(0,)]


def test_a_long_reader_delays_the_closing_and_not_the_writers(native_database, monkeypatch):
    monkeypatch.setattr(closing, "ATTEMPTS", 4)
    city, took = City(native_database, partition_hours=6), []
    with city.connect() as connection, city.connect() as reader, city.connect() as writer:
        city.store(writer, rows_of(city, 500, seed=7))
        late = rows_of(city, 5000, seed=8)
        with reader.transaction():
            assert len(reader.execute(b"SELECT * FROM observation_streetlight").fetchall()) == 500
            closer: list[bool] = []
            thread = threading.Thread(
                target=lambda: closer.append(
                    closing.close(connection, "streetlight", partition(connection), lambda _: time.sleep(0.1))
                )
            )
            thread.start()
            while thread.is_alive():
                began = time.monotonic()
                city.store(writer, [late.pop()])
                took.append(time.monotonic() - began)
            thread.join()
        assert closer == [False]
        assert max(took) < 1.0
        copied = native_database.rows(f"SELECT '{NAME}_next'::regclass::oid")
        assert closing.close(connection, "streetlight", partition(connection))
        assert native_database.rows(f"SELECT '{NAME}'::regclass::oid") == copied  # it went on where it had come to
    assert_whole(city)


def test_a_column_that_a_migration_adds_meanwhile_keeps_its_values(native_database, monkeypatch):
    monkeypatch.setattr(closing, "ATTEMPTS", 1)
    city = City(native_database, partition_hours=6)
    with city.connect() as connection, city.connect() as reader:
        city.store(connection, rows_of(city, 100))
        with reader.transaction():
            reader.execute(b"SELECT count(*) FROM observation_streetlight")
            assert not closing.close(connection, "streetlight", partition(connection), lambda _: None)
        connection.execute("ALTER TABLE observation_streetlight ADD COLUMN tilt float4")
        connection.execute(
            "INSERT INTO observation_streetlight (device_id, observed_at, tilt) VALUES (1, to_timestamp(%s), 7)",
            (MIDNIGHT // 1000,),
        )
        assert closing.close(connection, "streetlight", partition(connection))
    assert native_database.rows("SELECT count(*), sum(tilt) FROM observation_streetlight") == [(101, 7.0)]
    assert native_database.rows(LEFT_OVER) == []


@pytest.mark.parametrize("hours", [6, 24])
def test_a_partition_of_the_far_past_or_another_width_is_closed_alike(native_database, hours):
    city = City(native_database, partition_hours=6)
    long_ago = MIDNIGHT - 4000 * 24 * HOUR_MS
    with city.connect() as connection:
        partitions.Partitions(["streetlight"], hours).ensure(connection, "streetlight", [long_ago], MIDNIGHT)
        city.forget_partitions()
        city.store(connection, [random_row(random.Random(9), city.devices[0], long_ago + 5)])
        for item in partitions.listed(connection, "streetlight"):
            assert closing.close(connection, "streetlight", item)
            assert item in partitions.listed(connection, "streetlight")
    assert_whole(city)
