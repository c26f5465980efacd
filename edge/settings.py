"""Settings of the agent: table [edge] of edge.toml, or DURE_EDGE_<KEY>; the broker's address and secret: `broker_file`.

Owns names, defaults and bounds. deploy/config/edge.toml shows each with its default, held by a test.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts import topics, wire
from contracts.config import ConfigError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Table [edge]."""

    municipality: Annotated[str, Meta(description="Administrative code of the municipality that owns this agent.")]
    agent: Annotated[str, Meta(description="Name of this agent, unique in its municipality: a-z, 0-9 and '-'.")]
    broker_file: Annotated[
        str, Meta(description="TOML file with host, port, username, password and client_id, read anew at each connect.")
    ]
    driver: Annotated[
        Literal["sim", "replay"],
        Meta(description="Where observations come from: sim (a unix socket), replay (a recording)."),
    ]
    source: Annotated[
        str, Meta(description="What the driver reads: the path of the socket (sim) or of the recording (replay).")
    ]
    outbox: Annotated[
        str, Meta(description="SQLite file that keeps observations until the platform has stored them.")
    ] = "/var/lib/dure/outbox.db"
    max_bytes: Annotated[
        int,
        Meta(
            ge=64 * 1024,
            description="Size of the outbox. When it is reached, the oldest observations go and are counted.",
        ),
    ] = 256 * 1024 * 1024
    metered: Annotated[bool, Meta(description="On a metered link batches wait longer, see max_age_s.")] = False
    max_age_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Longest wait of an observation for its batch to fill. 0: 1 s, or 30 s when metered.",
        ),
    ] = 0.0
    batch_observations: Annotated[
        int, Meta(ge=1, le=wire.MAX_OBSERVATIONS, description="Observations that fill a batch.")
    ] = 100
    commit_ms: Annotated[
        int,
        Meta(
            ge=0, le=1000, description="Longest wait of an observation for its write to disk; together they share one."
        ),
    ] = 100
    window_batches: Annotated[
        int, Meta(ge=2, le=1000, description="Batches under way that the platform has not confirmed.")
    ] = 32
    window_bytes: Annotated[
        int, Meta(ge=wire.MAX_BODY_BYTES, description="Bytes under way that the platform has not confirmed.")
    ] = 1024 * 1024
    heartbeat_s: Annotated[float, Meta(ge=1, le=3600, description="Without other traffic, a heartbeat this often.")] = (
        30.0
    )
    backlog_epoch_batches: Annotated[
        int,
        Meta(ge=1, description="More unconfirmed batches than this at a reconnect: new observations overtake them."),
    ] = 200
    backlog_epoch_s: Annotated[
        float,
        Meta(ge=1, description="Unconfirmed observations older than this at a reconnect: new ones overtake them."),
    ] = 60.0
    qos: Annotated[
        Literal[0, 1],
        Meta(description="MQTT quality of service of batches. The cursor makes 0 safe; 1 only adds traffic."),
    ] = 0
    mqtt: Annotated[
        Literal["auto", "5", "3.1.1"], Meta(description="MQTT version; auto speaks 5 and falls back to 3.1.1.")
    ] = "auto"
    keepalive_s: Annotated[
        int, Meta(ge=5, le=3600, description="A broker silent for longer than this is taken for gone.")
    ] = 30
    reconnect_s: Annotated[
        float, Meta(ge=0.1, le=600, description="First wait before connecting again; doubles, with jitter.")
    ] = 1.0
    reconnect_max_s: Annotated[float, Meta(ge=0.1, le=3600, description="Longest wait before connecting again.")] = 60.0
    ca_file: Annotated[
        str, Meta(description="PEM file of the authorities that may vouch for the broker; empty: no TLS.")
    ] = ""
    cert_file: Annotated[
        str, Meta(description="PEM certificate of this agent, if the broker asks for one; needs ca_file.")
    ] = ""
    key_file: Annotated[str, Meta(description="PEM key of that certificate.")] = ""
    speed: Annotated[
        float, Meta(ge=0, description="replay: how many times faster than recorded; 0: as fast as the outbox takes it.")
    ] = 1.0
    times: Annotated[
        Literal["kept", "shifted"],
        Meta(description="replay: keep the recorded times, or shift them so that the first is now."),
    ] = "kept"

    def __post_init__(self) -> None:
        if not re.fullmatch(topics.MUNICIPALITY, self.municipality):
            raise ConfigError(f"municipality = {self.municipality!r}: must match {topics.MUNICIPALITY}")
        if not re.fullmatch(topics.AGENT, self.agent):
            raise ConfigError(f"agent = {self.agent!r}: must match {topics.AGENT}")
        if bool(self.cert_file) != bool(self.key_file):
            raise ConfigError(f"cert_file = {self.cert_file!r}, key_file = {self.key_file!r}: need each other")
        if self.cert_file and not self.ca_file:
            raise ConfigError(f"cert_file = {self.cert_file!r}: needs ca_file")
        if self.reconnect_max_s < self.reconnect_s:
            raise ConfigError(f"reconnect_max_s = {self.reconnect_max_s}: less than reconnect_s = {self.reconnect_s}")

    @property
    def seal_after_ms(self) -> int:
        """Longest age of an observation before its batch is sealed."""
        return int(1000 * (self.max_age_s or (30.0 if self.metered else 1.0)))

    @property
    def heartbeat_ms(self) -> int:
        return int(1000 * self.heartbeat_s)


class Broker(msgspec.Struct, frozen=True):
    """Contents of `broker_file`."""

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)]
    username: str
    password: str
    client_id: str

    def __repr__(self) -> str:
        return f"Broker({self.username}@{self.host}:{self.port})"  # never the password, not even in a traceback


def read_broker(file: Path) -> Broker:
    """Raises ConfigError naming the file, never its contents."""
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Broker)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}") from error
