"""Alarms: pages, one, and the two changes that people make."""

from typing import Annotated, get_args

from fastapi import APIRouter, Query

from platform_api.caller import Caller
from platform_api.models.alarms import Alarm, Alarms, Closing
from platform_api.models.words import AlarmState
from platform_api.problems import Code, ProblemError
from platform_api.queries import alarms as query
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
    Stored,
    listed,
)  # fmt: skip

router = APIRouter(tags=["alarms"])
MAX_ID = 2**31 - 1


@router.get("/alarms", responses=READ, summary="Alarms, newest first")
async def get_alarms(
    account: Caller,
    database: Stored,
    state: Annotated[
        str | None, Query(max_length=64, description="States, separated by commas.", examples=["open,acknowledged"])
    ] = None,
    municipality: InMunicipality = None,
    severity: Annotated[
        str | None, Query(max_length=16, description="1, 2 and 3, separated by commas.", examples=["2,3"])
    ] = None,
    device_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    detector: Annotated[str | None, Query(max_length=64, examples=["stuck"])] = None,
    limit: Page = 100,
    after: After = None,
) -> Alarms:
    """`counts` are under the same filters, whatever the state."""
    states = _among(listed(state), get_args(AlarmState), "state")
    severities = _among(listed(severity), ("1", "2", "3"), "severity")
    numbers = [int(word) for word in severities] if severities else None
    found = await query.alarms(
        database, account.permitted,
        municipality=municipality, states=states, severities=numbers, detector=detector, device_id=device_id,
        after=after, page=limit + 1,
    )  # fmt: skip
    counts = await query.alarm_counts(
        database,
        account.permitted,
        municipality=municipality,
        severities=numbers,
        detector=detector,
        device_id=device_id,
    )
    return Alarms(items=found[:limit], next=found[limit - 1].alarm_id if len(found) > limit else None, counts=counts)


@router.get("/alarms/{alarm_id}", responses=READ_ONE, summary="One alarm")
async def get_alarm(account: Caller, database: Stored, alarm_id: BigNumber) -> Alarm:
    return await _known(database, account, alarm_id)


@router.post("/alarms/{alarm_id}/acknowledge", responses=WRITE_ONE, summary="Acknowledge an alarm")
async def acknowledge_alarm(account: Caller, database: Stored, alarm_id: BigNumber) -> Alarm:
    """Somebody looks after it. Only an open alarm can be acknowledged."""
    changed = await query.alarm_acknowledge(database, account.permitted, alarm_id, account.name)
    alarm = await _known(database, account, alarm_id)
    if not changed:
        raise ProblemError(Code.CONFLICT, f"cannot acknowledge alarm {alarm_id}: it is {alarm.state}{_by(alarm)}")
    return alarm


@router.post("/alarms/{alarm_id}/close", responses=WRITE_ONE, summary="Close an alarm")
async def close_alarm(account: Caller, database: Stored, alarm_id: BigNumber, closing: Closing) -> Alarm:
    """With its cause, from any state but closed. If the condition goes on, a new alarm opens."""
    changed = await query.alarm_close(
        database, account.permitted, alarm_id, account.name, closing.cause, closing.comment or None
    )
    alarm = await _known(database, account, alarm_id)
    if not changed:
        raise ProblemError(Code.CONFLICT, f"cannot close alarm {alarm_id}: it is {alarm.state}{_by(alarm)}")
    return alarm


async def _known(database: Database, account: StoredAccount, alarm_id: int) -> Alarm:
    alarm = await query.alarm(database, account.permitted, alarm_id)
    if alarm is None:
        raise ProblemError(Code.NOT_FOUND, f"there is no alarm {alarm_id}")
    return alarm


def _by(alarm: Alarm) -> str:
    who = (
        alarm.closed_by if alarm.state == "closed" else alarm.acknowledged_by if alarm.state == "acknowledged" else None
    )
    return f" by {who!r}" if who else ""


def _among(words: list[str] | None, allowed: tuple[str, ...], where: str) -> list[str] | None:
    for word in words or ():
        if word not in allowed:
            problem = {"where": f"query.{where}", "message": f"{word!r} is not one of {', '.join(allowed)}"}
            raise ProblemError(Code.INVALID, f"cannot take query.{where}: {problem['message']}", errors=[problem])
    return words
