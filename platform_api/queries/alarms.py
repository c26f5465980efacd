"""Alarms: pages, counts, history, the changes that people make, and what they made of each detector."""

from typing import Any

import msgspec

from platform_api.models.alarms import Alarm, AlarmCounts, AlarmEvent, DetectorTrust
from platform_api.models.status import SeverityCounts
from platform_api.queries.database import Database, Reader, Session, instant

Permitted = list[str] | None


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which alarms; None: whatever it is."""

    municipality: str | None = None
    severities: list[int] | None = None
    detector: str | None = None
    kind: str | None = None
    assigned_to: str | None = None
    causes: list[str] | None = None
    device_id: int | None = None
    member_of: int | None = None  # alarm_id of a group alarm
    folded: bool = False  # members of groups as well


ALL = Filters(folded=True)


def channel(database: Database) -> str:
    """The NOTIFY channel on which changes of alarms are told to all API processes of this schema."""
    return f"{database.schema}_alarm_changed"


async def alarms(
    database: Reader,
    permitted: Permitted,
    filters: Filters = ALL,
    *,
    states: list[str] | None = None,
    everything: bool = False,
    alarm_ids: list[int] | None = None,
    changed_after: int | None = None,
    span: tuple[int, int] | None = None,
    after: int | None = None,
    page: int = 100,
) -> list[Alarm]:
    """A page of alarms, newest first; changed_after and span in ms; everything: suppressed ones without being named."""
    parameters: dict[str, Any] = {
        **msgspec.structs.asdict(filters),
        "permitted": permitted,
        "states": states,
        "everything": everything,
        "alarm_ids": alarm_ids,
        "changed_after": None if changed_after is None else instant(changed_after),
        "span_from": instant(span[0]) if span else None,
        "span_to": instant(span[1]) if span else None,
        "after": after,
        "page": page,
    }
    return [Alarm(**row) for row in await database.rows("alarms", parameters)]


async def alarm(database: Database, permitted: Permitted, alarm_id: int) -> Alarm | None:
    found = await alarms(database, permitted, alarm_ids=[alarm_id], everything=True, page=1)
    return found[0] if found else None


async def alarm_counts(database: Database, permitted: Permitted, filters: Filters) -> AlarmCounts:
    rows = await database.rows("alarm_counts", {**msgspec.structs.asdict(filters), "permitted": permitted})
    return AlarmCounts(**{row["state"]: row["n"] for row in rows})


async def alarm_events(database: Database, alarm_id: int, most: int) -> list[AlarmEvent]:
    """The newest of an alarm's events, oldest first."""
    rows = await database.rows("alarm_events", {"alarm_id": alarm_id, "most": most})
    return [AlarmEvent(**row) for row in reversed(rows)]


async def alarm_acknowledge(database: Database, permitted: Permitted, alarm_id: int, name: str) -> bool:
    """Whether the alarm was open and now is acknowledged."""
    parameters = {"permitted": permitted, "alarm_id": alarm_id, "name": name, "channel": channel(database)}
    return await database.row("alarm_acknowledge", parameters) is not None


async def alarm_assign(database: Database, permitted: Permitted, alarm_id: int, name: str, account: str | None) -> bool:
    """Whether somebody else looks after it now than before."""
    parameters = {
        "permitted": permitted, "alarm_id": alarm_id, "name": name, "account": account, "channel": channel(database)
    }  # fmt: skip
    return await database.row("alarm_assign", parameters) is not None


async def alarm_comment(database: Database, permitted: Permitted, alarm_id: int, name: str, text: str) -> bool:
    """Whether there is such an alarm; the comment is one of its events now."""
    parameters = {
        "permitted": permitted, "alarm_id": alarm_id, "name": name, "text": text, "channel": channel(database)
    }  # fmt: skip
    return await database.row("alarm_comment", parameters) is not None


async def alarm_lock(session: Session, permitted: Permitted, alarm_id: int) -> None:
    """Until the transaction ends, nobody else changes several alarms of this one's municipality."""
    await session.row("alarm_lock", {"permitted": permitted, "alarm_id": alarm_id})


async def alarm_close(
    database: Database, permitted: Permitted, alarm_id: int, name: str, cause: str, note: str | None
) -> bool:
    """Whether the alarm was not closed and now is; of a group alarm, its active members are too."""
    parameters = {
        "permitted": permitted, "alarm_id": alarm_id, "name": name, "cause": cause, "note": note, "channel": channel(database)  # noqa: E501
    }  # fmt: skip
    async with database.transaction() as session:
        await alarm_lock(session, permitted, alarm_id)
        return bool(await session.rows("alarm_close", parameters))


async def assignees(database: Database, municipality: str, name: str | None = None) -> list[str]:
    """Accounts that see a municipality, or this one if it does."""
    rows = await database.rows("assignees", {"municipality": municipality, "name": name})
    return [row["name"] for row in rows]


async def detectors(
    database: Database, permitted: Permitted, *, municipality: str | None, since: int | None
) -> list[DetectorTrust]:
    """Since: ms, alarms raised later; None: all."""
    parameters = {
        "permitted": permitted, "municipality": municipality, "since": None if since is None else instant(since)
    }  # fmt: skip
    return [DetectorTrust(**row) for row in await database.rows("detectors", parameters)]


async def open_alarm_counts(database: Database, permitted: Permitted) -> SeverityCounts:
    row = await database.row("open_alarm_counts", {"permitted": permitted})
    assert row is not None
    return SeverityCounts(**row)
