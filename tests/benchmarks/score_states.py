"""Bays that never change and lamps against the sun: what is found, how soon, and who is alarmed without reason.

Simulated cities play healthy, lamps once in winter and once in summer; then every twelfth bay sticks after two weeks.
All is registered as `dure register` would and goes through the objects that ingest runs, with the shipped profiles.
What was recorded of bays and lamps is in `score cases`.
"""

import argparse
from typing import Any

import numpy as np

from contracts import profiles
from contracts.profiles import Profile
from firmware_sim import fleet as fleets
from firmware_sim.city import population_of
from firmware_sim.physics import physics_of
from firmware_sim.physics.population import standard_offset_ms
from ingest_service.columns import DTYPES, Array, Block, empty_columns
from ingest_service.detection.findings import Finding
from ingest_service.detection.fleet import Fleet
from ingest_service.registry import About, Registry
from tests.benchmarks.report import Case, case, progress

WINTER_MS, SUMMER_MS = 1_766_275_200_000, 1_781_913_600_000  # 2025-12-21, 2026-06-20
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
STEP_MS = 6 * HOUR_MS
DIES_AFTER_DAYS, EVERY = 14, 12  # a bay in so many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=2000, help="of the simulated city, all kinds (default: 2000)")


def run(options: argparse.Namespace) -> list[Case]:
    found = []
    for season, start_ms in (("winter", WINTER_MS), ("summer", SUMMER_MS)):
        found += healthy("streetlight", "daylight", options.devices, start_ms, 4, season)
    found += healthy("parking_spot", "unchanging", options.devices, SUMMER_MS, 28, "")
    found += dying(options.devices)
    return found


def healthy(kind: str, detector: str, devices: int, start_ms: int, days: int, season: str) -> list[Case]:
    count, found = simulated(kind, devices, start_ms, days)
    begun = sum(item.begins for item in found if item.detector == detector)
    name = f"simulated, healthy{', ' * bool(season)}{season}: {kind}: {detector}: false alarms"
    return [case(name, begun / (count * days), "/device-day", of=f"{begun} in {count * days:,} device-days")]


def dying(devices: int) -> list[Case]:
    """Bays that stick after two weeks of health."""
    days = DIES_AFTER_DAYS + 14
    died_ms = SUMMER_MS + DIES_AFTER_DAYS * DAY_MS
    count, found = simulated("parking_spot", devices, SUMMER_MS, days, died_ms)
    begun = [item for item in found if item.detector == "unchanging" and item.begins]
    dead = range(0, count, EVERY)
    after = sorted((item.at_ms - died_ms) / DAY_MS for item in begun if item.slot % EVERY == 0)
    others = sum(item.slot % EVERY != 0 for item in begun)
    name, of = "simulated, dead bays", f"{len(after)} of {len(dead)}"
    return [
        case(f"{name}: found within 14 days", len(after) / len(dead), "share", of=of),
        case(f"{name}: delay, median", float(np.median(after)), "days", of=of),
        case(f"{name}: delay, p90", float(np.percentile(after, 90)), "days", of=of),
        case(f"{name}: neighbours alarmed", others, "bays", of=f"{count - len(dead)} bays"),
    ]


def registered(manifest: fleets.Fleet, rows: list[dict[str, Any]], kinds: dict[str, Profile]) -> tuple[Registry, Fleet]:
    """Registry and detectors; device_id is a row's place, from 1 on."""
    registry, fleet = Registry(), Fleet(kinds)
    for town in manifest["municipalities"]:
        registry.put_municipality(town["code"], town["time_zone"])
    agents = {(row["municipality"], row["agent"]): number for number, row in enumerate(manifest["agents"], 1)}
    for (town, name), number in agents.items():
        registry.put_agent(number, town, name, False)
    for number, row in enumerate(rows, 1):
        said = row["attributes"]
        about = About(
            agents[row["municipality"], row["agent"]],
            row["latitude"],
            row["longitude"],
            said.get("circuit"),
            said.get("schedule"),
            said.get("reports") == "changes",
        )
        registry.put_device(number, row["municipality"], row["device"], row["kind"], about)
    registry.instruct(fleet)
    return registry, fleet


def simulated(
    kind: str, devices: int, start_ms: int, days: int, died_ms: int | None = None
) -> tuple[int, list[Finding]]:
    """(devices, findings) of one kind of a simulated city; from died_ms on every EVERY-th device says what it said
    then.
    """
    profile = profiles.load(environ={})[kind]
    made = fleets.make(devices, 8, 3)
    rows = [row for row in made["devices"] if row["kind"] == kind]
    registry, fleet = registered(made, rows, {kind: profile})
    towns = {row["code"]: row["time_zone"] for row in made["municipalities"]}
    parts = []
    for town, zone in towns.items():
        mine = [i for i, row in enumerate(rows) if row["municipality"] == town]
        offset = standard_offset_ms(zone, start_ms)
        population = population_of(profile, [rows[i] for i in mine], 3, offset) if mine else None
        parts += [(np.array(mine), physics_of(population))] if population else []
    found: list[Finding] = []
    for from_ms in range(start_ms, start_ms + days * DAY_MS, STEP_MS):
        for slots, physics in parts:
            device, at_ms = physics.instants(from_ms, from_ms + STEP_MS)
            order = np.argsort(at_ms, kind="stable")
            device, at_ms = device[order], at_ms[order]
            seen_ms = at_ms
            if died_ms is not None:
                seen_ms = np.where((slots[device] % EVERY == 0) & (at_ms > died_ms), died_ms, at_ms)
            columns = empty_columns(profile, len(device))
            for name, values in physics.values(device, seen_ms).items():
                columns[name] = np.asarray(values).astype(DTYPES[profile.properties[name].type])
            found += fleet.examine([_block(kind, slots[device], at_ms, columns)], {})
            fleet.keep()
    assert registry.slots_in[kind] == len(rows)
    progress(f"{kind}: {len(rows)} devices, {days} days")
    return len(rows), found


def _block(kind: str, slots: Array, at_ms: Array, columns: dict[str, Array]) -> Block:
    none = np.zeros(len(slots), np.int32)
    return Block(kind, (slots + 1).astype(np.int32), slots.astype(np.int64), at_ms, none, columns)
