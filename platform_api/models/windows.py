"""Maintenance windows: planned work, during which alarms of its scope are suppressed."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts import topics
from platform_api.models.words import Ms, Taken
from platform_api.queries.database import LAST_MS

WindowScope = Literal["municipality", "kind", "circuit", "agent", "device"]
WindowPhase = Literal["planned", "active", "over"]


class NewWindow(Taken):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)
    municipality: str = Field(pattern=f"^(?:{topics.MUNICIPALITY})$", examples=["41280"])
    scope: WindowScope = Field(examples=["circuit"])
    target: str | None = Field(
        None,
        max_length=128,
        description="the kind, circuit, agent or device; null for the municipality",
        examples=["C-12"],
    )
    from_: int = Field(alias="from", ge=0, le=LAST_MS, description="ms since 1970 UTC, in observation time")
    to: int = Field(ge=0, le=LAST_MS)
    reason: str = Field(min_length=1, max_length=500, examples=["Lamps of Jungang-ro are replaced"])

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.from_ >= self.to:
            raise ValueError("`to` has to be after `from`")
        if (self.scope == "municipality") == bool(self.target):
            raise ValueError("a scope of one municipality has no target, every other has one")
        if "\x00" in f"{self.target}{self.reason}":
            raise ValueError("must not hold NUL")
        return self


class Window(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)
    window_id: int
    municipality: str
    scope: WindowScope
    target: str | None
    from_: Ms = Field(alias="from")
    to: Ms
    reason: str
    phase: WindowPhase = Field(description="by the server's clock")
    suppressed: int = Field(description="alarms that it holds back now")
    created_at: Ms
    created_by: str
    changed_at: Ms
    changed_by: str


class Windows(BaseModel):
    items: list[Window]
    next: int | None
