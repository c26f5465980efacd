"""Agents, ingest workers and the database's size: what the health pages show."""

from platform_api.models.status import Agent, Worker
from platform_api.queries.database import Database

Permitted = list[str] | None


async def agents(database: Database, permitted: Permitted, *, silent_after_s: int, behind_backlog: int) -> list[Agent]:
    parameters = {"permitted": permitted, "silent_after_s": silent_after_s, "behind_backlog": behind_backlog}
    return [Agent(**row) for row in await database.rows("agents", parameters)]


async def workers(database: Database) -> list[Worker]:
    return [Worker(**row) for row in await database.rows("workers")]


async def database_size(database: Database) -> int:
    row = await database.row("database_size")
    assert row is not None
    return int(row["size_bytes"])
