"""One recording, read through its map into observations by agent, with an account in which nothing is lost.

read + stood = observations + empty + refused + duplicates, in cells of a wide table, in rows of a long one (a row with
at least one usable value is an observation; it is empty when all its values are; one that says since when its values
have stood is two). Identical observations of one device
at one instant are one; differing ones are kept, each a millisecond after the one before, because a device has one
observation an instant.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from contracts.profiles import Profile, Property
from firmware_sim.recordings.instants import Instants
from firmware_sim.recordings.recording_map import Municipality, RecordingMap, Value
from firmware_sim.recordings.table import Cell, TableError, is_empty, open_table

Values = dict[str, Any]


class Account(msgspec.Struct):
    """What became of every cell or row."""

    unit: str
    read: int = 0
    observations: int = 0
    empty: int = 0
    duplicates: int = 0
    refused: dict[str, int] = {}
    carried: int = 0  # of the observations: an empty cell that holds the last value
    moved: int = 0  # of the observations: differ from another at the same instant
    ambiguous: int = 0  # of the observations: their local time comes twice
    nonexistent: int = 0  # of the observations: their local time never was
    stood: int = 0  # of the observations: when the values of another began

    def balanced(self) -> bool:
        return self.read + self.stood == self.observations + self.empty + self.duplicates + sum(self.refused.values())

    def refuse(self, reason: str, count: int = 1) -> None:
        if count:
            self.refused[reason] = self.refused.get(reason, 0) + count


@dataclass
class RecordedDevice:
    """A device of the recording and its observations in time order."""

    source: str  # its name in the recording
    name: str
    municipality: Municipality
    label: str = ""
    place: tuple[float, float] | None = None  # degrees
    attributes: dict[str, Any] = field(default_factory=dict)
    observations: dict[int, Values] = field(default_factory=dict)  # by observed_at
    last: Values = field(default_factory=dict)


@dataclass
class Recording:
    map: RecordingMap
    account: Account
    devices: list[RecordedDevice]

    def by_agent(self) -> dict[str, list[RecordedDevice]]:
        found: dict[str, list[RecordedDevice]] = {}
        for device in self.devices:
            found.setdefault(f"{device.municipality.code}/{device.municipality.agent}", []).append(device)
        return found

    def span_ms(self) -> tuple[int, int]:
        """(first, last) instant observed; raises TableError for a recording without observations."""
        instants = [at for device in self.devices for at in device.observations]
        if not instants:
            raise TableError("cannot play the recording: it holds no observation")
        return min(instants), max(instants)


class _Refused(ValueError):
    """A cell that is no value; its text is the reason."""


def read(file: Path, recording_map: RecordingMap, profile: Profile) -> Recording:
    """The whole recording; raises TableError when the file doesn't fit the map."""
    header, rows = open_table(file)
    reader = _Reader(recording_map, profile)
    wanted = [recording_map.time.column, *recording_map.devices.ignore]
    if recording_map.layout == "long":
        wanted += [
            recording_map.devices.column,
            *(value.column for value in recording_map.values),
            *recording_map.devices.attributes.values(),
        ]
        wanted += [
            name
            for name in (recording_map.devices.label, recording_map.devices.place, recording_map.time.since)
            if name
        ]
    for name in wanted:
        if name not in header:
            raise TableError(f"{file}: has no column {name!r}, which the map names")
    entries = (
        _wide(header, rows, recording_map) if recording_map.layout == "wide" else _long(header, rows, recording_map)
    )
    for entry in entries:
        reader.take(*entry)
    for device in reader.devices.values():
        device.observations = dict(sorted(device.observations.items()))
    reader.account.observations = sum(len(device.observations) for device in reader.devices.values())
    return Recording(recording_map, reader.account, [device for device in reader.devices.values() if device.name])


Entry = tuple[Cell, str, list[Cell], dict[str, Cell]]  # time, device, cells of the values, other cells of the row


def _wide(header: list[str], rows: Iterator[list[Cell]], recording_map: RecordingMap) -> Iterator[Entry]:
    at = header.index(recording_map.time.column)
    columns = [(i, name) for i, name in enumerate(header) if i != at and name not in recording_map.devices.ignore]
    for row in rows:
        row = row + [None] * (len(header) - len(row))
        for i, name in columns:
            yield row[at], name, [row[i]], {}


def _long(header: list[str], rows: Iterator[list[Cell]], recording_map: RecordingMap) -> Iterator[Entry]:
    place = {name: i for i, name in enumerate(header)}
    columns = [place[value.column] for value in recording_map.values]
    devices, since = recording_map.devices, recording_map.time.since
    more = {name for name in (devices.label, devices.place, since, *devices.attributes.values()) if name}
    for row in rows:
        row = row + [None] * (len(header) - len(row))
        device = row[place[recording_map.devices.column]]
        yield (
            row[place[recording_map.time.column]],
            "" if is_empty(device) else str(device).strip(),
            [row[i] for i in columns],
            {name: row[place[name]] for name in more},
        )


