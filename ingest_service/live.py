"""What a flush changed, as the live channel carries it: newest observations by kind, and alarms."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from contracts.profiles import Profile
from ingest_service.columns import Array, to_json
from ingest_service.newest import Rows
from ingest_service.registry import Registry

_encoder = msgspec.json.Encoder()


def messages(
    changed: Sequence[Rows],
    agents: Mapping[str, Array],
    alarms: Sequence[dict[str, Any]],
    alarm_agents: Sequence[int | None],
    profiles: Mapping[str, Profile],
    registry: Registry,
) -> list[tuple[int, bytes]]:
    """(agent index, payload) for each agent whose devices changed. agents: agent index of each changed row, by kind."""
    content: dict[int, dict[str, Any]] = {}
    for rows in changed:
        for agent in np.unique(agents[rows.kind]).tolist():
            if agent < 0:
                continue  # heard through an agent that is gone: nobody's topic carries it
            mine = agents[rows.kind] == agent
            group: dict[str, Any] = {
                "device_id": rows.device_id[mine].tolist(),
                "observed_at": rows.observed_ms[mine].tolist(),
            }
            for name, item in profiles[rows.kind].properties.items():
                group[name] = to_json(item, rows.columns[name][mine])
            content.setdefault(agent, {"observations": {}, "alarms": []})["observations"][rows.kind] = group
    for alarm, index in zip(alarms, alarm_agents, strict=True):
        if index is not None:
            content.setdefault(index, {"observations": {}, "alarms": []})["alarms"].append(alarm)
    return [(agent, _encoder.encode(payload)) for agent, payload in content.items()]
