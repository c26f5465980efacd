"""From a batch's body to lists of typed values, a group a kind: typed decoding where the body is as the profiles say,
row by row where it is not.

Owns the judgement of an observation's shape: kind, types, known properties. What fails becomes a Refusal with its
reason; the rest of the batch goes on. Devices, times and ranges are judged later, a whole flush at once (`rows`).
"""

import types
from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from contracts import wire
from contracts.profiles import Profile, Property
from contracts.reasons import Reason

LATEST_MS = 4_102_444_800_000  # 2100-01-01
_TIME = Annotated[int, msgspec.Meta(ge=-(2**62) + 1, le=2**62 - 1)]
_INTEGER = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]  # what a float64 holds exactly
_FIELD: dict[str, Any] = {"number": float, "integer": _INTEGER, "enum": str, "boolean": bool}

Group = Any  # a msgspec.Struct of a kind: device, observed_at and each property, lists of one length (or empty)


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


class Bodies:
    """Decodes bodies by the profiles."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self.profiles = profiles
        self._types = {kind: _group_type(profile) for kind, profile in profiles.items()}
        body = msgspec.defstruct(
            "Body", [(kind, self._types[kind] | None, None) for kind in profiles], forbid_unknown_fields=True
        )
        self._decode = msgspec.json.Decoder(body).decode
        self._kinds = list(profiles)
        self._all = attrgetter(*profiles) if len(profiles) > 1 else lambda found: (getattr(found, self._kinds[0]),)
        self._columns = {
            kind: attrgetter("device", "observed_at", *profile.properties) for kind, profile in profiles.items()
        }

    def read(self, plain: bytes, count: int) -> tuple[list[tuple[str, Group]], list[Refusal]]:
        """Groups and refusals of a decompressed body announced with `count` observations; raises wire.WireError when
        it is unreadable as a whole.
        """
        try:
            typed = self._decode(plain)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._read_loosely(plain, count)
        groups = []
        found = 0
        for kind, group in zip(self._kinds, self._all(typed), strict=True):
            if group is None:
                continue
            n = len(group.device)
            found += n
            for values in self._columns[kind](group):
                if len(values) != n and (values or values is group.observed_at):
                    raise wire.WireError(
                        Reason.MALFORMED_BODY, f"cannot decode body: {kind!r} has columns of unequal length"
                    )
            if n:
                groups.append((kind, group))
        if found != count:
            raise wire.WireError(
                Reason.COUNT_MISMATCH, f"cannot take batch: {count} observations announced, {found} found"
            )
        return groups, []

    def _read_loosely(self, plain: bytes, count: int) -> tuple[list[tuple[str, Group]], list[Refusal]]:
        """The same for a body that is not typed as the profiles say: every observation is looked at by itself."""
        groups = wire.decode_plain(plain)
        if wire.count_of(groups) != count:
            raise wire.WireError(
                Reason.COUNT_MISMATCH,
                f"cannot take batch: {count} observations announced, {wire.count_of(groups)} found",
            )
        good: list[tuple[str, Group]] = []
        refusals: list[Refusal] = []
        for kind, group in groups.items():
            for row in range(len(group["device"])):
                values = {name: column[row] for name, column in group.items()}
                one = self.read_one(kind, values.pop("device"), values.pop("observed_at"), values)
                if isinstance(one, Refusal):
                    refusals.append(one)
                else:
                    good.append((kind, one))
        return good, refusals

    def read_one(self, kind: str, device: Any, observed_at: Any, values: dict[str, Any]) -> Group | Refusal:
        """One observation of unknown shape, as a group of one."""
        profile = self.profiles.get(kind)
        fault = _shape_fault(profile, kind, device, observed_at, values)
        if fault is not None:
            name = device if isinstance(device, str) else None
            return Refusal(*fault, kind, name, storable(observed_at), content_of(kind, device, observed_at, values))
        listed = {name: [_held(value)] for name, value in values.items() if value is not None}
        return self._types[kind](device=[device], observed_at=[observed_at], **listed)


def _group_type(profile: Profile) -> Any:
    fields: list[Any] = [("device", list[str]), ("observed_at", list[_TIME])]
    fields += [
        (item.name, types.GenericAlias(list, (_FIELD[item.type] | None,)), msgspec.field(default_factory=list))
        for item in profile.properties.values()
    ]
    return msgspec.defstruct(profile.kind, fields, forbid_unknown_fields=True)


def _held(value: Any) -> Any:
    """A value that float64 can hold: a vast integer stays vast."""
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(2**53), min(2**53, value))
    return value


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


def content_of(kind: str, device: Any, observed_at: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """An observation as quarantine keeps it."""
    return {
        "kind": kind,
        "device": device,
        "observed_at": observed_at,
        "values": {name: value for name, value in values.items() if value is not None},
    }


def storable(observed_at: Any) -> int | None:
    """A time as the quarantine's column can hold it; any other stands in the content only."""
    plain = isinstance(observed_at, int) and not isinstance(observed_at, bool)
    return observed_at if plain and 0 <= observed_at <= LATEST_MS else None
