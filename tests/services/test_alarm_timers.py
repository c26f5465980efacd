"""What becomes of alarms while time passes: windows end, alarms stay unanswered, people empty groups."""

import threading

from ingest_service.store import alarm_timers
from ingest_service.store.connection import Connection
from tests.database_fixture import Database
from tests.services.alarm_fixture import TOWN, apply, empty_town, kinds, lamp, opened, street

__all__ = ["empty_town"]

LIMITS = {"info_s": 0, "warning_s": 3600, "critical_s": 900}


def window(connection: Connection, scope: str = "circuit", target: str = "c0") -> int:
    """A maintenance window that began before any of the street's alarms and goes on."""
    row = connection.execute(
        "INSERT INTO maintenance_window (municipality, scope, target, begins_at, ends_at, reason, created_by, "
        "changed_by) VALUES (%s, %s, %s, 'epoch', now() + interval '1 day', 'works', 'minji', 'minji') "
        "RETURNING window_id",
        (TOWN, scope, target),
    ).fetchone()
    assert row is not None
    return int(row[0])


def states(database: Database) -> list[tuple[object, ...]]:
    return database.rows("SELECT state, count(*) FROM alarm GROUP BY 1 ORDER BY 1")


def test_what_still_holds_when_its_window_ends_becomes_open_and_is_grouped(empty_town: Database) -> None:
    street(empty_town)
    with opened(empty_town) as connection:
        number = window(connection)
        apply(connection, [lamp(n) for n in range(1, 7)], [lamp(1, 5, begins=False)])
        assert alarm_timers.release(connection, kinds()) == 0
        assert states(empty_town) == [("cleared", 1), ("suppressed", 5)]
        connection.execute("UPDATE alarm SET raised_at = now() - interval '1 day'")
        connection.execute("UPDATE maintenance_window SET ends_at = now()")
        assert alarm_timers.release(connection, kinds()) == 5
        assert states(empty_town) == [("cleared", 1), ("open", 6)]  # with the circuit's
        assert empty_town.rows("SELECT members_open FROM alarm WHERE group_scope = 'circuit'") == [(5,)]
        assert empty_town.rows("SELECT DISTINCT window_id FROM alarm WHERE device_id IS NOT NULL") == [(number,)]
        assert alarm_timers.escalate(connection, **LIMITS) == 0  # they wait since now, not since the window's begin
        assert alarm_timers.release(connection, kinds()) == 0


def test_a_window_that_is_taken_away_or_changed_lets_go(empty_town: Database) -> None:
    street(empty_town)
    with opened(empty_town) as connection:
        number = window(connection, "municipality", "")
        apply(connection, [lamp(1), lamp(9)])
        change = (
            "UPDATE maintenance_window SET scope = 'device', target = 'sl-1', changed_at = now() + interval '1 second'"
        )
        connection.execute(change.encode())
        assert alarm_timers.release(connection, kinds()) == 1
        assert empty_town.rows("SELECT device_id, state FROM alarm ORDER BY 1") == [(1, "suppressed"), (9, "open")]
        connection.execute("DELETE FROM maintenance_window WHERE window_id = %s", (number,))
        assert alarm_timers.release(connection, kinds()) == 1
        assert states(empty_town) == [("open", 2)]


def test_what_nobody_answers_rises_once_and_what_somebody_does_never(empty_town: Database) -> None:
    street(empty_town)
    with opened(empty_town) as connection:
        window(connection, "circuit", "c3")
        apply(connection, [lamp(1, severity=1), lamp(2), lamp(9, severity=3), lamp(10), lamp(25)])
        apply(connection, [lamp(n, condition="stuck:voltage") for n in range(17, 22)])  # a circuit, and its members
        connection.execute("UPDATE alarm SET state = 'acknowledged' WHERE device_id = 10")
        connection.execute("UPDATE alarm SET raised_at = now() - interval '899 s' WHERE severity = 3")
        connection.execute("UPDATE alarm SET raised_at = now() - interval '1 day' WHERE severity < 3")
        assert alarm_timers.escalate(connection, **LIMITS) == 2
        connection.execute("UPDATE alarm SET raised_at = now() - interval '2 days'")
        assert alarm_timers.escalate(connection, **LIMITS) == 1
        assert alarm_timers.escalate(connection, **LIMITS) == 0
        assert empty_town.rows("SELECT subject, severity FROM alarm WHERE escalated_at IS NOT NULL ORDER BY 1") == [
            (f"circuit {TOWN} streetlight c2", 3), ("device 2", 3), ("device 9", 3)
        ]  # fmt: skip
        assert empty_town.rows("SELECT event, detail FROM alarm_event WHERE event = 'escalated'") == [
            ("escalated", {"severity": 3})
        ] * 3  # fmt: skip


def test_of_two_workers_one_escalates(empty_town: Database) -> None:
    street(empty_town, circuits=40)
    with opened(empty_town) as first, opened(empty_town) as second:
        apply(first, [lamp(n) for n in range(1, 321, 8)])
        first.execute("UPDATE alarm SET raised_at = now() - interval '1 day'")
        done: list[int] = []
        threads = [
            threading.Thread(target=lambda c=c: done.append(alarm_timers.escalate(c, **LIMITS)))  # type: ignore[misc]
            for c in (first, second)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(done) == 40
        counted = "SELECT count(*), count(DISTINCT alarm_id) FROM alarm_event WHERE event = 'escalated'"
        assert empty_town.rows(counted) == [
            (40, 40)
        ]  # fmt: skip


def test_a_group_whose_last_members_people_closed_is_over(empty_town: Database) -> None:
    street(empty_town)
    with opened(empty_town) as connection:
        apply(connection, [lamp(n) for n in range(1, 6)])
        assert alarm_timers.clear_empty(connection) == 0
        connection.execute("UPDATE alarm SET state = 'closed' WHERE device_id IS NOT NULL")
        assert alarm_timers.clear_empty(connection) == 1
        assert empty_town.rows("SELECT state, members_open FROM alarm WHERE group_scope IS NOT NULL") == [
            ("cleared", 0)
        ]


def test_two_workers_of_one_town_count_its_members_together(empty_town: Database) -> None:
    """Each brings one half of a circuit at the same time: neither alone would be enough."""
    street(empty_town, lamps=8)
    with opened(empty_town) as first, opened(empty_town) as second:
        half = threading.Thread(target=lambda: apply(second, *[[lamp(n)] for n in (2, 4, 6, 8)]))
        half.start()
        apply(first, *[[lamp(n)] for n in (1, 3, 5, 7)])
        half.join()
    found = "SELECT count(*), max(members_open) FROM alarm WHERE group_scope = 'circuit'"
    assert empty_town.rows(found) == [(1, 8)]
