"""What becomes of alarms while time passes: windows end, nobody answers, groups lose their last member to people.

Promise: each step is safe beside flushes and beside another worker doing the same: it happens once. The API's processes
are told.
"""

from collections.abc import Mapping
from typing import Any

from contracts.profiles import Profile
from ingest_service.alarm_life import Life, Outcome
from ingest_service.alarms import Change
from ingest_service.store import alarm_rows
from ingest_service.store.arrays import BigInts, array
from ingest_service.store.connection import Connection

MOST = 1_000  # alarms a statement: what is left waits for the next


def release(connection: Connection, profiles: Mapping[str, Profile]) -> int:
    """Suppressed alarms whose window does not hold them back any more become open; how many."""
    done = 0
    while True:
        found: list[Any] = alarm_rows.ask(connection, "alarm_unheld", {"most": MOST}).fetchall()
        ids = {int(alarm_id) for alarm_id, *_ in found}
        changes = [_held(*row) for _, *row in found]
        before = done

        def act(life: Life, ids: set[int] = ids, changes: list[Change] = changes) -> Outcome:
            nonlocal done
            for change in changes:
                alarm = life.world.alarms.get(change.key())
                if alarm is not None and alarm.alarm_id in ids and alarm.state == "suppressed":
                    life.release(alarm)
                    done += 1
            return life.outcome()

        with connection.transaction():
            alarm_rows.lock(connection, {change.municipality for change in changes})
            told = alarm_rows.work(connection, changes, profiles, {}, act)
            alarm_rows.ask(connection, "alarm_tell", {"ids": array(BigInts, [alarm["alarm_id"] for alarm in told])})
        if done == before:
            return done


def escalate(connection: Connection, *, info_s: int, warning_s: int, critical_s: int) -> int:
    """What nobody has answered for so long rises by a step, once; 0: never. How many."""
    done = 0
    while True:
        parameters = {"info_s": info_s, "warning_s": warning_s, "critical_s": critical_s, "most": MOST}
        changed = len(alarm_rows.ask(connection, "alarm_escalate", parameters).fetchall())
        done += changed
        if changed < MOST:
            return done


def clear_empty(connection: Connection) -> int:
    """Group alarms without an active member are over; how many."""
    done = 0
    while found := alarm_rows.ask(connection, "alarm_empty", {}).fetchall():
        with connection.transaction():
            alarm_rows.lock(connection, {str(municipality) for _, municipality in found})
            ids = array(BigInts, [alarm_id for alarm_id, _ in found])
            changed = len(alarm_rows.ask(connection, "alarm_emptied", {"ids": ids}).fetchall())
        done += changed
        if not changed:
            break
    return done


def _held(
    municipality: str, device_id: int | None, agent_id: int | None, kind: str | None, condition: str, detector: str,
    name: str | None, severity: int, last_ms: int,
) -> Change:  # fmt: skip
    agent_id = agent_id if device_id is None else None
    return Change(municipality, device_id, agent_id, kind, condition, detector, name, severity, True, last_ms, {})
