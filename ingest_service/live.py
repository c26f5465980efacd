"""What a flush changed, as the live channel carries it: newest observations by kind, and alarms."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from contracts.profiles import Profile
from ingest_service import cells
from ingest_service.newest import Rows

_encoder = msgspec.json.Encoder()


def messages(
    changed: Sequence[Rows],
    alarms: Sequence[dict[str, Any]],
    alarm_agents: Sequence[int | None],
    profiles: Mapping[str, Profile],
) -> list[tuple[int, bytes]]:
    """(agent index, payload) for each agent whose devices changed. alarm_agents: index of who carries each alarm."""
    groups: dict[int, list[bytes]] = {}  # agent -> what it says of each kind
    for rows in changed:
        if len(rows) == 0 or rows.agent is None:
            continue
        order = np.argsort(rows.agent, kind="stable")
        speakers = rows.agent[order]
        starts = np.flatnonzero(np.diff(speakers, prepend=-1))
        edges = np.append(starts, len(speakers))
        columns = {
            "device_id": cells.integers(rows.device_id[order]),
            "observed_at": cells.integers(rows.observed_ms[order]),
        }
        for name, item in profiles[rows.kind].properties.items():
            columns[name] = cells.column(item, rows.columns[name][order])
        begin = f'"{rows.kind}":{{'.encode()
        titles = [f'"{name}":['.encode() for name in columns]
        texts = zip(*[column.runs(edges) for column in columns.values()], strict=True)
        for agent, parts in zip(speakers[starts].tolist(), texts, strict=True):
            group = b"],".join([title + part for title, part in zip(titles, parts, strict=True)])
            groups.setdefault(agent, []).append(begin + group + b"]}")
    told: dict[int, list[dict[str, Any]]] = {}
    for alarm, index in zip(alarms, alarm_agents, strict=True):
        if index is not None and index >= 0:  # heard through an agent that is gone: nobody's topic carries it
            told.setdefault(index, []).append(alarm)
    return [
        (
            agent,
            b'{"observations":{%b},"alarms":%b}'
            % (b",".join(groups.get(agent, ())), _encoder.encode(told.get(agent, []))),
        )
        for agent in {**groups, **told}
    ]
