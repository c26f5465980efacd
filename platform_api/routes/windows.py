"""Maintenance windows: planned ahead, changed, taken away."""

from typing import Annotated

from fastapi import APIRouter, Query

from platform_api.caller import Caller
from platform_api.models.windows import NewWindow, Window, WindowPhase, Windows
from platform_api.problems import Code, ProblemError
from platform_api.queries import windows as query
from platform_api.queries.accounts import StoredAccount
from platform_api.queries.database import Database
from platform_api.routes.parameters import (
    READ,
    READ_ONE,
    WRITE_ONE,
    After,
    BigNumber,
    InMunicipality,
    Page,
    Profiles,
    Stored,
    errors,
)  # fmt: skip

router = APIRouter(tags=["alarms"])


@router.get("/maintenance-windows", responses=READ, summary="Maintenance windows, newest first")
async def get_windows(
    account: Caller,
    database: Stored,
    municipality: InMunicipality = None,
    phase: Annotated[WindowPhase | None, Query(description="Only these, by the server's clock.")] = None,
    limit: Page = 100,
    after: After = None,
) -> Windows:
    found = await query.windows(
        database, account.permitted, municipality=municipality, phase=phase, after=after, page=limit + 1
    )
    return Windows(items=found[:limit], next=found[limit - 1].window_id if len(found) > limit else None)


@router.get("/maintenance-windows/{window_id}", responses=READ_ONE, summary="One maintenance window")
async def get_window(account: Caller, database: Stored, window_id: BigNumber) -> Window:
    return await _known(database, account, window_id)


@router.post("/maintenance-windows", status_code=201, responses=errors(401, 403), summary="Plan a maintenance window")
async def add_window(account: Caller, database: Stored, profiles: Profiles, window: NewWindow) -> Window:
    """Alarms of its scope that begin inside it, in observation time, are suppressed: kept, not shown as open, not
    escalated. Those that still hold when it has ended become open. What is open already stays so."""
    await _check(account, database, profiles, window)
    window_id = await query.window_add(database, account.name, window)
    if window_id is None:
        raise _wrong("municipality", f"there is no municipality {window.municipality}")
    return await _known(database, account, window_id)


@router.put("/maintenance-windows/{window_id}", responses=WRITE_ONE, summary="Change a maintenance window")
async def change_window(
    account: Caller, database: Stored, profiles: Profiles, window_id: BigNumber, window: NewWindow
) -> Window:
    """The whole of it but its municipality. What it does not cover any more becomes open."""
    before = await _known(database, account, window_id)
    await _check(account, database, profiles, window)
    if before.municipality != window.municipality:
        raise _wrong("municipality", f"window {window_id} is one of {before.municipality}, and stays so")
    if not await query.window_change(database, account.permitted, window_id, account.name, window):
        raise ProblemError(Code.NOT_FOUND, f"there is no maintenance window {window_id}")
    return await _known(database, account, window_id)


@router.delete(
    "/maintenance-windows/{window_id}", status_code=204, responses=WRITE_ONE, summary="Take a maintenance window away"
)
async def end_window(account: Caller, database: Stored, window_id: BigNumber) -> None:
    """What it held back and still holds becomes open."""
    if not await query.window_end(database, account.permitted, window_id):
        raise ProblemError(Code.NOT_FOUND, f"there is no maintenance window {window_id}")


async def _known(database: Database, account: StoredAccount, window_id: int) -> Window:
    found = await query.windows(database, account.permitted, window_id=window_id, page=1)
    if not found:
        raise ProblemError(Code.NOT_FOUND, f"there is no maintenance window {window_id}")
    return found[0]


async def _check(account: StoredAccount, database: Database, profiles: Profiles, window: NewWindow) -> None:
    """Raise unless the account may plan there and the target exists."""
    if account.permitted is not None and window.municipality not in account.permitted:
        raise ProblemError(Code.NOT_PERMITTED, f"the account does not see municipality {window.municipality}")
    target = window.target or ""
    known = (
        target in profiles
        if window.scope == "kind"
        else await query.window_target(database, window.municipality, window.scope, target)
    )
    if not known:
        raise _wrong("target", f"municipality {window.municipality} has no {window.scope} {target!r}")


def _wrong(name: str, message: str) -> ProblemError:
    problem = {"where": f"body.{name}", "message": message}
    return ProblemError(Code.INVALID, f"cannot take body.{name}: {message}", errors=[problem])
