"""The tables of a kind, made from its profile: observations, newest, rollups. Same names with and without TimescaleDB.
The tables of a kind, made from its profile: observations, newest, rollups. Same names with and without TimescaleDB.
"""

from contracts.profiles import Profile, Property

COLUMN_TYPES = {"number": "float4", "integer": "int4", "enum": "smallint", "boolean": "boolean"}
SPANS = {"minute": "1 minute", "hour": "1 hour"}


class SchemaError(ValueError):
    """Profiles that the stored data forbids."""


def column_type(item: Property) -> str:
    return COLUMN_TYPES[item.type]


def statements(profile: Profile) -> list[str]:
    """DDL that brings the tables of a kind up to its profile; each statement may run again."""
    kind = profile.kind
    columns = "".join(f", {name} {column_type(item)}" for name, item in profile.properties.items())
    aggregates = {name: type_ for item in profile.properties.values() for name, type_ in _aggregates(item)}
    means = {name: type_ for item in profile.numeric for name, type_ in _aggregates(item)}
    made = [
        f"CREATE TABLE IF NOT EXISTS observation_{kind} (device_id int NOT NULL, observed_at timestamptz NOT "
        f"NULL{columns}) PARTITION BY RANGE (observed_at)",
        f"CREATE INDEX IF NOT EXISTS observation_{kind}_time ON observation_{kind} USING brin (observed_at) WITH "
        "(pages_per_range = 32)",
        f"CREATE TABLE IF NOT EXISTS newest_{kind} (device_id int PRIMARY KEY, observed_at timestamptz NOT "
        f"NULL{columns}, as_of timestamptz NOT NULL) WITH (fillfactor = 50)",
    ]
    for tier in profile.rollups:
        made.append(
            f"CREATE TABLE IF NOT EXISTS rollup_{tier}_{kind} (device_id int NOT NULL, bucket timestamptz NOT NULL, "
            "observations int NOT NULL"
            + "".join(f", {name} {type_}" for name, type_ in aggregates.items())
            + ", PRIMARY KEY (device_id, bucket))"
        )
        made.append(
            f"CREATE INDEX IF NOT EXISTS rollup_{tier}_{kind}_bucket ON rollup_{tier}_{kind} USING brin (bucket)"
        )
    made.append(
        f"CREATE TABLE IF NOT EXISTS rollup_municipality_hour_{kind} (municipality text NOT NULL, bucket timestamptz "
        "NOT NULL, devices int NOT NULL, observations bigint NOT NULL"
        + "".join(f", {name} {type_}" for name, type_ in means.items())
        + ", PRIMARY KEY (municipality, bucket))"
    )
    for name, item in profile.properties.items():  # a property that a newer profile brings
        brought = [(table, name, column_type(item)) for table in (f"observation_{kind}", f"newest_{kind}")]
        for column, type_ in _aggregates(item):
            brought += [(f"rollup_{tier}_{kind}", column, type_) for tier in profile.rollups]
            if item.numeric:
                brought.append((f"rollup_municipality_hour_{kind}", column, type_))
        made += [f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} {type_}" for table, column, type_ in brought]
    return made


def check_change(old: dict[str, object], new: Profile) -> None:
    """Raise SchemaError when the profile contradicts rows already stored under `old` ({property: {type, values}})."""
    for name, item in new.properties.items():
        before = old.get(name)
        if not isinstance(before, dict):
            continue
        if before["type"] != item.type:
            raise SchemaError(f"{new.kind}.toml: properties.{name}.type = {item.type!r}: stored as {before['type']!r}")
        values = list(before.get("values") or [])
        if list(item.values)[: len(values)] != values:
            raise SchemaError(
                f"{new.kind}.toml: properties.{name}.values = {list(item.values)!r}: stored rows need {values!r} "
                "first; append only"
            )


def definition(profile: Profile) -> dict[str, object]:
    """What `check_change` needs to know of a profile later."""
    return {name: {"type": item.type, "values": list(item.values)} for name, item in profile.properties.items()}


def _aggregates(item: Property) -> list[tuple[str, str]]:
    if item.numeric:
        return [(f"{item.name}_mean", "float4"), (f"{item.name}_min", "float4"), (f"{item.name}_max", "float4")]
    return [(f"{item.name}_last", column_type(item))]


def hour_rollup_sql(profile: Profile, tier: str) -> str:
    """INSERT of one hour's rollups of a kind. Parameters: from, to (timestamptz)."""
    chosen, listed = [], []
    for item in profile.properties.values():
        name = item.name
        if item.numeric:
            chosen += [f"avg({name})::float4", f"min({name})::float4", f"max({name})::float4"]
        else:
            chosen.append(f"(array_agg({name} ORDER BY observed_at DESC) FILTER (WHERE {name} IS NOT NULL))[1]")
        listed += [column for column, _ in _aggregates(item)]
    return (
        f"INSERT INTO rollup_{tier}_{profile.kind} (device_id, bucket, observations, {', '.join(listed)}) "
        f"SELECT device_id, date_trunc('{tier}', observed_at), count(*), {', '.join(chosen)} "
        f"FROM observation_{profile.kind} WHERE observed_at >= %(from)s AND observed_at < %(to)s GROUP BY 1, 2"
    )


def municipality_rollup_sql(profile: Profile) -> str:
    """INSERT of one hour's rollup per municipality. Parameters: from, to (timestamptz)."""
    chosen, listed = [], []
    for item in profile.numeric:
        chosen += [f"avg(o.{item.name})::float4", f"min(o.{item.name})::float4", f"max(o.{item.name})::float4"]
        listed += [column for column, _ in _aggregates(item)]
    more_listed = "".join(f", {column}" for column in listed)
    more_chosen = "".join(f", {column}" for column in chosen)
    return (
        f"INSERT INTO rollup_municipality_hour_{profile.kind} (municipality, bucket, devices, "
        f"observations{more_listed}) "
        f"SELECT d.municipality, date_trunc('hour', o.observed_at), count(DISTINCT o.device_id), count(*){more_chosen} "
        f"FROM observation_{profile.kind} o JOIN device d USING (device_id) WHERE o.observed_at >= %(from)s AND "
        "o.observed_at < %(to)s GROUP BY 1, 2"
    )
