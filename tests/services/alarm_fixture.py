"""A street with circuits in a schema, and changes of its alarms as detectors would ask for them."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from contracts import profiles
from contracts.profiles import Profile
from ingest_service.alarms import Change
from ingest_service.settings import Database as Settings
from ingest_service.store import alarm_rows
from ingest_service.store.connection import Connection, connect
from ingest_service.store.migrate import migrate
from tests.database_fixture import Database
from tests.services.ingest_fixture import schema

TOWN, OTHER = "41280", "41480"
NOON = 1_760_011_200_000
# what determines an alarm, without its number and the server's clock
ALARMS = """
    SELECT al.subject, al.condition, al.state, al.severity, al.opened_at, al.last_finding_at, al.cleared_at,
           al.findings, al.occurrences, al.evidence, parent.subject, al.members_open, al.members_most, al.group_size,
           al.window_id IS NULL
    FROM alarm al LEFT JOIN alarm parent ON parent.alarm_id = al.parent_id
    ORDER BY al.subject, al.condition, al.opened_at"""
EVENTS = """
    SELECT al.subject, al.condition, al.opened_at,
           array_agg(e.event || ' ' || coalesce(e.observed_at::text, '') ORDER BY e.event_id)
    FROM alarm_event e JOIN alarm al USING (alarm_id)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""


def kinds() -> dict[str, Profile]:
    """Profiles whose conditions are soon new ones: a test's hours are short."""
    return {"streetlight": msgspec.structs.replace(profiles.load()["streetlight"], report_period_s=60)}


@pytest.fixture(scope="module")
def empty_town(postgres_url: str) -> Iterator[Database]:
    """A migrated schema for a module's tests, on either database; `street` fills it anew."""
    with schema(postgres_url) as database:
        migrate(Settings(url=database.url, schema=database.schema), profiles.load())
        yield database


def street(database: Database, circuits: int = 4, lamps: int = 8, agents: int = 2) -> None:
    """Lamps numbered from 1 in circuits c0, c1…, each circuit with one of the agents 1, 2…; one agent in another town.
    Nothing else is left.
    """
    with database.connect() as connection:
        connection.execute("TRUNCATE alarm, alarm_event, maintenance_window, device, agent, municipality CASCADE")
        for town in (TOWN, OTHER):
            connection.execute("INSERT INTO municipality (code, name_ko, name_en) VALUES (%s, 'x', 'x')", (town,))
        connection.execute(
            "INSERT INTO agent (agent_id, municipality, name) SELECT i, %s, 'pole-' || i FROM generate_series(1, %s) i",
            (TOWN, agents),
        )
        connection.execute("INSERT INTO agent (agent_id, municipality, name) VALUES (9000, %s, 'paju')", (OTHER,))
        connection.execute(
            "INSERT INTO device (device_id, municipality, name, kind, agent_id, attributes) SELECT 1 + c * %s + l, %s, "
            "'sl-' || 1 + c * %s + l, 'streetlight', 1 + c %% %s, jsonb_build_object('circuit', 'c' || c) "
            "FROM generate_series(0, %s) c, generate_series(0, %s) l",
            (lamps, TOWN, lamps, agents, circuits - 1, lamps - 1),
        )


def opened(database: Database) -> Connection:
    return connect(Settings(url=database.url, schema=database.schema), name="test")


def lamp(
    device_id: int, at_s: float = 0, *, begins: bool = True, condition: str = "silent", severity: int = 2
) -> Change:
    """A change of a lamp's alarm, at_s seconds after noon."""
    detector, _, name = condition.partition(":")
    at_ms = NOON + int(at_s * 1000)
    evidence: dict[str, Any] = {"parameters": {}, "values": [device_id]}
    return Change(
        TOWN, device_id, None, "streetlight", condition, detector, name or None, severity, begins, at_ms, evidence
    )


def quiet_agent(agent_id: int, at_s: float = 0, *, begins: bool = True) -> Change:
    return Change(
        TOWN, None, agent_id, None, "agent_silent", "agent_silent", None, 3, begins, NOON + int(at_s * 1000), {}
    )


def apply(connection: Connection, *flushes: Sequence[Change]) -> list[alarm_rows.Told]:
    """Each list of changes in a transaction of its own; what the last one told."""
    told: list[alarm_rows.Told] = []
    for changes in flushes:
        with connection.transaction():
            told = alarm_rows.change(connection, changes, kinds(), {})
    return told
