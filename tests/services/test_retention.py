"""Retention: what nobody keeps goes, a partition or a municipality at a time; rollups, cursors and alarms stay."""

import random
import time

import numpy as np
import pytest

from ingest_service.store import closing, partitions, retention, rolling
from ingest_service.store.partitions import HOUR_MS
from ingest_service.store.retention import ALL, Span
from tests.services.ingest_fixture import agent, broker, dure, lights, running_ingest, seal_load, settle, stored
from tests.services.rolled_city import DAY_MS, KINDS, LAMP, MIDNIGHT, TOWNS, City, random_row
from tests.waiting import wait_for

__all__ = ["broker"]

NOW = MIDNIGHT + 60 * DAY_MS
SHORT, OTHER = TOWNS


def days(count):
    return np.timedelta64(count, "D").item()


@pytest.fixture
def city(database):
    """Two towns, an observation of each device every three hours for twelve days; rolled up and closed."""
    found = City(database)
    rng = random.Random(1)
    with found.connect() as connection:
        moments = range(MIDNIGHT, MIDNIGHT + 12 * DAY_MS, 3 * HOUR_MS)
        found.store(connection, [random_row(rng, device, at + 7) for at in moments for device in found.devices])
        found.turn()
        connection.execute("INSERT INTO cursor (agent_id, epoch, committed) VALUES (1, 1, 5)")
        connection.execute(
            "INSERT INTO alarm (municipality, device_id, condition, detector, severity, opened_at, last_finding_at) "
            "VALUES ('41280', 1, 'silent', 'silent', 1, to_timestamp(0), to_timestamp(0))"
        )
    return found


def until(city):
    with city.connect() as connection:
        return rolling.watermarks(connection, "streetlight")[0]


def apply(city, *spans, now_ms=NOW):
    with city.connect() as connection:
        for span in spans:
            retention.put(connection, span)
        counted = retention.would_go(connection, LAMP, now_ms)
        before = city.stored()
        gone = retention.apply(connection, LAMP, now_ms, lambda: None)
        raw = [item for item in counted if not item.what.startswith("rollup_")]
        assert sum(item.rows for item in raw) == before - city.stored()  # the dry run had said so
        assert {(item.what, item.municipality) for item in gone} == {
            (item.what, item.municipality) for item in counted if item.rows
        }
        assert [item for item in retention.would_go(connection, LAMP, now_ms) if item.rows] == []
    return gone


def span(keep, municipality=ALL, rollups=None):
    return Span("streetlight", municipality, days(keep) if keep else None, days(rollups) if rollups else None)


def test_nothing_goes_where_nothing_is_set(city):
    before = city.stored()
    assert apply(city) == []
    assert city.stored() == before


def test_partitions_that_nobody_keeps_go_and_all_rollups_cursors_and_alarms_stay(city, database):
    closed = until(city)
    apply(city, span(50))  # of sixty days: the first ten
    (first,) = database.rows(
        "SELECT (extract(epoch FROM min(observed_at)) * 1000)::bigint FROM observation_streetlight"
    )
    assert first == (MIDNIGHT + 10 * DAY_MS + 7,)
    assert database.rows("SELECT (SELECT count(*) FROM cursor), (SELECT count(*) FROM alarm)") == [(1, 1)]
    city.turn()
    city.assert_rolled(closed)


def test_a_town_that_keeps_less_loses_its_rows_and_the_partitions_shrink(city, database):
    closed = until(city)
    apply(city, span(None), span(50, SHORT))
    oldest = dict(
        database.rows(
            "SELECT municipality, (extract(epoch FROM min(observed_at)) * 1000)::bigint FROM observation_streetlight "
            "JOIN device USING (device_id) GROUP BY 1"
        )
    )
    assert oldest == {SHORT: MIDNIGHT + 10 * DAY_MS + 7, OTHER: MIDNIGHT + 7}
    with city.connect() as connection:
        due = closing.due(connection, "streetlight", closed, {})
        assert len(due) == 10  # one a day: rewritten without the holes
    city.turn()
    with city.connect() as connection:
        assert closing.due(connection, "streetlight", closed, {}) == []
    city.assert_rolled(closed)
    apply(city, span(55), span(50, SHORT))  # now the other one too: whole partitions
    (first,) = database.rows(
        "SELECT (extract(epoch FROM min(observed_at)) * 1000)::bigint FROM observation_streetlight"
    )
    assert first == (MIDNIGHT + 5 * DAY_MS + 7,)
    city.assert_rolled(closed)


