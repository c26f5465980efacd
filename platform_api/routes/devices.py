"""Devices: pages, the map, one device, its series, and registering one."""

import time
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from contracts.profiles import Profile
from platform_api import series
from platform_api.caller import Caller, Engineer
from platform_api.earth import Box
from platform_api.models.devices import Device, Devices, FeatureCollection, FleetMap, NewDevice
from platform_api.models.series import Series
from platform_api.models.words import DeviceState
from platform_api.problems import Code, ProblemError
from platform_api.queries import devices as query
from platform_api.queries.accounts import StoredAccount
from platform_api.queries.database import Database, TakenError
from platform_api.queries.series import charted
from platform_api.rendering import Asked, Columns, GeoJson, Rendered
from platform_api.routes.parameters import (
    READ,
    READ_ONE,
    WRITE_ONE,
    AfterDevice,
    AtMs,
    Configured,
    DeviceNumber,
    InMunicipality,
    OfKind,
    Page,
    Profiles,
    Stored,
    chosen,
    invalid,
)  # fmt: skip

router = APIRouter(tags=["devices"])
DAY_MS = 86_400_000
InBox = Annotated[
    str | None,
    Query(max_length=100, description="west,south,east,north in degrees", examples=["126.7,37.5,127.0,37.8"]),
]


@router.get("/devices", responses=READ, summary="Devices, a page at a time")
async def get_devices(
    account: Caller,
    database: Stored,
    profiles: Profiles,
    municipality: InMunicipality = None,
    kind: OfKind = None,
    circuit: Annotated[
        str | None, Query(max_length=128, description="Their attribute `circuit`.", examples=["c-412010"])
    ] = None,
    state: Annotated[DeviceState | None, Query(description="Only devices in this state.")] = None,
    q: Annotated[str | None, Query(max_length=128, description="Part of the device's name or label.")] = None,
    limit: Page = 100,
    after: AfterDevice = None,
) -> Devices:
    """By device_id, each with its state, newest observation and active alarms."""
    found = await query.devices(
        database, profiles, account.permitted,
        municipality=municipality, kind=kind, circuit=circuit, state=state, contains=q, after=after or 0,
        page=limit + 1,
    )  # fmt: skip
    return Devices(items=found[:limit], next=found[limit - 1].device_id if len(found) > limit else None)


@router.get(
    "/devices.geojson",
    responses={
        **READ,
        200: {"model": FeatureCollection, "description": "The map", "content": {"application/geo+json": {}}},
        304: {"description": "Unchanged since If-None-Match"},
    },
    response_class=Response,
    summary="Devices as a map",
)
async def get_devices_geojson(
    account: Caller,
    request: Request,
    profiles: Profiles,
    municipality: InMunicipality = None,
    kind: OfKind = None,
    bbox: InBox = None,
) -> Response:
    """Every device with a place, as GeoJSON, compressed where the client takes gzip; conditional by ETag.

    A rendering may be `map_max_age_s` old (`as_of` says); a stream opened after or before it covers the difference."""
    geojson: GeoJson = request.app.state.geojson
    rendered = await geojson.kept.of(_asked(account, profiles, municipality, kind, bbox))
    return _conditional(request, rendered, "application/geo+json")


@router.get(
    "/map",
    responses={
        **READ,
        200: {"model": FleetMap, "description": "The map in columns"},
        304: {"description": "Unchanged since If-None-Match"},
    },
    response_class=Response,
    summary="Devices as a map, in columns",
)
async def get_map(
    account: Caller,
    request: Request,
    profiles: Profiles,
    municipality: InMunicipality = None,
    kind: OfKind = None,
    bbox: InBox = None,
) -> Response:
    """What /devices.geojson shows, for 100,000 devices and more: columns, a quarter of the bytes, conditional by ETag.

    It may be some seconds old (`as_of` says); a stream opened after or before it covers the difference."""
    fleet_map: Columns = request.app.state.fleet_map
    rendered = await fleet_map.of(_asked(account, profiles, municipality, kind, bbox))
    return _conditional(request, rendered, "application/json")


@router.get("/devices/{device_id}", responses=READ_ONE, summary="One device")
async def get_device(account: Caller, database: Stored, profiles: Profiles, device_id: DeviceNumber) -> Device:
    return await _known(database, profiles, account, device_id)


