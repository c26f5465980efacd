"""Quarantine: pages, what was only counted, and asking ingest to admit."""

from platform_api.models.quarantine import QuarantineItem, Refused
from platform_api.queries.database import Database

Permitted = list[str] | None


async def quarantine(
    database: Database,
    permitted: Permitted,
    *,
    reason: str | None = None,
    agent: str | None = None,
    quarantine_id: int | None = None,
    after: int | None = None,
    page: int = 100,
) -> list[QuarantineItem]:
    """A page of the quarantine, newest first."""
    parameters = {
        "permitted": permitted, "reason": reason, "agent": agent, "quarantine_id": quarantine_id, "after": after, "page": page  # noqa: E501
    }  # fmt: skip
    return [QuarantineItem(**row) for row in await database.rows("quarantine", parameters)]


async def quarantine_refused(database: Database, permitted: Permitted, agent: str | None) -> list[Refused]:
    rows = await database.rows("quarantine_refused", {"permitted": permitted, "agent": agent})
    return [Refused(**row) for row in rows]


async def quarantine_request_admit(database: Database, permitted: Permitted, quarantine_id: int, name: str) -> bool:
    """Whether the request was new and possible."""
    parameters = {"permitted": permitted, "quarantine_id": quarantine_id, "name": name}
    return await database.row("quarantine_request_admit", parameters) is not None
