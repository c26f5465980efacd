"""What an agent and the ingest service say to each other in bytes: batches one way, cursors the other.

A batch is a short uncompressed header, written anew at each send, and a body that is encoded once: columnar JSON, a
group a kind, compressed with zstd where that is smaller. A compressed body is known by zstd's magic number.
Raises WireError with a quarantine reason for what cannot be read; judges neither kinds nor devices.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import zstandard

from contracts.reasons import Reason

MAX_BODY_BYTES = 256 * 1024  # sealed below this; brokers are configured for it plus room for the header
MAX_DECODED_BYTES = 4 * 1024 * 1024  # a body may grow 16-fold on decompression; more is a bomb
MAX_OBSERVATIONS = 1000
MAX_NUMBER = 1 << 62  # of an observation in its epoch; leaves a database's bigint room for what follows
VERSION = 1

_MAGIC = b"DU"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# magic, version, flags, epoch, seq, floor, nonce, first, count, clock_ms, taken_ms, backlog, CRC-32 of the body
_HEADER = struct.Struct("<2sBBQIIIQHqqII")
HEADER_BYTES = _HEADER.size
_COUNT_AT = struct.calcsize("<2sBBQIIIQ")

Groups = dict[str, dict[str, list[Any]]]


class WireError(ValueError):
    """Bytes that are no message of ours; `reason` is the quarantine reason, `header` what could be read."""

    def __init__(self, reason: Reason, detail: str, header: "Header | None" = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.header = header


class Header(msgspec.Struct, frozen=True, gc=False):
    """All integers. A heartbeat has seq 0, count 0 and no body.

    A batch of count 0 is the last of an epoch whose observations the outbox had to drop: it declares the loss.
    """

    epoch: int  # random, 63 bits: an independent numbered stream of batches
    seq: int  # number of the batch in its epoch, from 1
    floor: int  # lowest seq of this epoch that the outbox still holds
    nonce: int  # of the agent's connection, 32 bits; echoed by the cursor
    first: int  # number of the batch's first observation in its epoch, from 1
    count: int  # observations in the batch
    clock_ms: int  # agent's clock up to which it has told everything with this batch; 0: it cannot say, more is behind
    taken_ms: int  # system clock when the batch's oldest observation was handed over by its driver
    backlog: int  # observations waiting in the outbox at this send


class CursorMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the store has committed one epoch; a reply to the connection `nonce`."""

    epoch: int
    seq: int
    nonce: int
    gap: bool = False  # batches beyond `seq` came and were ignored: send them again


TOGETHER_BYTES = 64 << 20  # of plain bodies that are decompressed in one call
MIN_COMPRESSED_BYTES = 256  # one observation: zstd saves a tenth of it, and costs either side more than all the rest

_encoder = msgspec.json.Encoder()
_groups_decoder = msgspec.json.Decoder(Groups)
_cursor_decoder = msgspec.json.Decoder(CursorMessage)
_compressor = zstandard.ZstdCompressor(level=3)
_decompressor = zstandard.ZstdDecompressor()


def encode_body(groups: Groups) -> bytes:
    """Body of the groups, each `{"device": [...], "observed_at": [ms...], <property>: [...]}` of equal lengths."""
    plain = _encoder.encode(groups)
    if len(plain) < MIN_COMPRESSED_BYTES:
        return plain
    packed = _compressor.compress(plain)
    return packed if len(packed) < len(plain) else plain


def decompress(body: bytes | memoryview) -> bytes:
    """The plain JSON of a body, at most MAX_DECODED_BYTES of it; raises WireError."""
    data = bytes(body)
    if data[:4] != _ZSTD_MAGIC:
        return data
    try:
        size = zstandard.frame_content_size(data)
        if size < 0:
            raise WireError(Reason.MALFORMED_BODY, "cannot decode body: it does not tell its size when decompressed")
        if size > MAX_DECODED_BYTES:
            raise WireError(Reason.TOO_LARGE, f"cannot decode body: {size} bytes when decompressed")
        return _decompressor.decompress(data, max_output_size=MAX_DECODED_BYTES)
    except zstandard.ZstdError as error:
        raise WireError(Reason.MALFORMED_BODY, f"cannot decode body: {error}") from error


def decompress_all(bodies: Sequence[bytes | memoryview]) -> list[bytes | WireError]:
    """The plain JSON of each body, or what `decompress` raises of it.

    Many in one call: each call lets go of the interpreter's lock, and waits for it where threads are busy (95
    microseconds a body of 1.2 kB that takes 8 to decompress, by py-spy, at 180,000 observations a second).
    """
    found: list[bytes | WireError] = [bytes(body) for body in bodies]
    together: dict[int, bytes] = {}
    size = 0
    for at, data in enumerate(found):
        assert isinstance(data, bytes)
        promised = _promised(data)
        if promised is None:
            found[at] = _or_error(data)
            continue
        if promised and size + promised > TOGETHER_BYTES:
            _unfold(together, found)
            together, size = {}, 0
        if promised:
            together[at] = data
            size += promised
    _unfold(together, found)
    return found


