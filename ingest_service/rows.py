"""Rows of a flush, a kind at a time: judged as arrays, wherever they were read.

Owns the judgement of an observation's device, time and plausible range. What fails becomes a Refusal with its reason;
the rows around it go on. Pure: registry and times are arguments.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
from operator import attrgetter
from typing import Any, Protocol

import msgspec
import numpy as np

from contracts.profiles import Profile, Property
from contracts.reasons import Reason
from ingest_service.bodies import Group, Refusal, content_of, storable
from ingest_service.columns import DTYPES, NULL_CODE, NULL_INTEGER, Array, Block, is_null, rounded
from ingest_service.registry import UNKNOWN, Agent, Registry
from ingest_service.scan import Scan

EARLIEST_MS = 946_684_800_000  # 2000-01-01: no sensor of ours is older, and each partition costs a table
UNLISTED = -2  # code of a word that an enumeration does not have


class Window(msgspec.Struct, frozen=True):
    """Times that are believed, ms since 1970."""

    earliest_ms: int
    latest_ms: int


class Source(Protocol):
    """The batch that some rows came in."""

    agent: Agent
    window: Window

    def original(self, kind: str, place: int) -> tuple[str, Mapping[str, Any]]:
        """Device and values of a row of this batch's group, as they were written."""


class Table(msgspec.Struct):
    """n rows of one kind, not judged yet."""

    source: Array  # (n,) int64: number of the batch in the flush
    place: Array  # (n,) int32: the row's number in its batch's group; in `Slow`, among all its rows
    code: Array  # (n,) int64 of the device, UNKNOWN where no device of the municipality has the name
    observed_ms: Array  # (n,) int64
    columns: dict[str, Array]  # as of a Block

    def take(self, chosen: Array) -> "Table":
        columns = {name: column[chosen] for name, column in self.columns.items()}
        return Table(self.source[chosen], self.place[chosen], self.code[chosen], self.observed_ms[chosen], columns)


class Slow:
    """Rows of one kind that were read into lists, a batch at a time."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._words = {
            name: {value: code for code, value in enumerate(item.values)} | {None: NULL_CODE}
            for name, item in profile.properties.items()
            if item.type == "enum"
        }
        self._columns_of = attrgetter("device", *profile.properties)
        self._devices: list[str] = []
        self._codes: list[int] = []
        self._times: list[int] = []
        self._values: list[list[Any]] = [[] for _ in profile.properties]
        self._sources: list[int] = []

    def add(self, group: Group, source: int, known: Mapping[str, int]) -> int:
        """Take a group; how many rows. known: codes of the source's municipality's devices, by name."""
        devices, *columns = self._columns_of(group)
        n = len(devices)
        self._devices += devices
        self._codes += map(known.get, devices, repeat(UNKNOWN))
        self._times += group.observed_at
        for into, values in zip(self._values, columns, strict=True):
            into += values or repeat(None, n)
        self._sources += repeat(source, n)
        return n

    def table(self) -> Table:
        places = np.arange(len(self._devices), dtype=np.int32)
        columns = {
            name: self._column(item, values)
            for (name, item), values in zip(self.profile.properties.items(), self._values, strict=True)
        }
        sources, codes = np.array(self._sources, np.int64), np.array(self._codes, np.int64)
        return Table(sources, places, codes, np.array(self._times, np.int64), columns)

    def original(self, place: int) -> tuple[str, Mapping[str, Any]]:
        """Device and values of a row, as they were written."""
        values = {name: listed[place] for name, listed in zip(self.profile.properties, self._values, strict=True)}
        return self._devices[place], values

    def _column(self, item: Property, values: list[Any]) -> Array:
        if item.type == "enum":
            return np.array(list(map(self._words[item.name].get, values, repeat(UNLISTED))), np.int16)
        return column(item, np.array(values, np.float64))  # None becomes NaN


def column(item: Property, values: Array) -> Array:
    """float64 with NaN for null as a column of the property's type."""
    if item.type == "number":
        return rounded(values)
    null = np.isnan(values)
    filled = np.where(null, NULL_INTEGER if item.type == "integer" else NULL_CODE, values)
    return np.clip(filled, NULL_INTEGER + ~null, 2**31 - 1).astype(DTYPES[item.type])


def scanned(profile: Profile, number: int, scan: Scan, batches: Array) -> Table:
    """Rows of a kind (its number in the scan) that a scan took. batches: number in the flush of each scanned body."""
    mine = slice(None) if bool((scan.kind == number).all()) else np.flatnonzero(scan.kind == number)
    columns = {
        name: column(item, scan.values[row, mine]) for row, (name, item) in enumerate(profile.properties.items())
    }
    return Table(batches[scan.body[mine]], scan.place[mine], scan.code[mine], scan.observed_ms[mine], columns)


