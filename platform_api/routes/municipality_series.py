"""A municipality's devices of one kind over time."""

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query

from platform_api import municipality_series
from platform_api.caller import Caller
from platform_api.models.series import MunicipalitySeries
from platform_api.problems import Code, ProblemError
from platform_api.queries.accounts import municipality_exists
from platform_api.routes.parameters import READ_ONE, AtMs, Profiles, Stored, chosen, invalid, profile_of

router = APIRouter(tags=["devices"])
MONTH_MS = 30 * 86_400_000


@router.get("/municipalities/{code}/series", responses=READ_ONE, summary="A municipality's hourly means")
async def get_municipality_series(
    account: Caller,
    database: Stored,
    profiles: Profiles,
    code: Annotated[str, Path(max_length=32, description="Administrative code.", examples=["41280"])],
    kind: Annotated[str, Query(max_length=48, description="Kind of device.", examples=["streetlight"])],
    from_: Annotated[AtMs | None, Query(alias="from", description="Begin; 30 days before `to` by default.")] = None,
    to: Annotated[AtMs | None, Query(description="End, not included; now by default.")] = None,
    points: Annotated[int, Query(ge=10, le=10_000, description="Buckets, at most.")] = 1000,
    properties: Annotated[
        str | None,
        Query(max_length=1000, description="Numeric ones, separated by commas; all by default.", examples=["voltage"]),
    ] = None,
) -> MunicipalitySeries:
    """Mean, least and greatest over all devices of the kind, an hour each, or more where `points` does not allow it.
    Hours without an observation are left out. What came late shows within a minute or so."""
    profile = profile_of(profiles, kind)
    permitted = account.permitted is None or code in account.permitted
    if not permitted or not await municipality_exists(database, code):
        raise ProblemError(Code.NOT_FOUND, f"there is no municipality {code!r}")
    end = int(time.time() * 1000) if to is None else to
    begin = max(0, end - MONTH_MS) if from_ is None else from_
    if begin >= end:
        raise invalid("from", f"{begin} is not before to = {end}")
    items = chosen({item.name: item for item in profile.numeric}, properties)
    return await municipality_series.answer(database, profile, items, code, from_at=begin, to_at=end, points=points)
