"""Batches and cursors in bytes: every way to be malformed has its reason, and nothing of it costs memory."""

import struct

import msgspec
import pytest
import zstandard

from contracts import wire
from contracts.reasons import Reason
from contracts.wire import CursorMessage, Header, WireError

HEADER = Header(
    epoch=2**63 - 1, seq=7, floor=3, nonce=2**32 - 1, first=601, count=2, clock_ms=-5, taken_ms=1, backlog=9
)
GROUPS = {"streetlight": {"device": ["sl-1", "sl-2"], "observed_at": [1, 2], "voltage": [220.5, None]}}
BODY = wire.encode_body(GROUPS)


def refused(payload, reason, words, *, header=None):
    with pytest.raises(WireError) as caught:
        wire.unpack(payload)
    assert (caught.value.reason, caught.value.header) == (reason, header)
    assert words in str(caught.value)


def unreadable(body, reason, words):
    with pytest.raises(WireError) as caught:
        wire.decode_body(body)
    assert caught.value.reason is reason
    assert words in str(caught.value)


def changed(**fields):
    return msgspec.structs.replace(HEADER, **fields)


def test_a_batch_comes_back_as_it_was_sent():
    header, body = wire.unpack(wire.pack(HEADER, BODY))
    assert header == HEADER
    assert wire.decode_body(body) == GROUPS


def test_a_heartbeat_is_a_header_alone():
    heartbeat = changed(seq=0, count=0, first=0, floor=0)
    header, body = wire.unpack(wire.pack(heartbeat, b""))
    assert header == heartbeat
    assert len(body) == 0


def test_a_body_is_compressed_only_where_that_is_smaller():
    small = wire.encode_body({"streetlight": {"device": [], "observed_at": []}})
    assert small.startswith(b"{")
    large = wire.encode_body({"streetlight": {"device": ["sl-1"] * 500, "observed_at": [1_780_000_000_000] * 500}})
    assert large.startswith(b"\x28\xb5\x2f\xfd")
    assert len(large) < 200
    assert wire.count_of(wire.decode_body(large)) == 500


def test_a_backlog_beyond_32_bits_is_told_as_the_largest():
    assert wire.unpack(wire.pack(changed(backlog=2**40), BODY))[0].backlog == 2**32 - 1


def test_a_message_without_a_readable_header_is_malformed():
    good = wire.pack(HEADER, BODY)
    refused(b"", Reason.MALFORMED_HEADER, "0 bytes")
    for length in range(wire.HEADER_BYTES):
        refused(good[:length], Reason.MALFORMED_HEADER, f"{length} bytes")
    refused(b"XX" + good[2:], Reason.MALFORMED_HEADER, "magic b'XX'")
    refused(good[:2] + b"\x02" + good[3:], Reason.MALFORMED_HEADER, "version 2")
    refused(good[:4] + struct.pack("<Q", 2**63) + good[12:], Reason.MALFORMED_HEADER, "exceeds 63 bits")


def test_numbers_that_contradict_each_other_are_malformed():
    def check(**fields):
        refused(wire.pack(changed(**fields), BODY), Reason.MALFORMED_HEADER, "cannot read header: seq")

    check(floor=0)
    check(floor=8)
    check(first=0)
    check(first=wire.MAX_NUMBER + 1)  # a database's bigint must hold what follows
    refused(wire.pack(changed(seq=0), BODY), Reason.MALFORMED_HEADER, "a heartbeat with observations")
    refused(wire.pack(changed(seq=0, count=0), BODY), Reason.MALFORMED_HEADER, "a heartbeat with observations")


def test_a_body_cut_short_or_altered_is_known_by_its_checksum_and_the_header_still_counts():
    good = wire.pack(HEADER, BODY)
    refused(good[:-1], Reason.MALFORMED_BODY, "checksum", header=HEADER)
    refused(good[:-1] + bytes([good[-1] ^ 1]), Reason.MALFORMED_BODY, "checksum", header=HEADER)
    refused(good[: wire.HEADER_BYTES], Reason.MALFORMED_BODY, "checksum", header=HEADER)


