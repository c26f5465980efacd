"""Settings of the API: the tables [api] and [database] of a configuration file, and their variables.

Each field's description is what the reference page and the annotated sample (deploy/config/api.toml) say.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts import config


class Settings(msgspec.Struct, frozen=True):
    host: Annotated[str, Meta(description="Address to listen on; loopback unless a reverse proxy is elsewhere.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8080
    broker_file: Annotated[
        str, Meta(description="File with the broker's address and the API's credentials; empty: no live stream.")
    ] = ""
    dashboard: Annotated[
        str, Meta(description="Folder of the built dashboard; empty: platform_api/dashboard/dist.")
    ] = ""
    behind_proxy: Annotated[
        str,
        Meta(description="Address of the reverse proxy whose X-Forwarded-For and -Proto are believed; empty: none."),
    ] = ""
    secure_cookie: Annotated[
        bool, Meta(description="Send the session cookie over HTTPS only; set it wherever TLS ends in front of the API.")
    ] = False
    session_h: Annotated[int, Meta(ge=1, le=720, description="Hours that an unused session lives; use extends it.")] = (
        12
    )
    sign_in_failures: Annotated[
        int, Meta(ge=1, description="Failed sign-ins a minute, by account and address, before 429.")
    ] = 5
    pool_size: Annotated[int, Meta(ge=2, le=200, description="Connections to the database, at most.")] = 8
    pool_wait_s: Annotated[
        float, Meta(gt=0, le=30, description="Seconds a request waits for a connection before it is answered 503.")
    ] = 2.0
    statement_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="Seconds after which PostgreSQL cancels a statement of the API.")
    ] = 15.0
    map_max_age_s: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="Seconds after which the map is rendered anew, meanwhile the kept one serves; 0: at each request.",  # noqa: E501
        ),
    ] = 2.0
    raw_span_h: Annotated[
        int, Meta(ge=1, le=8784, description="Longest span, in hours, that is charted from single observations.")
    ] = 72
    agent_silent_after_s: Annotated[
        int, Meta(ge=1, description="Seconds without a word (they beat every 30 s) after which an agent is silent.")
    ] = 100
    agent_behind_backlog: Annotated[
        int, Meta(ge=1, description="Observations waiting in an agent's outbox from which on it is behind.")
    ] = 5000
    stream_devices: Annotated[
        int, Meta(ge=100, description="Devices whose newest change is kept for streams; memory is bounded by it.")
    ] = 200_000
    stream_clients: Annotated[int, Meta(ge=1, description="Open streams, at most; one more is answered 503.")] = 500
    stream_period_ms: Annotated[
        int, Meta(ge=10, le=10_000, description="Milliseconds between two events of a stream, at least.")
    ] = 250
    stream_stall_s: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds after which a stream whose client reads nothing is closed.")
    ] = 60.0
    exports: Annotated[
        int, Meta(ge=0, le=16, description="Exports under way, each a process; one more is answered 503. 0: none.")
    ] = 2


class Database(msgspec.Struct, frozen=True):
    """The [database] table, as every service reads it."""

    url: Annotated[str, Meta(description="Address of PostgreSQL, postgresql://…")]
    schema: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,47}$", description="Schema that holds all tables.")] = "dure"
    partition_hours: Annotated[
        int, Meta(description="Span of one partition of observations; for `dure migrate` and ingest.")
    ] = 6
    timescale: Annotated[
        Literal["auto", "off", "require"],
        Meta(description="Whether a new schema's tables are made with TimescaleDB; for `dure migrate`."),
    ] = "auto"


def load(file: Path | None, environ: Mapping[str, str]) -> tuple[Settings, Database]:
    """Both tables; raises ConfigError."""
    return (
        config.load(Settings, name="api", file=file, environ=environ),
        config.load(Database, name="database", file=file, environ=environ),
    )
