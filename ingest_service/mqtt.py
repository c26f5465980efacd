"""MQTT 3.1.1 as far as the ingest service speaks it: the bytes of what it sends, and packets out of a stream of bytes.

Pure functions; the socket belongs to `inbox`. A library spends 80 to 400 microseconds of a core on each message
(paho, aiomqtt), this 2; docs/adr/0014 has the measurements.
source: OASIS, MQTT Version 3.1.1, section 2 (format) and 3 (packets).
"""

from collections.abc import Sequence

import msgspec

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
REFUSALS = {  # return codes of CONNACK
    1: "unacceptable protocol version",
    2: "client identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
FAILED = 0x80  # return code of SUBACK


class ProtocolError(ValueError):
    """Bytes that are no MQTT 3.1.1."""


class Packet(msgspec.Struct):
    """Anything but a PUBLISH."""

    type: int
    body: bytes


def connect(client_id: str, username: str, password: str, keepalive_s: int) -> bytes:
    """CONNECT with a clean session."""
    flags = 0x80 | 0x40 | 0x02  # user name, password, clean session
    header = _text("MQTT") + bytes((4, flags)) + keepalive_s.to_bytes(2, "big")
    return _packet(0x10, header + _text(client_id) + _text(username) + _text(password))


def subscribe(packet_id: int, filters: Sequence[str], qos: int) -> bytes:
    asked = b"".join(_text(topic) + bytes((qos,)) for topic in filters)
    return _packet(0x82, packet_id.to_bytes(2, "big") + asked)


def publish(topic: bytes, payload: bytes) -> bytes:
    """PUBLISH at QoS 0; topic is UTF-8 with its length in front, as `topic_of` makes it."""
    return b"\x30" + _length(len(topic) + len(payload)) + topic + payload


def topic_of(text: str) -> bytes:
    return _text(text)


def puback(packet_id: int) -> bytes:
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def read(
    data: bytearray, end: int, max_packet_bytes: int
) -> tuple[list[tuple[str, bytes]], list[int], list[Packet], int]:
    """Packets of data[:end]: messages (topic, payload), ids to acknowledge (QoS 1), other packets, and how many bytes
    they took; the rest is the beginning of a packet. Raises ProtocolError.
    """
    messages: list[tuple[str, bytes]] = []
    ids: list[int] = []
    others: list[Packet] = []
    view = memoryview(data)
    at = 0
    while at + 2 <= end:
        length = data[at + 1]
        body = at + 2
        if length & 0x80:
            length &= 0x7F
            shift = 7
            while True:
                if body >= end:
                    return messages, ids, others, at
                byte = data[body]
                body += 1
                length |= (byte & 0x7F) << shift
                if not byte & 0x80:
                    break
                shift += 7
                if shift > 21:
                    raise ProtocolError("remaining length of more than four bytes")
        if length > max_packet_bytes:
            raise ProtocolError(f"a packet of {length} bytes")
        after = body + length
        if after > end:
            break
        first = data[at]
        if first >> 4 == PUBLISH:
            payload = body + 2 + (data[body] << 8 | data[body + 1]) if length >= 2 else after + 1
            topic_end = payload
            if first & 0x06:
                payload += 2
                if payload <= after:
                    ids.append(data[topic_end] << 8 | data[topic_end + 1])
            if payload > after:
                raise ProtocolError("a PUBLISH shorter than its topic")
            messages.append((str(view[body + 2 : topic_end], "utf-8", "replace"), bytes(view[payload:after])))
        else:
            others.append(Packet(first >> 4, bytes(view[body:after])))
        at = after
    return messages, ids, others, at


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _length(n: int) -> bytes:
    if n < 128:
        return bytes((n,))
    out = bytearray()
    while n > 127:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)
