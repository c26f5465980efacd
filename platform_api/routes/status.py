"""Agents' health and the platform's status."""

import time
from collections import deque

from fastapi import APIRouter, Request

from platform_api.caller import Caller
from platform_api.models.status import Agent, AgentCounts, Agents, DatabaseSize, ObservationCounts, Status
from platform_api.queries import agents as query
from platform_api.queries.accounts import StoredAccount
from platform_api.queries.alarms import open_alarm_counts
from platform_api.queries.database import Database
from platform_api.routes.parameters import READ, Configured, Stored
from platform_api.settings import Settings

router = APIRouter(tags=["status"])
FIELDS = ("received", "committed", "duplicate", "out_of_order", "quarantined", "lost")


class Rates:
    """Committed observations a second, from the counts of the last minute's questions; one memory a set of
    municipalities."""

    WINDOW_S, STEP_S = 60.0, 1.0

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...] | None, deque[tuple[float, int]]] = {}

    def of(self, permitted: list[str] | None, committed: int, now_s: float) -> float | None:
        """The rate since the oldest question within the window; None for the first."""
        seen = self._seen.setdefault(None if permitted is None else tuple(permitted), deque())
        while seen and (now_s - seen[0][0] > self.WINDOW_S or seen[0][1] > committed):
            seen.popleft()
        rate = None
        if seen and now_s - seen[0][0] >= self.STEP_S:
            rate = round((committed - seen[0][1]) / (now_s - seen[0][0]), 1)
        if not seen or now_s - seen[-1][0] >= self.STEP_S:
            seen.append((now_s, committed))
        return rate


@router.get("/agents", responses=READ, summary="Agents and their health")
async def get_agents(account: Caller, database: Stored, settings: Configured) -> Agents:
    """Counters are in observations, over all outboxes an agent ever had. silent: no word for `agent_silent_after_s`;
    behind: more than `agent_behind_backlog` observations wait in its outbox."""
    return Agents(items=await _agents(database, account, settings))


@router.get("/status", responses=READ, summary="Status of the platform")
async def get_status(account: Caller, request: Request, database: Stored, settings: Configured) -> Status:
    """The account of observations (received = committed + duplicate + out_of_order + quarantined), rates, and
    health."""
    agents = await _agents(database, account, settings)
    everything = account.permitted is None
    workers = await query.workers(database)
    totals = {field: sum(getattr(agent, field) for agent in agents) for field in FIELDS}
    states = AgentCounts()
    for agent in agents:
        setattr(states, agent.state, getattr(states, agent.state) + 1)
    rates: Rates = request.app.state.rates
    rate = rates.of(account.permitted, totals["committed"], time.monotonic())
    told = [worker.counters.get("observations_per_s") for worker in workers]
    numbers = [float(value) for value in told if isinstance(value, int | float)]
    if everything and numbers:
        rate = round(sum(numbers), 1)
    return Status(
        observations=ObservationCounts(**totals),
        observations_per_s=rate,
        latency_p50_ms=_worst([worker.counters.get("latency_p50_ms") for worker in workers]),
        latency_p99_ms=_worst([worker.counters.get("latency_p99_ms") for worker in workers]),
        open_alarms=await open_alarm_counts(database, account.permitted),
        agents=states,
        devices=sum(agent.devices for agent in agents),
        database=DatabaseSize(size_bytes=await query.database_size(database) if everything else None),
        workers=workers if everything else [],
    )


async def _agents(database: Database, account: StoredAccount, settings: Settings) -> list[Agent]:
    return await query.agents(
        database,
        account.permitted,
        silent_after_s=settings.agent_silent_after_s,
        behind_backlog=settings.agent_behind_backlog,
    )


def _worst(values: list[object]) -> float | None:
    """The slowest worker's figure."""
    return max((float(value) for value in values if isinstance(value, int | float)), default=None)
