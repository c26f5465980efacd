"""The first of many devices: the fullest bins, the weakest lamps, the nearest free bay."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from contracts.profiles import Profile
from platform_api.caller import Caller
from platform_api.models.devices import Device, NearDevice, NearDevices, TopDevice, TopDevices
from platform_api.queries import devices as devices_query
from platform_api.queries import ranked as query
from platform_api.queries.database import Database
from platform_api.queries.ranked import Condition, Ranked
from platform_api.routes.parameters import READ, AtMs, InMunicipality, Profiles, Stored, invalid, listed, profile_of

router = APIRouter(tags=["devices"])
OneKind = Annotated[str, Query(max_length=48, description="Kind of device.", examples=["parking_spot"])]
First = Annotated[int, Query(ge=1, le=1000, description="Devices, at most.")]
Since = Annotated[AtMs | None, Query(description="Devices whose newest observation is older are left out.")]
_condition = re.compile(r"([a-z][a-z0-9_]*)(>=|<=|=)(.+)")


@router.get("/devices/top", responses=READ, summary="Devices by a property's newest value")
async def get_top_devices(
    account: Caller,
    database: Stored,
    profiles: Profiles,
    kind: OneKind,
    property: Annotated[str, Query(max_length=64, description="A numeric property.", examples=["filling_level"])],
    order: Annotated[Literal["highest", "lowest"], Query(description="Which come first.")] = "highest",
    municipality: InMunicipality = None,
    since: Since = None,
    limit: First = 20,
) -> TopDevices:
    """The fullest bins, the weakest lamps. Devices without a value are left out; of equal ones the lower device_id
    comes first."""
    profile = profile_of(profiles, kind)
    numeric = {item.name: item for item in profile.numeric}
    if property not in numeric:
        raise invalid("property", f"{property!r} is not one of {', '.join(numeric) or 'none'}, the numbers of {kind}")
    found = await query.top(
        database, profile, numeric[property], account.permitted,
        municipality=municipality, lowest=order == "lowest", since_ms=since or 0, most=limit,
    )  # fmt: skip
    devices = await _devices(database, profile, account.permitted, found)
    items = [TopDevice(**dict(devices[item.device_id]), value=item.by) for item in found if item.device_id in devices]
    return TopDevices(property=property, items=items)


@router.get("/devices/nearest", responses=READ, summary="Devices nearest to a point")
async def get_nearest_devices(
    account: Caller,
    database: Stored,
    profiles: Profiles,
    kind: OneKind,
    latitude: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False, examples=[37.658])],
    longitude: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False, examples=[126.832])],
    having: Annotated[
        str | None,
        Query(
            max_length=500,
            description="What the newest values must be, separated by commas: `status=free`, `filling_level<=0.5`.",
            examples=["status=free"],
        ),
    ] = None,
    within_m: Annotated[float, Query(gt=0, le=500_000, description="Metres, at most.")] = 2000.0,
    municipality: InMunicipality = None,
    since: Since = None,
    limit: First = 20,
) -> NearDevices:
    """Nearest first, with the distance in metres (as the crow flies). `having=status=free` finds the nearest free bay;
    a device that was never heard of meets no condition."""
    profile = profile_of(profiles, kind)
    found = await query.nearest(
        database, profile, account.permitted,
        latitude=latitude, longitude=longitude, municipality=municipality, conditions=_conditions(profile, having),
        since_ms=since, within_m=within_m, most=limit,
    )  # fmt: skip
    devices = await _devices(database, profile, account.permitted, found)
    return NearDevices(
        items=[
            NearDevice(**dict(devices[item.device_id]), distance_m=round(item.by, 3))
            for item in found
            if item.device_id in devices
        ]
    )


async def _devices(
    database: Database, profile: Profile, permitted: list[str] | None, found: list[Ranked]
) -> dict[int, Device]:
    """The devices themselves, with their state."""
    numbers = [item.device_id for item in found]
    if not numbers:
        return {}
    page = await devices_query.devices(
        database, {profile.kind: profile}, permitted, kind=profile.kind, device_ids=numbers, page=len(numbers)
    )
    return {device.device_id: device for device in page}


def _conditions(profile: Profile, having: str | None) -> list[Condition]:
    return [_read(profile, word) for word in listed(having) or []]


def _read(profile: Profile, word: str) -> Condition:
    """A condition; raises what the client is told."""
    match = _condition.fullmatch(word)
    item = profile.properties.get(match[1]) if match else None
    if match is None or item is None:
        known = ", ".join(profile.properties)
        raise invalid("having", f"{word!r} is not name=value, name>=number or name<=number with a name of {known}")
    operator, text = match[2], match[3]
    try:
        bound: float | int | bool
        if item.type in ("enum", "boolean"):
            names = list(item.values) if item.type == "enum" else ["false", "true"]
            if operator != "=" or text not in names:
                raise invalid("having", f"{word!r} is not {item.name}= one of {', '.join(names)}")
            number = names.index(text)
            bound = bool(number) if item.type == "boolean" else number
        else:
            bound = float(text)
            if not abs(bound) < 1e30:
                raise ValueError(text)
    except ValueError as error:
        raise invalid("having", f"{word!r}: {text!r} is not a number") from error
    return Condition(item, operator, bound)  # type: ignore[arg-type]