def test_a_payload_of_ten_megabytes_is_too_large():
    refused(wire.pack(HEADER, bytes(10_000_000)), Reason.TOO_LARGE, "10000000 bytes", header=HEADER)
    many = changed(count=wire.MAX_OBSERVATIONS + 1)
    refused(wire.pack(many, BODY), Reason.TOO_LARGE, "1001 observations", header=many)
    assert len(wire.unpack(wire.pack(HEADER, bytes(wire.MAX_BODY_BYTES)))[1]) == wire.MAX_BODY_BYTES


def test_a_zstd_bomb_is_refused_before_it_unfolds():
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(1 << 29))
    assert len(bomb) < wire.MAX_BODY_BYTES
    unreadable(bomb, Reason.TOO_LARGE, "536870912 bytes when decompressed")


def test_a_zstd_bomb_that_lies_about_its_size_is_refused():
    silent = zstandard.ZstdCompressor(level=19, write_content_size=False).compress(bytes(1 << 24))
    unreadable(silent, Reason.MALFORMED_BODY, "does not tell its size")
    honest = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 24))
    at = honest.index(struct.pack("<I", 1 << 24))
    lying = honest[:at] + struct.pack("<I", 1000) + honest[at + 4 :]
    assert zstandard.frame_content_size(lying) == 1000
    unreadable(lying, Reason.MALFORMED_BODY, "cannot decode body")


def test_bodies_are_decompressed_together_as_each_by_itself(monkeypatch):
    whole = zstandard.ZstdCompressor().compress(b"[1]" * 100)
    empty = zstandard.ZstdCompressor().compress(b"")
    good = [whole, b"{}", b"", empty, whole + b"more", whole + whole]
    odd = [
        whole[:-2],
        whole[:4],
        zstandard.ZstdCompressor().compress(bytes(1 << 26)),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"[1]" * 100),
    ]

    def by_itself(body):
        try:
            return wire.decompress(body)
        except WireError as error:
            return str(error)

    for bodies in (good, [*good, *odd], odd, [], [empty], [empty, empty], [empty, whole], [empty + b"x", whole]):
        together = wire.decompress_all([memoryview(body) for body in bodies])
        assert [one if isinstance(one, bytes) else str(one) for one in together] == [by_itself(one) for one in bodies]
    assert sum(isinstance(one, WireError) for one in wire.decompress_all(good + odd)) == len(odd)
    monkeypatch.setattr(wire, "TOGETHER_BYTES", 700)
    assert wire.decompress_all([whole, b"{}", whole, whole, empty]) == [b"[1]" * 100, b"{}", *[b"[1]" * 100] * 2, b""]


def test_a_body_that_is_no_columns_is_malformed():
    def check(plain, words=""):
        unreadable(plain, Reason.MALFORMED_BODY, words)
        unreadable(zstandard.ZstdCompressor().compress(plain), Reason.MALFORMED_BODY, words)

    check(b"")
    check(b"[]", "Expected `object`")
    check(b'{"streetlight":[]}')
    check(b'{"streetlight":{"device":"sl-1","observed_at":[1]}}')
    check(b'{"streetlight":{"device":["sl-1"]}}', "lacks device or observed_at")
    check(b'{"streetlight":{"device":["sl-1"],"observed_at":[]}}', "unequal length")
    check(b'{"streetlight":{"device":["sl-1"],"observed_at":[1],"voltage":[]}}', "unequal length")
    check(b'{"streetlight":{"device":["sl-1"],"observed_at":[1e999]}}')
    check(b'{"streetlight":{"device":["\xff"],"observed_at":[1]}}')
    check(b'{"streetlight":{"device":["\\ud800"],"observed_at":[1]}}')
    check(b'{"a":{"device":[' + b"[" * 100_000 + b"]" * 100_000 + b'],"observed_at":[1]}}')
    unreadable(b"\x28\xb5\x2f\xfd\x00\x00", Reason.MALFORMED_BODY, "cannot decode body")
    unreadable(
        wire.encode_body({"k": {"device": ["d"] * 900, "observed_at": [1] * 900}})[:-4], Reason.MALFORMED_BODY, ""
    )


def test_cursors_round_trip_and_anything_else_is_refused():
    for message in (CursorMessage(epoch=2**62, seq=3, nonce=9), CursorMessage(epoch=1, seq=0, nonce=1, gap=True)):
        assert wire.decode_cursor(wire.encode_cursor(message)) == message
    for payload in (b"", b"{}", b'{"epoch":1,"seq":"3","nonce":0}', b"\xff"):
        with pytest.raises(WireError):
            wire.decode_cursor(payload)
