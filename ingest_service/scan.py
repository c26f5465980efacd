"""Bodies of a whole flush straight into arrays: a kernel reads the JSON that agents write, and nothing else.

It takes columnar JSON without blanks, escapes or exponents, numbers of at most 15 digits, plain ASCII names, words that
their enumeration has. Whatever else a body holds, good or bad, is left to `bodies`, which reads it with msgspec; a
property test holds that what the kernel takes, msgspec reads the same. Of 1.8 microseconds an observation for lists and
their conversion it leaves 0.5 (docs/adr/0014), and it runs without the interpreter's lock.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numba
import numpy as np

from contracts.profiles import Profile
from ingest_service.columns import Array
from ingest_service.names import NameIndex, find

NUMBER, INTEGER, ENUM, BOOLEAN = 0, 1, 2, 3
_TYPES = {"number": NUMBER, "integer": INTEGER, "enum": ENUM, "boolean": BOOLEAN}
MAX_DIGITS = 15  # of a number: an exact integer in a float64, and its quotient by a power of ten is the nearest one
POWERS = 10.0 ** np.arange(MAX_DIGITS + 8)
DEVICE, OBSERVED_AT = -1, -2  # columns that are no property
OTHER = -3


class Scan(msgspec.Struct, frozen=True):
    """Rows in the order of the bodies; those of bodies that were not taken are absent."""

    taken: Array  # (bodies,) bool
    kind: Array  # (n,) int16
    body: Array  # (n,) int32
    place: Array  # (n,) int32: the row's number in its body's group
    code: Array  # (n,) int64, UNKNOWN where no device has the name
    observed_ms: Array  # (n,) int64
    values: Array  # (properties of the kind with most, n) float64; NaN for null


class Scanner:
    """The names and types of all profiles as arrays."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._kinds = _Texts(list(profiles))
        items = [list(profile.properties.values()) for profile in profiles.values()]
        self._most = max((len(found) for found in items), default=0)
        self._first = np.cumsum([0, *map(len, items)]).astype(np.int64)  # property number of each kind's first
        flat = [item for found in items for item in found]
        self._properties = _Texts([item.name for item in flat])
        self._types = np.array([_TYPES[item.type] for item in flat], np.int64)
        self._words = _Texts([word for item in flat for word in item.values])
        self._first_word = np.cumsum([0, *(len(item.values) for item in flat)]).astype(np.int64)

    def scan(self, bodies: Sequence[bytes], counts: Sequence[int], towns: Sequence[int], index: NameIndex) -> Scan:
        """Read bodies, announced with so many observations each, of agents of these municipalities."""
        text = np.frombuffer(b"".join(bodies) + b"\0", np.uint8)
        ends = np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)))
        announced = np.array(counts, np.int64)
        n = int(announced.sum())
        values = np.full((self._most, n), np.nan)
        kind, body, place = np.empty(n, np.int16), np.empty(n, np.int32), np.empty(n, np.int32)
        code, observed_ms = np.empty(n, np.int64), np.empty(n, np.int64)
        taken = np.zeros(len(bodies), np.bool_)
        used = _scan(
            text, ends, announced, np.array(towns, np.int64),
            self._kinds.text, self._kinds.starts, self._first, self._properties.text, self._properties.starts,
            self._types,
            self._words.text, self._words.starts, self._first_word,
            index.text, index.starts, index.towns, index.hashes, index.codes,
            taken, kind, body, place, code, observed_ms, values,
        )  # fmt: skip
        return Scan(taken, kind[:used], body[:used], place[:used], code[:used], observed_ms[:used], values[:, :used])


