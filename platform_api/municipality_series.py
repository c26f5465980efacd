"""What a municipality's devices of one kind did over time: a mean an hour, or wider buckets where the span is long."""

from contracts.profiles import Profile, Property
from platform_api import thinning
from platform_api.models.series import MunicipalityProperty, MunicipalitySeries
from platform_api.queries import series as query
from platform_api.queries.database import Database

HOUR_S = 3600


async def answer(
    database: Database,
    profile: Profile,
    items: list[Property],
    municipality: str,
    *,
    from_at: int,
    to_at: int,
    points: int,
) -> MunicipalitySeries:
    """At most `points` buckets of [from_at, to_at); the first begins at or before from_at."""
    width = thinning.width_s(from_at, to_at, points, HOUR_S)
    begin = thinning.floor(from_at, width)
    closed_until = (await query.series_edge(database, profile.kind, "hour", None, begin, to_at)).closed_until
    edge = begin if closed_until is None else max(begin, thinning.floor(closed_until, HOUR_S))
    rows = await query.municipality_series(
        database, profile, items, municipality, width_s=width, from_at=begin, to_at=to_at, edge=edge
    )
    return MunicipalitySeries(
        municipality=municipality,
        kind=profile.kind,
        bucket_s=width,
        **{"from": from_at},
        to=to_at,
        closed_until=closed_until,
        observed_at=[row["observed_at"] for row in rows],
        devices=[row["devices"] for row in rows],
        observations=[row["observations"] for row in rows],
        properties={
            item.name: MunicipalityProperty(
                mean=[row[f"{item.name}_mean"] for row in rows],
                min=[row[f"{item.name}_min"] for row in rows],
                max=[row[f"{item.name}_max"] for row in rows],
            )
            for item in items
        },
    )
