"""Quarantine: what was refused and why, and asking for an observation to be admitted."""

from typing import Annotated

from fastapi import APIRouter, Query

from contracts.reasons import Reason
from platform_api.caller import Caller, Engineer
from platform_api.models.quarantine import Quarantine, QuarantineItem
from platform_api.problems import Code, ProblemError
from platform_api.queries import quarantine as query
from platform_api.routes.parameters import READ, WRITE_ONE, After, BigNumber, Page, Stored

router = APIRouter(tags=["quarantine"])


@router.get("/quarantine", responses=READ, summary="Quarantine, newest first")
async def get_quarantine(
    account: Caller,
    database: Stored,
    reason: Annotated[Reason | None, Query(description="Only this reason.")] = None,
    agent: Annotated[str | None, Query(max_length=64, description="Name of an agent.", examples=["pole-01"])] = None,
    limit: Page = 100,
    after: After = None,
) -> Quarantine:
    """Messages that belong to no known municipality show to accounts of all municipalities only."""
    found = await query.quarantine(
        database, account.permitted, reason=reason.value if reason else None, agent=agent, after=after, page=limit + 1
    )
    refused = await query.quarantine_refused(database, account.permitted, agent)
    return Quarantine(
        items=found[:limit], next=found[limit - 1].quarantine_id if len(found) > limit else None, refused=refused
    )


@router.post(
    "/quarantine/{quarantine_id}/admit",
    status_code=202,
    responses=WRITE_ONE,
    summary="Ask for an observation to be admitted",
)
async def admit_quarantine(account: Engineer, database: Stored, quarantine_id: BigNumber) -> QuarantineItem:
    """Engineers and admins. Ingest admits it in one transaction (`admitted_at`), or says anew why it cannot
    (`reason`)."""
    asked = await query.quarantine_request_admit(database, account.permitted, quarantine_id, account.name)
    found = await query.quarantine(database, account.permitted, quarantine_id=quarantine_id, page=1)
    if not found:
        raise ProblemError(Code.NOT_FOUND, f"there is nothing under {quarantine_id} in quarantine")
    if not asked:
        item = found[0]
        why = (
            "it is admitted already" if item.admitted_at is not None
            else f"{item.admit_requested_by!r} has asked for it already" if item.admit_requested_at is not None
            else "it is a message that cannot be read, not an observation"
        )  # fmt: skip
        raise ProblemError(Code.CONFLICT, f"cannot admit {quarantine_id}: {why}")
    return found[0]
