"""The database goes away, comes back read-only or as a standby, is crowded, locked, slow or frozen: ingest waits.

One ingest goes through all of it. Each fault ends with the proof that every row ever generated is stored once, and that
the log has one line when the trouble began and one when it was over.
"""

import time

import psycopg
import pytest

from tests.services.faults_fixture import (
    INGEST,
    altered,
    changes_in,
    frozen,
    hold_for,
    town_on,
)
from tests.services.ingest_fixture import broker
from tests.waiting import wait_for

__all__ = ["broker"]

LOCK_WAIT_S = 1


@pytest.fixture(scope="module")
def town(breakable, broker, tmp_path_factory):
    """One ingest for all of this file; what its URL asks for locks is kept."""
    through = f"{breakable.url}&options=-clock_timeout%3D{LOCK_WAIT_S}s"
    with town_on(breakable.url, broker, tmp_path_factory.mktemp("town"), through=through) as found:
        yield found


def trouble(reason):
    return [("database", "not_ready", reason), ("database", "ready", reason)]


def test_a_database_that_became_read_only_is_waited_for(town, breakable):
    with town.sending(30) as sender, altered(breakable.url, default_transaction_read_only="on"):
        words = town.watched.wait_reason("database_read_only")
        assert "read-only transaction" in words
        held = sender.sender.acked
        hold_for(1, lambda: sender.sender.acked == held)
    assert town.changes() == trouble("database_read_only")


def test_a_standby_is_waited_for_until_it_is_promoted(town, breakable):
    assert breakable.stop() == 0
    (breakable.state / "data" / "standby.signal").touch()
    breakable.start()
    with town.sending(30) as sender:
        assert "cannot execute" in town.watched.wait_reason("database_read_only")
        held = sender.sender.acked
        hold_for(1, lambda: sender.sender.acked == held)
        with psycopg.connect(breakable.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")
    assert town.changes() in (
        trouble("database_read_only"),
        [("database", "not_ready", "no_database"), *trouble("database_read_only")],
    )


def test_a_database_without_a_free_connection_is_waited_for(town, breakable):
    others = []
    with town.sending(30), psycopg.connect(breakable.url, autocommit=True) as connection:
        quiet_since = time.monotonic()
        while time.monotonic() < quiet_since + 0.5:  # none is left, and neither ingest nor its roller has one
            try:
                others.append(psycopg.connect(breakable.url))
            except psycopg.OperationalError:
                ours = "FROM pg_stat_activity WHERE application_name LIKE 'dure %'"
                if not connection.execute(f"SELECT pg_terminate_backend(pid) {ours}").fetchall():
                    time.sleep(0.05)
                    continue
            quiet_since = time.monotonic()
        words = town.watched.wait_reason("too_many_connections")
        assert "too many clients" in words or "slots" in words
        hold_for(1, lambda: not town.watched.report()[1]["ready"])
        town.watched.wait_reason("too_many_connections")  # whatever a connection that it lost said in between
        for other in others:
            other.close()
    seen = town.changes()
    assert [state for _, state, _ in seen].count("ready") == 1 and seen[-1][1] == "ready", seen
    assert {reason for _, _, reason in seen} <= {"too_many_connections", "no_database"}, seen


def test_a_lock_that_somebody_holds_is_waited_for_and_named(town):
    with town.sending(1):
        pass  # the partition is there
    with town.sending(30) as sender, town.database.connect() as connection:
        ((partition,),) = connection.execute(
            "SELECT tableoid::regclass::text FROM observation_streetlight ORDER BY observed_at DESC LIMIT 1"
        ).fetchall()
        connection.execute(f"LOCK TABLE {partition} IN ACCESS EXCLUSIVE MODE")
        assert "lock timeout" in town.watched.wait_reason("locked")
        held = sender.sender.acked
        hold_for(2 * LOCK_WAIT_S, lambda: "locked" in town.watched.reasons() and sender.sender.acked == held)
        connection.rollback()
    assert town.changes() == trouble("locked")


def test_statements_that_are_cancelled_are_tried_again_and_limits_of_the_role_are_not_ours(town, breakable):
    with town.database.connect(autocommit=True) as connection:
        connection.execute("ALTER ROLE dure SET statement_timeout = '100ms'")
        connection.execute("ALTER ROLE dure SET idle_in_transaction_session_timeout = '100ms'")
        try:
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {INGEST}")
            connection.execute(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql "
                "AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END'"
            )
            connection.execute("CREATE TRIGGER slow AFTER INSERT ON observation_streetlight EXECUTE FUNCTION slow()")
            with town.sending(40) as sender:
                wait_for(lambda: cancelled(connection), pause_s=0.01)
                wait_for(lambda: sender.sender.finished)
                connection.execute("ALTER ROLE dure RESET ALL")  # the proof may take its time
            assert set(town.changes()) <= {*trouble("no_database"), *trouble("too_slow")}
            assert "too_slow" in {reason for _, _, reason in changes_in(town.watched.ingest.log.read_text())}
        finally:
            connection.execute("ALTER ROLE dure RESET ALL")
            connection.execute("DROP TRIGGER IF EXISTS slow ON observation_streetlight")


def cancelled(connection):
    """Cancel the ingest's COPY, once there is one that sleeps."""
    return connection.execute(
        f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {INGEST} AND wait_event = 'PgSleep'"
    ).fetchall()


def test_a_database_that_answers_nothing_holds_ingest_up_and_loses_nothing(town):
    with town.sending(60) as sender:
        wait_for(lambda: sender.sender.acked >= 3, pause_s=0.002)
        with frozen(town.backends()):
            time.sleep(0.3)
            held = sender.sender.acked
            hold_for(2, lambda: sender.sender.acked == held)
    assert town.changes() == []


def test_a_database_that_is_away_is_waited_for_and_the_backlog_of_minutes_goes_in_at_once(town, breakable):
    with town.sending(10) as sender:
        wait_for(lambda: sender.sender.finished)
    assert town.changes() == []
    with town.sending(150, reports=50) as sender:  # 150,000 observations: of 20 lamps a second each, two hours
        wait_for(lambda: sender.sender.acked >= 5, pause_s=0.002)
        assert breakable.stop() == 0
        words = town.watched.wait_reason("no_database")
        assert "connection" in words
        held = sender.sender.acked
        hold_for(3, lambda: town.watched.reasons().keys() >= {"no_database"} and sender.sender.acked == held < 150)
        assert breakable.start()
        began = time.monotonic()
    assert time.monotonic() - began < 40
    assert town.changes() == trouble("no_database")


def test_in_the_end_the_log_has_two_lines_a_trouble_and_a_third_would_be_seen(town):
    """The counter of lines is itself tested: a line said twice turns it red."""
    with town.sending(1):
        pass
    line = "2026-01-01T00:00:00.000Z warning database.not_ready reason=no_database words='x'\n"
    over = "2026-01-01T00:00:01.000Z info database.ready after_s=1.0 reason=no_database\n"
    assert changes_in(line + over) == trouble("no_database")
    assert changes_in(line + line + over) != trouble("no_database")
    text = town.watched.ingest.log.read_text()
    states = [state for part, state, _ in changes_in(text) if part == "database"]
    assert states.count("ready") <= states.count("not_ready") <= states.count("ready") + 6
