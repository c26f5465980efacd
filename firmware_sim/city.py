"""A simulated city as streams: fleet, physics and faults put together, block by block, for one agent or all."""

from typing import Any

import numpy as np

from contracts.profiles import Profile, Property
from firmware_sim import faults, word_faults
from firmware_sim.labels import Fault, Shape
from firmware_sim.physics import physics_of
from firmware_sim.physics.generic import Generic, Values
from firmware_sim.physics.population import Population, standard_offset_ms
from firmware_sim.randomness import I8
from firmware_sim.stream import Block, Column, Stream, canonical, ranks

BLOCK_MS = 600_000
DAY_MS = 86_400_000


class Faults:
    """The schedule, made longer as time passes."""

    def __init__(
        self,
        devices: list[dict[str, Any]],
        profiles: dict[str, Profile],
        seed: int,
        start_ms: int,
        shapes: tuple[Shape, ...] = faults.SHAPES,
    ) -> None:
        self._devices, self._profiles, self._seed, self._start_ms = devices, profiles, seed, start_ms
        self._shapes = shapes
        self._days = 0
        self._all: list[Fault] = []
        self._of: dict[tuple[str, str], list[Fault]] = {}

    def until(self, to_ms: int) -> list[Fault]:
        """Every fault that begins before the end of the 24 hours which hold to_ms."""
        days = max(1, (to_ms - self._start_ms) // DAY_MS + 1)
        if days > self._days:
            self._all = faults.schedule(self._devices, self._profiles, self._seed, self._start_ms, days, self._shapes)
            self._days = days
            self._of = {}
            for fault in self._all:
                self._of.setdefault((fault.municipality, fault.device), []).append(fault)
        return self._all

    def of(self, municipality: str, names: set[str], from_ms: int, to_ms: int) -> list[Fault]:
        """Faults at work on these devices within [from_ms, to_ms)."""
        at_work = faults.overlapping(self.until(to_ms), from_ms, to_ms)
        return [fault for fault in at_work if fault.municipality == municipality and fault.device in names]


class AgentBlocks:
    """The blocks of one simulated agent; block b holds the observations of [b, b + 1) x BLOCK_MS, none before the
    start.
    """

    def __init__(self, populations: list[Population], schedule: Faults, start_ms: int, group_ms: int) -> None:
        self.first = start_ms // BLOCK_MS
        self._start_ms, self._group_ms = start_ms, group_ms
        self._schedule = schedule
        self._kinds = [population.profile.kind for population in populations]
        self._physics: list[Generic] = [physics_of(population) for population in populations]
        self._municipality = populations[0].municipality
        self._number_of = [{name: i for i, name in enumerate(population.names)} for population in populations]
        self._names = [np.array(population.names, dtype=object) for population in populations]
        self._all_names = {name for population in populations for name in population.names}

    def end_ms(self, number: int) -> int:
        return (number + 1) * BLOCK_MS

    def last(self) -> int | None:
        return None

    def due(self, number: int) -> I8:
        at = np.concatenate([at for _, at in self._instants(number)])
        at.sort()
        return (at // self._group_ms + 1) * self._group_ms

    def block(self, number: int) -> Block:
        pieces = self._instants(number)
        kind = np.concatenate([np.full(len(device), i) for i, (device, _) in enumerate(pieces)])
        device = np.concatenate([device for device, _ in pieces])
        at = np.concatenate([at for _, at in pieces])
        order, due = canonical(self._kinds, kind, device, at, self._group_ms)
        kind, device, at = kind[order], device[order], at[order]
        columns = [self._columns(i, device[kind == i], at[kind == i]) for i in range(len(self._kinds))]
        return Block(self._kinds, kind, due, columns, ranks(kind, len(self._kinds)))

    def _instants(self, number: int) -> list[tuple[I8, I8]]:
        """(device, observed_at) of each kind, less what silences swallow."""
        from_ms, to_ms = max(number * BLOCK_MS, self._start_ms), (number + 1) * BLOCK_MS
        at_work = [fault for fault in self._at_work(from_ms, to_ms) if fault.fault in ("silent", "duplicates")]
        found = []
        for i, physics in enumerate(self._physics):
            device, at = physics.instants(from_ms, to_ms)
            quiet = [fault for fault in at_work if fault.device in self._number_of[i]]
            if quiet:
                heard = ~faults.silenced(quiet, self._number_of[i], device, at)
                device, at = device[heard], at[heard]
                again = faults.repeated(quiet, self._number_of[i], device, at)
                device, at = np.concatenate([device, device[again]]), np.concatenate([at, at[again]])
            found.append((device, at))
        return found

    def _at_work(self, from_ms: int, to_ms: int) -> list[Fault]:
        return self._schedule.of(self._municipality, self._all_names, from_ms, to_ms)

    def _columns(self, i: int, device: I8, at: I8) -> dict[str, Column]:
        physics, properties = self._physics[i], self._physics[i].profile.properties
        values = physics.values(device, at)
        said_at = at.copy()
        if len(at):
            for fault in self._at_work(int(at.min()), int(at.max()) + 1):
                if fault.property is not None and fault.device in self._number_of[i]:
                    _alter(
                        fault, properties[fault.property], physics, self._number_of[i][fault.device], values, device, at
                    )
                elif fault.fault == "clock_skew" and fault.device in self._number_of[i]:
                    skewed = (device == self._number_of[i][fault.device]) & (at >= fault.onset_at) & (at < fault.end_at)
                    said_at[skewed] += round(fault.severity) * 1000
        columns: dict[str, Column] = {"device": self._names[i][device].tolist(), "observed_at": said_at.tolist()}
        for name, item in properties.items():
            if name in values:
                columns[name] = _rounded(item, values[name])
        return columns


def _alter(fault: Fault, item: Property, physics: Generic, number: int, values: Values, device: I8, at: I8) -> None:
    """Put what the faulty device says in place of the truth."""
    assert fault.property is not None
    rows = np.flatnonzero((device == number) & (at >= fault.onset_at) & (at < fault.end_at))
    if not len(rows):
        return
    if fault.fault in word_faults.SHAPES:
        word_faults.alter(fault, physics, number, values, rows, at[rows])
        return

    def true_at(instant: int) -> float:
        return float(physics.values(np.array([number]), np.array([instant]))[str(fault.property)][0])

    column = values[fault.property].astype(np.float64)
    said = faults.apply(fault, item, column[rows], at[rows], true_at)
    column[rows] = said if fault.fault in ("out_of_range", "unit_error") else faults.in_range(item, said)
    values[fault.property] = column


def _rounded(item: Property, values: np.ndarray) -> Column:
    if item.type == "enum":
        found: Column = np.array(item.values, dtype=object)[values].tolist()
    elif item.type == "boolean":
        found = values.astype(bool).tolist()
    elif item.type == "integer":
        found = np.rint(values).astype(np.int64).tolist()
    else:
        found = (np.round(values.astype(np.float64), item.decimals) + 0.0).tolist()
    return found


class City:
    """Every agent of a fleet."""

    def __init__(
        self,
        fleet: dict[str, Any],
        profiles: dict[str, Profile],
        seed: int,
        start_ms: int,
        group_ms: int,
        schedule: Faults | None = None,
    ) -> None:
        self.faults = schedule or Faults(fleet["devices"], profiles, seed, start_ms)
        zones = {row["code"]: row["time_zone"] for row in fleet["municipalities"]}
        mine: dict[str, dict[str, list[dict[str, Any]]]] = {
            f"{row['municipality']}/{row['agent']}": {} for row in fleet["agents"]
        }
        for row in fleet["devices"]:
            mine[f"{row['municipality']}/{row['agent']}"].setdefault(row["kind"], []).append(row)
        self.streams: dict[str, Stream] = {}
        self.blocks: dict[str, AgentBlocks] = {}
        for agent, kinds in mine.items():
            if not kinds:
                raise ValueError(f"cannot play agent {agent!r}: it has no devices")
            offset = standard_offset_ms(zones[agent.split("/")[0]], start_ms)
            populations = [population_of(profiles[kind], rows, seed, offset) for kind, rows in sorted(kinds.items())]
            self.blocks[agent] = AgentBlocks(populations, self.faults, start_ms, group_ms)
            self.streams[agent] = Stream(self.blocks[agent])


def population_of(profile: Profile, rows: list[dict[str, Any]], seed: int, offset_ms: int) -> Population:
    """The devices of one kind as arrays."""
    return Population(
        profile,
        rows[0]["municipality"],
        seed,
        [row["device"] for row in rows],
        np.array([row["latitude"] for row in rows], dtype=np.float64),
        np.array([row["longitude"] for row in rows], dtype=np.float64),
        [row.get("attributes") or {} for row in rows],
        offset_ms,
    )
