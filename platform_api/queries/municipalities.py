"""Municipalities, and what `dure migrate` has made of the schema."""

from platform_api.models.catalogue import Municipality
from platform_api.queries.database import Database

Permitted = list[str] | None


async def municipalities(database: Database, permitted: Permitted) -> list[Municipality]:
    return [Municipality(**row) for row in await database.rows("municipalities", {"permitted": permitted})]


async def schema_state(database: Database) -> tuple[int, set[str]]:
    """The newest migration's number, and the kinds that have tables; raises what the database module raises."""
    row = await database.row("schema_state")
    assert row is not None
    return int(row["version"]), set(row["kinds"])
