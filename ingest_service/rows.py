"""From a batch's body to columns: typed decoding where the body is as the profiles say, row by row where it is not.

Owns the judgement of a single observation: kind, device, types, plausible range, time. What fails becomes a Refusal
with its reason; the rest of the batch goes on. Pure: registry and time are arguments.
"""

import types
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from contracts import wire
from contracts.profiles import Profile, Property
from contracts.reasons import Reason
from ingest_service.columns import DTYPES, NULL_CODE, NULL_INTEGER, Array, Block, is_null
from ingest_service.registry import UNKNOWN, Agent, Registry

EARLIEST_MS = 946_684_800_000  # 2000-01-01: no sensor of ours is older, and each partition costs a table
LATEST_MS = 4_102_444_800_000  # 2100-01-01
_FIELD: dict[str, Any] = {"number": float, "integer": int, "enum": str, "boolean": bool}


class Refusal(msgspec.Struct):
    """An observation (or a whole body) that goes to quarantine."""

    reason: Reason
    detail: str
    kind: str | None = None
    device: str | None = None
    observed_ms: int | None = None
    content: dict[str, Any] | None = None
    body: bytes | None = None
    observations: int = 1


class Window(msgspec.Struct, frozen=True):
    """Times that are believed, ms since 1970."""

    earliest_ms: int
    latest_ms: int


