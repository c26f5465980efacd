"""Rollups hold what recomputing them from every observation gives, in whatever order and however late they came, with
the roller cut short or doubled.
"""

import contextlib
import random
import threading

import pytest

from ingest_service.store import rolling
from ingest_service.store.connection import DatabaseError
from ingest_service.store.partitions import HOUR_MS
from tests.services.rolled_city import DAY_MS, MIDNIGHT, City, random_row

END = MIDNIGHT + 9 * DAY_MS


def finish(city: City) -> None:
    """An observation that closes everything before END, and turns until nothing is due."""
    with city.connect() as connection:
        city.store(connection, [random_row(random.Random(1), city.devices[0], END + 1)])
    city.turn()


def week(rng: random.Random, city: City, count: int) -> list:
    """Observations of eight days, each device at most once a millisecond."""
    moments = rng.sample(range(MIDNIGHT, MIDNIGHT + 8 * DAY_MS), count)
    return [random_row(rng, rng.choice(city.devices), moment) for moment in moments]


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_arrival_gives_what_recomputing_gives(database, seed):
    rng = random.Random(seed)
    city = City(database)
    rows = week(rng, city, 400)
    if seed % 2:  # mostly in order, with one device that was offline for the whole week
        offline = city.devices[0]
        rows.sort(key=lambda row: row[1] + (10 * DAY_MS if row[0] == offline else rng.randrange(3 * HOUR_MS)))
    roller = city.roller()
    with city.connect() as connection:
        while rows:
            some, rows = rows[: (size := rng.randrange(1, 60))], rows[size:]
            city.store(connection, some)
            if rng.random() < 0.5:
                roller._next_close = 0.0 if rng.random() < 0.3 else 1e18
                city.turn(roller)
    finish(city)
    city.assert_rolled(END)
    assert database.rows("SELECT count(*) FROM rollup_due") == [(0,)]
    assert city.stored() == len(city.rows)


def test_a_late_week_of_one_device_recomputes_nobody_else(native_database):
    city, rng = City(native_database), random.Random(5)
    rows = week(rng, city, 300)
    offline = city.devices[0]
    with city.connect() as connection:
        city.store(connection, [row for row in rows if row[0] != offline])
        finish(city)
        others = "SELECT xmin::text, device_id, bucket FROM rollup_hour_streetlight WHERE device_id <> %s ORDER BY 2, 3"
        towns = (
            "SELECT xmin::text, bucket FROM rollup_municipality_hour_streetlight WHERE municipality <> %s ORDER BY 2"
        )
        town = city.town_of[offline]
        before = native_database.rows(others, offline), sorted(native_database.rows(towns, town))
        city.store(connection, [row for row in rows if row[0] == offline])
        city.turn()
    assert (native_database.rows(others, offline), sorted(native_database.rows(towns, town))) == before
    city.assert_rolled(END)


def test_what_is_on_time_is_not_marked_and_what_is_late_is_marked_by_device(database):
    city, rng = City(database), random.Random(6)
    marked = "SELECT extract(epoch FROM hour)::bigint * 1000, devices FROM rollup_due ORDER BY 1"
    with city.connect() as connection:
        city.store(connection, [random_row(rng, device, MIDNIGHT + 10 * HOUR_MS) for device in city.devices])
        assert database.rows(marked) == []
        city.turn()
        first, second, *_ = city.devices
        city.store(
            connection,
            [
                random_row(rng, second, MIDNIGHT + 60_000),
                random_row(rng, first, MIDNIGHT + 60_001),
                random_row(rng, second, MIDNIGHT + 61_000),
                random_row(rng, second, MIDNIGHT + 3 * HOUR_MS),
                random_row(rng, first, MIDNIGHT + 10 * HOUR_MS + 5),
            ],
        )
    assert database.rows(marked) == [(MIDNIGHT, [first, second]), (MIDNIGHT + 3 * HOUR_MS, [second])]


