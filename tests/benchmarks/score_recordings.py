"""Recordings of real cities as series, and which of them are healthy.

Reads ../shared/data/city where it is there. Garages are polled every 5 to 15 minutes and their cells are changes:
between two polls in which anything of the same source was heard, less than `HEARD_S` apart, an empty cell repeats the
value before it; a longer gap is a silence of the source. Garages with anything visibly wrong are no healthy series.
"""

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contracts import profiles
from firmware_sim.recordings import places, recording, recording_map
from firmware_sim.recordings.recording import Recording
from ingest_service.columns import Array, Block, empty_columns
from ingest_service.detection.findings import Finding
from ingest_service.detection.fleet import Fleet
from ingest_service.registry import About, Registry
from tests.benchmarks.score_counting import DROPOUT
from tests.benchmarks.score_injection import CELLS
from tests.benchmarks.score_trial import Source

CITY = Path(__file__).parents[2].parent / "shared" / "data" / "city"
GARAGES, BIRMINGHAM = "parking_garages_de", "parking_birmingham"
BAYS = "parking_bays_melbourne/on-street-parking-bay-sensors_2024-12-09.csv.gz"
LAMP = "streetlight_heed/bluesolar_first_part.csv.gz"
FORTNIGHT = "2026-06-01_2026-06-14"
HEARD_S = 5400  # the longest that a healthy source of several garages reports no change at night
FREE, OCCUPIED = "off_street_parking.available_spot_number", "off_street_parking.occupied_spot_number"


class Garages(NamedTuple):
    """A fortnight of garages: series of each, its source as a number, and what is visibly wrong with it."""

    name: list[str]
    series: list[tuple[Array, Array]]
    source: Array  # (garages,) int32
    wrong: dict[str, list[tuple[str, int]]]  # garage or source -> (kind of anomaly, seconds)


def rows(file: Path) -> Iterator[list[str]]:
    with gzip.open(file, "rt", newline="", encoding="utf-8") as lines:
        yield from csv.reader(lines)


def seconds(text: str) -> int:
    """ISO time as s since 1970; without a zone it is taken for UTC."""
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def garages(city: Path) -> Garages:
    """All garages of the fortnight."""
    head, *lines = rows(city / GARAGES / f"free_spaces_{FORTNIGHT}.csv.gz")
    t = np.array([seconds(line[0]) for line in lines])
    cells = np.array([[float(cell) if cell else np.nan for cell in line[1:]] for line in lines])
    names = head[1:]
    sources = sorted({name.split("-")[0] for name in names})
    source = np.array([sources.index(name.split("-")[0]) for name in names], np.int32)
    series = []
    heard = {number: recorded(t, np.isfinite(cells[:, source == number]).any(axis=1)) for number in range(len(sources))}
    for column, number in enumerate(source.tolist()):
        value = filled(cells[:, column])
        kept = heard[number] & np.isfinite(value)
        series.append((t[kept], value[kept]))
    wrong: dict[str, list[tuple[str, int]]] = {}
    for where, kind, at, *_ in list(rows(city / GARAGES / f"visible_anomalies_{FORTNIGHT}.csv.gz"))[1:]:
        wrong.setdefault(where, []).append((kind, seconds(at) if at else 0))
    return Garages(names, series, source, wrong)


def recorded(t: Array, any_cell: Array) -> Array:
    """(polls,) bool: whether the source was heard then, or shortly before and after."""
    alive = np.flatnonzero(any_cell)
    found = any_cell.copy()
    for one, other in zip(alive[:-1].tolist(), alive[1:].tolist(), strict=True):
        if t[other] - t[one] <= HEARD_S:
            found[one:other] = True
    return found


def filled(value: Array) -> Array:
    """Each gap takes the value before it."""
    last = np.maximum.accumulate(np.where(np.isfinite(value), np.arange(len(value)), -1))
    return np.where(last < 0, np.nan, value[np.maximum(last, 0)])


def healthy_garages(found: Garages) -> list[int]:
    """Numbers of the garages with nothing visibly wrong (a capacity that is out of date is nothing wrong)."""
    return [
        number
        for number, name in enumerate(found.name)
        if not {kind for kind, _ in found.wrong.get(name, [])} - {"above_meta_capacity"}
        and len(found.series[number][0]) > 2000
    ]


def sources(city: Path) -> Iterator[Source]:
    """Healthy series of every recording that is long enough to put faults into."""
    found = garages(city)
    chosen = healthy_garages(found)
    yield Source("garages", FREE, [found.series[number] for number in chosen], found.source[chosen])
    series = birmingham(city)
    by_day = [cell for cell in CELLS if cell[0] != DROPOUT]  # nothing is reported at night: no silence to be found
    yield Source("Birmingham", OCCUPIED, series, np.zeros(len(series), np.int32), by_day, sweeps=False)


def birmingham(city: Path) -> list[tuple[Array, Array]]:
    """Occupied spaces of car parks, by day only."""
    by_name: dict[str, dict[int, float]] = {}
    (file,) = (city / BIRMINGHAM).glob("*.csv.gz")
    for name, _, occupied, at in list(rows(file))[1:]:
        by_name.setdefault(name, {})[seconds(at)] = float(occupied)
    found = []
    for counted in by_name.values():
        t = np.array(sorted(counted))
        value = np.array([counted[at] for at in t.tolist()])
        if value.min() >= 0 and len(t) > 400:
            found.append((t, value))
    return found


def played(file: Path, map_name: str) -> tuple[Recording, list[tuple[str, Finding]]]:
    """A recording, read through the simulator's map and registered as `dure register` would; findings by device."""
    shipped = profiles.load(environ={})
    chosen = recording_map.read(recording_map.find(map_name), shipped)
    profile = shipped[chosen.kind]
    found = recording.read(file, chosen, profile)
    manifest = places.fleet_of(found, file)
    registry, fleet = Registry(), Fleet(shipped)
    town = manifest["municipalities"][0]
    registry.put_municipality(town["code"], town["time_zone"])
    registry.put_agent(1, town["code"], manifest["agents"][0]["agent"], True)
    names = [row["device"] for row in manifest["devices"]]
    for number, row in enumerate(manifest["devices"]):
        about = About(1, row["latitude"], row["longitude"], by_change=chosen.reports == "changes")
        registry.put_device(number + 1, town["code"], row["device"], chosen.kind, about)
    registry.instruct(fleet)
    slot_of = {name: registry.slot_of_id(number + 1, chosen.kind) for number, name in enumerate(names)}
    observed = sorted(
        (at_ms, slot_of[device.name], values)
        for device in found.devices
        for at_ms, values in device.observations.items()
    )
    slots = np.array([slot for _, slot, _ in observed], np.int64)
    columns = empty_columns(profile, len(observed))
    for row, (_, _, values) in enumerate(observed):
        for key, value in values.items():
            item = profile.properties[key]
            columns[key][row] = item.values.index(value) if item.type == "enum" else value
    at_ms = np.array([at for at, _, _ in observed], np.int64)
    zeros = np.zeros(len(observed), np.int32)
    findings = fleet.examine([Block(chosen.kind, slots.astype(np.int32) + 1, slots, at_ms, zeros, columns)], {})
    return found, [(names[registry.devices_of[chosen.kind][item.slot] - 1], item) for item in findings]
