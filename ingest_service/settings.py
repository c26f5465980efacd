"""Settings of the ingest service ([ingest]) and of the database that it and the API share ([database])."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.topics import SHARDS


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Table [ingest]."""

    broker_file: Annotated[
        Path, Meta(description="Credentials of the service `ingest`, as `dure broker credentials` writes them.")
    ]
    worker: Annotated[
        str,
        Meta(
            pattern="^[a-z0-9-]{1,32}$",
            description="Name of this worker; its counters continue under it after a restart.",
        ),
    ] = "ingest-0"
    shards: Annotated[
        str, Meta(description="Shards of the city that this worker serves: `0-63`, or a list such as `0-15,32`.")
    ] = "0-63"
    qos: Annotated[
        int, Meta(description="MQTT quality of service to subscribe with; the cursor makes 0 safe.", ge=0, le=1)
    ] = 0
    flush_wait_ms: Annotated[int, Meta(description="Longest wait before what has arrived is committed.", ge=1)] = 100
    flush_observations: Annotated[
        int,
        Meta(
            description=(
                "Observations after which what has arrived is committed without more waiting; where a backlog waits, "
                "three times as many are committed together."
            ),
            ge=1,
        ),
    ] = 20_000
    inbox_bytes: Annotated[
        int,
        Meta(
            description=(
                "Memory for batches that wait for the database; beyond it they are dropped, counted, and sent again "
                "by their agents."
            ),
            ge=1 << 20,
        ),
    ] = 64 << 20
    ahead_limit_s: Annotated[int, Meta(description="How far in the server's future an observation may lie.", ge=0)] = (
        120
    )
    past_limit_days: Annotated[
        int, Meta(description="How old an observation of an agent that is not registered as replay may be.", ge=1)
    ] = 90
    quarantine_bytes: Annotated[
        int, Meta(description="Room of one agent in quarantine; beyond it observations are counted only.", ge=0)
    ] = 16 << 20
    newest_rows: Annotated[
        int,
        Meta(
            description="Most rows of newest observations written in one transaction; the rest waits for the next. A "
            "fifth of a worker's time goes into them at most.",
            ge=500,
        ),
    ] = 20_000
    save_period_s: Annotated[
        int, Meta(description="Time within which the detectors' whole state is saved, a shard at a time.", ge=1)
    ] = 60
    agent_silent_s: Annotated[
        int,
        Meta(
            description="An agent that says nothing for so long raises an alarm; agents speak at least every 30 s.",
            ge=31,
        ),
    ] = 120
    escalate_info_after_s: Annotated[
        int,
        Meta(description="An open alarm of severity 1 that nobody acknowledges rises after so long; 0: never.", ge=0),
    ] = 0
    escalate_warning_after_s: Annotated[int, Meta(description="The same of severity 2. An alarm rises once.", ge=0)] = (
        3600
    )
    escalate_critical_after_s: Annotated[
        int, Meta(description="The same of severity 3, which is marked as escalated only.", ge=0)
    ] = 900
    rollup_grace_s: Annotated[
        int,
        Meta(description="How long after its end an hour waits for late observations before it is rolled up.", ge=0),
    ] = 120
    metrics_port: Annotated[int, Meta(description="Port of /metrics on loopback; 0 for none.", ge=0, le=65535)] = 0

    def __post_init__(self) -> None:
        parse_shards(self.shards)


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Table [database]."""

    url: Annotated[
        str, Meta(description="PostgreSQL connection URL, as libpq takes it. DURE_DATABASE_URL overrides it.")
    ]
    schema: Annotated[str, Meta(description="Schema that holds all tables.", pattern="^[a-z][a-z0-9_]{0,47}$")] = "dure"
    partition_hours: Annotated[
        int,
        Meta(
            description="Span of one partition of observations; a divisor of 24, or a multiple up to a week.",
            ge=1,
            le=168,
        ),
    ] = 6
    timescale: Annotated[
        Literal["auto", "off", "require"],
        Meta(
            description=(
                "Whether `dure migrate` makes a new schema's tables with TimescaleDB: where the database has it (2.22 "
                "or later), never, or not without. A schema stays what it was made as."
            )
        ),
    ] = "auto"


def parse_shards(text: str) -> list[int]:
    """Shards named by `0-15,32`; raises ValueError."""
    shards: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,2})(?:-(\d{1,2}))?\s*", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not low <= high < SHARDS:
            raise ValueError(f"shards = {text!r}: cannot read {part!r}; they run from 0 to {SHARDS - 1}")
        shards.update(range(low, high + 1))
    return sorted(shards)
