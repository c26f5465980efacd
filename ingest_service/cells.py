"""Columns as JSON text, a cell a row, so that any run of rows is a slice of bytes.

Promise: a cell reads as `columns.to_json` spells the value: numbers with the profile's decimals, words of enumerations,
null. A kernel writes the digits; a number too long for it is written by the general encoder.
"""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numba
import numpy as np

from contracts.profiles import Property
from ingest_service.columns import NULL_INTEGER, Array, to_json

LONGEST = 1e15  # of a number times ten to the decimals: an exact integer in a float64, and 16 characters
ROOM = 24  # bytes for a number, its sign, point and comma


class Cells(msgspec.Struct, frozen=True):
    """Text of n cells, each with a comma behind it; ends: (n + 1,) int64, where each begins."""

    text: bytes
    ends: Array

    def runs(self, edges: Array) -> list[bytes]:
        """The cells between neighbouring edges (row numbers), separated by commas."""
        at = self.ends[edges].tolist()
        text = self.text
        return [text[start : end - 1] for start, end in pairwise(at)]


def integers(values: Array) -> Cells:
    """(n,) integers, none of them null."""
    return _fixed(values.astype(np.float64), 0)


def column(item: Property, values: Array) -> Cells:
    """A property's column."""
    if item.type == "number":
        plain = values.astype(np.float64)
        fits = np.abs(plain) * 10.0**item.decimals < LONGEST
        if bool((fits | ~np.isfinite(plain)).all()):
            return _fixed(plain, item.decimals)
        return _encoded(to_json(item, np.where(np.isfinite(plain), values, np.nan)))
    if item.type == "integer":
        plain = values.astype(np.float64)
        plain[values == NULL_INTEGER] = np.nan
        return _fixed(plain, 0)
    if item.type == "boolean":
        return _words(values, ("false", "true"))
    return _words(values, [msgspec.json.encode(word).decode() for word in item.values])


def _words(codes: Array, words: Sequence[str]) -> Cells:
    """(n,) codes into words of JSON; any other code is null."""
    known = [f"{word},".encode() for word in (*words, "null")]
    places = np.where((codes >= 0) & (codes < len(words)), codes, len(words)).astype(np.int64)
    sizes = np.array([len(word) for word in known], np.int64)
    ends = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(sizes[places], out=ends[1:])
    return Cells(b"".join([known[place] for place in places.tolist()]), ends)


def _encoded(values: list[object]) -> Cells:
    cells = [msgspec.json.encode(value) + b"," for value in values]
    return Cells(b"".join(cells), np.cumsum([0, *map(len, cells)]))


def _fixed(values: Array, decimals: int) -> Cells:
    text = np.empty(len(values) * ROOM, np.uint8)
    ends = np.zeros(len(values) + 1, np.int64)
    _write(values, decimals, text, ends)
    return Cells(text[: ends[-1]].tobytes(), ends)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _write(values: Array, decimals: int, text: Array, ends: Array) -> None:
    """Write (n,) float64 with so many decimals, null where not finite."""
    power = 1.0
    for _ in range(decimals):
        power *= 10.0
    digits = np.empty(20, np.uint8)
    at = 0
    for row in range(len(values)):
        value = values[row]
        if not np.isfinite(value):
            text[at], text[at + 1], text[at + 2], text[at + 3] = 110, 117, 108, 108
            at += 4
        else:
            whole = np.int64(np.rint(abs(value) * power))
            if value < 0 and whole > 0:
                text[at] = 45
                at += 1
            n = 0
            while whole > 0 or n <= decimals:
                digits[n] = 48 + whole % 10
                whole //= 10
                n += 1
            while n > 0:
                if n == decimals:
                    text[at] = 46
                    at += 1
                n -= 1
                text[at] = digits[n]
                at += 1
        text[at] = 44
        at += 1
        ends[row + 1] = at
