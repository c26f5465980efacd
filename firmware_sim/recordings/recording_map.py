"""Maps: the one TOML file that says how to read a recording. Owns the format and its checks.

A map names the kind, how time is written, which column is which device or property, in which unit, what an empty cell
means, and to which municipality a device belongs. A wrong map is refused with file, key and value before a row is
read.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from contracts import topics
from contracts.profiles import Profile

SHIPPED = Path(__file__).parent / "maps"


class MapError(ValueError):
    """A map that cannot be used; the message names file, key and value."""


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an instant is written. format: iso, unix_s, unix_ms, or a strptime pattern; zone: of times that name no
    offset. since: a column with the instant since which the values have stood: they were observed then, too.
    """

    column: str
    since: str = ""  # long layout only
    format: str = "iso"
    zone: str = "UTC"
    ambiguous: Literal["earlier", "later", "refuse"] = "earlier"  # the hour that comes twice
    nonexistent: Literal["shift_forward", "refuse"] = "shift_forward"  # the hour that is skipped


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a cell becomes a property: value x scale + offset, or, for an enum, its word in `words`."""

    property: str
    unit: str
    column: str = ""  # long layout only; a wide column is a device
    scale: float = 1.0
    offset: float = 0.0
    words: dict[str, str] = {}


class Devices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which device an observation is of: in the long layout a column; in the wide one every column but these."""

    column: str = ""
    label: str = ""  # long: the column with the device's label
    place: str = ""  # long: the column with "latitude, longitude", from the device's first row
    attributes: dict[str, str] = {}  # long: attribute = column, from the device's first row
    ignore: tuple[str, ...] = ()  # wide: columns that are no devices


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second table about the devices, next to the recording; optional."""

    file: str
    key: str
    label: str = ""
    latitude: str = ""
    longitude: str = ""
    attributes: dict[str, str] = {}


class Municipality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A municipality and the devices that are its: those whose name in the recording begins with `prefix`; the first
    that fits.
    """

    code: str
    name: dict[str, str]
    latitude: float
    longitude: float
    time_zone: str
    prefix: str = ""
    agent: str = "recorder-01"


class RecordingMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One map."""

    title: str
    source: str
    licence: str
    kind: str
    layout: Literal["wide", "long"]
    empty: Literal["none", "last"]  # an empty cell is no observation, or the last value again
    time: Time
    devices: Devices
    values: tuple[Value, ...]
    municipalities: tuple[Municipality, ...]
    meta: Meta | None = None
    note: str = ""
    reports: Literal["periodically", "changes"] = "periodically"  # changes: a device's silence says nothing


def find(name: str) -> Path:
    """The file of a shipped map's name, or of a path; raises MapError."""
    shipped = SHIPPED / f"{name}.toml"
    if re.fullmatch(r"[a-z0-9_]+", name) and shipped.exists():
        return shipped
    if Path(name).is_file():
        return Path(name)
    raise MapError(f"cannot find map {name!r}: neither a file nor one of {', '.join(shipped_names())}")


def shipped_names() -> list[str]:
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


def read(file: Path, profiles: dict[str, Profile]) -> RecordingMap:
    """A checked map; raises MapError."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MapError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MapError(f"{file}: not TOML: {error}") from error
    try:
        found = msgspec.convert(table, RecordingMap)
    except msgspec.ValidationError as error:
        key, value = _place_of(str(error), table)
        raise MapError(f"{file}: {key} = {value!r}: {str(error).partition(' - at ')[0]}") from error
    for key, value, wrong in _faults(found, profiles):
        raise MapError(f"{file}: {key} = {value!r}: {wrong}")
    return found


def _place_of(message: str, table: dict[str, Any]) -> tuple[str, Any]:
    """(key, value) that msgspec's message is about."""
    path = message.partition(" - at `$")[2].rstrip("`")
    keys = [part for part in re.split(r"[.\[\]]+", path) if part]
    keys += re.findall(r"field `([^`]+)`", message.partition(" - at ")[0])
    value: Any = table
    for key in keys:
        value = (
            value.get(key)
            if isinstance(value, dict)
            else value[int(key)]
            if isinstance(value, list) and key.isdigit() and int(key) < len(value)
            else None
        )
    return ".".join(keys), value


def _faults(found: RecordingMap, profiles: dict[str, Profile]) -> list[tuple[str, Any, str]]:
    faults: list[tuple[str, Any, str]] = []
    if found.kind not in profiles:
        return [("kind", found.kind, f"unknown; known are {', '.join(profiles)}")]
    profile = profiles[found.kind]
    if not _zone(found.time.zone):
        faults.append(("time.zone", found.time.zone, "no such time zone"))
    if not found.values:
        faults.append(("values", [], "needs at least one"))
    if found.layout == "wide" and len(found.values) > 1:
        faults.append(("values", len(found.values), "a wide recording holds one property"))
    if found.layout == "wide" and found.devices.column:
        faults.append(
            ("devices.column", found.devices.column, "in a wide recording each column is a device; leave this out")
        )
    if found.layout == "wide" and found.devices.place:
        faults.append(("devices.place", found.devices.place, "a wide recording has its places in the meta table"))
    if found.layout == "wide" and found.time.since:
        faults.append(("time.since", found.time.since, "a wide recording has one time a row"))
    if found.layout == "long" and not found.devices.column:
        faults.append(("devices.column", "", "a long recording names the device in a column"))
    for number, value in enumerate(found.values):
        key = f"values.{number}"
        item = profile.properties.get(value.property)
        if item is None:
            faults.append((f"{key}.property", value.property, f"{found.kind} has {', '.join(profile.properties)}"))
            continue
        if (found.layout == "long") != bool(value.column):
            faults.append(
                (f"{key}.column", value.column, "a long recording names the value's column, a wide one doesn't")
            )
        if item.numeric and value.unit != item.unit and value.scale == 1.0 and value.offset == 0.0:
            faults.append((f"{key}.unit", value.unit, f"{value.property} is in {item.unit!r}: needs scale or offset"))
        if value.scale == 0.0:
            faults.append((f"{key}.scale", value.scale, "would make every value the same"))
        if item.type == "enum":
            faults += [
                (f"{key}.words.{word}", meant, f"{value.property} is one of {', '.join(item.values)}")
                for word, meant in value.words.items()
                if meant not in item.values
            ]
    if not found.municipalities:
        faults.append(("municipalities", [], "needs at least one"))
    for number, town in enumerate(found.municipalities):
        key = f"municipalities.{number}"
        if not topics.is_municipality(town.code):
            faults.append((f"{key}.code", town.code, f"must match {topics.MUNICIPALITY}"))
        if not topics.is_agent(town.agent):
            faults.append((f"{key}.agent", town.agent, f"must match {topics.AGENT}"))
        if not {"en", "ko"} <= set(town.name):
            faults.append((f"{key}.name", town.name, "needs en and ko"))
        if not (-90 <= town.latitude <= 90 and -180 <= town.longitude <= 180):
            faults.append((f"{key}.latitude", (town.latitude, town.longitude), "no place on earth"))
        if not _zone(town.time_zone):
            faults.append((f"{key}.time_zone", town.time_zone, "no such time zone"))
    return faults


def _zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True
