"""Device names as an index that a kernel can read: (municipality, name) -> code, without Python objects.

An open-addressing hash table over the names' bytes. Codes are dense numbers in the order of registration; a code never
gets another name.
"""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from ingest_service.columns import Array

UNKNOWN = -1
_FNV_BASIS, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # Fowler, Noll, Vo: FNV-1a, 64 bits


class NameIndex:
    """Grows with the registry: `add` what it does not hold yet before looking up."""

    def __init__(self) -> None:
        self.size = 0  # codes held
        self.text = np.zeros(1 << 12, np.uint8)
        self.starts = np.zeros(1 << 8, np.int64)  # of each code's name in text; one more than codes
        self.towns = np.zeros(1 << 8, np.int32)  # by code
        self.hashes = np.zeros(1 << 9, np.uint32)
        self.codes = np.full(1 << 9, UNKNOWN, np.int32)

    def add(self, names: Sequence[str], towns: Sequence[int]) -> None:
        """The names of the next codes, and the number of each one's municipality."""
        if not names:
            return
        encoded = [name.encode() for name in names]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        first, n = self.size, self.size + len(names)
        used = int(self.starts[first])
        total = used + int(lengths.sum())
        self.text = _room(self.text, total)
        self.starts = _room(self.starts, n + 1)
        self.towns = _room(self.towns, n)
        self.text[used:total] = np.frombuffer(b"".join(encoded), np.uint8)
        self.starts[first + 1 : n + 1] = used + np.cumsum(lengths)
        self.towns[first:n] = towns
        self.size = n
        if 2 * n > len(self.codes):
            size = len(self.codes)
            while 2 * n > size:
                size *= 2
            self.hashes, self.codes = np.zeros(size, np.uint32), np.full(size, UNKNOWN, np.int32)
            first = 0
        _insert(self.text, self.starts, self.towns, self.hashes, self.codes, first, n)


def _room(array: Array, n: int) -> Array:
    """The array with room for n elements at least."""
    if n <= len(array):
        return array
    grown = np.zeros(max(n, 2 * len(array)), array.dtype)
    grown[: len(array)] = array
    return grown


@numba.njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def hash_of(text: Array, start: int, end: int, town: int) -> Any:
    found = _FNV_BASIS ^ np.uint64(town)
    found *= _FNV_PRIME
    for at in range(start, end):
        found = (found ^ np.uint64(text[at])) * _FNV_PRIME
    return found ^ (found >> np.uint64(29))


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _insert(text: Array, starts: Array, towns: Array, hashes: Array, codes: Array, first: int, n: int) -> None:
    mask = np.uint64(len(codes) - 1)
    for code in range(first, n):
        found = hash_of(text, starts[code], starts[code + 1], towns[code])
        place = found & mask
        while codes[place] >= 0:
            place = (place + np.uint64(1)) & mask
        hashes[place] = np.uint32(found >> np.uint64(32))
        codes[place] = code


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def find(
    index_text: Array,
    starts: Array,
    towns: Array,
    hashes: Array,
    codes: Array,
    text: Array,
    start: int,
    end: int,
    town: int,
) -> int:
    """Code of the name text[start:end] in a municipality, or UNKNOWN."""
    mask = np.uint64(len(codes) - 1)
    found = hash_of(text, start, end, town)
    short = np.uint32(found >> np.uint64(32))
    place = found & mask
    while codes[place] >= 0:
        code = codes[place]
        if hashes[place] == short and towns[code] == town and starts[code + 1] - starts[code] == end - start:
            other = starts[code]
            same = True
            for at in range(end - start):
                if index_text[other + at] != text[start + at]:
                    same = False
                    break
            if same:
                return int(code)
        place = (place + np.uint64(1)) & mask
    return UNKNOWN
