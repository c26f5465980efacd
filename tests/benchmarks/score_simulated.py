"""The simulator's own faults: its labels against what the detectors say of its city, all kinds, all properties at once.

The same city plays twice, with its labelled faults and without any; both go through `detection.Fleet` block by block,
with the registry's places and circuits and the agents' clocks, as they would reach ingest. A series is a device here.
Sizes are the simulator's (`firmware_sim/labels.py`): of a level, in sd of a few minutes, not of a day.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from contracts import profiles
from contracts.profiles import DETECTOR_CODES, Profile
from firmware_sim import faults, fleet
from firmware_sim.city import BLOCK_MS, City
from firmware_sim.city import Faults as Schedule
from firmware_sim.labels import Fault
from ingest_service.columns import Block, empty_columns
from ingest_service.detection.fleet import Fleet
from ingest_service.registry import About, Registry
from tests.benchmarks import score_counting as counting
from tests.benchmarks.score_counting import WARM_UP_S, Alarms, Label, device_days, episodes, outcomes
from tests.benchmarks.score_trial import Trial

START_MS = 1_772_409_600_000  # Monday 2026-03-02 00:00 UTC
DAY_MS = 86_400_000
NAMES = {
    "spike": counting.SPIKE,
    "stuck": counting.STUCK,
    "out_of_range": counting.OUT_OF_RANGE,
    "silent": counting.DROPOUT,
    "offset": counting.SHIFT,
    "drift": counting.DRIFT,
    "noise": counting.NOISE,
    "intermittent": counting.INTERMITTENT,
    "unit_error": counting.UNIT,
    "duplicates": counting.DUPLICATES,
    "clock_skew": counting.SKEW,
    "unchanging": counting.UNCHANGING,
    "daylight": counting.DAYLIGHT,
    "backwards": counting.BACKWARDS,
}
SIMULATED = "simulated"


class Healthy(Schedule):
    """No faults at all."""

    def until(self, to_ms: int) -> list[Fault]:
        return []


def trials(devices: int, days: int, seed: int) -> list[Trial]:
    """One trial a kind."""
    shipped = profiles.load(environ={})
    made = fleet.make(devices, 2, seed)
    rows = made["devices"]
    wrong = Schedule(rows, shipped, seed, START_MS, (*faults.SHAPES, *faults.UNRULY))
    heard, faulty = _played(made, shipped, seed, days, wrong)
    _, sane = _played(made, shipped, seed, days, Healthy(rows, shipped, seed, START_MS))
    number_of = {(row["municipality"], row["device"]): number for number, row in enumerate(rows)}
    alarms = Alarms(
        *(np.concatenate(pair) for pair in zip(faulty, sane._replace(series=sane.series + len(rows)), strict=True))
    )
    kind_of = np.array([row["kind"] for row in rows])
    first = np.full(len(rows), START_MS // 1000)
    end_s = START_MS // 1000 + days * 86_400
    found = []
    for kind in dict.fromkeys(kind_of.tolist()):
        labels = [
            _label(fault, number_of[fault.municipality, fault.device], len(rows), shipped[kind])
            for fault in wrong.until(START_MS + days * DAY_MS - 1)
            if kind_of[number_of[fault.municipality, fault.device]] == kind
        ]
        counted = [one for one in labels if one.onset_s >= first[0] + WARM_UP_S and one.until_s < end_s]
        own = kind_of[sane.series] == kind
        begun = episodes(Alarms(*(column[own] for column in sane)), first + WARM_UP_S)
        n = int((kind_of == kind).sum())
        counted_days = device_days(first[:n], np.full(n, end_s))
        found.append(Trial("simulator", kind, outcomes(counted, alarms), begun, counted_days, heard[kind]))
    return found


def _label(fault: Fault, number: int, twins: int, profile: Profile) -> Label:
    onset, end = fault.onset_at // 1000, fault.end_at // 1000
    return Label(number, number + twins, NAMES[fault.fault], SIMULATED, onset, end, profile.report_period_s)


def _played(
    made: dict[str, Any], shipped: Mapping[str, Profile], seed: int, days: int, schedule: Schedule
) -> tuple[dict[str, int], Alarms]:
    """(observations by kind, alarms by number of the device) of a city's first days."""
    registry, detectors = Registry(), Fleet(shipped)
    rows = made["devices"]
    for town in made["municipalities"]:
        registry.put_municipality(town["code"], town["time_zone"])
    agents = [(row["municipality"], row["agent"]) for row in made["agents"]]
    for number, (town, agent) in enumerate(agents):
        registry.put_agent(number + 1, town, agent, False)
    for number, row in enumerate(rows):
        attributes = row.get("attributes") or {}
        about = About(
            agents.index((row["municipality"], row["agent"])) + 1, row["latitude"], row["longitude"],
            by_change=False, circuit=attributes.get("circuit"),
        )  # fmt: skip
        registry.put_device(number + 1, row["municipality"], row["device"], row["kind"], about)
    registry.instruct(detectors)
    place = {
        (row["municipality"], row["device"]): (number, registry.slot_of_id(number + 1, row["kind"]))
        for number, row in enumerate(rows)
    }
    number_of = {(row["kind"], place[row["municipality"], row["device"]][1]): n for n, row in enumerate(rows)}
    city = City(made, dict(shipped), seed, START_MS, 1000, schedule)
    heard: dict[str, int] = dict.fromkeys(shipped, 0)
    told: list[tuple[int, int, int]] = []
    for block_number in range(START_MS // BLOCK_MS, (START_MS + days * DAY_MS) // BLOCK_MS):
        begins, ends = block_number * BLOCK_MS, (block_number + 1) * BLOCK_MS
        blocks, clocks = [], {}
        for agent, source in city.blocks.items():
            town, name = agent.split("/")
            index = agents.index((town, name))
            clocks[index] = ends
            made_block = source.block(block_number)
            for kind, columns in zip(made_block.kinds, made_block.columns, strict=True):
                if columns["device"]:
                    slots = np.array([place[town, device][1] for device in columns["device"]], np.int64)
                    blocks.append(_block(shipped[kind], columns, slots, index))
                    heard[kind] += len(slots)
        for finding in detectors.examine(blocks, clocks):
            code = DETECTOR_CODES.get(finding.detector, 0)
            if finding.begins and code:
                at_s = min(max(finding.at_ms, begins), ends) // 1000
                told.append((number_of[finding.kind, finding.slot], at_s, code))
        detectors.keep()
    series, at, codes = np.array(told, np.int64).reshape(-1, 3).T
    return heard, Alarms(series.astype(np.int32), at, codes.astype(np.int16))


def _block(profile: Profile, columns: Mapping[str, Any], slots: Any, agent: int) -> Block:
    arrays = empty_columns(profile, len(slots))
    for name, item in profile.properties.items():
        if name not in columns:
            continue
        values = columns[name]
        if item.type == "enum":
            values = [-1 if value is None else item.values.index(value) for value in values]
        arrays[name][:] = np.asarray(values, arrays[name].dtype)
    at_ms = np.array(columns["observed_at"], np.int64)
    return Block(profile.kind, slots.astype(np.int32) + 1, slots, at_ms, np.full(len(slots), agent, np.int32), arrays)
