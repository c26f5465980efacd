"""What all models share: words with a closed list, times, labels, request bodies, problems."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Ms = Annotated[int, Field(description="ms since 1970-01-01 UTC", examples=[1760000000000])]
Severity = Annotated[int, Field(ge=1, le=3, description="1 info, 2 warning, 3 critical")]
DeviceState = Literal["critical", "warning", "info", "silent", "ok", "unknown"]
AlarmState = Literal["open", "acknowledged", "suppressed", "cleared", "closed"]
AgentState = Literal["ok", "silent", "behind", "never"]
Role = Literal["operator", "engineer", "admin"]
Cause = Literal["real", "false", "planned_work"]
Value = float | int | str | bool | None


class Taken(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Label(BaseModel):
    ko: str = Field(examples=["가로등 1"])
    en: str = Field(examples=["Streetlight 1"])


class Problem(BaseModel):
    """RFC 9457 problem details: the one shape of every error."""

    type: str = Field(examples=["urn:dure:problem:not-found"])
    title: str
    status: int
    detail: str
    instance: str
    errors: list["ProblemPart"] | None = Field(None, description="what is wrong, one entry a member or parameter")


class ProblemPart(BaseModel):
    where: str = Field(examples=["query.limit"])
    message: str