class _Texts:
    """Some texts, one after the other."""

    def __init__(self, texts: Sequence[str]) -> None:
        encoded = [text.encode() for text in texts]
        self.text = np.frombuffer(b"".join(encoded) + b"\0", np.uint8)
        self.starts = np.cumsum([0, *map(len, encoded)]).astype(np.int64)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _which(text: Array, start: int, end: int, known: Array, starts: Array, first: int, last: int) -> int:
    """Number of the text[start:end] among known texts first..last, or OTHER."""
    for number in range(first, last):
        at = starts[number]
        if starts[number + 1] - at == end - start:
            same = True
            for k in range(end - start):
                if known[at + k] != text[start + k]:
                    same = False
                    break
            if same:
                return number
    return OTHER


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _string_end(text: Array, at: int, end: int) -> int:
    """Place of the quote that ends the plain string which begins at `at`, or -1."""
    while at < end:
        byte = text[at]
        if byte == 34:
            return at
        if byte == 92 or byte < 32 or byte > 126:
            return -1
        at += 1
    return -1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _is(text: Array, at: int, end: int, word: bytes) -> bool:
    if at + len(word) > end:
        return False
    for k in range(len(word)):  # noqa: SIM110 - compiled
        if text[at + k] != word[k]:
            return False
    return True


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _number(text: Array, at: int, end: int, whole_only: bool) -> Any:
    """A plain number: (value, without its point, place behind it or -1)."""
    negative = text[at] == 45
    if negative:
        at += 1
    begin = at
    digits = 0
    whole = np.int64(0)
    while at < end and 48 <= text[at] <= 57:
        whole = whole * 10 + (text[at] - 48)
        at += 1
        digits += 1
        if digits > MAX_DIGITS:
            return 0.0, 0, -1
    if digits == 0 or (text[begin] == 48 and digits > 1):
        return 0.0, 0, -1
    if at < end and text[at] == 46:
        if whole_only:
            return 0.0, 0, -1
        at += 1
        fraction = 0
        while at < end and 48 <= text[at] <= 57:
            whole = whole * 10 + (text[at] - 48)
            at += 1
            digits += 1
            fraction += 1
            if digits > MAX_DIGITS:
                return 0.0, 0, -1
        if fraction == 0:
            return 0.0, 0, -1
        value = np.float64(whole) / POWERS[fraction]
    else:
        value = np.float64(whole)
    if at < end and (text[at] == 101 or text[at] == 69):
        return 0.0, 0, -1
    return (-value, -whole, at) if negative else (value, whole, at)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _scan(
    text: Array, ends: Array, announced: Array, towns: Array,
    kinds: Array, kind_starts: Array, first_of_kind: Array, names: Array, name_starts: Array, types: Array,
    words: Array, word_starts: Array, first_word: Array,
    index_text: Array, index_starts: Array, index_towns: Array, hashes: Array, codes: Array,
    taken: Array, row_kind: Array, row_body: Array, row_place: Array, code: Array, observed_ms: Array, values: Array,
) -> int:  # fmt: skip
    """Fill the rows; how many. A body that is not plain leaves none."""
    base = 0  # rows of bodies taken so far
    begin = 0
    for number in range(len(ends)):
        end = ends[number]
        most = base + announced[number]
        at = begin
        row = base
        kinds_seen = np.uint64(0)
        plain = at < end and text[at] == 123
        at += 1
        if plain and at < end and text[at] == 125 and at + 1 == end and most == base:
            taken[number] = True
            begin = end
            continue
        while plain:  # a group a kind
            plain = False
            if at >= end or text[at] != 34:
                break
            stop = _string_end(text, at + 1, end)
            if stop < 0:
                break
            kind = _which(text, at + 1, stop, kinds, kind_starts, 0, len(kind_starts) - 1)
            at = stop + 1
            if kind < 0 or kind > 62 or kinds_seen >> np.uint64(kind) & np.uint64(1):
                break
            kinds_seen |= np.uint64(1) << np.uint64(kind)
            if not _is(text, at, end, b":{"):
                break
            at += 2
            first, last = first_of_kind[kind], first_of_kind[kind + 1]
            rows = -1
            seen = np.uint64(0)
            good = True
            while good:  # a column
                good = False
                if at >= end or text[at] != 34:
                    break
                stop = _string_end(text, at + 1, end)
                if stop < 0:
                    break
                if stop - at == 7 and _is(text, at, end, b'"device"'):
                    column = DEVICE
                elif stop - at == 12 and _is(text, at, end, b'"observed_at"'):
                    column = OBSERVED_AT
                else:
                    column = _which(text, at + 1, stop, names, name_starts, first, last)
                    if column == OTHER:
                        break
                    column -= first
                bit = np.uint64(1) << np.uint64(column + 2)
                if column > 60 or seen & bit:
                    break
                seen |= bit
                at = stop + 1
                if not _is(text, at, end, b":["):
                    break
                at += 2
                type_ = types[first + column] if column >= 0 else OTHER
                to = row
                while at < end and to < most:  # a value
                    if column == DEVICE:
                        if text[at] != 34:
                            break
                        stop = _string_end(text, at + 1, end)
                        if stop < 0:
                            break
                        code[to] = find(
                            index_text, index_starts, index_towns, hashes, codes, text, at + 1, stop, towns[number]
                        )
                        at = stop + 1
                    elif column == OBSERVED_AT:
                        _, whole, behind = _number(text, at, end, True)
                        if behind < 0:
                            break
                        observed_ms[to] = whole
                        at = behind
                    elif text[at] == 110 and _is(text, at, end, b"null"):
                        values[column, to] = np.nan
                        at += 4
                    elif type_ == ENUM:
                        if text[at] != 34:
                            break
                        stop = _string_end(text, at + 1, end)
                        if stop < 0:
                            break
                        low, high = first_word[first + column], first_word[first + column + 1]
                        word = _which(text, at + 1, stop, words, word_starts, low, high)
                        if word == OTHER:
                            break
                        values[column, to] = word - low
                        at = stop + 1
                    elif type_ == BOOLEAN:
                        if _is(text, at, end, b"true"):
                            values[column, to] = 1.0
                            at += 4
                        elif _is(text, at, end, b"false"):
                            values[column, to] = 0.0
                            at += 5
                        else:
                            break
                    else:
                        value, _, behind = _number(text, at, end, type_ == INTEGER)
                        if behind < 0:
                            break
                        values[column, to] = value
                        at = behind
                    to += 1
                    if at < end and text[at] == 44 and to < most:
                        at += 1
                        continue
                    good = at < end and text[at] == 93
                    break
                if not good:
                    break
                good = False
                at += 1
                if rows < 0:
                    rows = to - row
                if to - row != rows or at >= end:
                    break
                if text[at] == 44:
                    at += 1
                    good = True
                    continue
                plain = text[at] == 125 and seen & np.uint64(3) == np.uint64(3)
                at += 1
                break
            if not plain:
                break
            for k in range(rows):
                row_kind[row + k] = kind
                row_body[row + k] = number
                row_place[row + k] = k
            row += rows
            plain = False
            if at >= end:
                break
            if text[at] == 44:
                at += 1
                plain = True
                continue
            if text[at] == 125 and at + 1 == end and row == most:
                taken[number] = True
            break
        if taken[number]:
            base = row
        else:
            values[:, base:most] = np.nan
        begin = end
    return base
