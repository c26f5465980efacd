"""Maintenance windows."""

from typing import Any

from platform_api.models.windows import NewWindow, Window
from platform_api.queries.alarms import Permitted
from platform_api.queries.database import Database, instant


async def windows(
    database: Database,
    permitted: Permitted,
    *,
    municipality: str | None = None,
    phase: str | None = None,
    window_id: int | None = None,
    after: int | None = None,
    page: int = 100,
) -> list[Window]:
    """A page of windows, newest first."""
    parameters = {
        "permitted": permitted, "municipality": municipality, "phase": phase, "window_id": window_id, "after": after, "page": page  # noqa: E501
    }  # fmt: skip
    return [Window(**row) for row in await database.rows("windows", parameters)]


async def window_target(database: Database, municipality: str, scope: str, target: str) -> bool:
    """Whether the municipality has this agent, device or circuit."""
    parameters = {"municipality": municipality, "scope": scope, "target": target}
    return await database.row("window_target", parameters) is not None


async def window_add(database: Database, name: str, window: NewWindow) -> int | None:
    """The new window's number; None when there is no such municipality."""
    row = await database.row("window_add", _parameters(name, window))
    return int(row["window_id"]) if row else None


async def window_change(database: Database, permitted: Permitted, window_id: int, name: str, window: NewWindow) -> bool:
    """Whether there is such a window of that municipality; it is as said now."""
    parameters = {**_parameters(name, window), "permitted": permitted, "window_id": window_id}
    return await database.row("window_change", parameters) is not None


async def window_end(database: Database, permitted: Permitted, window_id: int) -> bool:
    """Whether there was such a window."""
    return await database.row("window_end", {"permitted": permitted, "window_id": window_id}) is not None


def _parameters(name: str, window: NewWindow) -> dict[str, Any]:
    return {
        "municipality": window.municipality,
        "scope": window.scope,
        "target": window.target or "",
        "from_at": instant(window.from_),
        "to_at": instant(window.to),
        "reason": window.reason,
        "name": name,
    }
