"""Files of observations, read: parts of a fixed number of rows, each judged row by row.

A part holds the rows that can be read, as an Arrow table of the profile's schema with the number of each row, and a
refusal for each that cannot. Rows count from 1, comments and the line of names apart. The same file gives the same
parts, which is what the ledger of imports leans on.
"""

import csv
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from contracts import topics
from contracts.profiles import Profile, Property
from contracts.reasons import Reason
from ingest_service.bodies import LATEST_MS
from ingest_service.lifecycle.table import FIXED, FORMAT, TIME, schema_of
from ingest_service.rows import EARLIEST_MS

IGNORED = ("row", "reason", "detail")  # what a file of refusals has besides
MAX_INT = 2**31 - 1


class BadFile(ValueError):
    """A file that cannot be taken in at all; the message says why."""


class Refusal(NamedTuple):
    row: int
    reason: Reason
    detail: str
    cells: dict[str, str]  # as the file has them


class Part(NamedTuple):
    begin: int  # number of its first row
    rows: int
    table: Any  # the readable rows, with a column `row`
    refusals: list[Refusal]


def parts(path: Path, format: str, profile: Profile, part_rows: int, skip: int) -> Iterator[Part]:
    """Parts of a file, without reading the values of the first `skip`; raises BadFile, OSError."""
    return (_csv_parts if format == "csv" else _parquet_parts)(path, profile, part_rows, skip)


def format_of(path: Path) -> str:
    """csv or parquet, by the name and else by the first bytes."""
    with path.open("rb") as file:
        return "parquet" if file.read(4) == b"PAR1" else "csv"


def kind_of(path: Path, format: str) -> str | None:
    """The kind that a file says it is of; None when it says nothing."""
    if format == "parquet":
        try:
            kind = (pq.read_schema(path).metadata or {}).get(b"kind")
        except pa.ArrowException as error:
            raise BadFile(f"cannot read {path} as Parquet: {error}") from error
        return kind.decode() if kind else None
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head, _, rest = file.readline().partition("{")
    if head.strip() != f"# {FORMAT}":
        return None
    try:
        return str(json.loads("{" + rest)["kind"])
    except (ValueError, KeyError):
        raise BadFile(f"cannot read {path}: its first line does not say of which kind it is") from None


def _csv_parts(path: Path, profile: Profile, part_rows: int, skip: int) -> Iterator[Part]:
    """A row is a line: no value that we take holds a line break."""
    with path.open("rb") as file:
        lines = itertools.dropwhile(lambda line: line.startswith((b"#", b"\xef\xbb\xbf#")), file)
        first = next(lines, b"").decode("utf-8-sig", "replace")
        names = next(csv.reader([first]), [])
        _check_names(path, profile, names)
        for number in itertools.count():
            part = list(itertools.islice(lines, part_rows))
            if not part:
                return
            if number < skip:
                continue
            begin = number * part_rows + 1
            text = _text_columns(part, names)
            if text is not None:
                yield _judged(profile, begin, len(part), text, list(range(begin, begin + len(part))), [])
            else:
                yield _judged(profile, begin, len(part), *_line_by_line(part, names, begin))


def _text_columns(lines: list[bytes], names: Sequence[str]) -> dict[str, Any] | None:
    """Columns of text with None for nothing; None when a line is not as the others."""
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(b"".join(lines)),
            pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 30),
            pa_csv.ParseOptions(ignore_empty_lines=False),
            pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException:
        return None
    return {name: _plain(table.column(name)) for name in names} if table.num_rows == len(lines) else None


