"""A shard's detectors as bytes, and back: the slots whose device was last heard through an agent of the shard.

Promise: what is restored goes on to the bit as what was saved, in a process that numbers devices and agents otherwise.
A copy is taken at once (`take`), between two flushes; making bytes of it takes longer and may be done by another thread
(`pack`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numba
import numpy as np
import zstandard

from ingest_service.columns import Array
from ingest_service.detection import cadence
from ingest_service.detection.fleet import GROUP, Fleet
from ingest_service.detection.peers import NOBODY

MAX_BYTES = 1 << 31  # of a shard when decompressed
FORMAT = 6
AGENT = "/agent"
_decompressor = zstandard.ZstdDecompressor()


class Taken(NamedTuple):
    """A shard's state at one moment."""

    kinds: dict[str, tuple[Array, dict[str, Array]]]  # device_id of its slots, state by name of the array
    clocks: dict[int, int]  # agent_id -> ms


def take(fleet: Fleet, shard: int, shard_of_agent: Array, agent_ids: Array, device_ids: Mapping[str, Array]) -> Taken:
    """A copy of the shard's state. shard_of_agent, agent_ids: (agents,) by agent index; device_ids: (slots,) of
    each kind."""
    kinds = {}
    for name, kind in fleet.kinds.items():
        for watch in kind.watches.values():
            watch.before_save()
        slots = np.empty(kind.size, np.int64)
        slots = slots[: _slots(kind.devices, shard_of_agent, shard, slots)]
        if len(slots) == 0:
            continue
        parts = {part: array[slots] for part, array in kind.arrays().items()}
        parts |= {part: array[kind.peers[slots]] for part, array in kind.group_arrays().items()}
        parts[AGENT] = agent_ids[kind.devices.agent[slots]].astype(np.int32)
        kinds[name] = device_ids[name][slots].astype(np.int32), parts
    told = np.flatnonzero(fleet.clock_ms != cadence.NEVER)
    mine = told[shard_of_agent[told] == shard]
    return Taken(kinds, {int(agent_ids[index]): int(fleet.clock_ms[index]) for index in mine})


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _slots(devices: Any, shard_of_agent: Array, shard: int, slots: Array) -> int:
    """How many devices were last heard through an agent of the shard; slots gets which."""
    n = 0
    for slot in range(len(devices)):
        agent = devices[slot].agent
        if agent >= 0 and shard_of_agent[agent] == shard:
            slots[n] = slot
            n += 1
    return n


def pack(taken: Taken) -> bytes:
    """A copy as bytes."""
    kinds = {
        name: {"device_id": ids.tobytes(), "parts": {part: array.tobytes() for part, array in parts.items()}}
        for name, (ids, parts) in taken.kinds.items()
    }
    content = msgspec.msgpack.encode({"format": FORMAT, "kinds": kinds, "clocks": taken.clocks})
    return zstandard.ZstdCompressor(level=1).compress(content)


def restore(
    fleet: Fleet,
    saved: bytes,
    slot_of: Callable[[str, int], int | None],
    agent_index: Callable[[int], int | None],
) -> bool:
    """Put a saved shard back; False when another version saved it. slot_of(kind, device_id) and agent_index(agent_id)
    give this process's places, or None.
    """
    try:
        content = msgspec.msgpack.decode(_decompressor.decompress(saved, max_output_size=MAX_BYTES), strict=False)
    except (zstandard.ZstdError, msgspec.DecodeError):
        return False
    if content.get("format") != FORMAT:
        return False
    for name, entry in content["kinds"].items():
        if name in fleet.kinds:
            _put_back(fleet, name, entry, slot_of, agent_index)
    clocks = {agent_index(int(agent_id)): clock for agent_id, clock in content["clocks"].items()}
    fleet.tell({index: clock for index, clock in clocks.items() if index is not None})
    return True


def _put_back(
    fleet: Fleet,
    name: str,
    entry: Mapping[str, Any],
    slot_of: Callable[[str, int], int | None],
    agent_index: Callable[[int], int | None],
) -> None:
    kind = fleet.kinds[name]
    places = [slot_of(name, device_id) for device_id in np.frombuffer(entry["device_id"], np.int32).tolist()]
    known = np.array([place is not None for place in places], bool)
    slots = np.array([place for place in places if place is not None], np.int64)
    fleet.make_room(name, int(slots.max(initial=-1)) + 1)
    for part, array in (kind.arrays() | kind.group_arrays()).items():
        if part not in entry["parts"]:
            continue  # a property that a newer profile brought
        values = np.frombuffer(entry["parts"][part], array.dtype).reshape(-1, *array.shape[1:])[known]
        if part.endswith(GROUP):
            grouped = kind.peers[slots] != NOBODY
            array[kind.peers[slots[grouped]]] = values[grouped]
        else:
            array[slots] = values
    speakers = [agent_index(int(agent)) for agent in np.frombuffer(entry["parts"][AGENT], np.int32)[known]]
    kind.devices.agent[slots] = [-1 if index is None else index for index in speakers]
    kind.due_ms[:] = cadence.NEVER
    for watch in kind.watches.values():
        watch.settle()
