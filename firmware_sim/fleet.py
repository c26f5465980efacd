"""Fleets: which municipalities, agents and devices there are. Makes, reads and writes manifests.

A manifest is what `dure register` and `dure broker credentials` read too. Everything in it follows from the
arguments and the seed.
"""

import json
import math
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from contracts import topics
from contracts.profiles import Profile
from firmware_sim import sites
from firmware_sim.geography import TOWNS, District, Town
from firmware_sim.randomness import key_of
from firmware_sim.sites import Site
from firmware_sim.streets import Mesh

MIX = {"streetlight": 0.60, "waste_container": 0.15, "parking_spot": 0.24, "off_street_parking": 0.01}
PREFIX = {"streetlight": "sl", "waste_container": "wc", "parking_spot": "ps", "off_street_parking": "pg"}
RATINGS_W = (50, 75, 100, 120)
LAMPS_A_CIRCUIT = 24
LAMPS_A_DISTRICT = 4000  # beyond, a town is laid out in several districts
Row = dict[str, Any]
Fleet = dict[str, list[dict[str, Any]]]


class FleetError(ValueError):
    """A fleet that cannot be made or read; the message says what and why."""


def make(devices: int, agents: int, seed: int, municipalities: list[str] | None = None) -> Fleet:
    """A city of so many devices behind so many agents."""
    codes = municipalities or list(TOWNS)
    for code in codes:
        if code not in TOWNS:
            raise FleetError(f"cannot lay out municipality {code!r}: known are {', '.join(TOWNS)}")
    if not 1 <= agents <= devices:
        raise FleetError(
            f"cannot make a fleet of {devices} devices behind {agents} agents: needs at least one device an agent"
        )
    towns = [TOWNS[code] for code in codes][:agents]
    fleet: Fleet = {"municipalities": [], "agents": [], "devices": []}
    kinds = dict(zip(MIX, _shares(devices, list(MIX.values())), strict=True))
    of_town = [
        dict(zip(MIX, counts, strict=True))
        for counts in zip(*(_shares(kinds[kind], [town.share for town in towns]) for kind in MIX), strict=True)
    ]
    wanted_agents = [
        1 + extra for extra in _shares(agents - len(towns), [max(0.0, town.share * agents - 1) for town in towns])
    ]
    serial = dict.fromkeys(MIX, 0)
    agent_number = 0
    for town, counts, boxes in zip(towns, of_town, wanted_agents, strict=True):
        fleet["municipalities"].append(
            {
                "code": town.code,
                "name": {"ko": town.ko, "en": town.en},
                "latitude": town.latitude,
                "longitude": town.longitude,
                "time_zone": town.time_zone,
            }
        )
        for quarter in _town(town, counts, seed, serial, max(1, min(boxes, sum(counts.values())))):
            agent_number += 1
            name = f"pole-{agent_number:02d}"
            fleet["agents"].append({"municipality": town.code, "agent": name, "replay": False})
            fleet["devices"] += [row | {"agent": name} for row in quarter]
    return fleet


def _town(town: Town, counts: dict[str, int], seed: int, serial: dict[str, int], boxes: int) -> list[list[Row]]:
    """Devices of a town, one list for each agent: its quarter."""
    lamps = counts["streetlight"]
    districts = town.districts[: max(1, math.ceil(lamps / LAMPS_A_DISTRICT))]
    per_district = {kind: _shares(count, [1.0] * len(districts)) for kind, count in counts.items()}
    units: list[list[Row]] = []  # devices that go together
    for number, district in enumerate(districts):
        random = np.random.Generator(np.random.PCG64(key_of(seed, town.code, district.en)))
        wanted = {kind: per_district[kind][number] for kind in counts}
        mesh = Mesh(town, district, max(wanted["streetlight"], wanted["waste_container"], wanted["parking_spot"], 14))
        placed: list[tuple[str, Site, str]] = []
        for street, along in groupby(sites.lamps(mesh, wanted["streetlight"], random), key=lambda site: site.street):
            for i, site in enumerate(along):
                placed.append(("streetlight", site, f"{street} {i // LAMPS_A_CIRCUIT + 1}"))
        placed += [("waste_container", site, "") for site in sites.bins(mesh, wanted["waste_container"])]
        placed += [("parking_spot", site, "") for site in sites.bays(mesh, district, wanted["parking_spot"])]
        placed += [
            ("off_street_parking", site, "") for site in sites.garages(mesh, district, wanted["off_street_parking"])
        ]
        circuits: dict[str, int] = {}
        for kind, site, circuit in placed:
            serial[kind] += 1
            name = f"c-{town.code[:3]}{number}{circuits.setdefault(circuit, len(circuits)):02d}" if circuit else ""
            row = _device(town, district, kind, site, mesh.to_degrees(site.at), serial[kind], name, random)
            if not (circuit and units and units[-1][0]["attributes"].get("circuit") == name):
                units.append([])
            units[-1].append(row)
    if len(units) < 2 * boxes:
        units = [[one] for unit in units for one in unit]
    return [[row for unit in quarter for row in unit] for quarter in _quarters(units, boxes)]


