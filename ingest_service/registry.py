"""What the ingest service knows of municipalities, agents and devices, in memory, kept up to date from the registry
tables.

Promise: an index or a slot, once given, is never given to another. Reading the tables belongs to `store.registry_rows`.
"""

import msgspec
import numpy as np

from contracts import topics
from ingest_service.columns import Array
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.peers import Groups, group_of
from ingest_service.detection.places import Places
from ingest_service.names import UNKNOWN, NameIndex

__all__ = ["UNKNOWN", "About", "Agent", "Registry"]


class Agent(msgspec.Struct, frozen=True):
    index: int
    agent_id: int
    municipality: str
    name: str
    replay: bool
    shard: int


class About(msgspec.Struct, frozen=True):
    """What the registry says of a device besides its name."""

    agent_id: int | None = None
    latitude: float | None = None  # degrees, WGS 84
    longitude: float | None = None
    circuit: str | None = None
    schedule: str | None = None
    by_change: bool = False  # reports changes only


NOTHING = About()


class Registry:
    """Look-ups by name; growing arrays by device code (a dense number over all kinds)."""

    def __init__(self) -> None:
        self.changes = 0  # of agents: a cache of look-ups is good while it stays
        self.municipalities: set[str] = set()
        self.agents: list[Agent] = []
        self.codes: dict[str, dict[str, int]] = {}  # municipality -> device name -> code
        self.names: list[str] = []  # by code
        self.towns: list[str] = []  # by code
        self.slots_in: dict[str, int] = {}  # kind -> slots given
        self.devices_of: dict[str, list[int]] = {}  # kind -> device_id by slot
        self._device_arrays: dict[str, Array] = {}
        self.by_change: dict[str, set[int]] = {}  # kind -> slots of devices that report changes only
        self.peers: dict[str, Groups] = {}  # by kind
        self.wider: dict[str, Groups] = {}  # by kind: all of a municipality
        self.places: dict[str, Places] = {}  # by kind
        self._zones: dict[str, str] = {}  # municipality -> time zone
        self.kinds: list[str] = []
        self._kind_number: dict[str, int] = {}
        self._agents: dict[tuple[str, str], int] = {}
        self._agent_ids: dict[int, int] = {}
        self._code_of_id: dict[int, int] = {}
        self._everywhere: dict[str, int] = {}
        self._index = NameIndex()
        self._town_numbers: dict[str, int] = {}
        self._device_id = np.zeros(1024, np.int32)
        self._kind_of = np.zeros(1024, np.int16)
        self._slot_of = np.zeros(1024, np.int64)

    def device_arrays(self) -> dict[str, Array]:
        """kind -> (slots,) int32: device_id by slot."""
        for kind, devices in self.devices_of.items():
            known = self._device_arrays.get(kind, np.zeros(0, np.int32))
            if len(known) < len(devices):
                self._device_arrays[kind] = np.append(known, np.array(devices[len(known) :], np.int32))
        return self._device_arrays

    def put_municipality(self, code: str, time_zone: str = "UTC") -> None:
        self.municipalities.add(code)
        self._zones[code] = time_zone
        self.codes.setdefault(code, {})

    def put_agent(self, agent_id: int, municipality: str, name: str, replay: bool) -> None:
        index = self._agents.get((municipality, name), len(self.agents))
        agent = Agent(index, agent_id, municipality, name, replay, topics.shard_of(municipality, name))
        self.changes += 1
        if index == len(self.agents):
            self.agents.append(agent)
            self._agents[municipality, name] = index
            self._agent_ids[agent_id] = index
        else:
            self.agents[index] = agent

    def put_device(self, device_id: int, municipality: str, name: str, kind: str, about: About = NOTHING) -> None:
        """Add a device, or give a known one what changed; a new kind gives it a new slot."""
        before = self._code_of_id.get(device_id)
        if before is not None:
            old, place = self.kinds[self._kind_of[before]], int(self._slot_of[before])
            self.peers[old].put(place, None)
            self.wider[old].put(place, None)
        self._put_device(device_id, municipality, name, kind)
        code = self._code_of_id[device_id]
        slot = int(self._slot_of[code])
        if about.by_change:
            self.by_change.setdefault(kind, set()).add(slot)
        agent = None if about.agent_id is None else self.agent_by_id(about.agent_id)
        shard = None if agent is None else agent.shard
        if kind not in self.places:
            self.peers[kind], self.wider[kind], self.places[kind] = Groups(), Groups(), Places()
        group = group_of(about.circuit, about.latitude, about.longitude)
        self.peers[kind].put(slot, None if group is None else (municipality, shard, group))
        self.wider[kind].put(slot, (municipality, shard))
        zone = self._zones.get(municipality, "UTC")
        self.places[kind].put(slot, about.latitude, about.longitude, about.schedule, zone)

    def _put_device(self, device_id: int, municipality: str, name: str, kind: str) -> None:
        code = self._code_of_id.get(device_id)
        if code is None:
            code = len(self.names)
            if code == len(self._device_id):
                self._device_id, self._kind_of, self._slot_of = (
                    np.concatenate([old, np.zeros_like(old)]) for old in (self._device_id, self._kind_of, self._slot_of)
                )
            self.names.append(name)
            self.towns.append(municipality)
            self._code_of_id[device_id] = code
            self.codes.setdefault(municipality, {})[name] = code
            self._everywhere[name] = self._everywhere.get(name, 0) + 1
        elif self.kinds[self._kind_of[code]] == kind:
            return
        if kind not in self._kind_number:
            self._kind_number[kind] = len(self.kinds)
            self.kinds.append(kind)
        self._device_id[code] = device_id
        self._kind_of[code] = self._kind_number[kind]
        self._slot_of[code] = self.slots_in.get(kind, 0)
        self.slots_in[kind] = self.slots_in.get(kind, 0) + 1
        self.devices_of.setdefault(kind, []).append(device_id)

    def agent(self, municipality: str, name: str) -> Agent | None:
        index = self._agents.get((municipality, name))
        return None if index is None else self.agents[index]

    def agent_by_id(self, agent_id: int) -> Agent | None:
        index = self._agent_ids.get(agent_id)
        return None if index is None else self.agents[index]

    def find(self, municipality: str, names: list[str]) -> Array:
        """(n,) int64 codes of a municipality's devices, UNKNOWN where there is none."""
        known = self.codes.get(municipality, {})
        return np.array([known.get(name, UNKNOWN) for name in names], np.int64)

    def town_number(self, municipality: str) -> int:
        """A number that stands for a municipality in `index`."""
        return self._town_numbers.setdefault(municipality, len(self._town_numbers))

    def index(self) -> NameIndex:
        """All names and codes, for a kernel."""
        first = self._index.size
        if first < len(self.names):
            self._index.add(self.names[first:], [self.town_number(town) for town in self.towns[first:]])
        return self._index

    def exists_elsewhere(self, name: str) -> bool:
        """Whether some municipality has a device of this name."""
        return name in self._everywhere

    def device_ids(self, codes: Array) -> Array:
        found: Array = self._device_id[codes]
        return found

    def slots(self, codes: Array) -> Array:
        found: Array = self._slot_of[codes]
        return found

    def is_kind(self, codes: Array, kind: str) -> Array:
        """(n,) bool: whether each device is of the kind."""
        same: Array = self._kind_of[codes] == self._kind_number.get(kind, UNKNOWN)
        return same

    def slot_of_id(self, device_id: int, kind: str) -> int | None:
        """Slot of a device in a kind's arrays, or None when it is not of that kind."""
        code = self._code_of_id.get(device_id)
        if code is None or self.kinds[self._kind_of[code]] != kind:
            return None
        return int(self._slot_of[code])

    def town_of_id(self, device_id: int) -> str:
        return self.towns[self._code_of_id[device_id]]

    def instruct(self, fleet: Fleet) -> None:
        """Tell detectors what they cannot see: who reports changes only, who is whose peer, who stands where."""
        for kind, slots in self.by_change.items():
            if kind in fleet.kinds:
                fleet.excuse(kind, sorted(slots))
        for kind, groups in self.peers.items():
            if kind in fleet.kinds:
                fleet.group(kind, groups.of_slot, self.wider[kind].of_slot)
                fleet.place(kind, self.places[kind])
