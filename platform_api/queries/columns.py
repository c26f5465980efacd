"""SQL expressions that a profile gives rise to: the newest values as JSON, the columns of rollups and of their
open tail."""

import json
from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from contracts.profiles import Profile, Property
from platform_api.earth import Box

SPACE = sql.SQL(", ")


def value(item: Property, table: str) -> sql.Composable:
    """A property's value as JSON shows it: enums by name."""
    column = sql.Identifier(table, item.name)
    if item.type != "enum":
        return column
    names = SPACE.join(sql.Literal(name) for name in item.values)
    return sql.SQL("(ARRAY[{}]::text[])[{} + 1]").format(names, column)


def pairs(profile: Profile, table: str) -> sql.Composed:
    """'name', value pairs for json_build_object."""
    return SPACE.join(
        sql.SQL("{}, {}").format(sql.Literal(item.name), value(item, table)) for item in profile.properties.values()
    )


def member(profile: Profile) -> sql.Literal:
    """The kind as a member of JSON text."""
    return sql.Literal(f',"kind":"{profile.kind}"')


def members(profile: Profile, table: str) -> sql.Composed:
    """The properties as members of JSON text, each begun by its comma."""
    parts: list[sql.Composable] = []
    for item in profile.properties.values():
        column: sql.Composable = sql.SQL("{}::text").format(sql.Identifier(table, item.name))
        if item.type == "enum":
            names = SPACE.join(sql.Literal(json.dumps(name)) for name in item.values)
            column = sql.SQL("(ARRAY[{}]::text[])[{} + 1]").format(names, sql.Identifier(table, item.name))
        parts.append(sql.SQL("{} || coalesce({}, 'null')").format(sql.Literal(f',"{item.name}":'), column))
    return sql.SQL(" || ").join(parts)


def packed(items: Iterable[Property], table: str) -> sql.Composed:
    """The properties as packed columns: big-endian, one item a row; null as NaN, the least integer, or -1."""
    senders = {
        "number": "float4send(coalesce({0}, 'NaN'))",
        "integer": "int4send(coalesce({0}, -2147483648))",
        "enum": "int2send(coalesce({0}, -1::smallint))",
        "boolean": "int2send(coalesce({0}::int, -1)::smallint)",
    }
    return SPACE.join(
        sql.SQL(f"string_agg({senders[item.type]}, ''::bytea) AS {{1}}").format(
            sql.Identifier(table, item.name), sql.Identifier(item.name)
        )
        for item in items
    )


def inside(boxes: Sequence[Box]) -> sql.Composed:
    """Whether device d stands in one of the boxes; by the index of places, and then exactly (its own comparison is
    lenient by a millionth of a degree)."""
    one = sql.SQL(
        "(point(d.longitude, d.latitude) <@ box(point({0}, {1}), point({2}, {3}))"
        " AND d.longitude BETWEEN {0} AND {2} AND d.latitude BETWEEN {1} AND {3})"
    )
    found = [one.format(*(sql.Literal(float(edge)) for edge in box)) for box in boxes]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(found))


def newest_of_device(profiles: Mapping[str, Profile]) -> sql.Composed:
    """The newest row of device `d`, whatever its kind: (observed_at, values)."""
    parts = [
        sql.SQL(
            "SELECT n.observed_at, json_build_object({}) AS values FROM {} n WHERE n.device_id = d.device_id AND d.kind = {}"  # noqa: E501
        ).format(pairs(profile, "n"), newest(kind), sql.Literal(kind))
        for kind, profile in profiles.items()
    ]
    return sql.SQL(" UNION ALL ").join(parts)


def newest(kind: str) -> sql.Identifier:
    return sql.Identifier(f"newest_{kind}")


def observations(kind: str) -> sql.Identifier:
    return sql.Identifier(f"observation_{kind}")


def rollup(kind: str, unit: str) -> sql.Identifier:
    return sql.Identifier(f"rollup_{unit}_{kind}")


def rolled(items: list[Property]) -> sql.Composed:
    """A rollup's columns: mean, min, max and count of numbers, last of the others."""
    parts: list[sql.Composable] = []
    for item in items:
        ends = ("mean", "min", "max", "count") if item.numeric else ("last",)
        parts += [sql.Identifier(f"{item.name}_{end}") for end in ends]
    return SPACE.join(parts)


def continued(listed: sql.Composed) -> sql.Composed:
    """A list of columns that follows others; nothing when it is empty."""
    return sql.SQL(", {}").format(listed) if listed.as_string() else listed


def tail(items: list[Property]) -> sql.Composed:
    """The same columns, worked out from observations."""
    numeric = "avg({0})::float8 AS {1}, min({0})::float4 AS {2}, max({0})::float4 AS {3}, count({0})::int AS {4}"
    last = "(array_agg({0} ORDER BY observed_at DESC) FILTER (WHERE {0} IS NOT NULL))[1] AS {1}"
    parts: list[sql.Composable] = []
    for item in items:
        column, name = sql.Identifier(item.name), item.name
        if item.numeric:
            ends = [sql.Identifier(f"{name}_{end}") for end in ("mean", "min", "max", "count")]
            parts.append(sql.SQL(numeric).format(column, *ends))
        else:
            parts.append(sql.SQL(last).format(column, sql.Identifier(f"{name}_last")))
    return SPACE.join(parts)


def bucket_ends(item: Property) -> tuple[str, ...]:
    """What a bucket says of a property."""
    return ("mean", "min", "max") if item.numeric else ("last",)


def listed(items: list[Property]) -> sql.Composed:
    """What `merged` gives, each column as a JSON array."""
    names = [sql.Identifier(f"{item.name}_{end}") for item in items for end in bucket_ends(item)]
    return SPACE.join(sql.SQL("array_to_json(array_agg({0}))::text AS {0}").format(name) for name in names)


def newest_time_of_device(profiles: Mapping[str, Profile]) -> sql.Composed:
    """The time of the newest row of device `d`, whatever its kind."""
    parts = [
        sql.SQL(" WHEN {} THEN (SELECT n.observed_at FROM {} n WHERE n.device_id = d.device_id)").format(
            sql.Literal(kind), newest(kind)
        )
        for kind in profiles
    ]
    return sql.SQL("CASE d.kind{} END").format(sql.SQL("").join(parts))


def merged(items: list[Property]) -> sql.Composed:
    """The same columns over several buckets: means weighted by the values they were made of, the last of the latest
    bucket. A rollup made before counts were kept has none: its observations stand for them."""
    mean = (
        "(sum({0} * coalesce({3}, observations))"
        " / nullif(sum(coalesce({3}, observations)) FILTER (WHERE {0} IS NOT NULL), 0))::float4 AS {0},"
        " min({1}) AS {1}, max({2}) AS {2}"
    )
    last = "(array_agg({0} ORDER BY bucket DESC) FILTER (WHERE {0} IS NOT NULL))[1] AS {0}"
    parts: list[sql.Composable] = []
    for item in items:
        name = item.name
        if item.numeric:
            ends = ("mean", "min", "max", "count")
            parts.append(sql.SQL(mean).format(*(sql.Identifier(f"{name}_{end}") for end in ends)))
        else:
            parts.append(sql.SQL(last).format(sql.Identifier(f"{name}_last")))
    return SPACE.join(parts)
