"""What was refused, and why."""

from typing import Any

from pydantic import BaseModel, Field

from platform_api.models.words import Ms


class QuarantineItem(BaseModel):
    quarantine_id: int
    received_at: Ms
    municipality: str | None
    agent_id: int | None
    agent: str | None
    topic: str | None
    epoch: str | None = Field(description="63 bits, therefore a string")
    seq: int | None
    reason: str
    detail: str | None
    kind: str | None
    device: str | None
    observed_at: Ms | None
    content: dict[str, Any] | None = Field(description="one observation: kind, device, observed_at, values")
    observations: int | None
    bytes: int | None
    admit_requested_at: Ms | None
    admit_requested_by: str | None
    admitted_at: Ms | None


class Refused(BaseModel):
    agent_id: int
    agent: str
    reason: str
    observations: int = Field(description="counted only: over the agent's limit of bytes")


class Quarantine(BaseModel):
    items: list[QuarantineItem]
    next: int | None
    refused: list[Refused]
