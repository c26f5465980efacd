"""Municipalities, and whether the database answers."""

from platform_api.models import Municipality
from platform_api.queries.database import Database

Permitted = list[str] | None


async def municipalities(database: Database, permitted: Permitted) -> list[Municipality]:
    return [Municipality(**row) for row in await database.rows("municipalities", {"permitted": permitted})]


async def alive(database: Database) -> None:
    """Returns when the schema is there; raises what the database module raises."""
    await database.rows("alive")
