"""Files of observations, written: CSV and Parquet as streams."""

import json
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from contracts.profiles import Profile
from ingest_service.lifecycle.table import FORMAT, schema_of


class Sink(Protocol):
    def write(self, batch: Any) -> None:
        """Take one Arrow batch."""

    def close(self) -> None:
        """Write what ends the file; the stream stays open."""


class CsvSink:
    """CSV: two comment lines (what it is; units), names, then a row a line; UTC, enums as words, empty for null."""

    def __init__(self, stream: "Counting", profile: Profile) -> None:
        fields = [pa.field("observed_at", pa.string()) if f.name == "observed_at" else f for f in schema_of(profile)]
        units = {name: item.unit for name, item in profile.properties.items() if item.unit}
        head = f"# {FORMAT} {json.dumps({'kind': profile.kind})}\n# units {json.dumps(units, ensure_ascii=False)}\n"
        stream.write(head.encode() + ",".join(field.name for field in fields).encode() + b"\n")
        # no name, word or number that the contracts admit holds a comma or a quote
        options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
        self._schema = pa.schema(fields)
        self._writer = pa_csv.CSVWriter(stream, self._schema, write_options=options)

    def write(self, batch: Any) -> None:
        place = batch.schema.get_field_index("observed_at")
        told = pc.replace_substring(batch.column(place).cast(pa.string()), " ", "T", max_replacements=1)
        columns = [told if number == place else column for number, column in enumerate(batch.columns)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class ParquetSink:
    """Parquet: a row group a batch, zstd; units in the fields' metadata."""

    def __init__(self, stream: "Counting", profile: Profile) -> None:
        self._writer = pq.ParquetWriter(stream, schema_of(profile), compression="zstd")

    def write(self, batch: Any) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class Counting:
    """A stream that counts what goes through it, and stays open: its owner closes it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.bytes = 0
        self.closed = False
        self._stream = stream

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._stream.write(data)
        self.bytes += size
        return size

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.flush()

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def opened(format: str, stream: Counting, profile: Profile) -> Sink:
    """The sink of a format (csv or parquet)."""
    return CsvSink(stream, profile) if format == "csv" else ParquetSink(stream, profile)
