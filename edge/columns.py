"""Observations in columns, as they travel: `{kind: {"device": [...], "observed_at": [ms...], <property>: [...]}}`.

Pure functions: take out what no message can carry, cut, join, and encode into bodies that fit.
Whether a kind, device or value makes sense is the platform's to judge; it keeps what it refuses.
"""

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from contracts import wire

Groups = dict[str, dict[str, list[Any]]]

MAX_TIME_MS = 1 << 53  # beyond it, JSON readers lose digits
LARGEST_ROW = 64 * 1024  # far above any sensor's; a few rows that wait together must fit into one body

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Groups).decode


def admissible(groups: Groups) -> tuple[Groups, int]:
    """What can travel, non-finite numbers as null, and how many observations could not (no device, no time, torn)."""
    kept: Groups = {}
    malformed = 0
    for kind, columns in groups.items():
        devices, times = columns.get("device"), columns.get("observed_at")
        if devices is None or times is None or any(len(column) != len(devices) for column in columns.values()):
            malformed += max((len(column) for column in columns.values()), default=0)
            continue
        good = [
            type(device) is str and device != "" and type(time) is int and 0 <= time < MAX_TIME_MS
            for device, time in zip(devices, times, strict=True)
        ]
        if not all(good):
            malformed += good.count(False)
            columns = {name: [v for v, ok in zip(column, good, strict=True) if ok] for name, column in columns.items()}
        if columns["device"]:
            kept[kind] = {name: _finite(column) for name, column in columns.items()}
    return kept, malformed


def _finite(column: list[Any]) -> list[Any]:
    if any(type(value) is float and not math.isfinite(value) for value in column):
        return [None if type(value) is float and not math.isfinite(value) else value for value in column]
    return column


def cuts(groups: Groups, first: int, size: int) -> Iterator[tuple[Groups, int]]:
    """The groups in pieces, in order: the first of at most `first` observations, the others of at most `size`."""
    piece: Groups = {}
    count, room = 0, first
    for kind, columns in groups.items():
        rows, start = len(columns["device"]), 0
        while start < rows:
            if count == room:
                if count:
                    yield piece, count
                piece, count, room = {}, 0, size
            stop = min(rows, start + room - count)
            piece[kind] = {name: column[start:stop] for name, column in columns.items()}
            count += stop - start
            start = stop
    if count:
        yield piece, count


def join(into: Groups, groups: Groups) -> None:
    """Append observations to `into`; a property that one side lacks is null there."""
    for kind, columns in groups.items():
        have = into.get(kind)
        if have is None:
            into[kind] = {name: list(column) for name, column in columns.items()}
            continue
        before, added = len(have["device"]), len(columns["device"])
        for name, column in columns.items():
            if name in have:
                have[name].extend(column)
            else:
                have[name] = [None] * before + column
        for name, column in have.items():
            if name not in columns:
                column.extend([None] * added)


def copy(groups: Groups) -> Groups:
    return {kind: {name: list(column) for name, column in columns.items()} for kind, columns in groups.items()}


def bodies(groups: Groups, count: int) -> list[tuple[bytes, int]]:
    """Encoded bodies below the wire's limit with their counts; ValueError or TypeError for what none can carry."""
    body = wire.encode_body(groups)
    if len(body) < wire.MAX_BODY_BYTES:
        return [(body, count)]
    if count == 1:
        raise ValueError(f"cannot encode an observation of {len(body)} bytes")
    half = count // 2
    return [part for piece, size in cuts(groups, half, count - half) for part in bodies(piece, size)]


def carriable(groups: Groups) -> tuple[Groups, int]:
    """The observations that encode one by one and stay below LARGEST_ROW, and how many do not; the slow way."""
    kept: Groups = {}
    refused = 0
    for row, _ in cuts(groups, 1, 1):
        try:
            fits = len(encode(row)) < LARGEST_ROW
        except (TypeError, ValueError, OverflowError, RecursionError):  # half a surrogate pair, a foreign type
            fits = False
        if fits:
            join(kept, row)
        else:
            refused += 1
    return kept, refused
