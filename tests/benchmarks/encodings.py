"""Other ways to put the same observations on the wire, each with its way back: SenML as JSON and CBOR, Sparkplug B.

Each is written from its specification, and where that leaves a choice, the shorter one is taken: no units (the reader
has the profile, as Dure's has), no record of what has no value, enums as their place in the list where the format has
types, binary floats as short as the profile's decimals allow.
source: RFC 8428 (SenML) sections 4.1, 5, 6; RFC 8949 (CBOR) sections 3, 4.2; Sparkplug 3.0.0 sections 6.4, 6.4.6;
Protocol Buffers, "Encoding".
"""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from contracts import wire
from contracts.profiles import Profile

Profiles = dict[str, Profile]
Observation = tuple[str, int, dict[str, Any]]  # device, observed_at in ms, values that are there


class Encoding(NamedTuple):
    name: str
    encode: Callable[[wire.Groups, Profiles, "Known"], bytes]
    decode: Callable[[bytes, Profiles, "Known"], list[Observation]]


class Known:
    """What both ends learned before: each device's kind, and Sparkplug's aliases from the birth certificate."""

    def __init__(self) -> None:
        self.kind_of: dict[str, str] = {}
        self.alias: dict[tuple[str, str], int] = {}
        self.metric: list[tuple[str, str]] = []

    def learn(self, groups: wire.Groups, profiles: Profiles) -> None:
        for kind, columns in groups.items():
            for device in columns["device"]:
                if device not in self.kind_of:
                    self.kind_of[device] = kind
                    for name in profiles[kind].properties:
                        self.alias[device, name] = len(self.metric)
                        self.metric.append((device, name))


def observations(groups: wire.Groups) -> Iterator[Observation]:
    """Rows of the groups, without what is null."""
    for columns in groups.values():
        names = [name for name in columns if name not in ("device", "observed_at")]
        rows = zip(*(columns[name] for name in names), strict=True) if names else ((),) * len(columns["device"])
        for device, at, values in zip(columns["device"], columns["observed_at"], rows, strict=True):
            there = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            yield device, at, there


# SenML: a pack is a list of records; a base name and a base time hold until the next ones.


def senml_json(groups: wire.Groups, _profiles: Profiles, _known: Known) -> bytes:
    pack = []
    for device, at, values in observations(groups):
        base: dict[str, Any] = {"bn": f"{device}/", "bt": at / 1000}
        for name, value in values.items():
            pack.append({**base, "n": name, ("vs" if isinstance(value, str) else "v"): value})
            base = {}
    return json.dumps(pack, separators=(",", ":")).encode()


def from_senml_json(data: bytes, _profiles: Profiles, _known: Known) -> list[Observation]:
    return _from_senml(json.loads(data))


BN, BT, N, V, VS = -2, -3, 0, 2, 3  # RFC 8428, table 4: labels of CBOR


def senml_cbor(groups: wire.Groups, profiles: Profiles, known: Known) -> bytes:
    pack = []
    for device, at, values in observations(groups):
        properties = profiles[known.kind_of[device]].properties
        base: dict[int, Any] = {BN: f"{device}/", BT: at / 1000}
        for name, value in values.items():
            short = value if isinstance(value, str | int) else _shortest(value, properties[name].decimals)
            pack.append({**base, N: name, (VS if isinstance(value, str) else V): short})
            base = {}
    return cbor(pack)


def from_senml_cbor(data: bytes, _profiles: Profiles, _known: Known) -> list[Observation]:
    names = {BN: "bn", BT: "bt", N: "n", V: "v", VS: "vs"}
    pack, end = from_cbor(data, 0)
    assert end == len(data)
    return _from_senml([{names[label]: value for label, value in record.items()} for record in pack])


def _from_senml(pack: list[dict[str, Any]]) -> list[Observation]:
    found: list[Observation] = []
    base_name, base_time = "", 0.0
    for record in pack:
        if "bn" in record or "bt" in record:
            base_name, base_time = record.get("bn", base_name), record.get("bt", base_time)
            found.append((base_name[:-1], round(base_time * 1000), {}))
        found[-1][2][record["n"]] = record["vs"] if "vs" in record else record["v"]
    return found


class _Float(NamedTuple):
    """A number to be written as a float of so many bytes."""

    value: float
    form: str


def _shortest(value: float, decimals: int) -> Any:
    """An integer, or the shortest float that is the same value at the profile's decimals."""
    if value == int(value):
        return int(value)
    for form in ("e", "f"):
        if round(struct.unpack(f">{form}", struct.pack(f">{form}", value))[0], decimals) == value:
            return _Float(value, form)
    return _Float(value, "d")


