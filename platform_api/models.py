"""What the API takes and gives: pydantic models of every request and response.

Times are integers, ms since 1970 UTC, and named *_at (or from, to, as_of). Unknown members of a request are refused.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts import topics

Ms = Annotated[int, Field(description="ms since 1970-01-01 UTC", examples=[1760000000000])]
Severity = Annotated[int, Field(ge=1, le=3, description="1 info, 2 warning, 3 critical")]
DeviceState = Literal["critical", "warning", "info", "silent", "ok", "unknown"]
AlarmState = Literal["open", "acknowledged", "cleared", "closed"]
AgentState = Literal["ok", "silent", "behind", "never"]
Role = Literal["operator", "engineer", "admin"]
Cause = Literal["real", "false_alarm", "planned_work"]
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


# --- sign-in


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=128, examples=["operator"])
    password: str = Field(min_length=1, max_length=256)


class Account(BaseModel):
    name: str
    role: Role
    municipality: str | None = Field(description="null: all municipalities")
    language: str


class Session(BaseModel):
    expires_at: Ms
    account: Account


class SignedIn(Session):
    token: str = Field(description="for `Authorization: Bearer`; browsers have the cookie")


# --- the catalogue


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


# --- devices


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


# --- alarms


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


# --- series


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


# --- quarantine, agents, status


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


class Agent(BaseModel):
    agent_id: int
    agent: str
    municipality: str
    replay: bool
    state: AgentState
    seen_at: Ms | None
    clock_at: Ms | None = Field(description="the agent's own clock when last seen")
    backlog: int | None = Field(description="observations waiting in its outbox")
    received: int
    committed: int
    duplicate: int
    out_of_order: int
    quarantined: int
    lost: int
    devices: int


class Agents(BaseModel):
    items: list[Agent]


class ObservationCounts(BaseModel):
    received: int
    committed: int
    duplicate: int
    out_of_order: int
    quarantined: int
    lost: int


class SeverityCounts(BaseModel):
    info: int
    warning: int
    critical: int
    total: int


class AgentCounts(BaseModel):
    ok: int = 0
    silent: int = 0
    behind: int = 0
    never: int = 0


class Worker(BaseModel):
    worker: str
    started_at: Ms | None
    seen_at: Ms | None
    counters: dict[str, Any]


class DatabaseSize(BaseModel):
    size_bytes: int | None = Field(description="null for an account of one municipality")


class Status(BaseModel):
    observations: ObservationCounts
    observations_per_s: float | None = Field(description="committed of late, in what the account may see")
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    open_alarms: SeverityCounts = Field(description="open or acknowledged")
    agents: AgentCounts
    devices: int
    database: DatabaseSize
    workers: list[Worker] = Field(description="ingest workers; empty for an account of one municipality")


class Ready(BaseModel):
    ready: Literal[True]
    database: str
    broker: str


class Health(BaseModel):
    alive: Literal[True]
