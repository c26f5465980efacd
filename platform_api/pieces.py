"""The fleet as JSON in columns, and as gzip, put together from pieces that are made once.

What never changes of a part (numbers, names, places) is written and compressed when it is loaded; what does (states,
times, values) when it has. Each piece is deflated so that it ends at a byte and refers to nothing before it, so pieces
laid one after another are one stream (RFC 1951, 3.2.4; zlib's Z_FULL_FLUSH), and a map of 100,000 devices is not
compressed whole because one of them spoke.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from contracts.profiles import Property
from platform_api.earth import Box
from platform_api.fleet import NEVER, STATES, Part
from platform_api.queries.packed import NOTHING, Array

LEVEL = 1  # a fifth of the time of 6, a tenth more bytes
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: deflate, no name, no time
_END = b"\x03\x00"  # an empty last block


class Piece(msgspec.Struct, frozen=True):
    plain: bytes
    deflated: bytes


class Text(msgspec.Struct):
    """A part's pieces: what stays, what moves, and the version that moved last."""

    fixed: Piece
    moving: Piece
    version: int


def piece(plain: bytes) -> Piece:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -15)
    return Piece(plain, packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH))


def plain(pieces: Iterable[Piece]) -> bytes:
    return b"".join(item.plain for item in pieces)


def compressed(pieces: Sequence[Piece]) -> bytes:
    """The pieces as one gzip file."""
    checksum, size = 0, 0
    for item in pieces:
        checksum, size = zlib.crc32(item.plain, checksum), size + len(item.plain)
    tail = struct.pack("<II", checksum, size & 0xFFFFFFFF)
    return b"".join((_HEAD, *(item.deflated for item in pieces), _END, tail))


def of_part(part: Part) -> list[Piece]:
    """A part whole, from what is kept where that is still true."""
    text = part.text
    if text is None:
        part.text = text = Text(piece(_fixed(part, None)), piece(_moving(part, None)), part.version)
    elif text.version != part.version:
        text.moving, text.version = piece(_moving(part, None)), part.version
    return [text.fixed, text.moving]


def of_box(part: Part, box: Box) -> list[Piece]:
    """The devices of a part that lie in a box; nothing when there are none."""
    west, south, east, north = box
    inside = (part.longitude >= west) & (part.longitude <= east) & (part.latitude >= south) & (part.latitude <= north)
    rows = np.flatnonzero(inside)
    return [piece(_fixed(part, rows)), piece(_moving(part, rows))] if len(rows) else []


def _fixed(part: Part, rows: Array | None) -> bytes:
    """`{"municipality": …, "latitude": […]`, left open."""
    names = part.device if rows is None else [part.device[row] for row in rows]
    agents = _cut(part.agent_id, rows)
    known = {
        "municipality": part.municipality,
        "kind": part.profile.kind,
        "device_id": _cut(part.device_id, rows).tolist(),
        "device": names,
        "agent_id": _with_nulls(agents, agents == 0),
        "longitude": _cut(part.longitude, rows).tolist(),
        "latitude": _cut(part.latitude, rows).tolist(),
    }
    return msgspec.json.encode(known)[:-1]


def _moving(part: Part, rows: Array | None) -> bytes:
    """`, "state": […], "values": {…}}`: the rest."""
    observed = _cut(part.observed_ms, rows)
    known = {
        "state": np.array(STATES, object)[_cut(part.state, rows)].tolist(),
        "observed_at": _with_nulls(observed, observed == NEVER),
        "values": {
            name: written(item, _cut(part.values[name], rows)) for name, item in part.profile.properties.items()
        },
    }
    return b"," + msgspec.json.encode(known)[1:]


def written(item: Property, column: Array) -> list[float | int | str | bool | None]:
    """A column as JSON shows it: float4 by the fewest digits that say it, enums by name, nulls."""
    if item.type == "number":
        return _with_nulls(shortest(column, item.decimals), ~np.isfinite(column))
    unknown = column == NOTHING
    if item.type == "integer":
        return _with_nulls(column, unknown)
    names = np.array([*(item.values if item.type == "enum" else (False, True)), None], object)
    return list(names[np.where(unknown | (column >= len(names) - 1), len(names) - 1, column)].tolist())


def shortest(column: Array, decimals: int) -> Array:
    """(n,) float64 that JSON writes with few digits and that are the same float4 again; NaN stays.

    Nearly all have the profile's decimals; the others take as many more as they need, nine significant ones at most.
    """
    exact = column.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.round(exact, decimals)
        left = np.flatnonzero((found.astype(np.float32) != column) & np.isfinite(column))
        for more in range(decimals + 1, decimals + 10):
            if not len(left):
                break
            found[left] = np.round(exact[left], more)
            left = left[found[left].astype(np.float32) != column[left]]
    found[left] = [float(str(value)) for value in column[left]]
    return found


def _cut(column: Array, rows: Array | None) -> Array:
    return column if rows is None else column[rows]


def _with_nulls(column: Array, unknown: Array) -> list[float | int | str | bool | None]:
    if not unknown.any():
        return list(column.tolist())
    shown = column.astype(object)
    shown[unknown] = None
    return list(shown.tolist())