@router.post("/devices", status_code=201, responses=WRITE_ONE, summary="Register a device")
async def post_device(account: Engineer, database: Stored, profiles: Profiles, new: NewDevice) -> Device:
    """Engineers and admins. Observations that waited in quarantine for it can be admitted afterwards."""
    if account.permitted is not None and new.municipality not in account.permitted:
        raise ProblemError(Code.NOT_FOUND, f"municipality {new.municipality!r} has no agent {new.agent!r}")
    if new.kind not in profiles:
        problem = {"where": "body.kind", "message": f"no such kind; known are {', '.join(profiles)}"}
        raise ProblemError(Code.INVALID, f"cannot take body.kind: {problem['message']}", errors=[problem])
    try:
        device_id = await query.device_add(database, new)
    except TakenError as taken:
        raise ProblemError(
            Code.CONFLICT, f"municipality {new.municipality!r} already has a device {new.device!r}"
        ) from taken
    if device_id is None:
        raise ProblemError(Code.NOT_FOUND, f"municipality {new.municipality!r} has no agent {new.agent!r}")
    return await _known(database, profiles, account, device_id)


@router.get("/devices/{device_id}/series", response_model=Series, responses=READ_ONE, summary="One device over time")
async def get_series(
    account: Caller,
    database: Stored,
    profiles: Profiles,
    settings: Configured,
    device_id: DeviceNumber,
    from_: Annotated[AtMs | None, Query(alias="from", description="Begin; a day before `to` by default.")] = None,
    to: Annotated[AtMs | None, Query(description="End, not included; now by default.")] = None,
    points: Annotated[int, Query(ge=10, le=10_000, description="Rows of the answer, at most; gaps count.")] = 600,
    properties: Annotated[
        str | None,
        Query(max_length=1000, description="Names, separated by commas; all by default.", examples=["voltage,current"]),
    ] = None,
) -> Response:
    """Raw observations, or minute, hour or day buckets: whatever the span allows. Raw rows are thinned so that extremes
    stay.

    A break longer than `gap_after_s` holds a row of nulls. For a device that reports changes only (attributes.reports =
    "changes") a break is a gap only where its whole agent was silent."""
    end = int(time.time() * 1000) if to is None else to
    begin = max(0, end - DAY_MS) if from_ is None else from_
    async with database.session() as session:  # five questions, one connection
        device = await charted(session, profiles, account.permitted, device_id)
        if device is None:
            raise ProblemError(Code.NOT_FOUND, f"there is no device {device_id}")
        profile = profiles.get(device.kind)
        if profile is None:
            raise ProblemError(Code.NOT_FOUND, f"no profile of kind {device.kind!r} is installed")
        if begin >= end:
            raise invalid("from", f"{begin} is not before to = {end}")
        asked = series.Question(device, profile, chosen(profile.properties, properties), begin, end, points)
        answer = await series.answer(session, asked, account.permitted, settings.raw_span_h)
    return Response(msgspec.json.encode(answer), media_type="application/json")


async def _known(database: Database, profiles: dict[str, Profile], account: StoredAccount, device_id: int) -> Device:
    device = await query.device(database, profiles, account.permitted, device_id)
    if device is None:
        raise ProblemError(Code.NOT_FOUND, f"there is no device {device_id}")
    return device


def _asked(
    account: StoredAccount, profiles: dict[str, Profile], municipality: str | None, kind: str | None, bbox: str | None
) -> Asked:
    kinds = (kind,) if kind in profiles else () if kind else tuple(profiles)
    permitted = None if account.permitted is None else tuple(account.permitted)
    return Asked(kinds, permitted, municipality, _box(bbox))


def _conditional(request: Request, rendered: Rendered, media_type: str) -> Response:
    """The rendering, as the client takes it; nothing when it has it."""
    headers = {
        "ETag": rendered.etag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding, Authorization, Cookie",
    }
    known = {word.strip().removeprefix("W/") for word in request.headers.get("if-none-match", "").split(",")}
    if rendered.etag.removeprefix("W/") in known:
        return Response(status_code=304, headers=headers)
    body = rendered.plain
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"], body = "gzip", rendered.compressed
    else:
        headers["Content-Encoding"] = "identity"  # or the middleware would compress it again, in the event loop
    return Response(body, media_type=media_type, headers=headers)


def _box(bbox: str | None) -> Box | None:
    if bbox is None:
        return None
    try:
        west, south, east, north = (float(part) for part in bbox.split(","))
        good = -180 <= west <= east <= 180 and -90 <= south <= north <= 90
    except ValueError:
        good = False
    if not good:
        raise invalid("bbox", f"{bbox!r} is not west,south,east,north in degrees")
    return west, south, east, north
