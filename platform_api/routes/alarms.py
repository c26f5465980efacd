"""Alarms: pages, one with its history, and what people do about it."""

from typing import Annotated, get_args

from fastapi import APIRouter, Query

from platform_api.alarm_evidence import led_up
from platform_api.caller import Caller
from platform_api.models.alarms import Alarm, AlarmDetail, Alarms, Assignees, Assignment, Closing, Comment
from platform_api.models.words import AlarmState, Cause
from platform_api.problems import Code, ProblemError
from platform_api.queries import alarms as query
from platform_api.queries.accounts import StoredAccount
from platform_api.queries.alarms import Filters
from platform_api.queries.database import Database
from platform_api.routes.parameters import (
    MAX_BIG_ID,
    MAX_ID,
    READ,
    READ_ONE,
    WRITE_ONE,
    After,
    BigNumber,
    InMunicipality,
    OfKind,
    Page,
    Profiles,
    Stored,
    invalid,
    listed,
)  # fmt: skip

router = APIRouter(tags=["alarms"])
MOST_EVENTS, MOST_MEMBERS = 500, 200


@router.get("/alarms", responses=READ, summary="Alarms, newest first")
async def get_alarms(
    account: Caller,
    database: Stored,
    state: Annotated[
        str | None,
        Query(
            max_length=64,
            description="States, separated by commas; without it all but `suppressed`.",
            examples=["open,acknowledged"],
        ),
    ] = None,
    municipality: InMunicipality = None,
    severity: Annotated[
        str | None, Query(max_length=16, description="1, 2 and 3, separated by commas.", examples=["2,3"])
    ] = None,
    kind: OfKind = None,
    device_id: Annotated[int | None, Query(ge=1, le=MAX_ID, description="Its alarms, folded ones as well.")] = None,
    detector: Annotated[str | None, Query(max_length=64, examples=["stuck"])] = None,
    assigned_to: Annotated[
        str | None, Query(max_length=128, description="Name of an account.", examples=["operator"])
    ] = None,
    cause: Annotated[str | None, Query(max_length=64, description="Causes, separated by commas.")] = None,
    group: Annotated[
        int | None, Query(ge=1, le=MAX_BIG_ID, description="Number of a group alarm: the members folded under it.")
    ] = None,
    folded: Annotated[bool, Query(description="Also alarms that are folded under a group alarm.")] = False,
    limit: Page = 100,
    after: After = None,
) -> Alarms:
    """A group alarm stands for its members, which are left out unless asked for. `counts` are under the same filters,
    whatever the state."""
    severities = _among(listed(severity), ("1", "2", "3"), "severity")
    filters = Filters(
        municipality=municipality,
        severities=[int(word) for word in severities] if severities else None,
        detector=detector,
        kind=kind,
        assigned_to=assigned_to,
        causes=_among(listed(cause), get_args(Cause), "cause"),
        device_id=device_id,
        member_of=group,
        folded=folded or group is not None or device_id is not None,
    )
    found = await query.alarms(
        database, account.permitted, filters,
        states=_among(listed(state), get_args(AlarmState), "state"), after=after, page=limit + 1,
    )  # fmt: skip
    counts = await query.alarm_counts(database, account.permitted, filters)
    return Alarms(items=found[:limit], next=found[limit - 1].alarm_id if len(found) > limit else None, counts=counts)


@router.get("/alarms/{alarm_id}", responses=READ_ONE, summary="One alarm, with its history and members")
async def get_alarm(account: Caller, database: Stored, profiles: Profiles, alarm_id: BigNumber) -> AlarmDetail:
    """Its evidence has the last values up to the finding, as long as these are kept."""
    alarm = await _known(database, account, alarm_id)
    if alarm.device_id is not None and alarm.kind in profiles:
        alarm = alarm.model_copy(update={"evidence": await led_up(database, profiles[alarm.kind], alarm)})
    members: list[Alarm] = []
    if alarm.group is not None:
        folded = Filters(member_of=alarm_id, folded=True)
        members = await query.alarms(database, account.permitted, folded, everything=True, page=MOST_MEMBERS)
    events = await query.alarm_events(database, alarm_id, MOST_EVENTS)
    return AlarmDetail(**dict(alarm), events=events, members=members)


@router.post("/alarms/{alarm_id}/acknowledge", responses=WRITE_ONE, summary="Acknowledge an alarm")
async def acknowledge_alarm(account: Caller, database: Stored, alarm_id: BigNumber) -> Alarm:
    """Somebody looks after it. Only an open alarm can be acknowledged."""
    changed = await query.alarm_acknowledge(database, account.permitted, alarm_id, account.name)
    alarm = await _known(database, account, alarm_id)
    if not changed:
        raise ProblemError(Code.CONFLICT, f"cannot acknowledge alarm {alarm_id}: it is {alarm.state}{_by(alarm)}")
    return alarm


@router.post("/alarms/{alarm_id}/assign", responses=WRITE_ONE, summary="Say who looks after an alarm")
async def assign_alarm(account: Caller, database: Stored, alarm_id: BigNumber, given: Assignment) -> Alarm:
    """To an account that sees the alarm's municipality, or to nobody; in any state but closed."""
    alarm = await _known(database, account, alarm_id)
    if given.account is not None and not await query.assignees(database, alarm.municipality, given.account):
        message = f"{given.account!r} is no account that sees municipality {alarm.municipality}"
        problem = {"where": "body.account", "message": message}
        raise ProblemError(Code.INVALID, f"cannot take body.account: {message}", errors=[problem])
    await query.alarm_assign(database, account.permitted, alarm_id, account.name, given.account)
    alarm = await _known(database, account, alarm_id)
    if alarm.assigned_to != given.account:
        raise ProblemError(Code.CONFLICT, f"cannot assign alarm {alarm_id}: it is {alarm.state}{_by(alarm)}")
    return alarm


@router.post("/alarms/{alarm_id}/comment", responses=WRITE_ONE, summary="Add a word to an alarm's history")
async def comment_alarm(
    account: Caller, database: Stored, profiles: Profiles, alarm_id: BigNumber, comment: Comment
) -> AlarmDetail:
    """In any state."""
    await query.alarm_comment(database, account.permitted, alarm_id, account.name, comment.text)
    return await get_alarm(account, database, profiles, alarm_id)


@router.post("/alarms/{alarm_id}/close", responses=WRITE_ONE, summary="Close an alarm")
async def close_alarm(account: Caller, database: Stored, alarm_id: BigNumber, closing: Closing) -> Alarm:
    """With its cause, from any state but closed; with a group alarm, its active members. If the condition goes on, a
    new alarm opens."""
    changed = await query.alarm_close(
        database, account.permitted, alarm_id, account.name, closing.cause, closing.note or None
    )
    alarm = await _known(database, account, alarm_id)
    if not changed:
        raise ProblemError(Code.CONFLICT, f"cannot close alarm {alarm_id}: it is {alarm.state}{_by(alarm)}")
    return alarm


@router.get("/assignees", responses=READ, summary="Accounts that alarms can be assigned to")
async def get_assignees(
    account: Caller, database: Stored, municipality: Annotated[str, Query(max_length=32, examples=["41280"])]
) -> Assignees:
    """Those that see the municipality; none when the caller does not."""
    if account.permitted is not None and municipality not in account.permitted:
        return Assignees(items=[])
    return Assignees(items=await query.assignees(database, municipality))


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
            raise invalid(where, f"{word!r} is not one of {', '.join(allowed)}")
    return words
