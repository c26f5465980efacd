"""Alarms, and what people do about them."""

from typing import Any

from pydantic import BaseModel, Field

from platform_api.models.words import AlarmState, Cause, Label, Ms, Severity, Taken


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
    state: AlarmState
    opened_at: Ms = Field(description="in observation time, as are last_finding_at and cleared_at")
    last_finding_at: Ms | None
    findings: int
    evidence: dict[str, Any] | None
    acknowledged_at: Ms | None
    acknowledged_by: str | None
    cleared_at: Ms | None
    closed_at: Ms | None
    closed_by: str | None
    cause: Cause | None
    comment: str | None
    changed_at: Ms | None


class AlarmCounts(BaseModel):
    open: int = 0
    acknowledged: int = 0
    cleared: int = 0
    closed: int = 0


class Alarms(BaseModel):
    items: list[Alarm]
    next: int | None
    counts: AlarmCounts = Field(description="under the same filters, whatever the state")


class Closing(Taken):
    cause: Cause
    comment: str | None = Field(None, max_length=2000)
