"""A recording as the blocks of numbered streams: one block an agent, numbered in time order."""

from pathlib import Path

import numpy as np

from contracts.profiles import Profile
from firmware_sim.randomness import I8
from firmware_sim.recordings import recording as recordings
from firmware_sim.recordings import recording_map
from firmware_sim.recordings.recording import RecordedDevice, Recording
from firmware_sim.stream import Block, Column, canonical

DAY_MS = 86_400_000


class RecordedBlocks:
    """One agent's part of a recording as a single block."""

    first = 0

    def __init__(
        self, kind: str, properties: list[str], devices: list[RecordedDevice], shift_ms: int, group_ms: int
    ) -> None:
        device = np.array([i for i, row in enumerate(devices) for _ in row.observations], dtype=np.int64)
        at = np.array([at for row in devices for at in row.observations], dtype=np.int64) + shift_ms
        values = [values for row in devices for values in row.observations.values()]
        order, self._due = canonical([kind], np.zeros(len(at), dtype=np.int64), device, at, group_ms)
        columns: dict[str, Column] = {
            "device": [devices[i].name for i in device[order].tolist()],
            "observed_at": at[order].tolist(),
        }
        for name in properties:
            columns[name] = [values[i].get(name) for i in order.tolist()]
        self._block = Block([kind], np.zeros(len(at), dtype=np.int64), self._due, [columns], np.arange(len(at)))

    @staticmethod
    def of(recording: Recording, shift_ms: int, group_ms: int) -> dict[str, "RecordedBlocks"]:
        """The blocks of each agent, by '<municipality>/<agent>'."""
        properties = [value.property for value in recording.map.values]
        return {
            agent: RecordedBlocks(recording.map.kind, properties, devices, shift_ms, group_ms)
            for agent, devices in recording.by_agent().items()
        }

    def block(self, number: int) -> Block:
        return self._block

    def due(self, number: int) -> I8:
        return self._due

    def end_ms(self, number: int) -> int:
        return int(self._due[-1]) if len(self._due) else 0

    def last(self) -> int | None:
        return 0


def shift_to_now(recording: Recording, now_ms: int) -> int:
    """Whole days by which to move a recording so that it ends in the 24 hours before now: the time of day is kept."""
    return (now_ms - recording.span_ms()[1]) // DAY_MS * DAY_MS


def read_recording(file: Path, map_name: str, profiles: dict[str, Profile]) -> Recording:
    """A recording by its file and the name or path of its map."""
    found = recording_map.read(recording_map.find(map_name), profiles)
    return recordings.read(file, found, profiles[found.kind])
