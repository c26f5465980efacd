"""Observations as arrays: a Block holds rows of one kind, a column a property, in the types of the database.

Owns the array type and the null of each property type, and how blocks are joined and taken apart.
float4 columns are rounded here once, so that detectors, the database and a replay of history see the same bits.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.profiles import Profile, Property

Array = NDArray[Any]

NULL_INTEGER = np.iinfo(np.int32).min
NULL_CODE = -1

DTYPES: dict[str, np.dtype[Any]] = {
    "number": np.dtype(np.float32),
    "integer": np.dtype(np.int32),
    "enum": np.dtype(np.int16),
    "boolean": np.dtype(np.int8),
}


class Block(msgspec.Struct):
    """n rows of one kind, in arrival order."""

    kind: str
    device_id: Array  # (n,) int32
    slot: Array  # (n,) int64: the device's place in the kind's arrays in memory
    observed_ms: Array  # (n,) int64, ms since 1970 UTC
    agent: Array  # (n,) int32: index of the agent in the registry
    columns: dict[str, Array]  # property -> (n,) in DTYPES, nulls as below

    def __len__(self) -> int:
        return len(self.device_id)

    def take(self, chosen: Array) -> "Block":
        """The rows that a mask or an index array chooses."""
        return Block(
            self.kind,
            self.device_id[chosen],
            self.slot[chosen],
            self.observed_ms[chosen],
            self.agent[chosen],
            {name: column[chosen] for name, column in self.columns.items()},
        )


def join(blocks: list[Block]) -> Block:
    """Blocks of one kind, one after the other."""
    if len(blocks) == 1:
        return blocks[0]
    first = blocks[0]
    return Block(
        first.kind,
        np.concatenate([block.device_id for block in blocks]),
        np.concatenate([block.slot for block in blocks]),
        np.concatenate([block.observed_ms for block in blocks]),
        np.concatenate([block.agent for block in blocks]),
        {name: np.concatenate([block.columns[name] for block in blocks]) for name in first.columns},
    )


def null_of(item: Property) -> float | int:
    if item.type == "number":
        return float("nan")
    return int(NULL_INTEGER) if item.type == "integer" else NULL_CODE


def is_null(item: Property, column: Array) -> Array:
    """(n,) bool: where a column has no value."""
    mask: Array = np.isnan(column) if item.type == "number" else column == null_of(item)
    return mask


def rounded(values: Array) -> Array:
    """Numbers as float4, NaN for null; beyond its range infinite. -0.0 is 0.0: the columnstore keeps one of the two."""
    with np.errstate(over="ignore"):
        found: Array = values.astype(np.float32)
    found += np.float32(0)
    return found


def empty_columns(profile: Profile, n: int) -> dict[str, Array]:
    """Columns of n nulls for every property of the kind."""
    return {name: np.full(n, null_of(item), DTYPES[item.type]) for name, item in profile.properties.items()}


def as_float(item: Property, column: Array) -> Array:
    """(n,) float64 with NaN for null: what detectors read."""
    values: Array = column.astype(np.float64)
    if item.type != "number":
        values[is_null(item, column)] = np.nan
    return values


def to_json(item: Property, column: Array) -> list[Any]:
    """Values as the wire and the API spell them: numbers rounded to the profile's decimals, enums as words, None for
    null.
    """
    if item.type == "number":
        rounded: list[Any] = np.round(column.astype(np.float64), item.decimals).tolist()
        for row in np.flatnonzero(np.isnan(column)).tolist():
            rounded[row] = None
        return rounded
    if item.type == "integer":
        return [None if value == NULL_INTEGER else value for value in column.tolist()]
    if item.type == "boolean":
        return [None if value < 0 else bool(value) for value in column.tolist()]
    return [item.values[code] if 0 <= code < len(item.values) else None for code in column.tolist()]