def _line_by_line(
    lines: list[bytes], names: Sequence[str], begin: int
) -> tuple[dict[str, Any], list[int], list[Refusal]]:
    """The same, with the numbers of the lines that fit, and refusals of those that do not."""
    rows: list[list[str]] = []
    numbers: list[int] = []
    refusals: list[Refusal] = []
    for number, line in enumerate(lines, begin):
        try:
            row = next(csv.reader([line.decode("utf-8").rstrip("\r\n")]), [])
            detail = f"{len(row)} values where there are {len(names)} names"
        except (csv.Error, UnicodeDecodeError) as error:
            row, detail = [line.decode("utf-8", "replace").replace("\x00", "\ufffd").strip()], str(error)
        if len(row) == len(names):
            rows.append(row)
            numbers.append(number)
        elif row:  # an empty line says nothing
            refusals.append(Refusal(number, Reason.MALFORMED_BODY, detail, dict(zip(names, row, strict=False))))
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    text = {
        name: pa.array([value or None for value in column], pa.string())
        for name, column in zip(names, columns, strict=True)
    }
    return text, numbers, refusals


def _parquet_parts(path: Path, profile: Profile, part_rows: int, skip: int) -> Iterator[Part]:
    try:
        file = pq.ParquetFile(path)
        _check_names(path, profile, file.schema_arrow.names)
        at = file.schema_arrow.field("observed_at").type
        if pa.types.is_timestamp(at) and at.tz is None:
            raise BadFile(f"cannot import {path}: its observed_at has no time zone, so its instants are not known")
        wanted = [name for name in file.schema_arrow.names if name not in IGNORED]
        batches = file.iter_batches(batch_size=part_rows, columns=wanted)
        for number, batch in enumerate(_of_equal_size(batches, part_rows)):
            if number < skip:
                continue
            begin = number * part_rows + 1
            numbers = list(range(begin, begin + len(batch)))
            text = {name: _plain(batch.column(name)) for name in batch.schema.names}
            yield _judged(profile, begin, len(batch), text, numbers, [])
    except pa.ArrowException as error:
        raise BadFile(f"cannot read {path} as Parquet: {error}") from error


