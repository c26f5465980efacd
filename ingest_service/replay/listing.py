"""What a replay found, as JSON: the table, the marks, and every episode with its evidence, a line each."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

from ingest_service.replay import marks, table
from ingest_service.replay.detect import Result
from ingest_service.replay.episodes import Episode, Side, begin_of, end_of
from ingest_service.replay.tally import sort_of

FORMAT = "dure detect 1"
SEVERITIES = {1: "info", 2: "warning", 3: "critical"}


def write(result: Result, file: BinaryIO) -> None:
    """A JSON object; `episodes` comes last and is written as it is read."""
    head = msgspec.json.encode(_head(result))
    file.write(head[:-1] + b',\n"episodes":[')
    for number, episode in enumerate(result.episodes()):
        file.write((b",\n" if number else b"\n") + msgspec.json.encode(_episode(result.names, episode)))
    file.write(b"\n]}\n")


def _head(result: Result) -> dict[str, Any]:
    wish = result.wish
    return {
        "format": FORMAT,
        "complete": result.complete,
        "from": wish.begin,
        "to": wish.end,
        "until": instant(result.until_ms),
        "warm_up_s": int(wish.warm_up.total_seconds()),
        "kinds": list(wish.kinds),
        "municipalities": wish.municipalities,
        "parameters": result.names,
        "changed": [dict(zip(("key", "profiles", "config"), change, strict=True)) for change in wish.changed],
        "observations": result.observations,
        "devices": result.devices,
        "device_days": result.device_days,
        "seconds": round(result.seconds, 3),
        "processes": result.processes,
        "table": list(_rows(result)),
        "marked": {name: marks.counted(result.marks, number) for number, name in enumerate(result.names)},
        "marks": [
            {
                "alarm_id": mark.alarm_id,
                "condition": mark.condition,
                "opened_at": instant(mark.opened_ms),
                "cause": mark.cause,
                "found": dict(zip(result.names, mark.found, strict=True)),
            }
            for mark in result.marks
        ],
    }


def _rows(result: Result) -> Iterator[dict[str, Any]]:
    for (kind, name, detector), row in result.rows.items():
        found: dict[str, Any] = {"kind": kind, "property": name or None, "detector": detector}
        for number, said in enumerate(result.names):
            found[said] = {
                "episodes": row.episodes[number],
                "devices": row.devices[number],
                "episodes_a_device_day": table.rate(row, number, result.device_days.get(kind, 0.0)),
                "open": row.open[number],
            }
            if len(result.names) > 1:
                found[said]["alone"] = row.alone[number]
        if len(result.names) > 1:
            found["both"] = row.both
        yield found


def _episode(names: list[str], episode: Episode) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": episode.kind,
        "municipality": episode.municipality,
        "device": episode.device,
        "condition": episode.condition,
        "detector": episode.detector,
        "property": episode.property,
        "began_at": instant(begin_of(episode)),
        "ended_at": None if (ended_ms := end_of(episode)) is None else instant(ended_ms),
    }
    if len(names) > 1:
        sort = sort_of(episode)
        found["in"] = sort if sort == "both" else names[int(sort)]
    return found | {name: _side(side) for name, side in zip(names, episode.sides, strict=True) if side is not None}


def _side(side: Side) -> dict[str, Any]:
    return {
        "began_at": instant(side.began_ms),
        "ended_at": None if side.ended_ms is None else instant(side.ended_ms),
        "severity": SEVERITIES[side.severity],
        "episodes": side.episodes,
        "findings": side.findings,
        "evidence": side.evidence,
    }


def instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
