"""Tables of cells: CSV, CSV.gz and Parquet alike as a header and rows of text or values. Knows no map."""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Cell = Any  # text from CSV; text, number, time or None from Parquet


class TableError(ValueError):
    """A file that is no table we can read; the message names it."""


def open_table(file: Path) -> tuple[list[str], Iterator[list[Cell]]]:
    """(column names, rows); raises TableError."""
    if not file.is_file():
        raise TableError(f"{file}: no such file")
    if file.suffix == ".parquet":
        return _parquet(file)
    if file.name.endswith((".csv", ".csv.gz")):
        return _csv(file)
    raise TableError(f"{file}: cannot be read: neither .csv, .csv.gz nor .parquet")


def _csv(file: Path) -> tuple[list[str], Iterator[list[Cell]]]:
    rows = _lines(file)
    header = next(rows, None)
    if header is None:
        raise TableError(f"{file}: is empty")
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise TableError(f"{file}: column {twice!r} stands there twice")
    return header, rows


def _lines(file: Path) -> Iterator[list[str]]:
    opening = gzip.open if file.suffix == ".gz" else open
    try:
        with opening(file, "rt", encoding="utf-8-sig", newline="") as text:
            yield from csv.reader(text)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{file}: cannot be read: {error}") from error


def _parquet(file: Path) -> tuple[list[str], Iterator[list[Cell]]]:
    import pyarrow.lib
    import pyarrow.parquet  # pyarrow is large: only those who read Parquet load it

    try:
        table = pyarrow.parquet.ParquetFile(file)
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise TableError(f"{file}: cannot be read: {error}") from error
    names = list(table.schema_arrow.names)
    return names, ([row[name] for name in names] for batch in table.iter_batches() for row in batch.to_pylist())


def is_empty(cell: Cell) -> bool:
    """Whether the cell holds nothing."""
    return cell is None or (isinstance(cell, str) and not cell.strip()) or cell != cell
