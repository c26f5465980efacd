"""From lists of values to columns: what a flush brought of one kind, judged and turned into arrays at once.

Owns the judgement of an observation's device, time and plausible range. What fails becomes a Refusal with its reason;
the rows around it go on. Pure: registry and times are arguments.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import repeat
from operator import attrgetter
from typing import Any, Protocol

import msgspec
import numpy as np

from contracts.profiles import Profile, Property
from contracts.reasons import Reason
from ingest_service.bodies import LATEST_MS, Group, Refusal, content_of, storable
from ingest_service.columns import DTYPES, NULL_CODE, NULL_INTEGER, Array, Block, is_null
from ingest_service.registry import UNKNOWN, Agent, Registry

EARLIEST_MS = 946_684_800_000  # 2000-01-01: no sensor of ours is older, and each partition costs a table
UNLISTED = -2  # code of a word that an enumeration does not have

__all__ = ["EARLIEST_MS", "LATEST_MS", "Gathered", "Source", "Window"]


class Window(msgspec.Struct, frozen=True):
    """Times that are believed, ms since 1970."""

    earliest_ms: int
    latest_ms: int


class Source(Protocol):
    """Who sent some rows."""

    agent: Agent
    window: Window


class Gathered:
    """Rows of one kind in arrival order, as lists that grow by batches; `judge` makes the block of them."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._codes = {
            name: {value: code for code, value in enumerate(item.values)} | {None: NULL_CODE}
            for name, item in profile.properties.items()
            if item.type == "enum"
        }
        self._columns_of = attrgetter("device", *profile.properties)
        self.clear()

    def clear(self) -> None:
        self._devices: list[str] = []
        self._codes_found: list[int] = []
        self._times: list[int] = []
        self._values: list[list[Any]] = [[] for _ in self.profile.properties]
        self._sources: list[Source] = []
        self._ends: list[int] = []

    def add(self, group: Group, source: Source, known: Mapping[str, int]) -> int:
        """Take a group; how many rows. known: codes of the source's municipality's devices, by name."""
        devices, *columns = self._columns_of(group)
        n = len(devices)
        self._devices += devices
        self._codes_found += map(known.get, devices, repeat(UNKNOWN))
        self._times += group.observed_at
        for into, values in zip(self._values, columns, strict=True):
            into += values or repeat(None, n)
        self._sources.append(source)
        self._ends.append(len(self._devices))
        return n

    def judge(self, registry: Registry) -> tuple[Block | None, list[tuple[Source, Refusal]]]:
        """The good rows as a block, and the others with their source; forgets them all."""
        n = len(self._devices)
        if n == 0:
            return None, []
        ends = np.array(self._ends, np.int64)
        lengths = np.diff(ends, prepend=0)
        codes = np.array(self._codes_found, np.int64)
        times = np.array(self._times, np.int64)
        columns: dict[str, Array] = {}
        good = (codes != UNKNOWN) & registry.is_kind(codes, self.profile.kind)
        good &= (times >= self._each([source.window.earliest_ms for source in self._sources], lengths)) & (
            times <= self._each([source.window.latest_ms for source in self._sources], lengths)
        )
        for (name, item), values in zip(self.profile.properties.items(), self._values, strict=True):
            columns[name] = self._column(item, values)
            if item.plausible is not None or item.type == "enum":
                good &= _plausible(item, columns[name])
        refused = [] if good.all() else self._refusals(np.flatnonzero(~good), ends, codes, times, columns, registry)
        agents = np.repeat(np.array([source.agent.index for source in self._sources], np.int32), lengths)
        self.clear()
        if refused:
            if not good.any():
                return None, refused
            codes, times, agents = codes[good], times[good], agents[good]
            columns = {name: column[good] for name, column in columns.items()}
        block = Block(self.profile.kind, registry.device_ids(codes), registry.slots(codes), times, agents, columns)
        return block, refused

    @staticmethod
    def _each(values: list[int], lengths: Array) -> Any:
        """One value when all are the same, or (n,) of them."""
        return values[0] if len(set(values)) == 1 else np.repeat(np.array(values, np.int64), lengths)

    def _column(self, item: Property, values: list[Any]) -> Array:
        if item.type == "enum":
            codes = self._codes[item.name]
            return np.array(list(map(codes.get, values, repeat(UNLISTED))), np.int16)
        column = np.array(values, np.float64)  # None becomes NaN
        if item.type == "number":
            with np.errstate(over="ignore"):
                return column.astype(np.float32)
        null = np.isnan(column)
        column[null] = NULL_INTEGER if item.type == "integer" else NULL_CODE
        return np.clip(column, NULL_INTEGER + ~null, 2**31 - 1).astype(DTYPES[item.type])

    def _refusals(
        self,
        rows: Iterable[int],
        ends: Array,
        codes: Array,
        times: Array,
        columns: Mapping[str, Array],
        registry: Registry,
    ) -> list[tuple[Source, Refusal]]:
        kind = self.profile.kind
        refused = []
        for row in map(int, rows):
            source = self._sources[int(np.searchsorted(ends, row, side="right"))]
            device, at_ms = self._devices[row], int(times[row])
            values = {name: listed[row] for name, listed in zip(self.profile.properties, self._values, strict=True)}
            reason, detail = self._why(device, int(codes[row]), at_ms, columns, values, row, source, registry)
            content = content_of(kind, device, at_ms, values)
            refused.append((source, Refusal(reason, detail, kind, device, storable(at_ms), content)))
        return refused

    def _why(
        self,
        device: str,
        code: int,
        at_ms: int,
        columns: Mapping[str, Array],
        values: Mapping[str, Any],
        row: int,
        source: Source,
        registry: Registry,
    ) -> tuple[Reason, str]:
        for name, item in self.profile.properties.items():
            if item.type == "enum" and columns[name][row] == UNLISTED:
                return Reason.UNKNOWN_VALUE, f"{name} = {values[name]!r}: known are {', '.join(item.values)}"
        kind, town, window = self.profile.kind, source.agent.municipality, source.window
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
        for name, item in self.profile.properties.items():
            if not _plausible(item, columns[name][row : row + 1])[0]:
                return Reason.IMPLAUSIBLE_VALUE, f"{name} = {columns[name][row]}: plausible is {item.plausible}"
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
