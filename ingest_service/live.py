"""What a flush changed, as the live channel carries it: newest observations by kind, and alarms."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from contracts.profiles import Profile
from ingest_service.columns import to_json
from ingest_service.newest import Rows

_encoder = msgspec.json.Encoder()


def messages(
    changed: Sequence[Rows],
    alarms: Sequence[dict[str, Any]],
    alarm_agents: Sequence[int | None],
    profiles: Mapping[str, Profile],
) -> list[tuple[int, bytes]]:
    """(agent index, payload) for each agent whose devices changed. alarm_agents: index of who carries each alarm."""
    content: dict[int, dict[str, Any]] = {}
    for rows in changed:
        if len(rows) == 0 or rows.agent is None:
            continue
        order = np.argsort(rows.agent, kind="stable")
        agents = rows.agent[order]
        columns: dict[str, list[Any]] = {
            "device_id": rows.device_id[order].tolist(),
            "observed_at": rows.observed_ms[order].tolist(),
        }
        for name, item in profiles[rows.kind].properties.items():
            columns[name] = to_json(item, rows.columns[name][order])
        starts = np.flatnonzero(np.diff(agents, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(agents)], strict=True):
            group = {name: values[start:end] for name, values in columns.items()}
            content.setdefault(int(agents[start]), {"observations": {}, "alarms": []})["observations"][rows.kind] = (
                group
            )
    for alarm, index in zip(alarms, alarm_agents, strict=True):
        if index is not None and index >= 0:  # heard through an agent that is gone: nobody's topic carries it
            content.setdefault(index, {"observations": {}, "alarms": []})["alarms"].append(alarm)
    return [(agent, _encoder.encode(payload)) for agent, payload in content.items()]
