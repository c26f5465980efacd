"""The life of alarms in the real tables: reopening, groups, maintenance windows; the same however changes are cut."""

import itertools
import random
from typing import Any

import pytest

from ingest_service import alarm_groups
from ingest_service.alarms import Change
from ingest_service.store import alarm_rows
from ingest_service.store.connection import Connection
from tests.database_fixture import Database
from tests.services.alarm_fixture import (
    ALARMS,
    EVENTS,
    NOON,
    OTHER,
    TOWN,
    apply,
    empty_town,
    lamp,
    opened,
    quiet_agent,
    street,
)

__all__ = ["empty_town"]

STATES = "SELECT subject, state, members_open, members_most FROM alarm WHERE parent_id IS NULL ORDER BY subject"


def plan(connection: Connection, scope: str, target: str, from_s: float, to_s: float, town: str = TOWN) -> int:
    """A maintenance window from_s to to_s seconds after noon; its number."""
    row = connection.execute(
        "INSERT INTO maintenance_window (municipality, scope, target, begins_at, ends_at, reason, created_by, "
        "changed_by) VALUES (%s, %s, %s, to_timestamp(%s), to_timestamp(%s), 'works', 'minji', 'minji') "
        "RETURNING window_id",
        (town, scope, target, NOON / 1000 + from_s, NOON / 1000 + to_s),
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_condition_that_is_soon_back_reopens_its_alarm_and_a_later_one_is_new(empty_town: Database) -> None:
    database = empty_town
    street(database)
    with opened(database) as connection:
        voltage = "out_of_range:voltage"
        apply(connection, [lamp(1, 0, condition=voltage)], [lamp(1, 60, begins=False, condition=voltage)])
        connection.execute("UPDATE alarm SET acknowledged_at = now()")
        apply(connection, [lamp(1, 600, condition=voltage)])
        assert database.rows("SELECT state, occurrences, findings FROM alarm") == [("acknowledged", 2, 2)]
        apply(connection, [lamp(1, 660, begins=False, condition=voltage), lamp(1, 1261, condition=voltage)])
        assert database.rows("SELECT state, occurrences FROM alarm ORDER BY alarm_id") == [("cleared", 2), ("open", 1)]
        assert database.rows("SELECT event FROM alarm_event ORDER BY event_id") == [
            ("opened",), ("cleared",), ("reopened",), ("cleared",), ("opened",)
        ]  # fmt: skip


def test_half_of_a_circuit_is_one_alarm_of_the_circuit_until_its_last_lamp_is_well(empty_town: Database) -> None:
    database = empty_town
    street(database)
    with opened(database) as connection:
        apply(connection, [lamp(n) for n in (1, 2, 3)], [lamp(4, 5)])
        assert database.rows("SELECT count(*) FROM alarm WHERE group_scope IS NOT NULL") == [(0,)]
        apply(connection, [lamp(5, 7, severity=3), lamp(6, 9)])
        assert database.rows(STATES) == [(f"circuit {TOWN} streetlight c0", "open", 6, 6)]
        found = database.rows(
            "SELECT severity, extract(epoch FROM opened_at)::float8 * 1000, evidence FROM alarm "
            "WHERE group_scope = 'circuit'"
        )
        assert found == [
            (3, NOON + 7000, {"parameters": {"scope": "circuit", "of": 8, "at_least": 5, "share": 0.5, "active": 5}})
        ]
        apply(connection, [lamp(n, 60, begins=False) for n in (1, 2, 3, 4, 5)])
        assert database.rows(STATES) == [(f"circuit {TOWN} streetlight c0", "open", 1, 6)]
        apply(connection, [lamp(6, 90, begins=False)])
        assert database.rows(STATES) == [(f"circuit {TOWN} streetlight c0", "cleared", 0, 6)]
        assert database.rows("SELECT count(*) FROM alarm WHERE parent_id IS NOT NULL AND state = 'cleared'") == [(6,)]


def test_another_condition_or_circuit_does_not_count(empty_town: Database) -> None:
    street(empty_town)
    with opened(empty_town) as connection:
        apply(
            connection, [lamp(n) for n in (1, 2, 3, 4, 9)], [lamp(n, condition="stuck:voltage") for n in (1, 2, 5, 6)]
        )
        assert empty_town.rows("SELECT count(*), count(parent_id) FROM alarm") == [(9, 0)]


def test_lamps_without_a_circuit_are_grouped_by_their_agent(empty_town: Database) -> None:
    database = empty_town
    street(database)
    with opened(database) as connection:
        connection.execute("UPDATE device SET attributes = '{}'")
        apply(connection, [lamp(n) for n in range(1, 9)])  # 8 of the agent's 16
        assert database.rows("SELECT count(*) FROM alarm WHERE group_scope IS NOT NULL") == [(0,)]
        apply(connection, [lamp(n) for n in (17, 18)])
        assert database.rows("SELECT subject, state, agent_id, members_open FROM alarm WHERE parent_id IS NULL") == [
            (f"agent {TOWN} streetlight 1", "open", 1, 10)
        ]


def test_a_fifth_of_a_town_is_one_alarm_and_takes_the_circuits_that_were_dark(empty_town: Database) -> None:
    database = empty_town
    street(database, circuits=20, lamps=10, agents=20)  # 200 lamps
    with opened(database) as connection:
        apply(connection, [lamp(n, n) for n in range(1, 11)], [lamp(n, n) for n in (21, 22, 31, 32)])
        assert len(database.rows(STATES)) == 5
        apply(connection, [lamp(n, n) for n in range(100, 145)])
        assert database.rows(STATES)[0][0] == f"municipality {TOWN} streetlight "
        assert len(database.rows(STATES)) == 1
        folded = database.rows("SELECT parent.group_scope, al.group_scope, count(*) FROM alarm al JOIN alarm parent ON "
                               "parent.alarm_id = al.parent_id GROUP BY 1, 2 ORDER BY 1, 2")  # fmt: skip
        assert sum(row[2] for row in folded) == 59 + sum(row[2] for row in folded if row[1] is not None)
        assert {row[:2] for row in folded} == {("circuit", None), ("municipality", "circuit"), ("municipality", None)}
        ends = [lamp(n, 500 + n, begins=False) for n in (*range(1, 11), 21, 22, 31, 32, *range(100, 145))]
        random.Random(1).shuffle(ends)
        apply(connection, ends[:30], ends[30:])
        assert database.rows("SELECT DISTINCT state, members_open FROM alarm") == [("cleared", 0)]


def test_many_silent_agents_are_one_alarm_of_the_municipality(empty_town: Database) -> None:
    street(empty_town, agents=8)
    with opened(empty_town) as connection:
        apply(connection, [quiet_agent(n) for n in range(1, 5)], [quiet_agent(5, 3)])
        assert empty_town.rows(STATES) == [(f"municipality {TOWN}  ", "open", 5, 5)]


def test_what_began_in_a_window_is_suppressed_counts_for_no_group_and_clears_quietly(empty_town: Database) -> None:
    database = empty_town
    street(database)
    with opened(database) as connection:
        window = plan(connection, "circuit", "c0", 0, 100)
        plan(connection, "municipality", "", 0, 1000, town=OTHER)
        apply(connection, [lamp(n, 50) for n in range(1, 9)], [lamp(9, 50)], [lamp(10, 100)])
        assert database.rows("SELECT state, window_id, count(*) FROM alarm GROUP BY 1, 2 ORDER BY 3") == [
            ("open", None, 2), ("suppressed", window, 8)
        ]  # fmt: skip
        apply(connection, [lamp(1, 70, begins=False), lamp(2, 75)])
        assert database.rows("SELECT state, findings FROM alarm WHERE device_id < 3 ORDER BY 1") == [
            ("cleared", 1), ("suppressed", 2)
        ]  # fmt: skip


def test_a_window_covers_its_scope(empty_town: Database) -> None:
    street(empty_town)
    with opened(empty_town) as connection:

        def check(scope: str, target: str, covered: bool) -> None:
            connection.execute("TRUNCATE maintenance_window, alarm")
            plan(connection, scope, target, 0, 100)
            apply(connection, [lamp(1, 1), quiet_agent(2, 1)])
            states = empty_town.rows("SELECT state FROM alarm ORDER BY alarm_id")
            assert states[0] == ("suppressed" if covered else "open",), (scope, target)
            agents = (scope, target) in (("municipality", ""), ("agent", "pole-2"))
            assert states[1] == ("suppressed" if agents else "open",), (scope, target)

        for scope, target in (("municipality", ""), ("kind", "streetlight"), ("agent", "pole-1"), ("device", "sl-1"),
                              ("circuit", "c0")):  # fmt: skip
            check(scope, target, True)
        for scope, target in (("kind", "parking_spot"), ("agent", "pole-2"), ("device", "sl-2"), ("circuit", "c1")):
            check(scope, target, False)


def load(seed: int) -> list[Change]:
    """A storm with everything in it: circuits that darken and recover, single lamps that flap, agents."""
    chance = random.Random(seed)
    active: set[tuple[int, str]] = set()
    changes = []
    for step in range(260):
        mood = step // 65
        device = chance.randrange(1, 1 + (16, 120, 120, 60)[mood])
        condition = chance.choice(["silent", "silent", "silent", "out_of_range:voltage"])
        begins = (device, condition) not in active if chance.random() < 0.9 else chance.random() < 0.5
        if mood == 3 and active:
            device, condition = chance.choice(sorted(active))
            begins = False
        (active.add if begins else active.discard)((device, condition))
        changes.append(lamp(device, step * 7, begins=begins, condition=condition))
    agents = [quiet_agent(n, 700 + n, begins=begins) for begins in (True, False) for n in range(1, 7)]
    return changes[:100] + agents[:6] + changes[100:200] + agents[6:] + changes[200:]


def stored(database: Database, cuts: list[int], changes: list[Change]) -> dict[str, Any]:
    street(database, circuits=12, lamps=10, agents=6)
    with opened(database) as connection:
        plan(connection, "circuit", "c3", 200, 900)
        edges = [0, *sorted(cuts), len(changes)]
        apply(connection, *(changes[a:b] for a, b in itertools.pairwise(edges)))
        left = database.rows(
            "SELECT count(*) FROM alarm g WHERE group_scope IS NOT NULL AND members_open <> "
            "(SELECT count(*) FROM alarm m WHERE m.parent_id = g.alarm_id AND m.state IN ('open', 'acknowledged'))"
        )
        assert left == [(0,)], "a group does not know its members"
        return {"alarms": database.rows(ALARMS), "events": database.rows(EVENTS)}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_alarms_do_not_depend_on_how_changes_are_cut_into_flushes(empty_town: Database, seed: int) -> None:
    changes = load(seed)
    whole = stored(empty_town, [], changes)
    assert {row[0].split()[0] for row in whole["alarms"]} >= {"circuit", "municipality", "device"}
    chance = random.Random(seed)
    for cuts in (list(range(len(changes))), chance.sample(range(len(changes)), 20)):
        assert stored(empty_town, cuts, changes) == whole


def test_a_batch_boundary_is_a_cut_like_any_other(empty_town: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = load(4)
    whole = stored(empty_town, [], changes)
    monkeypatch.setattr(alarm_rows, "BATCH", 7)
    assert stored(empty_town, [], changes) == whole


def test_a_storm_takes_a_bounded_number_of_statements(empty_town: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    street(empty_town, circuits=60, lamps=50, agents=20)
    asked: list[str] = []
    real = alarm_rows.text
    monkeypatch.setattr(alarm_rows, "text", lambda name: (asked.append(name), real(name))[1])
    with opened(empty_town) as connection:
        apply(connection, [lamp(n, n / 10) for n in range(1, 3001)])
        assert empty_town.rows("SELECT group_scope, count(*) FROM alarm WHERE parent_id IS NULL GROUP BY 1") == [
            ("municipality", 1)
        ]
        folds = asked.count("alarm_fold")
        assert len(asked) - folds <= 15
        assert folds <= 60  # one for each circuit that was dark before the town was
        asked.clear()
        apply(connection, [])
        assert asked == []


def test_groups_need_a_number_and_a_share() -> None:
    circuit = alarm_groups.Group("circuit", TOWN, "streetlight", "c1")
    town = alarm_groups.Group("municipality", TOWN, "streetlight", "")
    agents = alarm_groups.Group("municipality", TOWN, None, "")
    assert [alarm_groups.enough(circuit, n, 12) for n in (5, 6)] == [False, True]
    assert [alarm_groups.enough(circuit, n, 6) for n in (4, 5)] == [False, True]
    assert not alarm_groups.enough(circuit, 40, None)
    assert [alarm_groups.enough(town, n, 100_000) for n in (19_999, 20_000)] == [False, True]
    assert [alarm_groups.enough(town, n, 60) for n in (49, 50)] == [False, True]
    assert [alarm_groups.enough(agents, n, 8) for n in (4, 5)] == [False, True]
