"""The newest state of a fleet as arrays: places, newest observations, and what colours them."""

from collections.abc import Sequence

import msgspec
import numpy as np

from contracts.profiles import Profile
from platform_api.queries import columns
from platform_api.queries.database import Database, instant
from platform_api.queries.packed import Array, numbers, times, values


class Registry(msgspec.Struct, frozen=True):
    codes: list[str]
    change: int
    changed: list[str]
    now_ms: int  # the server's clock


class Places(msgspec.Struct, frozen=True):
    """Devices of a kind in one municipality; (n,) each."""

    municipality: str
    device_id: Array  # int32
    device: list[str]
    agent_id: Array  # int32, 0: none
    longitude: Array  # float64, degrees
    latitude: Array
    registered_at: int  # ms, of the newest


class Newest(msgspec.Struct, frozen=True):
    """Newest observations of a kind in one municipality; (n,) each."""

    municipality: str
    device_id: Array  # int32
    observed_ms: Array  # int64
    values: dict[str, Array]  # as packed.values gives them
    as_of: int  # ms, of the last one written


class Colours(msgspec.Struct, frozen=True):
    """Active alarms of one municipality; (n,) each."""

    device_id: Array  # int32
    worst: Array  # int8: severity, 0: none but silence
    silent: Array  # bool
    silent_agents: list[int]
    changed_at: int | None  # ms


NO_COLOURS = Colours(np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(0, np.bool_), [], None)


async def fleet_registry(database: Database, seen: int) -> Registry:
    """Municipalities, the newest change, and where devices changed since `seen`."""
    row = await database.row("fleet_registry", {"seen": seen})
    assert row is not None
    return Registry(**row)


async def fleet_places(database: Database, kind: str, municipalities: Sequence[str]) -> list[Places]:
    parameters = {"kind": kind, "municipalities": list(municipalities)}
    return [
        Places(
            row["municipality"],
            numbers(row["device_id"], ">i4").astype(np.int32),
            row["device"],
            numbers(row["agent_id"], ">i4").astype(np.int32),
            numbers(row["longitude"], ">f8").astype(np.float64),
            numbers(row["latitude"], ">f8").astype(np.float64),
            row["registered_at"],
        )
        for row in await database.packed("fleet_places", parameters)
    ]


async def fleet_newest(
    database: Database, profile: Profile, municipalities: Sequence[str], since_ms: int | None
) -> list[Newest]:
    """What was written since since_ms, by the server's clock; everything when None."""
    parameters = {
        "kind": profile.kind, "municipalities": list(municipalities), "since": instant(since_ms or 0)
    }  # fmt: skip
    rows = await database.packed(
        "fleet_newest",
        parameters,
        packed=columns.packed(profile.properties.values(), "n"),
        newest=columns.newest(profile.kind),
    )
    return [
        Newest(
            row["municipality"],
            numbers(row["device_id"], ">i4").astype(np.int32),
            times(row["observed_at"]),
            values(profile.properties.values(), row),
            row["as_of"],
        )
        for row in rows
    ]


async def fleet_alarms(database: Database, municipalities: Sequence[str]) -> dict[str, Colours]:
    """By municipality; those without an active alarm are missing."""
    return {
        row["municipality"]: Colours(
            numbers(row["device_id"], ">i4").astype(np.int32),
            numbers(row["worst"], ">i2").astype(np.int8),
            numbers(row["silent"], ">i2").astype(np.bool_),
            row["silent_agents"],
            row["changed_at"],
        )
        for row in await database.packed("fleet_alarms", {"municipalities": list(municipalities)})
    }