def judge(
    profile: Profile, fast: Table, slow: Slow | None, sources: Sequence[Source], registry: Registry
) -> tuple[Block | None, list[tuple[Source, Refusal]]]:
    """The good rows, in the order of their batches, as a block; the others with their source."""
    table, are_slow = fast, np.zeros(len(fast.code), np.bool_)
    if slow is not None:
        table = _join(fast, slow.table())
        are_slow = np.arange(len(table.code)) >= len(fast.code)
        order = np.argsort(table.source, kind="stable")
        table, are_slow = table.take(order), are_slow[order]
    if len(table.code) == 0:
        return None, []
    code, at_ms = table.code, table.observed_ms
    windows = [source.window for source in sources]
    good = (code != UNKNOWN) & registry.is_kind(code, profile.kind)
    good &= at_ms >= _each([window.earliest_ms for window in windows], table.source)
    good &= at_ms <= _each([window.latest_ms for window in windows], table.source)
    for name, item in profile.properties.items():
        if item.plausible is not None or item.type == "enum":
            good &= _plausible(item, table.columns[name])
    refused: list[tuple[Source, Refusal]] = []
    if not good.all():
        for row in np.flatnonzero(~good).tolist():
            source, place = sources[int(table.source[row])], int(table.place[row])
            written = (
                slow.original(place) if slow is not None and are_slow[row] else source.original(profile.kind, place)
            )
            refused.append((source, _refusal(profile, table, row, *written, source, registry)))
        if not good.any():
            return None, refused
        table = table.take(good)
    agents = np.array([source.agent.index for source in sources], np.int32)[table.source]
    code = table.code
    block = Block(
        profile.kind, registry.device_ids(code), registry.slots(code), table.observed_ms, agents, table.columns
    )
    return block, refused


def _join(first: Table, second: Table) -> Table:
    return Table(
        np.concatenate([first.source, second.source]),
        np.concatenate([first.place, second.place]),
        np.concatenate([first.code, second.code]),
        np.concatenate([first.observed_ms, second.observed_ms]),
        {name: np.concatenate([column, second.columns[name]]) for name, column in first.columns.items()},
    )


def _each(values: list[int], source: Array) -> Any:
    """One value when all sources have the same, or (n,) of them."""
    return values[0] if len(set(values)) == 1 else np.array(values, np.int64)[source]


def _refusal(
    profile: Profile,
    table: Table,
    row: int,
    device: str,
    values: Mapping[str, Any],
    source: Source,
    registry: Registry,
) -> Refusal:
    at_ms = int(table.observed_ms[row])
    reason, detail = _why(profile, table, row, device, values, source, registry)
    content = content_of(profile.kind, device, at_ms, values)
    return Refusal(reason, detail, profile.kind, device, storable(at_ms), content)


def _why(
    profile: Profile,
    table: Table,
    row: int,
    device: str,
    values: Mapping[str, Any],
    source: Source,
    registry: Registry,
) -> tuple[Reason, str]:
    for name, item in profile.properties.items():
        if item.type == "enum" and table.columns[name][row] == UNLISTED:
            return Reason.UNKNOWN_VALUE, f"{name} = {values[name]!r}: known are {', '.join(item.values)}"
    code, at_ms = int(table.code[row]), int(table.observed_ms[row])
    kind, town, window = profile.kind, source.agent.municipality, source.window
    if code == UNKNOWN:
        if registry.exists_elsewhere(device):
            return Reason.FOREIGN_DEVICE, f"device {device!r} is not of municipality {town}"
        return Reason.UNKNOWN_DEVICE, f"device {device!r} is not registered in {town}"
    if not bool(registry.is_kind(np.array([code]), kind)[0]):
        return Reason.KIND_MISMATCH, f"device {device!r} is registered as another kind than {kind}"
    if at_ms > window.latest_ms:
        return Reason.TOO_FAR_AHEAD, f"observed_at = {_iso(at_ms)}: later than {_iso(window.latest_ms)}"
    if at_ms < window.earliest_ms:
        return Reason.TOO_LONG_AGO, f"observed_at = {_iso(at_ms)}: earlier than {_iso(window.earliest_ms)}"
    for name, item in profile.properties.items():
        value = table.columns[name][row]
        if not _plausible(item, table.columns[name][row : row + 1])[0]:
            return Reason.IMPLAUSIBLE_VALUE, f"{name} = {value}: plausible is {item.plausible}"
    raise AssertionError("a refused row without a reason")


def _plausible(item: Property, column: Array) -> Array:
    """(n,) bool: null, or inside the plausible range (infinities are outside); of an enumeration, a word it has."""
    if item.type == "enum":
        listed: Array = column != UNLISTED
        return listed
    if item.plausible is None:
        return np.ones(len(column), bool)
    low, high = item.plausible
    inside: Array = is_null(item, column) | ((column >= low) & (column <= high))
    return inside


def _iso(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(at_ms)
