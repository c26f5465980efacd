"""Partitions of rollups: those that are over lie in order of the device, whatever cuts the rewriting short, whoever
reads; late observations correct them, and what a schema of before holds is taken over."""

import random
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from ingest_service.store import rolling, rollup_partitions
from ingest_service.store.migrate import migrate
from ingest_service.store.partitions import HISTORY_WIDTH_MS, HOUR_MS
from tests.services.rolled_city import DAY_MS, KINDS, LAMP, MIDNIGHT, City, random_row

ROOT = Path(__file__).parents[2]
HOURS = "rollup_hour_streetlight"
SCHEMA = "relnamespace = current_schema()::regnamespace"
LEFT_OVER = f"SELECT relname FROM pg_class WHERE {SCHEMA} AND relname LIKE 'rollup%\\_next%'"
SUM = f"SELECT count(*), sum(observations), sum(device_id::bigint * extract(epoch FROM bucket)::bigint) FROM {HOURS}"
ROLLER = """
import sys, threading
from ingest_service.health import Health
from ingest_service.settings import Database
from ingest_service import rollups
from tests.services.rolled_city import KINDS
rollups.PERIOD_S = 0.01
settings = Database(url=sys.argv[1], schema=sys.argv[2], partition_hours=24)
print("ready", flush=True)
rollups.run(settings, KINDS, grace_s=0, stopping=threading.Event(), health=Health(waiting_for=()))
"""


@pytest.fixture
def city(native_database):
    """Observations of each device every three hours for four days, rolled up; nothing rewritten yet."""
    found = City(native_database)
    rng = random.Random(1)
    with found.connect() as connection:
        moments = range(MIDNIGHT, MIDNIGHT + 4 * DAY_MS + HOUR_MS, 3 * HOUR_MS)
        found.store(connection, [random_row(rng, device, at + 7) for at in moments for device in found.devices])
        rolling.prepare(connection)
        found.roller().roll_up(connection, LAMP)
    return found


def until(city):
    with city.connect() as connection:
        return rolling.watermarks(connection, "streetlight")[0]


def spans(city, tier="hour"):
    """(begin, end) of each partition in days of the test, and its name."""
    with city.connect() as connection:
        return [
            ((low - MIDNIGHT) / DAY_MS, (high - MIDNIGHT) / DAY_MS, name)
            for low, high, name in rollup_partitions.listed(connection, f"rollup_{tier}_streetlight")
        ]


def close_all(city):
    with city.connect() as connection:
        rolling.prepare(connection)
        return city.roller().close_rollups(connection, LAMP)


def test_a_partition_that_is_over_is_in_order_of_device_and_hour_and_the_open_one_is_not_touched(city, native_database):
    assert [(low, high) for low, high, _ in spans(city)] == [(day, day + 1) for day in range(4)]
    first, *_, last = (name for *_, name in spans(city))
    order = "SELECT device_id, bucket FROM {} ORDER BY ctid"
    before = native_database.rows(order.format(first))
    assert before != sorted(before)
    with city.connect() as connection:
        partition, *_ = rollup_partitions.due(connection, LAMP, "hour", MIDNIGHT + DAY_MS, {})
        assert [partition] == rollup_partitions.due(connection, LAMP, "hour", MIDNIGHT + 2 * DAY_MS - 1, {})
        assert rollup_partitions.close(connection, LAMP, "hour", partition, MIDNIGHT + DAY_MS)
        assert rollup_partitions.due(connection, LAMP, "hour", MIDNIGHT + DAY_MS, {}) == []
    assert native_database.rows(order.format(first)) == sorted(before)
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = %s ORDER BY 1"
    assert native_database.rows(indexes, first) == [(f"{first}_pkey",)]
    assert native_database.rows(indexes, last) == [(f"{last}_bucket",), (f"{last}_pkey",)]
    assert native_database.rows(LEFT_OVER) == []
    city.assert_rolled(until(city))


def test_late_observations_correct_rewritten_partitions_and_those_that_grew_are_rewritten_again(city):
    assert close_all(city) > 0
    assert close_all(city) == 0
    rng = random.Random(2)
    with city.connect() as connection:
        late = [random_row(rng, device, MIDNIGHT + hour * HOUR_MS + 9) for device in city.devices for hour in range(48)]
        city.store(connection, late)
    roller = city.roller()
    city.turn(roller)
    city.assert_rolled(until(city))
    for _ in range(3):
        with city.connect() as connection:
            rolling.prepare(connection)
            roller.close_rollups(connection, LAMP)
        city.assert_rolled(until(city))


def test_readers_see_every_row_while_partitions_are_rewritten_again_and_again(city, native_database):
    stop, seen, failures = threading.Event(), set(), []

    def read():
        try:
            with city.connect() as connection:
                while not stop.is_set():
                    seen.add(connection.execute(SUM.encode()).fetchone())
        except Exception as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(5):
        close_all(city)
        native_database.rows("UPDATE closed_partition SET pages = -1 RETURNING name")
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert seen == {native_database.rows(SUM)[0]}


