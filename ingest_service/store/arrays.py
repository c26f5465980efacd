"""Numpy arrays as parameters: `int[]`, `bigint[]`, `smallint[]`, `boolean[]`, `float4[]` and `timestamptz[]` in
PostgreSQL's binary format, without a Python object an element.

source: PostgreSQL, src/backend/utils/adt/arrayfuncs.c, array_recv.
"""

import struct
from typing import Any

import numpy as np
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from contracts.profiles import Property
from ingest_service.columns import Array as Values
from ingest_service.columns import is_null

EPOCH_2000_MS = 946_684_800_000


class _Array(bytes):
    """An array in binary form; its class says of what."""


class SmallInts(_Array):
    pass


class Ints(_Array):
    pass


class BigInts(_Array):
    pass


class Floats(_Array):
    pass


class Booleans(_Array):
    pass


class Times(_Array):
    pass


# class: big-endian type of an element, its oid, the oid of its array type (pg_type.dat)
_TYPES: dict[type[_Array], tuple[str, int, int]] = {
    SmallInts: (">i2", 21, 1005),
    Ints: (">i4", 23, 1007),
    BigInts: (">i8", 20, 1016),
    Floats: (">f4", 700, 1021),
    Booleans: ("u1", 16, 1000),
    Times: (">i8", 1184, 1185),
}
_CLASS: dict[str, type[_Array]] = {"number": Floats, "integer": Ints, "enum": SmallInts, "boolean": Booleans}


class _Dumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer:
        found: bytes = obj
        return found


def register(connection: psycopg.Connection[Any]) -> None:
    """Teach a connection these arrays."""
    for class_, (_, _, oid) in _TYPES.items():
        connection.adapters.register_dumper(class_, type(f"{class_.__name__}Dumper", (_Dumper,), {"oid": oid}))


def array(class_: Any, values: Any, null: Values | None = None) -> Any:
    """The values as an array parameter of a class above; null: (n,) bool, where there is none."""
    wire, element, _ = _TYPES[class_]
    plain = np.asarray(values)
    n = len(plain)
    if n == 0:
        return class_(struct.pack(">iII", 0, 0, element))
    rows = np.empty(n, np.dtype([("size", ">i4"), ("value", wire)]))
    rows["size"] = rows.dtype["value"].itemsize
    rows["value"] = plain
    holes = null is not None and bool(null.any())
    if null is not None and holes:
        rows["size"][null] = -1
        matrix = rows.view(np.uint8).reshape(n, rows.dtype.itemsize)
        kept = np.ones(matrix.shape, bool)
        kept[null, 4:] = False
        body = matrix[kept].tobytes()
    else:
        body = rows.tobytes()
    return class_(struct.pack(">iIIii", 1, int(holes), element, n, 1) + body)


def times(at_ms: Any, null: Values | None = None) -> Any:
    """Milliseconds since 1970 UTC as timestamptz[]."""
    return array(Times, (np.asarray(at_ms, np.int64) - EPOCH_2000_MS) * 1000, null)


def column(item: Property, values: Values) -> Any:
    """A property's column as an array of its database type."""
    return array(_CLASS[item.type], values, is_null(item, values))
