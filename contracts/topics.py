"""The one grammar of MQTT topics: `dure/v1/<shard>/<municipality>/<agent>/<channel>`.

Owns building, parsing and the filters that subscribers use; nobody else formats a topic by hand.
Parts hold no dot, because NATS maps '/' to '.', and no wildcard.
"""

import re
import zlib
from collections.abc import Iterable
from enum import StrEnum

import msgspec

PREFIX = "dure/v1"
SHARDS = 64  # part of the contract: an agent's shard never changes
MUNICIPALITY = r"[a-z0-9-]{1,32}"
AGENT = r"[a-z0-9][a-z0-9-]{0,62}"
DEVICE = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"

_municipality = re.compile(MUNICIPALITY)
_agent = re.compile(AGENT)
_device = re.compile(DEVICE)


class Channel(StrEnum):
    BATCH = "batch"
    CURSOR = "cursor"
    COMMAND = "command"
    LIVE = "live"


class Topic(msgspec.Struct, frozen=True):
    shard: int
    municipality: str
    agent: str
    channel: Channel


class TopicError(ValueError):
    """A text that is no topic of ours."""


def is_municipality(text: str) -> bool:
    return _municipality.fullmatch(text) is not None


def is_agent(text: str) -> bool:
    return _agent.fullmatch(text) is not None


def is_device(text: str) -> bool:
    return _device.fullmatch(text) is not None


def shard_of(municipality: str, agent: str) -> int:
    """Shard of an agent, 0 <= shard < SHARDS; CRC-32 of "<municipality>/<agent>", equal on every machine."""
    return zlib.crc32(f"{municipality}/{agent}".encode()) % SHARDS


def build(topic: Topic) -> str:
    return f"{PREFIX}/{topic.shard:02d}/{topic.municipality}/{topic.agent}/{topic.channel.value}"


def of_agent(municipality: str, agent: str, channel: Channel) -> str:
    """The topic of one agent's channel, its shard worked out."""
    return build(Topic(shard_of(municipality, agent), municipality, agent, channel))


def parse(text: str) -> Topic:
    """The topic that `text` spells; raises TopicError naming the part that is wrong."""
    parts = text.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != PREFIX:
        raise TopicError(f"cannot parse topic {text!r}: not {PREFIX}/<shard>/<municipality>/<agent>/<channel>")
    _, _, shard, municipality, agent, channel = parts
    if not re.fullmatch(r"[0-9]{2}", shard) or int(shard) >= SHARDS:
        raise TopicError(f"cannot parse topic {text!r}: bad shard {shard!r}")
    if not is_municipality(municipality):
        raise TopicError(f"cannot parse topic {text!r}: bad municipality {municipality!r}")
    if not is_agent(agent):
        raise TopicError(f"cannot parse topic {text!r}: bad agent {agent!r}")
    if channel not in Channel._value2member_map_:
        raise TopicError(f"cannot parse topic {text!r}: bad channel {channel!r}")
    return Topic(int(shard), municipality, agent, Channel(channel))


def filters(channel: Channel, shards: Iterable[int] | None = None, municipality: str | None = None) -> list[str]:
    """MQTT topic filters of a channel: of all shards in one filter, or one filter a shard."""
    town = municipality or "+"
    if shards is None:
        return [f"{PREFIX}/+/{town}/+/{channel.value}"]
    return [f"{PREFIX}/{shard:02d}/{town}/+/{channel.value}" for shard in shards]
