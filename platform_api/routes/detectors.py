"""Which detectors people trust: what became of the alarms of each."""

from typing import Annotated

from fastapi import APIRouter, Query

from platform_api.caller import Caller
from platform_api.models.alarms import Detectors
from platform_api.queries import alarms as query
from platform_api.queries.database import LAST_MS
from platform_api.routes.parameters import READ, InMunicipality, Stored

router = APIRouter(tags=["alarms"])


@router.get("/detectors", responses=READ, summary="What became of the alarms of each detector")
async def get_detectors(
    account: Caller,
    database: Stored,
    municipality: InMunicipality = None,
    since: Annotated[
        int | None, Query(ge=0, le=LAST_MS, description="Only alarms raised later; ms since 1970 UTC.")
    ] = None,
) -> Detectors:
    """By detector and kind. `false_share` is that of false alarms among those that people called real or false."""
    return Detectors(items=await query.detectors(database, account.permitted, municipality=municipality, since=since))
