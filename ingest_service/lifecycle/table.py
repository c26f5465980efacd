"""Observations of one kind as an Arrow table: what a file of them holds, its way from the database and back to it.

Columns: municipality, device, observed_at (ms, UTC), the properties in the profile's order; enums are words. pyarrow is
imported here only, when a file is read or written, so that no other command pays for it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from contracts.profiles import Profile, Property
from ingest_service.columns import NULL_CODE, NULL_INTEGER, Array, rounded
from ingest_service.store.arrays import EPOCH_2000_MS
from ingest_service.store.snapshot import Place, record_type, records

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "cannot read or write files of observations: pyarrow is not installed: pip install 'dure[services]'",
        name="pyarrow",
    ) from missing

FIXED = ("municipality", "device", "observed_at")
FORMAT = "dure observations 1"
TIME = pa.timestamp("ms", tz="UTC")
_TYPES = {"number": pa.float32(), "integer": pa.int32(), "enum": pa.string(), "boolean": pa.bool_()}


def schema_of(profile: Profile) -> Any:
    """The Arrow schema of a kind, with units."""
    fields = [pa.field("municipality", pa.string()), pa.field("device", pa.string()), pa.field("observed_at", TIME)]
    for name, item in profile.properties.items():
        fields.append(pa.field(name, _TYPES[item.type], metadata={"unit": item.unit} if item.unit else None))
    return pa.schema(fields, metadata={"format": FORMAT, "kind": profile.kind})


class Reader:
    """Records of a binary COPY (`snapshot.observations`) as Arrow batches."""

    def __init__(self, profile: Profile, places: Sequence[Place]) -> None:
        """places: by device_id."""
        self.schema = schema_of(profile)
        self._profile = profile
        self._ids = np.array([place.device_id for place in places], np.int32)
        self._towns = pa.array([place.municipality for place in places], pa.string())
        self._names = pa.array([place.name for place in places], pa.string())
        self._record = record_type(profile)

    def batch(self, piece: bytes) -> Any:
        """An Arrow batch of the rows in a piece of the stream."""
        rows = records(piece, self._record)
        place = pa.array(np.searchsorted(self._ids, rows["value0"]))
        at_ms = rows["value1"].astype(np.int64) // 1000 + EPOCH_2000_MS
        columns = [self._towns.take(place), self._names.take(place), pa.array(at_ms).cast(TIME)]
        for number, item in enumerate(self._profile.properties.values(), start=2):
            values = rows[f"value{number}"]
            columns.append(_to_arrow(item, values.astype(values.dtype.newbyteorder("="))))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _to_arrow(item: Property, values: Array) -> Any:
    if item.type == "number":
        return pa.array(values, mask=np.isnan(values))
    if item.type == "integer":
        return pa.array(values, mask=values == NULL_INTEGER)
    if item.type == "boolean":
        return pa.array(values > 0, mask=values < 0)
    words = pa.array(item.values, pa.string())
    known = (values >= 0) & (values < len(item.values))
    return words.take(pa.array(values, mask=~known))


def to_columns(profile: Profile, table: Any) -> tuple[Array, dict[str, Array]]:
    """(observed_ms, columns) of a table of good rows, as `ingest_service.columns` has them."""
    at = table.column("observed_at").combine_chunks().cast(pa.int64()).to_numpy()
    columns: dict[str, Array] = {}
    for name, item in profile.properties.items():
        column = table.column(name).combine_chunks()
        if item.type == "number":
            columns[name] = rounded(pc.fill_null(column, float("nan")).to_numpy())
        elif item.type == "integer":
            columns[name] = pc.fill_null(column, int(NULL_INTEGER)).to_numpy().astype(np.int32)
        elif item.type == "boolean":
            columns[name] = pc.fill_null(column.cast(pa.int8()), -1).to_numpy().astype(np.int8)
        else:
            codes = pc.index_in(column, pa.array(item.values, pa.string()))
            columns[name] = pc.fill_null(codes, NULL_CODE).to_numpy().astype(np.int16)
    return at, columns
