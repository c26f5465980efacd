"""Devices with their newest observation, and the map."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts import topics
from platform_api.models.words import DeviceState, Label, Ms, Severity, Taken, Value


class OpenAlarm(BaseModel):
    alarm_id: int
    condition: str = Field(examples=["out_of_range:voltage"])
    severity: Severity


class Device(BaseModel):
    device_id: int
    device: str = Field(examples=["sl-00001"])
    municipality: str
    kind: str
    agent_id: int | None
    agent: str | None
    label: Label
    latitude: float | None
    longitude: float | None
    attributes: dict[str, Any]
    state: DeviceState = Field(
        description="worst open or acknowledged alarm; silent: it or its agent is; unknown: never heard of"
    )
    observed_at: Ms | None
    values: dict[str, Value] = Field(description="of the newest observation; empty before the first")
    open_alarms: list[OpenAlarm]


class Devices(BaseModel):
    items: list[Device]
    next: int | None = Field(description="`after` of the next page; null on the last")


class TopDevice(Device):
    value: float = Field(description="of the property that was asked for")


class TopDevices(BaseModel):
    property: str
    items: list[TopDevice] = Field(description="highest first, or lowest first")


class NearDevice(Device):
    distance_m: float = Field(description="metres on the ellipsoid of WGS 84", examples=[184.2])


class NearDevices(BaseModel):
    items: list[NearDevice] = Field(description="nearest first")


class NewDevice(Taken):
    municipality: str = Field(pattern=f"^(?:{topics.MUNICIPALITY})$", examples=["41280"])
    device: str = Field(pattern=f"^(?:{topics.DEVICE})$", examples=["sl-00001"])
    kind: str = Field(max_length=48, examples=["streetlight"])
    agent: str = Field(pattern=f"^(?:{topics.AGENT})$", examples=["pole-01"])
    label: Label
    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    attributes: dict[str, str | int | float | bool | None] = Field(default_factory=dict, max_length=64)


class Point(BaseModel):
    type: Literal["Point"]
    coordinates: tuple[float, float]


class FeatureProperties(BaseModel):
    """Also one member a property of the kind, with the newest value."""

    model_config = ConfigDict(extra="allow")
    device: str
    municipality: str
    kind: str
    agent_id: int | None
    state: DeviceState
    observed_at: Ms | None


class Feature(BaseModel):
    type: Literal["Feature"]
    id: int = Field(description="device_id")
    geometry: Point
    properties: FeatureProperties


class FeatureCollection(BaseModel):
    type: Literal["FeatureCollection"]
    as_of: Ms | None = Field(description="newest change that this shows; null without any device")
    features: list[Feature]


class FleetPart(BaseModel):
    """The devices of one kind in one municipality, in columns: all lists are as long as device_id."""

    municipality: str
    kind: str
    device_id: list[int]
    device: list[str]
    agent_id: list[int | None]
    longitude: list[float]
    latitude: list[float]
    state: list[DeviceState]
    observed_at: list[int | None]
    values: dict[str, list[Value]] = Field(description="by property; of the newest observation")


class FleetMap(BaseModel):
    as_of: Ms | None = Field(description="newest change that this shows; null without any device")
    parts: list[FleetPart]
