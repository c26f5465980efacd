"""Binary COPY from arrays: rows of a block as PostgreSQL's binary format, nulls included, written by a kernel.

source: PostgreSQL documentation, COPY, "Binary Format"; timestamptz is microseconds since 2000-01-01 UTC.
"""

import struct
from collections.abc import Mapping

import numba
import numpy as np

from contracts.profiles import Profile
from ingest_service.columns import Array, is_null
from ingest_service.store.arrays import EPOCH_2000_MS
from ingest_service.store.connection import Connection

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_BIG_ENDIAN = {"number": ">f4", "integer": ">i4", "enum": ">i2", "boolean": "u1"}


def encode(profile: Profile, device_id: Array, observed_ms: Array, columns: Mapping[str, Array]) -> bytes:
    """n rows (device_id, observed_at, properties in the profile's order) as a binary COPY stream."""
    n = len(device_id)
    parts = [_bytes(device_id, ">i4"), _bytes((observed_ms - EPOCH_2000_MS) * 1000, ">i8")]
    nulls = np.zeros((n, 2 + len(profile.properties)), np.bool_)
    for place, (name, item) in enumerate(profile.properties.items(), start=2):
        column = columns[name]
        nulls[:, place] = is_null(item, column)
        parts.append(_bytes(column, _BIG_ENDIAN[item.type]))
    sizes = np.array([part.shape[1] for part in parts], np.int64)
    data = np.hstack(parts) if n else np.zeros((0, int(sizes.sum())), np.uint8)
    room = np.empty(n * (2 + 4 * len(parts) + int(sizes.sum())), np.uint8)
    used = _fill(room, data, nulls, sizes)
    return _SIGNATURE + room[:used].tobytes() + _TRAILER


def copy(
    connection: Connection, profile: Profile, device_id: Array, observed_ms: Array, columns: Mapping[str, Array]
) -> None:
    """COPY rows into observation_<kind>. Expects the partitions to exist."""
    listed = ", ".join(("device_id", "observed_at", *profile.properties))
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY observation_{profile.kind} ({listed}) FROM STDIN (FORMAT BINARY)".encode()) as stream,
    ):
        stream.write(encode(profile, device_id, observed_ms, columns))


def _bytes(column: Array, dtype: str) -> Array:
    swapped = np.ascontiguousarray(column.astype(dtype))
    taken: Array = swapped.view(np.uint8).reshape(len(column), swapped.dtype.itemsize)
    return taken


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill(room: Array, data: Array, nulls: Array, sizes: Array) -> int:
    """Write rows into `room`; bytes used. data: (n, sum of sizes) uint8 big-endian; nulls: (n, fields) bool."""
    fields = len(sizes)
    at = 0
    for row in range(data.shape[0]):
        room[at] = fields >> 8
        room[at + 1] = fields & 255
        at += 2
        source = 0
        for field in range(fields):
            size = sizes[field]
            if nulls[row, field]:
                for byte in range(4):
                    room[at + byte] = 255
                at += 4
            else:
                room[at] = 0
                room[at + 1] = 0
                room[at + 2] = 0
                room[at + 3] = size
                at += 4
                for byte in range(size):
                    room[at + byte] = data[row, source + byte]
                at += size
            source += size
    return at