def test_hours_that_close_while_flushes_are_under_way_lose_nothing(database):
    """Transactions that began before an hour was closed and commit after it, marks taken early or late in them."""
    city = City(database)
    stop, failures = threading.Event(), []

    def write(number):
        rng = random.Random(number)
        try:
            with city.connect() as connection:
                for step in range(25):
                    hour = MIDNIGHT + step * HOUR_MS  # all writers walk through the hours together
                    some = [
                        random_row(rng, city.devices[number], hour - rng.randrange(HOUR_MS) + lead)
                        for lead in (0, 0, HOUR_MS)
                    ]
                    city.store(connection, some, marks_first=bool(step % 2), hold_s=rng.random() * 0.03)
        except Exception as error:
            failures.append(error)

    def roll():
        roller = city.roller()
        while not stop.is_set():
            city.turn(roller)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    roller = threading.Thread(target=roll)
    for thread in (*writers, roller):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    roller.join()
    assert failures == []
    finish(city)
    city.assert_rolled(END)


def test_a_roller_cut_down_again_and_again_comes_to_the_same(database, monkeypatch):
    monkeypatch.setattr(rolling, "SLICE", 2)
    city, rng = City(database), random.Random(8)
    rows = week(rng, city, 250)
    stop, cut = threading.Event(), []

    def reap():
        with city.connect("reaper") as connection:
            while not stop.wait(rng.random() * 0.1):
                cut.append(
                    connection.execute(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                        "WHERE application_name = 'dure roller' AND state = 'active'"
                    ).fetchone()[0]
                )

    reaper = threading.Thread(target=reap)
    with city.connect() as connection:
        city.store(connection, [row for row in rows if row[0] != city.devices[0]])
        city.store(connection, [random_row(rng, city.devices[1], END + 1)])
        reaper.start()
        for attempt in range(100):
            if attempt == 8:
                city.store(connection, [row for row in rows if row[0] == city.devices[0]])
            elif attempt > 8 and sum(cut) > 8:
                break
            with contextlib.suppress(DatabaseError):
                city.turn()
    stop.set()
    reaper.join()
    assert sum(cut) > 3
    finish(city)
    city.assert_rolled(END)
    assert city.stored() == len(city.rows)


def test_two_rollers_share_the_work_and_spoil_nothing(database, monkeypatch):
    from ingest_service import rollups
    from ingest_service.health import Health
    from tests.services.rolled_city import KINDS

    monkeypatch.setattr(rollups, "PERIOD_S", 0.02)
    city, rng = City(database), random.Random(9)
    stopping, health = threading.Event(), Health(waiting_for=())
    rollers = [
        threading.Thread(
            target=rollups.run,
            args=(city.settings, KINDS),
            kwargs={"grace_s": 0, "stopping": stopping, "health": health},
        )
        for _ in range(2)
    ]
    for roller in rollers:
        roller.start()
    with city.connect() as connection:
        rows = week(rng, city, 300)
        for start in range(0, len(rows), 30):
            city.store(connection, rows[start : start + 30])
        city.store(connection, [random_row(rng, city.devices[0], END + 1)])
    stopping.wait(1.0)
    stopping.set()
    for roller in rollers:
        roller.join()
    assert health.report().reasons == []
    city.turn()
    city.assert_rolled(END)


def test_an_hour_of_a_kind_that_fell_quiet_is_closed_by_the_servers_clock(database, monkeypatch):
    from ingest_service import rollups

    monkeypatch.setattr(rollups, "WAIT_LONGEST_S", 0.0)
    city, rng = City(database), random.Random(10)
    roller = city.roller(grace_s=120)
    with city.connect() as connection:
        city.store(connection, [random_row(rng, device, MIDNIGHT - 30 * DAY_MS + 5) for device in city.devices])
        rolling.prepare(connection)
        roller.turn(connection)
        assert city.rolled("hour") == {}
        roller.turn(connection)  # nothing came since
    city.assert_rolled(MIDNIGHT - 29 * DAY_MS - 1)
    assert len(city.rolled("hour")) == len(city.devices)


def test_a_mark_from_before_marks_had_devices_recomputes_the_whole_hour(native_database):
    city, rng = City(native_database), random.Random(11)
    with city.connect() as connection:
        city.store(connection, [random_row(rng, device, MIDNIGHT + 5) for device in city.devices])
        finish(city)
        connection.execute("UPDATE rollup_hour_streetlight SET voltage_mean = 1, observations = 9")
        connection.execute(
            "INSERT INTO rollup_due (kind, hour) VALUES ('streetlight', to_timestamp(%s))", (MIDNIGHT // 1000,)
        )
    city.turn()
    city.assert_rolled(END)