def _quarters(units: list[list[Row]], count: int) -> list[list[list[Row]]]:
    """The units in so many compact groups of about as many devices each: halved across the longer side, again and
    again.
    """
    if count == 1:
        return [units]

    def span(axis: str) -> float:
        return float(max(unit[0][axis] for unit in units) - min(unit[0][axis] for unit in units))

    flat = math.cos(math.radians(units[0][0]["latitude"]))
    axis = "latitude" if span("latitude") > span("longitude") * flat else "longitude"
    units = sorted(units, key=lambda unit: (sum(row[axis] for row in unit) / len(unit), unit[0]["device"]))
    first = count // 2
    total, passed, cut = sum(len(unit) for unit in units), 0, 0
    while passed < total * first / count:
        passed += len(units[cut])
        cut += 1
    cut = min(max(cut, first), len(units) - (count - first))
    return _quarters(units[:cut], first) + _quarters(units[cut:], count - first)


def _device(
    town: Town,
    district: District,
    kind: str,
    site: Site,
    at: tuple[float, float],
    number: int,
    circuit: str,
    random: np.random.Generator,
) -> Row:
    attributes: dict[str, Any] = {"district": district.en}
    if kind == "streetlight":
        attributes |= {"circuit": circuit, "power_rating": int(random.choice(RATINGS_W, p=(0.2, 0.35, 0.3, 0.15)))}
    elif kind == "waste_container":
        attributes |= {
            "volume_l": int(random.choice((120, 240, 360))),
            "stored_waste_kind": str(random.choice(("mixed", "paper", "plastic"), p=(0.6, 0.2, 0.2))),
        }
    elif kind == "off_street_parking":
        attributes |= {"total_spot_number": int(random.integers(12, 80)) * 10}
    elif not site.street:
        attributes |= {"category": "off_street"}
    else:
        attributes |= {"category": "on_street"}
    return {
        "municipality": town.code,
        "device": f"{PREFIX[kind]}-{number:05d}",
        "kind": kind,
        "agent": "",
        "latitude": at[0],
        "longitude": at[1],
        "label": {"ko": site.ko, "en": site.en},
        "attributes": attributes,
    }


def _shares(total: int, weights: list[float]) -> list[int]:
    """Whole numbers in proportion to the weights, by largest remainder."""
    whole = sum(weights)
    if whole <= 0:
        weights, whole = [1.0] * len(weights), float(len(weights))
    exact = [total * weight / whole for weight in weights]
    found = [math.floor(x) for x in exact]
    for i in sorted(range(len(exact)), key=lambda i: found[i] - exact[i])[: total - sum(found)]:
        found[i] += 1
    return found


def save(fleet: Fleet, file: Path) -> None:
    """Write the manifest, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text(text_of(fleet), encoding="utf-8")
    part.replace(file)


def text_of(fleet: Fleet) -> str:
    """The manifest as JSON, one device a line."""
    parts = []
    for name in ("municipalities", "agents", "devices"):
        lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in fleet[name])
        parts.append(f' "{name}": [\n  {lines}\n ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read(file: Path, profiles: dict[str, Profile]) -> Fleet:
    """A manifest that can be played; raises FleetError naming file, key and value."""
    try:
        fleet = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FleetError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FleetError(f"{file}: not JSON: {error}") from error
    for name, keys in (
        ("municipalities", ("code", "time_zone")),
        ("agents", ("municipality", "agent")),
        ("devices", ("municipality", "device", "kind", "agent", "latitude", "longitude")),
    ):
        rows = fleet.get(name) if isinstance(fleet, dict) else None
        if not isinstance(rows, list) or not rows:
            raise FleetError(f"{file}: {name} = {rows!r}: needs a list with at least one entry")
        for number, row in enumerate(rows):
            for key in keys:
                if not isinstance(row, dict) or key not in row:
                    raise FleetError(f"{file}: {name}[{number}].{key}: missing")
    agents = {(row["municipality"], row["agent"]) for row in fleet["agents"]}
    codes = {row["code"] for row in fleet["municipalities"]}
    seen = set()
    for number, row in enumerate(fleet["agents"]):
        if row["municipality"] not in codes:
            raise FleetError(
                f"{file}: agents[{number}].municipality = {row['municipality']!r}: not among the municipalities"
            )
    for number, row in enumerate(fleet["devices"]):
        where = f"{file}: devices[{number}]"
        if not topics.is_device(row["device"]):
            raise FleetError(f"{where}.device = {row['device']!r}: not a usable name")
        if row["kind"] not in profiles:
            raise FleetError(f"{where}.kind = {row['kind']!r}: unknown; known are {', '.join(profiles)}")
        if (row["municipality"], row["agent"]) not in agents:
            raise FleetError(f"{where}.agent = {row['agent']!r}: {row['municipality']} has no such agent")
        if (row["municipality"], row["device"]) in seen:
            raise FleetError(f"{where}.device = {row['device']!r}: twice in {row['municipality']}")
        seen.add((row["municipality"], row["device"]))
    return fleet  # type: ignore[no-any-return]
