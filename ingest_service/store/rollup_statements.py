"""SQL that fills the rollups of a kind, made from its profile.

A rollup is worked out into a temporary table first (`rolled_<tier>`: no log is written, and memory is bounded by
work_mem) in the order of its key, and published from it a slice of devices at a time. Days and municipalities are made
of hours: means weighted by how many values they were made of, so that they are what the observations would give.
Parameters are named in each docstring; times are timestamptz.
"""

from collections.abc import Iterable

from contracts.profiles import Profile, Property
from ingest_service.store import schema

EPOCH = "timestamptz 'epoch'"
DUE = "late_due"  # temporary table (device_id, hour): what is recomputed


def bucket(tier: str, column: str = "observed_at") -> str:
    return f"date_bin(interval '{schema.TIERS[tier]}', {column}, {EPOCH})"


def roll(profile: Profile, tier: str, *, only_due: bool = False, by_device: bool = False) -> str:
    """CREATE rolled_<tier> of the observations in [from, to). Index: BRIN (observed_at) while hot.

    only_due: of the devices and hours in late_due; by_device: and finds them by the closed partition's index (devices:
    int[]).
    """
    extra = ""
    if only_due:
        extra = f" AND EXISTS (SELECT FROM {DUE} d WHERE d.device_id = o.device_id AND d.hour = {bucket('hour')})"
    if by_device:
        extra = f" AND device_id = ANY(%(devices)s){extra}"
    return _roll(profile, tier, bucket(tier), extra, "1, 2")


def roll_hour(profile: Profile) -> str:
    """The same of the hour that begins at `from`: what every row has in common is not worked out for each."""
    return _roll(profile, "hour", "%(from)s::timestamptz", "", "1")


def _roll(profile: Profile, tier: str, begin: str, extra: str, key: str) -> str:
    columns = ["device_id", f"{begin} AS bucket", "count(*)::int AS observations"]
    for item in profile.properties.values():
        columns += _from_observations(item)
    return (
        f"CREATE TEMP TABLE rolled_{tier} AS SELECT {', '.join(columns)} FROM observation_{profile.kind} o "
        f"WHERE observed_at >= %(from)s AND observed_at < %(to)s{extra} GROUP BY {key} ORDER BY 1, 2"
    )


def roll_days(profile: Profile, *, only_due: bool = False) -> str:
    """CREATE rolled_day of the hour rollups in [from, to). only_due: of the devices and days of late_due."""
    extra = ""
    if only_due:
        day = bucket("day", "d.hour")
        extra = f" AND (device_id, {bucket('day', 'bucket')}) IN (SELECT d.device_id, {day} FROM {DUE} d)"
    return (
        f"CREATE TEMP TABLE rolled_day AS SELECT device_id, {bucket('day', 'bucket')} AS bucket, "
        f"sum(observations)::int AS observations{_from_hours(profile.properties.values(), 'int')} "
        f"FROM rollup_hour_{profile.kind} WHERE bucket >= %(from)s AND bucket < %(to)s{extra} "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    )


def publish(profile: Profile, tier: str) -> str:
    """Upsert rolled_<tier> into its rollup, devices over `after` up to `upto`."""
    columns = list(schema.rollup_columns(profile))
    return (
        f"INSERT INTO rollup_{tier}_{profile.kind} AS t ({', '.join(columns)}) SELECT {', '.join(columns)} "
        f"FROM rolled_{tier} WHERE device_id > %(after)s AND device_id <= %(upto)s ORDER BY device_id, bucket "
        f"ON CONFLICT (device_id, bucket) DO UPDATE SET {_excluded(columns, 'device_id', 'bucket')}"
    )


def roll_municipalities(profile: Profile) -> str:
    """Upsert one hour's rollup of every municipality, from rolled_hour."""
    return _municipalities(profile, "rolled_hour r JOIN device d USING (device_id)")


def roll_due_municipalities(profile: Profile) -> str:
    """Upsert the rollups of the municipalities of late_due's devices, in its hours, from the hour rollups.
    Index: rollup_hour_<kind> (device_id, bucket), or its open partition's BRIN (bucket).
    """
    return _municipalities(
        profile,
        f"rollup_hour_{profile.kind} r JOIN device d USING (device_id)",
        "r.bucket >= %(from)s AND r.bucket < %(to)s AND (d.municipality, r.bucket) IN "
        f"(SELECT m.municipality, l.hour FROM {DUE} l JOIN device m USING (device_id))",
    )


def _municipalities(profile: Profile, source: str, where: str = "true") -> str:
    columns = ["municipality", "bucket", "devices", "observations"]
    columns += [name for item in profile.numeric for name, _ in schema.aggregates(item)]
    return (
        f"INSERT INTO rollup_municipality_hour_{profile.kind} AS t ({', '.join(columns)}) "
        f"SELECT d.municipality, r.bucket, count(*), sum(r.observations){_from_hours(profile.numeric, 'bigint')} "
        f"FROM {source} WHERE {where} GROUP BY 1, 2 "
        f"ON CONFLICT (municipality, bucket) DO UPDATE SET {_excluded(columns, 'municipality', 'bucket')}"
    )


def _from_observations(item: Property) -> list[str]:
    name = item.name
    if item.numeric:
        return [
            f"sum({name}::float8) / nullif(count({name}), 0) AS {name}_mean",  # half of avg's time and memory
            f"min({name})::float4 AS {name}_min",
            f"max({name})::float4 AS {name}_max",
            f"count({name})::int AS {name}_count",
        ]
    return [f"{_last(item, name, 'observed_at')} AS {name}_last"]


def _from_hours(items: Iterable[Property], count: str) -> str:
    made = ""
    for item in items:
        name = item.name
        if item.numeric:
            n = f"coalesce({name}_count, observations)"  # rollups made before counts were kept have none
            known = f"FILTER (WHERE {name}_mean IS NOT NULL)"
            made += f", sum({name}_mean * {n}) / nullif(sum({n}) {known}, 0) AS {name}_mean"
            made += f", min({name}_min) AS {name}_min, max({name}_max) AS {name}_max"
            made += f", coalesce(sum({n}) {known}, 0)::{count} AS {name}_count"
        else:
            made += f", {_last(item, f'{name}_last', 'bucket')} AS {name}_last"
    return made


def _last(item: Property, column: str, at: str) -> str:
    """The last value that is not null, as one number that max() finds without sorting: milliseconds, then the value.
    Of two at the same millisecond it is the greater one."""
    packed = f"max((date_part('epoch', {at}) * 1000)::bigint * 65536 + {column}::int) & 65535"
    return f"({packed}) <> 0" if item.type == "boolean" else f"({packed})::smallint"


def _excluded(columns: list[str], *key: str) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
