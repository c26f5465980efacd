"""Observations over time."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from platform_api.models.alarms import Alarm
from platform_api.models.words import Ms, Value


class PropertySeries(BaseModel):
    """`value` (raw; enums and booleans always), or `mean`, `min` and `max`; as long as observed_at."""

    value: list[Value] | None = None
    mean: list[float | None] | None = None
    min: list[float | None] | None = None
    max: list[float | None] | None = None


class Series(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)
    device_id: int
    kind: str
    resolution: Literal["raw", "minute", "hour", "day"]
    bucket_s: int | None = Field(description="width of a bucket; null for raw")
    reports: Literal["period", "changes"] = Field(description="changes: a value holds until the next; draw steps")
    from_: Ms = Field(alias="from")
    to: Ms
    as_of: Ms | None = Field(description="time of the device's newest observation")
    gap_after_s: float = Field(description="no observation for longer is a gap: a row of nulls stands in it")
    observed_at: list[int] = Field(description="ms; the start of the bucket in minute, hour and day (UTC)")
    properties: dict[str, PropertySeries]
    alarms: list[Alarm] = Field(description="that overlap the span")


class MunicipalityProperty(BaseModel):
    """As long as observed_at; null where no device said anything."""

    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]


class MunicipalitySeries(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)
    municipality: str
    kind: str
    bucket_s: int = Field(description="width of a bucket: an hour, or more where the span is long")
    from_: Ms = Field(alias="from")
    to: Ms
    closed_until: Ms | None = Field(description="up to here from rollups, beyond it from observations")
    observed_at: list[int] = Field(description="ms; the start of each bucket that has an observation")
    devices: list[int] = Field(description="that reported, in the busiest hour of the bucket")
    observations: list[int]
    properties: dict[str, MunicipalityProperty] = Field(description="numeric ones: mean over all observations")