def test_whoever_reads_on_and_on_postpones_the_rewriting_and_nothing_is_left_over(city, native_database, monkeypatch):
    monkeypatch.setattr("ingest_service.store.closing.ATTEMPTS", 2)
    monkeypatch.setattr("ingest_service.store.closing.ATTEMPT_EVERY_S", 0.01)
    with city.connect() as reader, city.connect() as connection, reader.transaction():
        reader.execute(SUM.encode())
        rolling.prepare(connection)
        partition, *_ = rollup_partitions.due(connection, LAMP, "hour", MIDNIGHT + DAY_MS, {})
        assert not rollup_partitions.close(connection, LAMP, "hour", partition, MIDNIGHT + DAY_MS)
        assert native_database.rows(LEFT_OVER) == []
    assert close_all(city) > 0
    city.assert_rolled(until(city))


def test_a_roller_killed_while_it_rewrites_loses_and_doubles_nothing(city, native_database):
    """kill -9 of the process, at another moment each time; large enough that the rewriting takes a while."""
    first = spans(city)[0][2]
    native_database.rows(
        f"INSERT INTO {HOURS} (device_id, bucket, observations) SELECT d, to_timestamp({MIDNIGHT // 1000}) + "
        "h * interval '1 hour', 1 FROM generate_series(1000, 6999) d, generate_series(0, 23) h RETURNING 0"
    )
    whole, rng, cut = native_database.rows(SUM), random.Random(3), 0
    for _ in range(4):
        roller = subprocess.Popen(
            [sys.executable, "-c", ROLLER, native_database.url, native_database.schema],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert roller.stdout is not None
        roller.stdout.readline()
        end = time.monotonic() + 20
        while not (under_way := native_database.rows(LEFT_OVER)) and time.monotonic() < end:
            time.sleep(0.005)
        assert under_way
        time.sleep(rng.random() * 0.3)
        roller.send_signal(signal.SIGKILL)
        roller.wait()
        cut += bool(native_database.rows(LEFT_OVER))
        assert native_database.rows(SUM) == whole
        native_database.rows("UPDATE closed_partition SET pages = -1 RETURNING name")
    assert cut > 0  # it did leave something behind
    end = time.monotonic() + 20  # what the server still does for those that are dead
    while native_database.rows("SELECT 1 FROM pg_stat_activity WHERE application_name = 'dure roller'"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert close_all(city) > 0
    assert native_database.rows(LEFT_OVER) == []
    assert native_database.rows(SUM) == whole
    order = native_database.rows(f"SELECT device_id, bucket FROM {first} ORDER BY ctid")
    assert order == sorted(order)


def test_rollups_of_a_schema_of_before_are_cut_into_days_and_old_ones_into_weeks_and_corrected(native_database):
    city, rng = City(native_database), random.Random(4)
    days = [-100, -99, -40, 0, 1, 2]
    with city.connect() as connection:
        city.store(
            connection,
            [random_row(rng, device, MIDNIGHT + day * DAY_MS + 7) for day in days for device in city.devices],
        )
        city.store(connection, [random_row(rng, city.devices[0], MIDNIGHT + 3 * DAY_MS + HOUR_MS)])
        rolling.prepare(connection)
        city.roller().roll_up(connection, LAMP)
        for tier in LAMP.rollups:  # as it was: one table, keyed, with a BRIN
            table = f"rollup_{tier}_streetlight"
            connection.execute(f"CREATE TABLE plain (LIKE {table}, PRIMARY KEY (device_id, bucket))".encode())
            connection.execute(f"INSERT INTO plain SELECT * FROM {table}".encode())
            connection.execute(f"DROP TABLE {table}".encode())
            connection.execute(f"ALTER TABLE plain RENAME TO {table}".encode())
            connection.execute(f"ALTER INDEX plain_pkey RENAME TO {table}_pkey".encode())
            connection.execute(f"CREATE INDEX {table}_bucket ON {table} USING brin (bucket)".encode())
    assert migrate(city.settings, KINDS) == [f"partitions of rollup_{tier}_streetlight" for tier in LAMP.rollups]
    assert migrate(city.settings, KINDS) == []
    assert [(low, high, name) for low, high, name in spans(city)] == [(-100, 3, f"{HOURS}_before")]
    city.assert_rolled(until(city))  # it is read as it is
    assert close_all(city) > 0
    found = spans(city)
    assert found[0][0] == -100
    assert found[-1][:2] == (2, 3)
    assert all(one[1] == other[0] for one, other in pairwise(found))
    assert max(high - low for low, high, _ in found) == HISTORY_WIDTH_MS / DAY_MS
    assert all(high - low == 1 for low, high, _ in found if low > -30)
    with city.connect() as connection:
        city.store(connection, [random_row(rng, city.devices[1], MIDNIGHT + day * DAY_MS + 11) for day in days])
        city.store(connection, [random_row(rng, city.devices[1], MIDNIGHT + 5 * DAY_MS)])
    city.turn()
    city.assert_rolled(until(city))
    assert native_database.rows(LEFT_OVER) == []
