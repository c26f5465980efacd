"""One device's observations and rollups, and when its agent was silent."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from contracts.profiles import Profile, Property
from platform_api.queries import columns, packed
from platform_api.queries.database import Database, Reader, identifiers, instant
from platform_api.queries.packed import Array

Row = dict[str, Any]
UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


class Charted(msgspec.Struct, frozen=True):
    """What a chart needs to know of a device."""

    device_id: int
    kind: str
    agent_id: int | None
    attributes: dict[str, Any]
    observed_at: int | None  # ms, of the newest


async def charted(
    database: Reader, profiles: Mapping[str, Profile], permitted: list[str] | None, device_id: int
) -> Charted | None:
    """The device, where it is registered and permitted."""
    parameters = {"device_id": device_id, "permitted": permitted}
    row = await database.row("charted", parameters, newest=columns.newest_time_of_device(profiles))
    return Charted(**row) if row else None


class Raw(msgspec.Struct, frozen=True):
    """Observations of one device, oldest first; (n,) each."""

    observed_ms: Array  # int64
    values: dict[str, Array]  # as packed.values gives them


async def series_raw(
    database: Reader, profile: Profile, items: list[Property], device_id: int, from_at: int, to_at: int, most: int
) -> Raw:
    """At most `most` observations in [from_at, to_at)."""
    parameters = {"device_id": device_id, "from_at": instant(from_at), "to_at": instant(to_at), "most": most}
    rows = await database.packed(
        "series_raw",
        parameters,
        columns=columns.continued(identifiers([item.name for item in items])),
        packed=columns.continued(columns.packed(items, "n")),
        observations=columns.observations(profile.kind),
    )
    return Raw(packed.times(rows[0]["observed_at"]), packed.values(items, rows[0]))


class Buckets(msgspec.Struct, frozen=True):
    """What is asked of a device's rollups; times in ms, from_at at a bucket's start, edge as in the statement."""

    device_id: int
    unit: str
    width_s: int
    from_at: int
    to_at: int
    edge: int


class Rolled(msgspec.Struct, frozen=True):
    """Buckets of one device, oldest first; n each."""

    observed_ms: list[int]
    columns: dict[str, list[Any]]  # <property>_mean, _min, _max or _last


async def series_rollup(database: Reader, profile: Profile, items: list[Property], asked: Buckets) -> Rolled:
    """The buckets that have an observation."""
    return await _rollup(database, "series_rollup", profile, items, asked)


async def series_rollup_late(database: Reader, profile: Profile, items: list[Property], asked: Buckets) -> Rolled:
    """The same, where `series_edge` says that the rollups do not hold everything yet."""
    return await _rollup(database, "series_rollup_late", profile, items, asked)


async def _rollup(database: Reader, name: str, profile: Profile, items: list[Property], asked: Buckets) -> Rolled:
    parameters = {
        "device_id": asked.device_id,
        "kind": profile.kind,
        "from_at": instant(asked.from_at),
        "to_at": instant(asked.to_at),
        "edge": instant(asked.edge),
        "unit": UNITS[asked.unit],
        "width": timedelta(seconds=asked.width_s),
    }
    row = await database.row(
        name,
        parameters,
        rollup=columns.rollup(profile.kind, asked.unit),
        observations=columns.observations(profile.kind),
        rolled=columns.rolled(items),
        tail=columns.tail(items),
        merged=columns.merged(items),
        listed=columns.listed(items),
    )
    assert row is not None
    found = {name: msgspec.json.decode(text or "[]") for name, text in row.items()}
    return Rolled(found.pop("observed_at"), found)


class Edge(msgspec.Struct, frozen=True):
    closed_until: int | None  # ms; None before the first rollup
    late: bool  # whether some of the device's rollups in the span wait to be made anew


async def series_edge(database: Reader, kind: str, unit: str, device_id: int | None, from_at: int, to_at: int) -> Edge:
    """Up to when the rollups of a kind and unit are closed, and whether those of a device hold everything."""
    parameters = {
        "kind": kind, "unit": unit, "device_id": device_id, "from_at": instant(from_at), "to_at": instant(to_at)
    }  # fmt: skip
    row = await database.row("series_edge", parameters)
    return Edge(row["closed_until"], row["late"]) if row else Edge(None, False)


async def series_first_bucket(
    database: Reader, kind: str, unit: str, device_id: int, from_at: int, to_at: int
) -> int | None:
    """The device's first bucket in [from_at, to_at), ms; None without any."""
    parameters = {"device_id": device_id, "from_at": instant(from_at), "to_at": instant(to_at)}
    row = await database.row("series_first_bucket", parameters, rollup=columns.rollup(kind, unit))
    return row["bucket"] if row else None


async def municipality_series(
    database: Database,
    profile: Profile,
    items: list[Property],
    municipality: str,
    *,
    width_s: int,
    from_at: int,
    to_at: int,
    edge: int,
) -> list[Row]:
    """Rows {observed_at: ms, devices, observations, <property>_mean, _min, _max} of numeric items, oldest first;
    from_at at the start of a bucket."""
    parameters = {
        "municipality": municipality,
        "kind": profile.kind,
        "from_at": instant(from_at),
        "to_at": instant(to_at),
        "edge": instant(edge),
        "width": timedelta(seconds=width_s),
    }
    return await database.rows(
        "municipality_series",
        parameters,
        rollup=columns.rollup(profile.kind, "municipality_hour"),
        observations=columns.observations(profile.kind),
        rolled=columns.continued(columns.rolled(items)),
        tail=columns.continued(columns.tail(items)),
        merged=columns.continued(columns.merged(items)),
    )


async def agent_silences(
    database: Reader, kind: str, agent_id: int, *, unit: str, from_at: int, to_at: int, edge: int, gap_s: float
) -> list[tuple[int, int]]:
    """(begin, end) in ms of each time longer than gap_s without an observation of the agent's devices of the kind."""
    parameters = {
        "agent_id": agent_id, "kind": kind, "from_at": instant(from_at), "to_at": instant(to_at), "edge": instant(edge), "gap_s": gap_s  # noqa: E501
    }  # fmt: skip
    rows = await database.rows(
        "agent_silences", parameters, rollup=columns.rollup(kind, unit), observations=columns.observations(kind)
    )
    return [(row["begin_at"], row["end_at"]) for row in rows]


async def agent_interval(database: Reader, kind: str, agent_id: int, from_at: int, to_at: int) -> float | None:
    """How far apart the agent's reports usually are, seconds."""
    parameters = {"agent_id": agent_id, "kind": kind, "from_at": instant(from_at), "to_at": instant(to_at)}
    row = await database.row("agent_interval", parameters, observations=columns.observations(kind))
    return row["interval_s"] if row else None