@pytest.mark.parametrize("spans", [(span(50),), (span(None), span(50, SHORT))])
def test_what_comes_late_for_an_hour_that_is_gone_changes_no_rollup_and_goes_too(city, spans):
    closed = until(city)
    apply(city, *spans)
    city.forget_partitions()
    device = next(device for device in city.devices if city.town_of[device] == SHORT)
    kept, before = list(city.rows), city.stored()
    with city.connect() as connection:
        late = [random_row(random.Random(2), device, MIDNIGHT + day * DAY_MS + 9) for day in range(8)]
        city.store(connection, late)
    assert city.stored() == before + 8
    city.turn()
    city.rows[:] = kept
    city.assert_rolled(closed)
    apply(city)
    assert city.stored() == before


def test_rollups_go_after_their_own_span_in_full_days(city, database):
    gone = apply(city, span(50, rollups=52))
    if database.rows("SELECT engine FROM schema_engine") == [("postgresql",)]:  # whole partitions, no row by itself
        hours = [(item.what, item.municipality) for item in gone if item.what.startswith("rollup_hour")]
        assert hours == [(f"rollup_hour_streetlight_p202605{29 + day}00", ALL) for day in range(3)] + [
            (f"rollup_hour_streetlight_p202606{day:02}00", ALL) for day in range(1, 6)
        ]
    for tier in ("minute", "hour", "day"):
        (first,) = database.rows(
            f"SELECT (extract(epoch FROM min(bucket)) * 1000)::bigint FROM rollup_{tier}_streetlight"
        )
        assert first == (MIDNIGHT + 8 * DAY_MS,), tier
    (first,) = database.rows(
        "SELECT (extract(epoch FROM min(bucket)) * 1000)::bigint FROM rollup_municipality_hour_streetlight"
    )
    assert first == (MIDNIGHT + 8 * DAY_MS,)


def test_what_is_not_rolled_up_yet_does_not_go(city, database):
    database.rows("UPDATE rollup_watermark SET closed_until = to_timestamp(%s)", (MIDNIGHT + DAY_MS) // 1000)
    apply(city, span(1))
    (first,) = database.rows(
        "SELECT (extract(epoch FROM min(observed_at)) * 1000)::bigint FROM observation_streetlight"
    )
    assert first == (MIDNIGHT + DAY_MS + 7,)


def test_a_reader_is_not_waited_for(city):
    with city.connect() as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM observation_streetlight")
        with city.connect() as connection:
            retention.put(connection, span(50))
            began = time.monotonic()
            assert retention.apply(connection, LAMP, NOW, lambda: None) == []
            assert time.monotonic() - began < 2
    assert apply(city) != []


def test_a_flush_into_a_partition_that_was_dropped_meanwhile_is_stored(database, broker, tmp_path):
    settle(database)
    with running_ingest(database, broker, tmp_path) as ingest, agent(broker) as sender:
        before = time.time_ns() // 1_000_000 - 3 * DAY_MS
        generated = seal_load(sender, [[("sl-1", before + minute * 60_000, 220.0)] for minute in range(3)])
        sender.deliver()
        with database.connect(autocommit=True) as connection:
            for name in [row[2] for row in partitions.listed(connection, "streetlight")]:
                partitions.drop(connection, "streetlight", name)
        again = [("sl-1", before + minute * 60_000, 221.0) for minute in range(5, 9)]
        sender.seal(lights(again))
        sender.deliver()
        assert stored(database) == sorted(again)
        assert database.rows("SELECT count(*) FROM quarantine") == [(0,)]
        assert len(generated) == 3
        wait_for(lambda: ingest.process.poll() is None)


def test_the_command_shows_sets_counts_and_refuses(city, database):
    def said(*arguments, expect=0):
        done = dure("retention", *arguments, environment=database.environment, expect=expect)
        return done.stdout if expect == 0 else done.stderr

    assert said() == "nothing is set: everything is kept\n"
    long_ago = (time.time_ns() // 1_000_000 - MIDNIGHT) // DAY_MS
    shown = said("--kind", "streetlight", "--keep", "2y", "--rollups", "forever")
    assert shown.splitlines()[1].split() == ["streetlight", "all", "730d", "forever"]
    shown = said("--kind", "streetlight", "--municipality", SHORT, "--keep", f"{long_ago - 5}d", "--dry-run")
    assert f"{SHORT}" in shown
    assert "would go in all: " in shown
    assert city.stored() == len(city.rows)
    assert "shorter than" in said("--kind", "streetlight", "--keep", "9d", "--rollups", "5d", expect=2)
    assert "no such profile" in said("--kind", "toaster", "--keep", "9d", expect=2)
    assert "not registered" in said("--kind", "streetlight", "--municipality", "99999", "--keep", "9d", expect=2)
    assert "cannot read span '9 days'" in said("--kind", "streetlight", "--keep", "9 days", expect=2)
    said("--kind", "streetlight", "--unset")
    assert "nothing was set" in said("--kind", "streetlight", "--unset", expect=1)
    assert set(KINDS) == {"streetlight"}
