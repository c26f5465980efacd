"""Alarms: pages, counts, and the two changes that people make."""

from typing import Any

from platform_api.models.alarms import Alarm, AlarmCounts
from platform_api.models.status import SeverityCounts
from platform_api.queries.database import Database, instant

Permitted = list[str] | None


def channel(database: Database) -> str:
    """The NOTIFY channel on which changes of alarms are told to all API processes of this schema."""
    return f"{database.schema}_alarm_changed"


async def alarms(
    database: Database,
    permitted: Permitted,
    *,
    municipality: str | None = None,
    states: list[str] | None = None,
    severities: list[int] | None = None,
    detector: str | None = None,
    device_id: int | None = None,
    alarm_ids: list[int] | None = None,
    changed_after: int | None = None,
    span: tuple[int, int] | None = None,
    after: int | None = None,
    page: int = 100,
) -> list[Alarm]:
    """A page of alarms, newest first; changed_after and span in ms."""
    parameters: dict[str, Any] = {
        "permitted": permitted,
        "municipality": municipality,
        "states": states,
        "severities": severities,
        "detector": detector,
        "device_id": device_id,
        "alarm_ids": alarm_ids,
        "changed_after": None if changed_after is None else instant(changed_after),
        "span_from": instant(span[0]) if span else None,
        "span_to": instant(span[1]) if span else None,
        "after": after,
        "page": page,
    }
    return [Alarm(**row) for row in await database.rows("alarms", parameters)]


async def alarm(database: Database, permitted: Permitted, alarm_id: int) -> Alarm | None:
    found = await alarms(database, permitted, alarm_ids=[alarm_id], page=1)
    return found[0] if found else None


async def alarm_counts(
    database: Database,
    permitted: Permitted,
    *,
    municipality: str | None,
    severities: list[int] | None,
    detector: str | None,
    device_id: int | None,
) -> AlarmCounts:
    parameters = {
        "permitted": permitted, "municipality": municipality, "severities": severities, "detector": detector, "device_id": device_id  # noqa: E501
    }  # fmt: skip
    rows = await database.rows("alarm_counts", parameters)
    return AlarmCounts(**{row["state"]: row["n"] for row in rows})


async def alarm_acknowledge(database: Database, permitted: Permitted, alarm_id: int, name: str) -> bool:
    """Whether the alarm was open and now is acknowledged."""
    parameters = {"permitted": permitted, "alarm_id": alarm_id, "name": name, "channel": channel(database)}
    return await database.row("alarm_acknowledge", parameters) is not None


async def alarm_close(
    database: Database, permitted: Permitted, alarm_id: int, name: str, cause: str, comment: str | None
) -> bool:
    """Whether the alarm was not closed and now is."""
    parameters = {
        "permitted": permitted, "alarm_id": alarm_id, "name": name, "cause": cause, "comment": comment, "channel": channel(database)  # noqa: E501
    }  # fmt: skip
    return await database.row("alarm_close", parameters) is not None


async def open_alarm_counts(database: Database, permitted: Permitted) -> SeverityCounts:
    row = await database.row("open_alarm_counts", {"permitted": permitted})
    assert row is not None
    return SeverityCounts(**row)