def _of_equal_size(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    """The same rows in tables of `rows` each but for the last, however the file groups them."""
    kept: list[Any] = []
    count = 0
    for batch in batches:
        kept.append(batch)
        count += len(batch)
        while count >= rows:
            whole = pa.Table.from_batches(kept)
            yield whole.slice(0, rows).combine_chunks()
            kept = whole.slice(rows).to_batches()
            count -= rows
    if count:
        yield pa.Table.from_batches(kept).combine_chunks()


def _check_names(path: Path, profile: Profile, names: Sequence[str]) -> None:
    missing = [name for name in FIXED if name not in names]
    if missing:
        listed = ", ".join(names) or "none"
        raise BadFile(f"cannot import {path}: it has no column {missing[0]!r}; its columns are {listed}")
    unknown = [name for name in names if name not in (*FIXED, *IGNORED, *profile.properties)]
    if unknown:
        known = ", ".join(profile.properties)
        raise BadFile(f"cannot import {path}: column {unknown[0]!r} is no property of {profile.kind}; they are {known}")
    twice = [name for name in names if list(names).count(name) > 1]
    if twice:
        raise BadFile(f"cannot import {path}: two columns are named {twice[0]!r}")


def _plain(column: Any) -> Any:
    """A Parquet column as one array, dictionaries read."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _judged(
    profile: Profile, begin: int, rows: int, given: dict[str, Any], numbers: list[int], refusals: list[Refusal]
) -> Part:
    """Columns cast to the profile's types; rows that cannot be are refused."""
    wrong: dict[int, tuple[Reason, str]] = {}
    columns: dict[str, Any] = {}
    count = len(numbers)
    for name in ("municipality", "device"):
        columns[name] = given[name].cast(pa.string())
        reason, check = (
            (Reason.UNKNOWN_MUNICIPALITY, topics.is_municipality)
            if name == "municipality"
            else (Reason.UNKNOWN_DEVICE, topics.is_device)
        )
        for value in pc.unique(columns[name]).to_pylist():
            if value is None or not check(value):
                at = pc.is_null(columns[name]) if value is None else pc.equal(columns[name], value)
                for place in _places(at):
                    wrong.setdefault(place, (reason, f"{name}: {value!r} is no name"))
    columns["observed_at"] = _cast(given["observed_at"], TIME, "observed_at", wrong)
    for place in _places(pc.is_null(columns["observed_at"])):
        wrong.setdefault(place, (Reason.WRONG_TYPE, "observed_at: nothing"))
    at_ms = columns["observed_at"].cast(pa.int64())
    for place in _places(pc.or_(pc.less(at_ms, EARLIEST_MS), pc.greater_equal(at_ms, LATEST_MS))):
        reason = Reason.TOO_LONG_AGO if at_ms[place].as_py() < EARLIEST_MS else Reason.TOO_FAR_AHEAD
        wrong.setdefault(place, (reason, f"observed_at: {columns['observed_at'][place]} is before 2000 or after 2099"))
    types = schema_of(profile)
    for name, item in profile.properties.items():
        if name not in given:
            columns[name] = pa.nulls(count, types.field(name).type)
            continue
        columns[name] = _cast(given[name], types.field(name).type, name, wrong)
        for place, reason, words in _implausible(item, columns[name]):
            wrong.setdefault(place, (reason, f"{name}: {words}"))
    table = pa.table({"row": pa.array(numbers, pa.int64()), **columns})
    if wrong:
        for place, (reason, detail) in sorted(wrong.items()):
            cells = {name: "" if (v := column[place].as_py()) is None else str(v) for name, column in given.items()}
            refusals.append(Refusal(numbers[place], reason, detail, cells))
        good = [place for place in range(count) if place not in wrong]
        table = table.take(pa.array(good, pa.int64()))
    return Part(begin, rows, table, sorted(refusals))


def _cast(column: Any, type_: Any, name: str, wrong: dict[int, tuple[Reason, str]]) -> Any:
    """The column in another type; element by element only where it does not go as a whole."""
    try:
        return column.cast(type_)
    except pa.ArrowException:
        pass
    values: list[Any] = []
    for place, value in enumerate(column):
        try:
            values.append(value.cast(type_).as_py())
        except pa.ArrowException:
            wrong.setdefault(place, (Reason.WRONG_TYPE, f"{name}: {value.as_py()!r} is no {_word(type_)}"))
            values.append(None)
    return pa.array(values, type_)


def _word(type_: Any) -> str:
    if pa.types.is_timestamp(type_):
        return "time with an offset, such as 2026-11-22T00:30:00.000Z"
    return "number" if pa.types.is_floating(type_) else "whole number" if pa.types.is_integer(type_) else str(type_)


def _implausible(item: Property, column: Any) -> Iterator[tuple[int, Reason, str]]:
    if item.type == "enum":
        known = pc.or_(pc.is_null(column), pc.is_in(column, pa.array(item.values, pa.string())))
        for place in _places(pc.invert(known)):
            yield place, Reason.UNKNOWN_VALUE, f"{column[place].as_py()!r} is not one of {', '.join(item.values)}"
    elif item.numeric:
        low, high = item.plausible or (-math.inf, math.inf)
        if item.type == "number":  # rounded as the column is: a bound itself lies within
            low, high = (pa.scalar(bound, column.type) for bound in (low, high))
        outside = pc.or_(pc.less(column, low), pc.greater(column, high))
        if item.type == "number":
            outside = pc.or_(outside, pc.invert(pc.is_finite(column)))
        else:
            outside = pc.or_(outside, pc.equal(column, -MAX_INT - 1))  # stands for null
        for place in _places(outside):
            words = f"{column[place].as_py()!r} is not within {item.plausible or 'what can be'}"
            yield place, Reason.IMPLAUSIBLE_VALUE, words


def _places(mask: Any) -> list[int]:
    """Where a mask is true; null is false."""
    found: list[int] = pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()
    return found