def cbor(value: Any) -> bytes:
    """CBOR of what SenML needs: lists, maps, text, integers, floats."""
    if isinstance(value, _Float):
        return bytes([{"e": 0xF9, "f": 0xFA, "d": 0xFB}[value.form]]) + struct.pack(f">{value.form}", value.value)
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return cbor(int(value)) if value == int(value) else b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return _head(3, len(text)) + text
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(cbor, value))
    return _head(5, len(value)) + b"".join(cbor(key) + cbor(item) for key, item in value.items())


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    for extra, form, limit in ((24, "B", 1 << 8), (25, "H", 1 << 16), (26, "I", 1 << 32), (27, "Q", 1 << 64)):
        if value < limit:
            return bytes([major << 5 | extra]) + struct.pack(f">{form}", value)
    raise ValueError(f"cannot encode {value} as CBOR")


def from_cbor(data: bytes, at: int) -> tuple[Any, int]:
    """The item at a place, and where the next one begins."""
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(low, 0)
    raw, at = data[at : at + size], at + size
    if major == 7:
        return struct.unpack({2: ">e", 4: ">f", 8: ">d"}[size], raw)[0], at
    value = int.from_bytes(raw, "big") if size else low
    if major < 2:
        return (value if major == 0 else -1 - value), at
    if major == 3:
        return data[at : at + value].decode(), at + value
    items = []
    for _ in range(value * (major - 3)):
        item, at = from_cbor(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2], strict=True))), at


# Sparkplug B: an NDATA payload; metrics by alias, each with its time; no names and types, they were in the birth.

TIMESTAMP, METRICS, SEQ = 1, 2, 3  # of a payload
ALIAS, AT, INT, LONG, FLOAT, DOUBLE = 2, 3, 10, 11, 12, 13  # of a metric


def sparkplug(groups: wire.Groups, profiles: Profiles, known: Known) -> bytes:
    payload, newest = bytearray(), 0
    for device, at, values in observations(groups):
        newest = max(newest, at)
        properties = profiles[known.kind_of[device]].properties
        for name, value in values.items():
            item = properties[name]
            metric = _varint_field(ALIAS, known.alias[device, name]) + _varint_field(AT, at)
            if item.type == "enum":
                metric += _varint_field(INT, item.values.index(value))
            elif item.type == "integer":
                metric += _varint_field(INT, value & 0xFFFFFFFF)  # two's complement, section 6.4.16
            else:
                metric += bytes([FLOAT << 3 | 5]) + struct.pack("<f", value)
            payload += bytes([METRICS << 3 | 2]) + _varint(len(metric)) + metric
    return _varint_field(TIMESTAMP, newest) + bytes(payload) + _varint_field(SEQ, 7)


def from_sparkplug(data: bytes, profiles: Profiles, known: Known) -> list[Observation]:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for field, metric in _fields(data):
        if field != METRICS:
            continue
        parts = dict(_fields(metric))
        device, name = known.metric[parts[ALIAS]]
        item = profiles[known.kind_of[device]].properties[name]
        if item.type == "enum":
            value: Any = item.values[parts[INT]]
        elif item.type == "integer":
            value = parts[INT] - (1 << 32) * (parts[INT] >> 31)
        else:
            value = round(struct.unpack("<f", parts[FLOAT])[0], item.decimals)
        found.setdefault((device, parts[AT]), {})[name] = value
    return [(device, at, values) for (device, at), values in found.items()]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_field(number: int, value: int) -> bytes:
    return bytes([number << 3]) + _varint(value)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a message's fields: integers, or the bytes of what has a length or a fixed width."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire_type = key & 7
        if wire_type == 0:
            value, at = _read_varint(data, at)
            yield key >> 3, value
            continue
        if wire_type == 2:
            size, at = _read_varint(data, at)
        else:
            size = 4 if wire_type == 5 else 8
        yield key >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def same(decimals: int, a: Any, b: Any) -> bool:
    """Whether two values are one at the profile's decimals."""
    if isinstance(a, str) or isinstance(b, str):
        return bool(a == b)
    return round(a, decimals) == round(b, decimals)


ENCODINGS = (
    Encoding("SenML JSON", senml_json, from_senml_json),
    Encoding("SenML CBOR", senml_cbor, from_senml_cbor),
    Encoding("Sparkplug B", sparkplug, from_sparkplug),
)
