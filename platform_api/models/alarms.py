"""Alarms, their history and groups, what people do about them, and how far detectors can be trusted."""

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from platform_api.models.words import AlarmState, Cause, Label, Ms, Severity, Taken

GroupScope = Literal["circuit", "agent", "municipality"]
EventName = Literal[
    "opened", "reopened", "suppressed", "released", "grouped", "acknowledged", "assigned", "commented", "escalated",
    "cleared", "closed",
]  # fmt: skip


class AlarmGroup(BaseModel):
    """Many devices of one circuit, agent or municipality have the same condition at once: one alarm for all."""

    scope: GroupScope
    key: str = Field(description="the circuit, the agent's name, or the municipality's code", examples=["C-12"])
    size: int | None = Field(description="how many devices (or agents) the group had when the alarm opened")
    members_open: int = Field(description="members that are active now")
    members_most: int = Field(description="members that were active at once, at worst")


class Alarm(BaseModel):
    alarm_id: int
    municipality: str
    device_id: int | None
    device: str | None
    kind: str | None
    label: Label | None = Field(description="of the device")
    agent_id: int | None
    agent: str | None
    condition: str = Field(examples=["stuck:voltage"])
    detector: str
    property: str | None
    severity: Severity
    state: AlarmState = Field(description="suppressed: began inside a maintenance window; open when that has ended")
    opened_at: Ms = Field(description="in observation time, as are last_finding_at and cleared_at")
    last_finding_at: Ms | None
    findings: int
    occurrences: int = Field(description="how often the condition began: one that is soon back reopens its alarm")
    evidence: dict[str, Any] | None = Field(
        description="values, observed_at (ms), low, high, expected: what was seen; parameters: what it was judged by"
    )
    group: AlarmGroup | None = Field(description="of a group alarm, which stands for its members")
    parent_id: int | None = Field(description="the group alarm that this one is folded under")
    window_id: int | None = Field(description="the maintenance window in which it began")
    assigned_to: str | None
    raised_at: Ms | None = Field(description="since when it waits for somebody, by the server's clock")
    escalated_at: Ms | None
    acknowledged_at: Ms | None
    acknowledged_by: str | None
    cleared_at: Ms | None
    closed_at: Ms | None
    closed_by: str | None
    cause: Cause | None
    note: str | None = Field(description="of closing")
    changed_at: Ms | None


class AlarmEvent(BaseModel):
    event_id: int
    at: Ms = Field(description="by the server's clock")
    event: EventName
    who: str | None = Field(description="null: the platform")
    observed_at: Ms | None = Field(description="of the observation that was the reason, if one was")
    detail: dict[str, Any] = Field(
        description="text of a comment; account; cause and note; severity it rose to; window_id; parent_id"
    )


class AlarmDetail(Alarm):
    events: list[AlarmEvent] = Field(description="oldest first; the newest 500")
    members: list[Alarm] = Field(description="of a group alarm, newest first, 200 at most; all by GET /alarms?group=")


class AlarmCounts(BaseModel):
    open: int = 0
    acknowledged: int = 0
    suppressed: int = 0
    cleared: int = 0
    closed: int = 0


class Alarms(BaseModel):
    items: list[Alarm]
    next: int | None
    counts: AlarmCounts = Field(description="under the same filters, whatever the state")


class Closing(Taken):
    cause: Cause
    note: str | None = Field(None, max_length=2000)


class Assignment(Taken):
    account: str | None = Field(max_length=128, description="who looks after it; null: nobody", examples=["operator"])


class Comment(Taken):
    text: str = Field(min_length=1, max_length=2000)

    @field_validator("text")
    @classmethod
    def storable(cls, text: str) -> str:
        if "\x00" in text:
            raise ValueError("must not hold NUL")
        return text


class Assignees(BaseModel):
    items: list[str] = Field(description="names of the accounts that see this municipality")


# --- trust


class DetectorTrust(BaseModel):
    """What people made of the alarms of one detector on one kind. Members of a group count as their group, once."""

    detector: str
    kind: str | None = Field(description="null: alarms of agents")
    open: int = Field(description="open, acknowledged or suppressed")
    cleared: int = Field(description="cleared by themselves, and not closed by anybody")
    closed: int
    real: int
    false: int
    planned_work: int
    false_share: float | None = Field(description="false / (real + false); null while nobody has judged")
    median_acknowledge_s: float | None = Field(description="from raised to acknowledged; null: never acknowledged")


class Detectors(BaseModel):
    items: list[DetectorTrust] = Field(description="least trusted first, then by number of alarms")