class Decoder:
    """Bodies into blocks, by the profiles."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self.profiles = profiles
        groups = {kind: _group(profile) for kind, profile in profiles.items()}
        body = msgspec.defstruct(
            "Body", [(kind, groups[kind] | None, None) for kind in profiles], forbid_unknown_fields=True
        )
        self._typed = msgspec.json.Decoder(body)
        self._codes = {
            (kind, item.name): {value: code for code, value in enumerate(item.values)}
            for kind, profile in profiles.items()
            for item in profile.properties.values()
        }

    def decode(
        self, body: bytes | memoryview, count: int, agent: Agent, registry: Registry, window: Window
    ) -> tuple[list[Block], list[Refusal]]:
        """Blocks and refusals of a body announced with `count` observations; raises wire.WireError when it is
        unreadable as a whole.
        """
        plain = wire.decompress(body)
        try:
            typed = self._typed.decode(plain)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._decode_loosely(plain, count, agent, registry, window)
        blocks: list[Block] = []
        refusals: list[Refusal] = []
        total = sum(len(group.device) for kind in self.profiles if (group := getattr(typed, kind)) is not None)
        if total != count:
            raise wire.WireError(
                Reason.COUNT_MISMATCH, f"cannot take batch: {count} observations announced, {total} found"
            )
        for kind, profile in self.profiles.items():
            group = getattr(typed, kind)
            if group is None:
                continue
            n = len(group.device)
            listed = {name: getattr(group, name) for name in profile.properties}
            if len(group.observed_at) != n or any(values and len(values) != n for values in listed.values()):
                raise wire.WireError(
                    Reason.MALFORMED_BODY, f"cannot decode body: {kind!r} has columns of unequal length"
                )
            columns, wrong = self._columns(profile, listed, n)
            try:
                times = np.array(group.observed_at, np.int64)
            except OverflowError:
                return self._decode_loosely(plain, count, agent, registry, window)
            if n:
                self._judge(
                    profile, group.device, times, columns, wrong, listed, agent, registry, window, blocks, refusals
                )
        return blocks, refusals

    def _columns(
        self, profile: Profile, listed: Mapping[str, list[Any]], n: int
    ) -> tuple[dict[str, Array], dict[int, tuple[Reason, str]]]:
        """Typed lists as arrays, and rows whose value cannot be stored."""
        columns: dict[str, Array] = {}
        wrong: dict[int, tuple[Reason, str]] = {}
        for name, item in profile.properties.items():
            values = listed[name]
            if not values:
                columns[name] = np.full(
                    n,
                    np.nan if item.type == "number" else NULL_INTEGER if item.type == "integer" else NULL_CODE,
                    DTYPES[item.type],
                )
            elif item.type == "number":
                with np.errstate(over="ignore"):
                    columns[name] = np.array(values, np.float64).astype(np.float32)
            elif item.type == "integer":
                columns[name] = np.array(
                    [NULL_INTEGER if value is None else max(-(2**31) + 1, min(2**31 - 1, value)) for value in values],
                    np.int32,
                )
            elif item.type == "boolean":
                columns[name] = np.array([NULL_CODE if value is None else int(value) for value in values], np.int8)
            else:
                codes = self._codes[profile.kind, name]
                found = [NULL_CODE if value is None else codes.get(value, -2) for value in values]
                columns[name] = np.array(found, np.int16)
                for row in [row for row, code in enumerate(found) if code == -2]:
                    wrong.setdefault(
                        row, (Reason.UNKNOWN_VALUE, f"{name} = {values[row]!r}: known are {', '.join(item.values)}")
                    )
        return columns, wrong

    def _judge(
        self,
        profile: Profile,
        devices: Sequence[str],
        times: Array,
        columns: dict[str, Array],
        wrong: dict[int, tuple[Reason, str]],
        listed: Mapping[str, list[Any]],
        agent: Agent,
        registry: Registry,
        window: Window,
        blocks: list[Block],
        refusals: list[Refusal],
    ) -> None:
        """Sort rows into one block and refusals: device first, then time, then range."""
        codes = registry.find(agent.municipality, list(devices))
        good = (codes != UNKNOWN) & registry.is_kind(codes, profile.kind)
        good &= (times >= window.earliest_ms) & (times <= window.latest_ms)
        for name, item in profile.properties.items():
            good &= _plausible(item, columns[name])
        if wrong:
            good[list(wrong)] = False
        for row in np.flatnonzero(~good).tolist():
            reason, detail = wrong.get(row) or self._why(
                profile, devices[row], int(codes[row]), int(times[row]), columns, row, agent, registry, window
            )
            at_ms = int(times[row])
            values = {name: values[row] for name, values in listed.items() if values}
            content = _content(profile.kind, devices[row], at_ms, values)
            refusals.append(Refusal(reason, detail, profile.kind, devices[row], _storable(at_ms), content))
        if not good.any():
            return
        if not good.all():
            codes, times, columns = codes[good], times[good], {name: column[good] for name, column in columns.items()}
        agents = np.full(len(codes), agent.index, np.int32)
        blocks.append(Block(profile.kind, registry.device_ids(codes), registry.slots(codes), times, agents, columns))

    def _why(
        self,
        profile: Profile,
        device: str,
        code: int,
        at_ms: int,
        columns: dict[str, Array],
        row: int,
        agent: Agent,
        registry: Registry,
        window: Window,
    ) -> tuple[Reason, str]:
        if code == UNKNOWN:
            if registry.exists_elsewhere(device):
                return Reason.FOREIGN_DEVICE, f"device {device!r} is not of municipality {agent.municipality}"
            return Reason.UNKNOWN_DEVICE, f"device {device!r} is not registered in {agent.municipality}"
        if not bool(registry.is_kind(np.array([code]), profile.kind)[0]):
            return Reason.KIND_MISMATCH, f"device {device!r} is registered as another kind than {profile.kind}"
        if at_ms > window.latest_ms:
            return Reason.TOO_FAR_AHEAD, f"observed_at = {_iso(at_ms)}: later than {_iso(window.latest_ms)}"
        if at_ms < window.earliest_ms:
            return Reason.TOO_LONG_AGO, f"observed_at = {_iso(at_ms)}: earlier than {_iso(window.earliest_ms)}"
        for name, item in profile.properties.items():
            if not _plausible(item, columns[name][row : row + 1])[0]:
                return Reason.IMPLAUSIBLE_VALUE, f"{name} = {columns[name][row]}: plausible is {item.plausible}"
        raise AssertionError("a refused row without a reason")

    def _decode_loosely(
        self, plain: bytes, count: int, agent: Agent, registry: Registry, window: Window
    ) -> tuple[list[Block], list[Refusal]]:
        """The same for a body that is not typed as the profiles say: every observation is looked at by itself."""
        groups = wire.decode_plain(plain)
        if wire.count_of(groups) != count:
            raise wire.WireError(
                Reason.COUNT_MISMATCH,
                f"cannot take batch: {count} observations announced, {wire.count_of(groups)} found",
            )
        blocks: list[Block] = []
        refusals: list[Refusal] = []
        for kind, group in groups.items():
            rows = [{name: values[row] for name, values in group.items()} for row in range(len(group["device"]))]
            for row in rows:
                self.admit_one(
                    kind, row.pop("device"), row.pop("observed_at"), row, agent, registry, window, blocks, refusals
                )
        return blocks, refusals

    def admit_one(
        self,
        kind: str,
        device: Any,
        observed_at: Any,
        values: dict[str, Any],
        agent: Agent,
        registry: Registry,
        window: Window,
        blocks: list[Block],
        refusals: list[Refusal],
    ) -> None:
        """Judge one observation of unknown shape into a block or a refusal."""
        profile = self.profiles.get(kind)
        fault = _shape_fault(profile, kind, device, observed_at, values)
        if fault is not None or profile is None:
            reason, detail = fault or (Reason.UNKNOWN_KIND, kind)
            name = device if isinstance(device, str) else None
            content = _content(kind, device, observed_at, values)
            refusals.append(Refusal(reason, detail, kind, name, _storable(observed_at), content))
            return
        listed = {name: [values.get(name)] for name in profile.properties}
        columns, wrong = self._columns(profile, listed, 1)
        self._judge(
            profile,
            [device],
            np.array([observed_at], np.int64),
            columns,
            wrong,
            listed,
            agent,
            registry,
            window,
            blocks,
            refusals,
        )


def _group(profile: Profile) -> Any:
    fields: list[Any] = [("device", list[str]), ("observed_at", list[int])]
    fields += [
        (item.name, types.GenericAlias(list, (_FIELD[item.type] | None,)), msgspec.field(default_factory=list))
        for item in profile.properties.values()
    ]
    return msgspec.defstruct(profile.kind, fields, forbid_unknown_fields=True)


def _plausible(item: Property, column: Array) -> Array:
    """(n,) bool: null, or inside the plausible range; infinities are outside."""
    if item.plausible is None:
        return np.ones(len(column), bool)
    low, high = item.plausible
    inside: Array = is_null(item, column) | ((column >= low) & (column <= high))
    return inside


def _shape_fault(
    profile: Profile | None, kind: str, device: Any, observed_at: Any, values: dict[str, Any]
) -> tuple[Reason, str] | None:
    if profile is None:
        return Reason.UNKNOWN_KIND, f"kind {kind!r} has no profile"
    if not isinstance(device, str):
        return Reason.WRONG_TYPE, f"device = {device!r}: not a text"
    if not isinstance(observed_at, int) or isinstance(observed_at, bool) or abs(observed_at) >= 2**62:
        return Reason.WRONG_TYPE, f"observed_at = {observed_at!r}: not milliseconds since 1970"
    for name, value in values.items():
        if value is None:
            continue
        item = profile.properties.get(name)
        if item is None:
            return Reason.UNKNOWN_PROPERTY, f"{name} = {value!r}: no property of {kind}"
        if not _is_typed(item, value):
            return Reason.WRONG_TYPE, f"{name} = {value!r}: not of type {item.type}"
    return None


def _is_typed(item: Property, value: Any) -> bool:
    if item.type == "boolean":
        return isinstance(value, bool)
    if item.type == "enum":
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (item.type == "number" and isinstance(value, float))


def _content(kind: str, device: Any, observed_at: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind,
        "device": device,
        "observed_at": observed_at,
        "values": {name: value for name, value in values.items() if value is not None},
    }


def _storable(observed_at: Any) -> int | None:
    """A time as the quarantine's column can hold it; any other stands in the content only."""
    plain = isinstance(observed_at, int) and not isinstance(observed_at, bool)
    return observed_at if plain and 0 <= observed_at <= LATEST_MS else None


def _iso(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(at_ms)
