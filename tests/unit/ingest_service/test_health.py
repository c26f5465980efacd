"""What is not ready, since when; one log line a change; waits that double and stay bounded."""

import psycopg
import psycopg.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.readiness import MEANS, Part, Reason
from ingest_service.back_off import FIRST_S, LONGEST_S, next_retry_s
from ingest_service.health import STALL_S, Health
from ingest_service.store.connection import RefusedByDatabase, reason_of
from ingest_service.store.store import OutcomeUnknown, SchemaMissing, ShardTaken


class Clock:
    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_every_change_is_one_line_and_saying_it_again_is_none(clock, capsys):
    health = Health((), clock)
    for _ in range(1000):
        health.say(Part.DATABASE, Reason.NO_DATABASE, "refused")
    for _ in range(1000):
        health.say(Part.DATABASE, Reason.DATABASE_READ_ONLY, "cannot write")
    clock.now_s += 90
    for _ in range(1000):
        health.say(Part.DATABASE, None)
    lines = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "database.not_ready reason=no_database words=refused",
        "database.not_ready reason=database_read_only words='cannot write'",
        "database.ready after_s=90.0 reason=database_read_only",
    ]


def test_a_start_is_not_ready_until_its_parts_have_spoken_and_says_nothing_of_it(clock, capsys):
    health = Health(clock=clock)
    assert [(item.part, item.reason) for item in health.report().reasons] == [
        (Part.BROKER, Reason.STARTING),
        (Part.DATABASE, Reason.STARTING),
    ]
    health.say(Part.BROKER, None)
    assert not health.report().ready
    health.say(Part.DATABASE, None)
    assert health.report().ready
    assert capsys.readouterr().err == ""


def test_a_report_has_the_oldest_reason_first_and_the_newest_words(clock):
    health = Health((), clock)
    health.say(Part.INBOX, Reason.INBOX_FULL, "64 bytes")
    clock.now_s += 10
    health.say(Part.DATABASE, Reason.NO_DATABASE, "once")
    clock.now_s += 5
    health.say(Part.DATABASE, Reason.DISK_FULL, "twice")
    health.say(Part.DATABASE, Reason.DISK_FULL, "thrice")
    report = health.report()
    assert not report.ready
    assert report.since == "2027-01-15T08:00:00.000Z"
    assert [(item.part, item.words, item.for_s) for item in report.reasons] == [
        (Part.INBOX, "64 bytes", 15.0),
        (Part.DATABASE, "thrice", 5.0),  # since the database first was not ready
    ]
    health.say(Part.DATABASE, None)
    health.say(Part.INBOX, None)
    assert health.report().since == "2027-01-15T08:00:15.000Z"


def test_a_round_that_does_not_turn_is_stalled_until_it_does(clock):
    health = Health((), clock)
    clock.now_s += 10 * STALL_S
    assert health.report().ready  # it has not begun to turn
    health.turn()
    clock.now_s += STALL_S - 1
    assert health.report().ready
    clock.now_s += 2
    assert [item.reason for item in health.report().reasons] == [Reason.STALLED]
    health.turn()
    assert health.report().ready


def test_every_reason_has_its_meaning():
    assert set(MEANS) == set(Reason)


@given(st.integers(1, 10**7), st.floats(0, 1, exclude_max=True))
def test_waits_double_up_to_a_bound_however_long_the_outage_and_spread_by_half(failures, jitter):
    wait_s = next_retry_s(failures, jitter)
    middle_s = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 40))
    assert 0.5 * middle_s <= wait_s <= 1.5 * middle_s
    assert next_retry_s(failures + 1, jitter) >= wait_s


def test_an_outage_of_an_hour_costs_about_as_many_attempts_as_the_longest_wait_allows():
    now_s, attempts = 0.0, 0
    while now_s < 3600:
        attempts += 1
        now_s += next_retry_s(attempts, 0.5)
    assert 3600 / LONGEST_S <= attempts < 3600 / LONGEST_S + 10


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (psycopg.OperationalError("connection refused"), Reason.NO_DATABASE),
        (psycopg.OperationalError("FATAL:  sorry, too many clients already"), Reason.TOO_MANY_CONNECTIONS),
        (psycopg.OperationalError("FATAL: could not write: No space left on device"), Reason.DISK_FULL),
        (psycopg.errors.AdminShutdown(), Reason.NO_DATABASE),
        (psycopg.errors.ReadOnlySqlTransaction(), Reason.DATABASE_READ_ONLY),
        (psycopg.errors.DiskFull(), Reason.DISK_FULL),
        (psycopg.errors.TooManyConnections(), Reason.TOO_MANY_CONNECTIONS),
        (psycopg.errors.LockNotAvailable(), Reason.LOCKED),
        (psycopg.errors.DeadlockDetected(), Reason.LOCKED),
        (psycopg.errors.QueryCanceled(), Reason.TOO_SLOW),
        (psycopg.errors.UndefinedColumn(), Reason.SCHEMA_DIFFERS),
        (psycopg.errors.InsufficientPrivilege(), Reason.SCHEMA_DIFFERS),
        (psycopg.errors.InternalError_(), Reason.DATABASE_FAILS),
        (OutcomeUnknown("?"), Reason.CURSOR_MOVED),
        (ShardTaken("?"), Reason.SHARD_TAKEN),
        (SchemaMissing("?"), Reason.SCHEMA_MISSING),
    ],
)
def test_what_the_database_says_has_its_reason(error, reason):
    assert reason_of(error) is reason


def test_only_content_is_refused_and_nothing_that_other_content_would_meet_as_well():
    for kind in ("CheckViolation", "NotNullViolation", "NumericValueOutOfRange", "RaiseException"):
        assert issubclass(getattr(psycopg.errors, kind), RefusedByDatabase), kind
    for kind in ("DiskFull", "ReadOnlySqlTransaction", "UndefinedColumn", "LockNotAvailable", "QueryCanceled"):
        assert not issubclass(getattr(psycopg.errors, kind), RefusedByDatabase), kind
