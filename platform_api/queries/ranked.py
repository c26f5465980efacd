"""The first of many devices: by the newest value of a property, and by their distance from a point."""

from typing import Any, Literal

import msgspec
from psycopg import sql

from contracts.profiles import Profile, Property
from platform_api import earth
from platform_api.queries import columns
from platform_api.queries.database import Database, instant

Permitted = list[str] | None
FIRST_RADIUS_M, WIDER = 300.0, 4.0  # a street or two; how much farther the next look goes


class Condition(msgspec.Struct, frozen=True):
    """What the newest value of a property must be; bound as it is stored (an enum's by its number)."""

    item: Property
    operator: Literal["=", ">=", "<="]
    bound: float | int | bool


class Ranked(msgspec.Struct, frozen=True):
    """A device and what it is ranked by: the value, or the distance in metres."""

    device_id: int
    by: float


async def top(
    database: Database,
    profile: Profile,
    item: Property,
    permitted: Permitted,
    *,
    municipality: str | None,
    lowest: bool,
    since_ms: int,
    most: int,
) -> list[Ranked]:
    """The devices with the highest (lowest) newest value of a numeric property, first first."""
    parameters: dict[str, Any] = {
        "permitted": permitted, "municipality": municipality, "kind": profile.kind, "since": instant(since_ms), "most": most  # noqa: E501
    }  # fmt: skip
    here = sql.SQL("true")
    if permitted is not None or municipality is not None:
        here = sql.SQL(
            "n.device_id IN (SELECT device_id FROM device WHERE kind = %(kind)s"
            " AND (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))"
            " AND (%(municipality)s::text IS NULL OR municipality = %(municipality)s))"
        )
    rows = await database.rows(
        "top",
        parameters,
        newest=columns.newest(profile.kind),
        value=sql.SQL("{}::float8").format(sql.Identifier("n", item.name))
        if item.type == "integer"
        else sql.Identifier("n", item.name),
        direction=sql.SQL("ASC" if lowest else "DESC"),
        here=here,
    )
    return [Ranked(row["device_id"], row["value"]) for row in rows]


async def nearest(
    database: Database,
    profile: Profile,
    permitted: Permitted,
    *,
    latitude: float,
    longitude: float,
    municipality: str | None,
    conditions: list[Condition],
    since_ms: int | None,
    within_m: float,
    most: int,
) -> list[Ranked]:
    """The nearest devices within within_m, nearest first. Looks close by first, and wider while too few are there."""
    having = [
        sql.SQL("{} {} {}").format(
            sql.Identifier("n", condition.item.name), sql.SQL(condition.operator), sql.Literal(condition.bound)
        )
        for condition in conditions
    ]
    parameters: dict[str, Any] = {
        "permitted": permitted, "municipality": municipality, "kind": profile.kind, "latitude": latitude,
        "longitude": longitude, "since": None if since_ms is None else instant(since_ms), "most": most,
    }  # fmt: skip
    radius_m = min(FIRST_RADIUS_M, within_m)
    while True:
        rows = await database.rows(
            "nearest",
            {**parameters, "radius_m": radius_m},
            inside=columns.inside(earth.boxes(latitude, longitude, radius_m)),
            having=sql.SQL(" AND ").join(having) if having else sql.SQL("true"),
            newest=columns.newest(profile.kind),
        )
        if len(rows) >= most or radius_m >= within_m:
            return [Ranked(row["device_id"], row["distance_m"]) for row in rows]
        radius_m = min(radius_m * WIDER, within_m)
