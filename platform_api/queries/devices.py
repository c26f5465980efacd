"""Devices: pages, the map, and registering one."""

from collections.abc import Mapping
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from contracts.profiles import Profile
from platform_api.earth import Box
from platform_api.models.devices import Device, NewDevice
from platform_api.queries import columns
from platform_api.queries.database import Database

Permitted = list[str] | None


async def devices(
    database: Database,
    profiles: Mapping[str, Profile],
    permitted: Permitted,
    *,
    municipality: str | None = None,
    kind: str | None = None,
    circuit: str | None = None,
    state: str | None = None,
    contains: str | None = None,
    device_ids: list[int] | None = None,
    after: int = 0,
    page: int = 100,
) -> list[Device]:
    """A page of devices by device_id."""
    wanted = {kind: profiles[kind]} if kind is not None and kind in profiles else profiles
    escaped = contains.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") if contains else None
    parameters = {
        "permitted": permitted,
        "municipality": municipality,
        "kind": kind,
        "circuit": circuit,
        "state": state,
        "pattern": f"%{escaped}%" if escaped else None,
        "device_ids": device_ids,
        "after": after,
        "page": page,
    }
    rows = await database.rows("devices", parameters, newest=columns.newest_of_device(wanted))
    return [Device(**row) for row in rows]


async def device(
    database: Database, profiles: Mapping[str, Profile], permitted: Permitted, device_id: int
) -> Device | None:
    found = await devices(database, profiles, permitted, device_ids=[device_id], page=1)
    return found[0] if found else None


async def device_features(
    database: Database, profile: Profile, permitted: Permitted, municipality: str | None, box: Box | None
) -> tuple[str | None, int | None]:
    """GeoJSON features of one kind, joined by commas, and the time of the newest change in them."""
    parameters: dict[str, Any] = {"permitted": permitted, "municipality": municipality, "kind": profile.kind}
    row = await database.row(
        "device_features",
        parameters,
        inside=sql.SQL("true") if box is None else columns.inside([box]),
        kind=columns.member(profile),
        values=columns.members(profile, "n"),
        newest=columns.newest(profile.kind),
    )
    return (row["features"], row["as_of"]) if row else (None, None)


async def device_add(database: Database, new: NewDevice) -> int | None:
    """The new device's number; None when its agent does not exist; raises TakenError when its name is taken."""
    parameters = {
        "municipality": new.municipality,
        "device": new.device,
        "kind": new.kind,
        "agent": new.agent,
        "label_ko": new.label.ko,
        "label_en": new.label.en,
        "latitude": new.latitude,
        "longitude": new.longitude,
        "attributes": Jsonb(new.attributes),
    }
    row = await database.row("device_add", parameters)
    return int(row["device_id"]) if row else None
