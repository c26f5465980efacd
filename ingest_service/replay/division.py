"""Which devices a process replays, and whose clock a device's silence is judged by. Pure.

Promise: what detectors compare with each other stays in one process, and the clocks are the same however many
processes there are; so the findings do not depend on their number.

History has no agents' clocks. A device is silent by the clock of its *part*: the newest observation of the devices
that its agent speaks for, or of its municipality's where it has no agent. Where these are many they are parted, so that
one city is not one process: into parts of PART_DEVICES and PART_SETS at least, each with a clock of its own.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

PART_DEVICES = 500
PART_SETS = 8  # a circuit that falls silent must leave others that go on

Device = tuple[str, int]  # kind, device_id


class Placed(NamedTuple):
    """What the division asks of a device."""

    speaker: Hashable  # its agent, or its municipality
    bonds: tuple[Hashable, ...]  # groups that must not be torn
    weight: float  # share of the work: observations a second


class Share(NamedTuple):
    """The work of one process."""

    devices: dict[str, list[int]]  # kind -> device_id
    parts: dict[str, list[int]]  # kind -> number of each device's part, from 0 on in this share
    weight: float


def divide(devices: Mapping[Device, Placed], processes: int) -> list[Share]:
    """Shares for at most so many processes, the heaviest first."""
    part_of = _parts(devices)
    units = _Sets()
    for device, placed in devices.items():
        units.join(("part", part_of[device]), *placed.bonds)
    members: dict[Hashable, list[Device]] = defaultdict(list)
    for device in sorted(devices):
        members[units.of(("part", part_of[device]))].append(device)
    weighed = sorted(
        ((sum(devices[device].weight for device in unit), unit) for unit in members.values()),
        key=lambda item: (-item[0], item[1][0]),
    )
    loads: list[tuple[float, list[Device]]] = [(0.0, []) for _ in range(min(processes, len(weighed)))]
    for weight, unit in weighed:
        lightest = min(range(len(loads)), key=lambda number: loads[number][0])
        loads[lightest] = loads[lightest][0] + weight, loads[lightest][1] + unit
    return [_share(weight, chosen, part_of) for weight, chosen in sorted(loads, key=lambda load: -load[0])]


def _parts(devices: Mapping[Device, Placed]) -> dict[Device, Hashable]:
    """The part of each device. What is bound together and has one speaker is dealt out whole."""
    bound = _Sets()
    for device, placed in devices.items():
        bound.join(("device", device), *placed.bonds)
    sets: dict[Hashable, dict[Hashable, list[Device]]] = defaultdict(lambda: defaultdict(list))
    for device in sorted(devices):
        sets[devices[device].speaker][bound.of(("device", device))].append(device)
    found: dict[Device, Hashable] = {}
    for speaker, chosen in sets.items():
        count = max(1, min(sum(map(len, chosen.values())) // PART_DEVICES, len(chosen) // PART_SETS))
        for number, unit in enumerate(sorted(chosen.values())):
            found |= dict.fromkeys(unit, (speaker, number % count))
    return found


def _share(weight: float, devices: Sequence[Device], part_of: Mapping[Device, Hashable]) -> Share:
    ids: dict[str, list[int]] = defaultdict(list)
    parts: dict[str, list[int]] = defaultdict(list)
    numbers: dict[Hashable, int] = {}
    for device in sorted(devices):
        kind, device_id = device
        ids[kind].append(device_id)
        parts[kind].append(numbers.setdefault(part_of[device], len(numbers)))
    return Share(dict(ids), dict(parts), weight)


class _Sets:
    """Disjoint sets; source: Tarjan (1975), with halving of paths."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def of(self, item: Hashable) -> Hashable:
        parent = self._parent
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, first: Hashable, *others: Hashable) -> None:
        root = self.of(first)
        for other in others:
            self._parent[self.of(other)] = root
