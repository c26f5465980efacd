"""Who may publish and subscribe what, as MQTT filters from the one topic grammar.

An agent is held to its own three topics; the services see a channel of every agent. The two brokers' modules
translate these filters into their own words and add nothing.
"""

from typing import NamedTuple

from contracts import topics
from contracts.topics import Channel

INGEST = "ingest"
API = "api"
SERVICES = (INGEST, API)


class Permissions(NamedTuple):
    publish: list[str]
    subscribe: list[str]


NOTHING = Permissions([], [])


def of_agent(municipality: str, agent: str) -> Permissions:
    """Publish its batches; read its cursor and its commands."""
    own = [topics.of_agent(municipality, agent, channel) for channel in (Channel.CURSOR, Channel.COMMAND)]
    return Permissions([topics.of_agent(municipality, agent, Channel.BATCH)], own)


def of_service(service: str) -> Permissions:
    """Ingest reads all batches and answers; the API reads what is live and sends commands."""
    if service == INGEST:
        return Permissions(topics.filters(Channel.CURSOR) + topics.filters(Channel.LIVE), topics.filters(Channel.BATCH))
    if service == API:
        return Permissions(topics.filters(Channel.COMMAND), topics.filters(Channel.LIVE))
    raise ValueError(f"no permissions for service {service!r}: known are {', '.join(SERVICES)}")
