"""Writes a fleet manifest (municipalities, agents, devices) into the registry; safe to run again."""

from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from contracts import topics
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
    """Upsert everything in one transaction; how many of each. Raises psycopg.Error (an unknown municipality:
    ForeignKeyViolation).
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO municipality (code, name_ko, name_en, latitude, longitude, time_zone) VALUES (%s, %s, %s, "
            "%s, %s, %s) "
            "ON CONFLICT (code) DO UPDATE SET name_ko = excluded.name_ko, name_en = excluded.name_en, latitude = "
            "excluded.latitude, "
            "longitude = excluded.longitude, time_zone = excluded.time_zone",
            [
                (m.code, m.name.get("ko", m.code), m.name.get("en", m.code), m.latitude, m.longitude, m.time_zone)
                for m in manifest.municipalities
            ],
        )
        cursor.executemany(
            "INSERT INTO agent (municipality, name, replay) VALUES (%s, %s, %s) ON CONFLICT (municipality, name) DO "
            "UPDATE SET replay = excluded.replay",
            [(agent.municipality, agent.agent, agent.replay) for agent in manifest.agents],
        )
        cursor.executemany(
            "INSERT INTO device (municipality, name, kind, agent_id, label_ko, label_en, latitude, longitude, "
            "attributes) "
            "VALUES (%s, %s, %s, (SELECT agent_id FROM agent WHERE municipality = %s AND name = %s), %s, %s, %s, %s, "
            "%s) "
            "ON CONFLICT (municipality, name) DO UPDATE SET kind = excluded.kind, agent_id = excluded.agent_id, "
            "label_ko = excluded.label_ko, "
            "label_en = excluded.label_en, latitude = excluded.latitude, longitude = excluded.longitude, attributes = "
            "excluded.attributes",
            [
                (
                    d.municipality,
                    d.device,
                    d.kind,
                    d.municipality,
                    d.agent,
                    d.label.get("ko", ""),
                    d.label.get("en", ""),
                    d.latitude,
                    d.longitude,
                    Jsonb(d.attributes),
                )
                for d in manifest.devices
            ],
        )
    return {
        "municipalities": len(manifest.municipalities),
        "agents": len(manifest.agents),
        "devices": len(manifest.devices),
    }
