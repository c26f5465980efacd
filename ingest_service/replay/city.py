"""What the registry says of the devices that are replayed, and of how they hang together."""

from collections.abc import Collection, Mapping, Sequence

from contracts.profiles import Profile
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.peers import NOBODY
from ingest_service.registry import NOTHING, About, Registry
from ingest_service.replay.division import Device, Placed


class City(Registry):
    """A registry of some devices only: those of these kinds and municipalities, or these by number."""

    def __init__(
        self,
        kinds: Collection[str],
        municipalities: Collection[str] | None,
        device_ids: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        super().__init__()
        self.name_of: dict[int, str] = {}
        self.agent_of: dict[int, int | None] = {}
        self.registered: dict[str, int] = {}  # kind -> devices, whether chosen or not
        self._chosen_kinds, self._towns, self._ids = kinds, municipalities, device_ids

    def put_device(self, device_id: int, municipality: str, name: str, kind: str, about: About = NOTHING) -> None:
        self.registered[kind] = self.registered.get(kind, 0) + 1
        if kind not in self._chosen_kinds or (self._towns is not None and municipality not in self._towns):
            return
        if self._ids is not None and device_id not in self._ids.get(kind, ()):
            return
        super().put_device(device_id, municipality, name, kind, about)
        self.name_of[device_id] = name
        self.agent_of[device_id] = about.agent_id

    def fleet(self, profiles: Mapping[str, Profile]) -> Fleet:
        """Detectors of these devices, who have heard nothing."""
        fleet = Fleet(profiles)
        for kind, slots in self.slots_in.items():
            fleet.make_room(kind, slots)
        self.instruct(fleet)
        return fleet

    def placed(self, sets: Sequence[Mapping[str, Profile]]) -> dict[Device, Placed]:
        """Every device, with what keeps it together with others under any of these sets of parameters."""
        found: dict[Device, Placed] = {}
        for kind, ids in self.devices_of.items():
            groups = {"peers": self.peers[kind].of_slot}
            if any(map(_compares_widely, (profiles[kind] for profiles in sets))):
                groups["wider"] = self.wider[kind].of_slot
            weight = 1.0 / sets[0][kind].report_period_s
            for slot, device_id in enumerate(ids):
                town, agent_id = self.town_of_id(device_id), self.agent_of[device_id]
                speaker = ("municipality", town) if agent_id is None else ("agent", str(agent_id))
                bonds = [(name, kind, int(of[slot])) for name, of in groups.items() if of[slot] != NOBODY]
                found[kind, device_id] = Placed(speaker, tuple(bonds), weight)
        return found


def _compares_widely(profile: Profile) -> bool:
    """Whether a detector of the kind looks at more than a device's peers."""
    return any(item.detectors.unchanging is not None for item in profile.properties.values())
