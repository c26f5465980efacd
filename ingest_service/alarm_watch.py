"""The watch: ends maintenance windows, escalates what nobody answers, and closes groups that people emptied; beside
ingest, on its own connection, so that neither a flush nor a long roll-up makes it late.

Each worker has one; what it does is done once, whoever is first (`store.alarm_timers`).
"""

import random
import threading
from collections.abc import Mapping

from contracts.log import log
from contracts.profiles import Profile
from contracts.readiness import Part
from ingest_service.health import Health
from ingest_service.settings import Database, Settings
from ingest_service.store import alarm_timers
from ingest_service.store.connection import Connection, DatabaseError, connect, reason_of

PERIOD_S = 5.0


def turn(connection: Connection, profiles: Mapping[str, Profile], settings: Settings) -> None:
    """Everything that is due now."""
    released = alarm_timers.release(connection, profiles)
    if released:
        log("alarms.released", alarms=released)
    alarm_timers.clear_empty(connection)
    alarm_timers.escalate(
        connection,
        info_s=settings.escalate_info_after_s,
        warning_s=settings.escalate_warning_after_s,
        critical_s=settings.escalate_critical_after_s,
    )


def run(
    database: Database, profiles: Mapping[str, Profile], settings: Settings, stopping: threading.Event, health: Health
) -> None:
    """Turn until stopped; a lost database is waited for."""
    connection: Connection | None = None
    while not stopping.wait(PERIOD_S * (0.75 + 0.5 * random.random())):
        try:
            if connection is None or connection.closed:
                connection = connect(database, name="watch")
            turn(connection, profiles, settings)
            health.say(Part.ALARMS, None)
        except DatabaseError as error:
            health.say(Part.ALARMS, reason_of(error), error)
            if connection is not None:
                connection.close()
            connection = None
    if connection is not None:
        connection.close()
