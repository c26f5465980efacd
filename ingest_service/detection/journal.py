"""What each flush examined, a shard an entry, so that a restart continues exactly: restore the save, replay what came
after.

An entry holds the columns that the detectors and the newest state read, in the order examined, and the agents' clocks.
A device that two agents of different shards speak for in one and the same flush is replayed shard by shard.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import zstandard

from contracts.profiles import Profile
from ingest_service.columns import DTYPES, Array, Block, null_of

_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()
MAX_ENTRY_BYTES = 1 << 30


def entries(
    blocks: Sequence[Block], clocks: Mapping[int, int], shard_of_agent: Array, agent_ids: Array
) -> dict[int, bytes]:
    """Entry of each shard that the flush touched. shard_of_agent, agent_ids: (agents,) by agent index."""
    content: dict[int, dict[str, Any]] = {}
    for index, clock in clocks.items():
        entry = content.setdefault(int(shard_of_agent[index]), {"blocks": [], "clocks": {}})
        entry["clocks"][int(agent_ids[index])] = clock
    for block in blocks:
        order = np.argsort(shard_of_agent[block.agent], kind="stable")
        part = block.take(order)
        shards, speakers = shard_of_agent[part.agent], agent_ids[part.agent].astype(np.int32)
        starts = np.flatnonzero(np.diff(shards, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(part)], strict=True):
            content.setdefault(int(shards[start]), {"blocks": [], "clocks": {}})["blocks"].append(
                {
                    "kind": part.kind,
                    "device_id": part.device_id[start:end].tobytes(),
                    "observed_ms": part.observed_ms[start:end].tobytes(),
                    "agent_id": speakers[start:end].tobytes(),
                    "columns": {name: column[start:end].tobytes() for name, column in part.columns.items()},
                }
            )
    return {shard: _compressor.compress(msgspec.msgpack.encode(entry)) for shard, entry in content.items()}


def read_flush(
    entries: Sequence[bytes], profiles: Mapping[str, Profile], slot_of: Any, agent_index: Any
) -> tuple[list[Block], dict[int, int]]:
    """Blocks and clocks of all shards' entries of one flush: they were examined together, and are again."""
    blocks: list[Block] = []
    clocks: dict[int, int] = {}
    for entry in entries:
        more, told = read(entry, profiles, slot_of, agent_index)
        blocks += more
        clocks |= told
    return blocks, clocks


def read(
    entry: bytes, profiles: Mapping[str, Profile], slot_of: Any, agent_index: Any
) -> tuple[list[Block], dict[int, int]]:
    """Blocks and clocks of an entry, in this process's slots and agent indices; devices and properties gone since are
    left out.
    """
    content = msgspec.msgpack.decode(_decompressor.decompress(entry, max_output_size=MAX_ENTRY_BYTES), strict=False)
    blocks = []
    for packed in content["blocks"]:
        kind = packed["kind"]
        if kind not in profiles:
            continue
        device_id = np.frombuffer(packed["device_id"], np.int32)
        places = [slot_of(kind, int(item)) for item in device_id.tolist()]
        agents = [agent_index(int(item)) for item in np.frombuffer(packed["agent_id"], np.int32).tolist()]
        known = np.array(
            [place is not None and agent is not None for place, agent in zip(places, agents, strict=True)], bool
        )
        columns = {}
        for name, item in profiles[kind].properties.items():
            data = packed["columns"].get(name)
            columns[name] = (
                np.frombuffer(data, DTYPES[item.type])
                if data is not None
                else _nulls(profiles[kind], name, len(device_id))
            )
        block = Block(
            kind,
            device_id,
            np.array([-1 if place is None else place for place in places], np.int64),
            np.frombuffer(packed["observed_ms"], np.int64),
            np.array([-1 if agent is None else agent for agent in agents], np.int32),
            columns,
        )
        blocks.append(block.take(known))
    clocks = {agent_index(int(agent_id)): clock for agent_id, clock in content["clocks"].items()}
    return blocks, {index: clock for index, clock in clocks.items() if index is not None}


def _nulls(profile: Profile, name: str, n: int) -> Array:
    item = profile.properties[name]
    return np.full(n, null_of(item), DTYPES[item.type])