class _Reader:
    """Takes entries one by one and keeps the account."""

    def __init__(self, recording_map: RecordingMap, profile: Profile) -> None:
        self.map = recording_map
        self.account = Account("cell" if recording_map.layout == "wide" else "row")
        self.devices: dict[str, RecordedDevice] = {}
        self._items = [profile.properties[value.property] for value in recording_map.values]
        self._instants = Instants(recording_map.time)
        self._names: dict[str, str] = {}
        self._now: tuple[Cell, tuple[int | None, str]] = (None, (None, "unreadable"))

    def take(self, time: Cell, source: str, cells: list[Cell], row: dict[str, Cell]) -> None:
        """Account for one cell of a wide table, or one row of a long one."""
        account = self.account
        account.read += 1
        device = self._device(source, row)
        carried = False
        if all(is_empty(cell) for cell in cells):
            if self.map.empty == "none" or device is None or not device.last:
                account.empty += 1
                return
            carried = True
        if device is None:
            account.refuse("no_device" if not source else "no_municipality")
            return
        at_ms, note = self._instant(time)
        if at_ms is None:
            account.refuse(f"time_{note}")
            return
        try:
            values = dict(device.last) if carried else self._values(cells, device)
        except _Refused as refused:
            account.refuse(str(refused))
            return
        device.last = values
        self._keep(device, at_ms, values, note, carried)
        if self.map.time.since:
            self._stood(device, at_ms, values, row[self.map.time.since])

    def _stood(self, device: RecordedDevice, at_ms: int, values: Values, since: Cell) -> None:
        """The values were observed when they began, too."""
        since_ms = self._instants.read(since)[0]
        if since_ms is not None and since_ms < at_ms and since_ms not in device.observations:
            device.observations[since_ms] = dict(values)
            self.account.stood += 1

    def _keep(self, device: RecordedDevice, at_ms: int, values: Values, note: str, carried: bool) -> None:
        account, moved = self.account, False
        while at_ms in device.observations:
            if device.observations[at_ms] == values:
                account.duplicates += 1
                return
            at_ms, moved = at_ms + 1, True
        device.observations[at_ms] = values
        account.moved += moved
        account.carried += carried
        account.ambiguous += note == "ambiguous"
        account.nonexistent += note == "nonexistent"

    def _instant(self, time: Cell) -> tuple[int | None, str]:
        if self._now[0] is None or self._now[0] != time:
            self._now = time, self._instants.read(time)
        return self._now[1]

    def _values(self, cells: list[Cell], device: RecordedDevice) -> Values:
        found: Values = {}
        for cell, value, item in zip(cells, self.map.values, self._items, strict=True):
            if not is_empty(cell):
                found[value.property] = _value(cell, value, item)
            elif self.map.empty == "last" and value.property in device.last:
                found[value.property] = device.last[value.property]
        return found

    def _device(self, source: str, row: dict[str, Cell]) -> RecordedDevice | None:
        """The device of that name; None when it belongs to nobody."""
        if source not in self.devices:
            towns = [town for town in self.map.municipalities if source.startswith(town.prefix)]
            if not source or not towns:
                return None
            name = slug(source)
            key = f"{towns[0].code}/{name}"
            if key in self._names:
                raise TableError(f"cannot name device {source!r}: {name!r} is already {self._names[key]!r}")
            self._names[key] = source
            label = row.get(self.map.devices.label) if self.map.devices.label else None
            attributes = {
                attribute: plain(row[column])
                for attribute, column in self.map.devices.attributes.items()
                if not is_empty(row.get(column))
            }
            place = _place(row.get(self.map.devices.place)) if self.map.devices.place else None
            self.devices[source] = RecordedDevice(
                source, name, towns[0], "" if is_empty(label) else str(label).strip(), place, attributes
            )
        return self.devices[source]


def _value(cell: Cell, value: Value, item: Property) -> Any:
    if item.type == "enum":
        word = value.words.get(str(cell).strip(), str(cell).strip())
        if word not in item.values:
            raise _Refused("unknown_word")
        return word
    if item.type == "boolean":
        word = str(cell).strip().lower()
        if word not in ("true", "false", "0", "1"):
            raise _Refused("unknown_word")
        return word in ("true", "1")
    try:
        number = float(cell) * value.scale + value.offset
    except (TypeError, ValueError):
        raise _Refused("not_a_number") from None
    if not math.isfinite(number):
        raise _Refused("not_a_number")
    if item.type == "integer":
        if number != round(number) or abs(number) >= 2**31:
            raise _Refused("not_an_integer")
        return int(number)
    return round(number, max(item.decimals, 3))


def _place(cell: Cell) -> tuple[float, float] | None:
    """(latitude, longitude) as in "-37.81, 144.96"; None for anything else."""
    try:
        latitude, longitude = (float(part) for part in str(cell).split(","))
    except ValueError:
        return None
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None


def plain(cell: Cell) -> Any:
    """A cell as an attribute: whole numbers as integers."""
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return str(cell).strip()
    return int(number) if number.is_integer() else number


def slug(text: str) -> str:
    """A device's name as our grammar allows it: ASCII letters, digits and -._: only; raises TableError when nothing
    is left.
    """
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    found = re.sub(r"[^A-Za-z0-9._:]+", "-", plain).strip("-._:")[:128].rstrip("-")
    if not found:
        raise TableError(f"cannot name device {text!r}: it has no letter or digit")
    return found
