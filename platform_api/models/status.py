"""Agents' health, the platform's status, probes."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from platform_api.models.words import AgentState, Ms


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
