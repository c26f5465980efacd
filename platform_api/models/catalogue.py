"""Kinds of devices, labels, municipalities."""

from typing import Literal

from pydantic import BaseModel, Field

from platform_api.models.words import Label


class Display(BaseModel):
    headline: str
    state: str
    level: str


class PropertyOut(BaseModel):
    type: Literal["number", "integer", "enum", "boolean"]
    unit: str = Field(description="UCUM, empty if none")
    label: Label
    decimals: int
    values: list[str] = Field(description="of an enum, in the order of the profile")
    value_labels: dict[str, Label]
    chart: bool
    range: tuple[float, float] | None = Field(description="plausible range; outside goes to quarantine")


class ProfileOut(BaseModel):
    kind: str
    label: Label
    symbol: str
    display: Display
    report_period_s: int
    properties: dict[str, PropertyOut]


class Catalogue(BaseModel):
    profiles: dict[str, ProfileOut]
    conditions: dict[str, Label] = Field(description="labels of detectors, which begin an alarm's condition")
    reasons: dict[str, Label] = Field(description="labels of the reasons of quarantine")


class Municipality(BaseModel):
    code: str = Field(examples=["41280"])
    name: Label
    latitude: float
    longitude: float
    time_zone: str
    devices: dict[str, int] = Field(description="number of devices by kind")
    open_alarms: int = Field(description="open or acknowledged")


class Municipalities(BaseModel):
    items: list[Municipality]
