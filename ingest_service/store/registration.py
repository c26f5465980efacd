"""Writes a fleet manifest (municipalities, agents, devices) into the registry; safe to run again."""

from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from contracts import topics
from ingest_service.store import statements
from ingest_service.store.connection import Connection


class Place(msgspec.Struct):
    code: str
    name: dict[str, str]
    latitude: float | None = None
    longitude: float | None = None
    time_zone: str = "Asia/Seoul"


class Agent(msgspec.Struct):
    municipality: str
    agent: str
    replay: bool = False


class Device(msgspec.Struct):
    municipality: str
    device: str
    kind: str
    agent: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    label: dict[str, str] = {}
    attributes: dict[str, Any] = {}


class Manifest(msgspec.Struct):
    """A fleet: what `dure sim fleet` writes, or an operator by hand."""

    municipalities: list[Place] = []
    agents: list[Agent] = []
    devices: list[Device] = []


class ManifestError(ValueError):
    """A manifest that cannot be registered; the message names the entry."""


def check(manifest: Manifest, kinds: set[str]) -> None:
    """Raise ManifestError naming the first entry that is wrong."""
    for place in manifest.municipalities:
        if not topics.is_municipality(place.code):
            raise ManifestError(f"municipalities: code = {place.code!r}: not {topics.MUNICIPALITY}")
    for agent in manifest.agents:
        if not topics.is_agent(agent.agent):
            raise ManifestError(f"agents: agent = {agent.agent!r}: not {topics.AGENT}")
    for device in manifest.devices:
        if not topics.is_device(device.device):
            raise ManifestError(f"devices: device = {device.device!r}: not {topics.DEVICE}")
        if device.kind not in kinds:
            raise ManifestError(
                f"devices: {device.device}: kind = {device.kind!r}: no such profile; known are "
                f"{', '.join(sorted(kinds))}"
            )


def register(connection: Connection, manifest: Manifest) -> dict[str, int]:
    """Upsert everything in one transaction; how many of each. Raises ManifestError for an agent that is nowhere
    registered, psycopg.Error otherwise (an unknown municipality: ForeignKeyViolation).
    """
    places = [
        {**_plain(item), "name_ko": item.name.get("ko", item.code), "name_en": item.name.get("en", item.code)}
        for item in manifest.municipalities
    ]
    devices = [
        {
            **_plain(item),
            "label_ko": item.label.get("ko", ""),
            "label_en": item.label.get("en", ""),
            "attributes": Jsonb(item.attributes),
        }
        for item in manifest.devices
    ]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(statements.text("municipality_put"), places)
        cursor.executemany(statements.text("agent_put"), [_plain(agent) for agent in manifest.agents])
        known = {(str(town), str(name)) for town, name in cursor.execute("SELECT municipality, name FROM agent")}
        for device in manifest.devices:
            if device.agent is not None and (device.municipality, device.agent) not in known:
                raise ManifestError(f"devices: {device.device}: agent = {device.agent!r}: not in {device.municipality}")
        cursor.executemany(statements.text("device_put"), devices)
    return {
        "municipalities": len(manifest.municipalities),
        "agents": len(manifest.agents),
        "devices": len(manifest.devices),
    }


def _plain(item: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(item)
