"""The fleet of a recording: places and attributes from its meta table, or tidy rings around the city's centre."""

import math
from pathlib import Path
from typing import Any

from firmware_sim.fleet import Fleet
from firmware_sim.recordings.recording import RecordedDevice, Recording, plain
from firmware_sim.recordings.recording_map import Meta, Municipality
from firmware_sim.recordings.table import Cell, TableError, is_empty, open_table

RING_M, FIRST_RING_M, SPACING_M = 90.0, 220.0, 85.0
METRES_A_DEGREE = 111_320.0


def fleet_of(recording: Recording, file: Path) -> Fleet:
    """The manifest of a recording; every agent is a replay agent."""
    meta = _meta(recording.map.meta, file.parent) if recording.map.meta else {}
    fleet: Fleet = {"municipalities": [], "agents": [], "devices": []}
    for town in recording.map.municipalities:
        mine = [device for device in recording.devices if device.municipality is town]
        if not mine:
            continue
        fleet["municipalities"].append(
            {
                "code": town.code,
                "name": town.name,
                "latitude": town.latitude,
                "longitude": town.longitude,
                "time_zone": town.time_zone,
            }
        )
        if {"municipality": town.code, "agent": town.agent, "replay": True} not in fleet["agents"]:
            fleet["agents"].append({"municipality": town.code, "agent": town.agent, "replay": True})
        rows = [_row(device, meta.get(device.source, {}), recording) for device in mine]
        unplaced = [row for row in rows if row["latitude"] is None]
        for row, (latitude, longitude) in zip(unplaced, _rings(town, len(unplaced)), strict=True):
            row["latitude"], row["longitude"] = latitude, longitude
            row["attributes"]["position"] = "approximate"
        fleet["devices"] += rows
    return fleet


def _row(device: RecordedDevice, about: dict[str, Cell], recording: Recording) -> dict[str, Any]:
    meta = recording.map.meta
    named = about.get(meta.label) if meta and meta.label else None
    label = device.label or (
        str(named)
        if not is_empty(named)
        else device.source.removeprefix(device.municipality.prefix).strip("-").replace("-", " ") or device.source
    )
    attributes = dict(device.attributes)
    if recording.map.reports == "changes":
        attributes["reports"] = "changes"
    latitude, longitude = device.place or (None, None)
    if meta:
        attributes |= {
            name: plain(about[column]) for name, column in meta.attributes.items() if not is_empty(about.get(column))
        }
        if not is_empty(about.get(meta.latitude)) and not is_empty(about.get(meta.longitude)):
            latitude, longitude = float(about[meta.latitude]), float(about[meta.longitude])
    return {
        "municipality": device.municipality.code,
        "device": device.name,
        "kind": recording.map.kind,
        "agent": device.municipality.agent,
        "latitude": latitude,
        "longitude": longitude,
        "label": {"ko": label, "en": label},
        "attributes": attributes,
    }


def _meta(meta: Meta, folder: Path) -> dict[str, dict[str, Cell]]:
    """Rows of the meta table by device; {} when the file isn't there."""
    for name in (meta.file, f"{meta.file}.gz"):
        if (folder / name).is_file():
            header, rows = open_table(folder / name)
            for column in (meta.key, meta.label, meta.latitude, meta.longitude, *meta.attributes.values()):
                if column and column not in header:
                    raise TableError(f"{folder / name}: has no column {column!r}, which the map names")
            tables = (dict(zip(header, row, strict=False)) for row in rows)
            return {str(row[meta.key]).strip(): row for row in tables if not is_empty(row.get(meta.key))}
    return {}


def _rings(town: Municipality, count: int) -> list[tuple[float, float]]:
    """Places in rings around the centre, (latitude, longitude)."""
    found: list[tuple[float, float]] = []
    radius = FIRST_RING_M
    while len(found) < count:
        room = min(max(6, int(2 * math.pi * radius / SPACING_M)), count - len(found))
        for i in range(room):
            turn = 2 * math.pi * i / room
            found.append(
                (
                    round(town.latitude + radius * math.cos(turn) / METRES_A_DEGREE, 6),
                    round(
                        town.longitude
                        + radius * math.sin(turn) / (METRES_A_DEGREE * math.cos(math.radians(town.latitude))),
                        6,
                    ),
                )
            )
        radius += RING_M
    return found
