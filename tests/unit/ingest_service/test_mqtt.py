"""The bytes of MQTT 3.1.1, as the standard writes them down, and packets out of any pieces of a stream."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service import mqtt

MOST = 300_000


def publish(topic: str, payload: bytes, packet_id: int | None) -> bytes:
    """A PUBLISH as a broker sends it; with a packet id at QoS 1."""
    body = mqtt.topic_of(topic) + (b"" if packet_id is None else packet_id.to_bytes(2, "big")) + payload
    length, rest = bytearray(), len(body)
    while True:
        length.append(rest & 0x7F | (0x80 if rest > 0x7F else 0))
        rest >>= 7
        if not rest:
            break
    return bytes((0x30 if packet_id is None else 0x32,)) + bytes(length) + body


def read_in_pieces(stream: bytes, cuts: list[int]):
    """What `read` makes of a stream that arrives in pieces, as the inbox feeds it."""
    buffer, end = bytearray(len(stream) + 1), 0
    messages, ids, others = [], [], []
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for low, high in pairwise(edges):
        buffer[end : end + high - low] = stream[low:high]
        end += high - low
        more, acknowledge, packets, used = mqtt.read(buffer, end, MOST)
        messages += more
        ids += acknowledge
        others += packets
        buffer[: end - used] = buffer[used:end]
        end -= used
    return messages, ids, others, end


sent = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        st.one_of(st.binary(max_size=40), st.integers(100, 20_000).map(bytes)),
        st.none() | st.integers(1, 65535),
    ),
    max_size=8,
)


@given(sent, st.lists(st.integers(0, 10**6), max_size=12))
def test_messages_come_out_whole_and_in_order_however_the_stream_is_cut(packets, cuts):
    stream = b"".join(publish(*packet) + b"\xd0\x00" for packet in packets)
    messages, ids, others, left = read_in_pieces(stream, cuts)
    assert messages == [(topic, payload) for topic, payload, _ in packets]
    assert ids == [number for *_, number in packets if number is not None]
    assert [packet.type for packet in others] == [mqtt.PINGRESP] * len(packets)
    assert left == 0


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_but_with_a_protocol_error(noise):
    try:
        *_, used = mqtt.read(bytearray(noise), len(noise), MOST)
    except mqtt.ProtocolError:
        return
    assert 0 <= used <= len(noise)


def test_a_packet_beyond_the_limit_is_a_protocol_error_before_it_is_waited_for():
    with pytest.raises(mqtt.ProtocolError, match="a packet of"):
        mqtt.read(bytearray(b"\x30\xff\xff\x7f"), 4, MOST)
    with pytest.raises(mqtt.ProtocolError, match="four bytes"):
        mqtt.read(bytearray(b"\x30\xff\xff\xff\xff\x01"), 6, MOST)


def test_what_is_sent_is_what_the_standard_writes():
    assert mqtt.connect("c", "u", "p", 15) == b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x0f\x00\x01c\x00\x01u\x00\x01p"
    assert mqtt.subscribe(1, ["a/+", "b"], 1) == b"\x82\x0c\x00\x01\x00\x03a/+\x01\x00\x01b\x01"
    assert mqtt.publish(mqtt.topic_of("t"), b"x" * 200) == b"\x30\xcb\x01\x00\x01t" + b"x" * 200
    assert mqtt.puback(258) == b"\x40\x02\x01\x02"