def _promised(data: bytes) -> int | None:
    """Bytes that a body says it has when decompressed, 0 when it is plain; None when `decompress` had better look.
    An empty frame is among these: zstandard 0.25 frees its memory twice where it is decompressed with others.
    """
    if data[:4] != _ZSTD_MAGIC:
        return 0
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError:
        return None
    return size if 0 < size <= MAX_DECODED_BYTES else None


def _unfold(together: dict[int, bytes], found: list[bytes | WireError]) -> None:
    """Put the plain bodies of these places there."""
    if not together:
        return
    try:
        plain = _decompressor.multi_decompress_to_buffer(list(together.values()))
        for number, at in enumerate(together):
            found[at] = plain[number].tobytes()
    except zstandard.ZstdError:  # one of them cannot be read
        for at, data in together.items():
            found[at] = _or_error(data)


def _or_error(data: bytes) -> bytes | WireError:
    try:
        return decompress(data)
    except WireError as error:
        return error


def decode_body(body: bytes | memoryview) -> Groups:
    """Groups of a body, each with `device` and `observed_at` and columns of one length; raises WireError."""
    return decode_plain(decompress(body))


def decode_plain(data: bytes) -> Groups:
    """The same of a body that is decompressed already; raises WireError."""
    try:
        groups = _groups_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(Reason.MALFORMED_BODY, f"cannot decode body: {error}") from error
    for kind, columns in groups.items():
        lengths = {len(column) for column in columns.values()}
        if "device" not in columns or "observed_at" not in columns:
            raise WireError(Reason.MALFORMED_BODY, f"cannot decode body: {kind!r} lacks device or observed_at")
        if len(lengths) != 1:
            raise WireError(Reason.MALFORMED_BODY, f"cannot decode body: {kind!r} has columns of unequal length")
    return groups


def count_of(groups: Groups) -> int:
    return sum(len(columns["device"]) for columns in groups.values())


def pack(header: Header, body: bytes) -> bytes:
    """The message of a batch or, with seq 0 and an empty body, of a heartbeat."""
    return (
        _HEADER.pack(
            _MAGIC,
            VERSION,
            0,
            header.epoch,
            header.seq,
            header.floor,
            header.nonce,
            header.first,
            header.count,
            header.clock_ms,
            header.taken_ms,
            min(header.backlog, 0xFFFF_FFFF),
            zlib.crc32(body),
        )
        + body
    )


def unpack(payload: bytes) -> tuple[Header, memoryview]:
    """Header and body; raises WireError, which carries the header where that much could be read."""
    if len(payload) < HEADER_BYTES:
        raise WireError(Reason.MALFORMED_HEADER, f"cannot read header: {len(payload)} bytes")
    magic, version, _flags, epoch, seq, floor, nonce, first, count, clock_ms, taken_ms, backlog, crc = (
        _HEADER.unpack_from(payload)
    )
    if magic != _MAGIC or version != VERSION:
        raise WireError(Reason.MALFORMED_HEADER, f"cannot read header: magic {magic!r}, version {version}")
    if epoch >= 1 << 63:
        raise WireError(Reason.MALFORMED_HEADER, f"cannot read header: epoch {epoch} exceeds 63 bits")
    header = Header(epoch, seq, floor, nonce, first, count, clock_ms, taken_ms, backlog)
    body = memoryview(payload)[HEADER_BYTES:]
    if seq and (floor < 1 or floor > seq or not 1 <= first <= MAX_NUMBER):
        raise WireError(
            Reason.MALFORMED_HEADER, f"cannot read header: seq {seq}, floor {floor}, first {first}, count {count}"
        )
    if not seq and (count or len(body)):
        raise WireError(Reason.MALFORMED_HEADER, "cannot read header: a heartbeat with observations")
    if len(body) > MAX_BODY_BYTES or count > MAX_OBSERVATIONS:
        raise WireError(Reason.TOO_LARGE, f"cannot read batch: {count} observations in {len(body)} bytes", header)
    if zlib.crc32(body) != crc:
        raise WireError(Reason.MALFORMED_BODY, "cannot read batch: checksum of the body differs", header)
    return header, body


def peek_count(payload: bytes) -> int:
    """Observations that a message announces, unchecked; 0 when it is too short to say."""
    return payload[_COUNT_AT] | payload[_COUNT_AT + 1] << 8 if len(payload) >= HEADER_BYTES else 0


def encode_cursor(message: CursorMessage) -> bytes:
    return _encoder.encode(message)


def decode_cursor(payload: bytes) -> CursorMessage:
    """Raises WireError when the payload is no cursor."""
    try:
        return _cursor_decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(Reason.MALFORMED_HEADER, f"cannot read cursor: {error}") from error
