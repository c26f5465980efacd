"""The tables of a kind, made from its profile: observations, newest, rollups. Same names with and without TimescaleDB.

Columns stand widest first, so that no row carries padding: 60 bytes for a streetlight's observation instead of 68.
What fills the rollups is in `rollup_statements`.
"""

from contracts.profiles import Profile, Property

COLUMN_TYPES = {"number": "float4", "integer": "int4", "enum": "smallint", "boolean": "boolean"}
WIDTHS = {"timestamptz": 8, "float8": 8, "bigint": 8, "int": 4, "int4": 4, "float4": 4, "smallint": 2, "boolean": 1}
TIERS = {"minute": "1 minute", "hour": "1 hour", "day": "1 day"}  # of rollups, with their span

Columns = dict[str, str]  # name -> type, with NOT NULL where it holds


class SchemaError(ValueError):
    """Profiles that the stored data forbids."""


def column_type(item: Property) -> str:
    return COLUMN_TYPES[item.type]


def observation_columns(profile: Profile) -> Columns:
    """Columns of observation_<kind>."""
    own = {"observed_at": "timestamptz NOT NULL", "device_id": "int NOT NULL"}
    return _widest_first({**own, **_properties(profile)})


def rollup_columns(profile: Profile) -> Columns:
    """Columns of rollup_<tier>_<kind>."""
    own = {"bucket": "timestamptz NOT NULL", "device_id": "int NOT NULL", "observations": "int NOT NULL"}
    return _widest_first({**own, **dict(pair for item in profile.properties.values() for pair in aggregates(item))})


def municipality_columns(profile: Profile) -> Columns:
    """Columns of rollup_municipality_hour_<kind>."""
    own = {"bucket": "timestamptz NOT NULL", "observations": "bigint NOT NULL", "devices": "int NOT NULL"}
    means = {
        name: "bigint" if type_ == "int" else type_ for item in profile.numeric for name, type_ in aggregates(item)
    }
    return {**_widest_first({**own, **means}), "municipality": "text NOT NULL"}


def aggregates(item: Property) -> list[tuple[str, str]]:
    """Columns that a rollup has of a property. The mean is of the values that are not null; count says how many."""
    name = item.name
    if item.numeric:
        return [
            (f"{name}_mean", "float8"),
            (f"{name}_min", "float4"),
            (f"{name}_max", "float4"),
            (f"{name}_count", "int"),
        ]
    return [(f"{name}_last", column_type(item))]


def statements(profile: Profile) -> list[str]:
    """DDL that brings the tables of a kind up to its profile; each statement may run again."""
    kind = profile.kind
    made = [
        f"CREATE TABLE IF NOT EXISTS observation_{kind} ({ddl(observation_columns(profile))}) "
        "PARTITION BY RANGE (observed_at)",
        f"CREATE INDEX IF NOT EXISTS observation_{kind}_time ON observation_{kind} USING brin (observed_at) WITH "
        "(pages_per_range = 32)",
        *newest_statements(profile),
    ]
    for tier in profile.rollups:
        table = f"rollup_{tier}_{kind}"
        columns = f"{ddl(rollup_columns(profile))}, PRIMARY KEY (device_id, bucket)"
        made.append(f"CREATE TABLE IF NOT EXISTS {table} ({columns}) PARTITION BY RANGE (bucket)")
    made.append(
        f"CREATE TABLE IF NOT EXISTS rollup_municipality_hour_{kind} ({ddl(municipality_columns(profile))}, "
        "PRIMARY KEY (municipality, bucket))"
    )
    brought = [(f"observation_{kind}", _properties(profile))]
    brought += [(f"rollup_{tier}_{kind}", rollup_columns(profile)) for tier in profile.rollups]
    brought.append((f"rollup_municipality_hour_{kind}", municipality_columns(profile)))
    return made + [statement for table, columns in brought for statement in _added(table, columns)]


def newest_statements(profile: Profile) -> list[str]:
    """DDL of newest_<kind>; each statement may run again."""
    table = f"newest_{profile.kind}"
    own = {"device_id": "int PRIMARY KEY", "observed_at": "timestamptz NOT NULL", "as_of": "timestamptz NOT NULL"}
    columns = ddl(_widest_first({**own, **_properties(profile)}))
    made = f"CREATE TABLE IF NOT EXISTS {table} ({columns}) WITH (fillfactor = 50)"
    return [made, *_added(table, _properties(profile))]


def _added(table: str, columns: Columns) -> list[str]:
    """DDL of columns that a newer profile brings."""
    return [
        f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {type_}"
        for name, type_ in columns.items()
        if "NOT NULL" not in type_
    ]


def _properties(profile: Profile) -> Columns:
    return {name: column_type(item) for name, item in profile.properties.items()}


def _widest_first(columns: Columns) -> Columns:
    return dict(sorted(columns.items(), key=lambda column: -WIDTHS[column[1].split()[0]]))


def ddl(columns: Columns) -> str:
    """The columns as CREATE TABLE lists them."""
    return ", ".join(f"{name} {type_}" for name, type_ in columns.items())


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
