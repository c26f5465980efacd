"""A load: batches of many outboxes, encoded before the run as the very bytes that go to the broker.

A load is a folder: `packets.bin` (complete MQTT publications, bodies by `contracts.wire`), `index.npz` (where each
lies; both in the order in which outboxes seal them) and `load.json`. A batch's header holds its final epoch, seq, nonce
and checksum; only `taken_ms` is written at the first send (`taken_at`), so nothing is encoded during a run.
Observation times begin at `start_ms` and pass at the given rate, so at that rate the load is always of now.
"""

import itertools
import mmap
import struct
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from contracts import profiles as kinds
from contracts import wire
from contracts.topics import Channel
from tests.benchmarks.load_fleet import Fleet
from tests.benchmarks.readings import Array, rate, read

CHUNK_OUTBOXES = 100  # encoded together by one process
PACKET_ID_BYTES = 2
_MARK = 0x1122334455667788


def _taken_offset() -> int:
    """Where `taken_ms` stands in a header."""
    header = wire.pack(wire.Header(1, 1, 1, 1, 1, 1, 1, _MARK, 1), b"")
    return header.index(struct.pack("<q", _MARK))


TAKEN_OFFSET = _taken_offset()


class Plan(msgspec.Struct, frozen=True):
    """What a load is made of; kept beside it as load.json."""

    outboxes: int
    size: int  # devices an outbox
    batches: int  # of each outbox
    observations: int  # a batch
    rate: float  # observations a second, of all: how fast the observations' own time passes
    start_ms: int
    qos: int = 0
    stamped: bool = True  # whether messages have a header in which the time of sending is written
    seed: int = 1

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.outboxes, self.size, self.seed)

    @property
    def total(self) -> int:
        """Observations in the load."""
        return self.outboxes * self.batches * self.observations


class Load:
    """A load on disk, opened for sending (`packets` may be written to: the file stays as it is) or for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = msgspec.json.decode((folder / "load.json").read_bytes(), type=Plan)
        with (folder / "packets.bin").open("rb") as file:
            self.packets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        index = np.load(folder / "index.npz")
        self.offset: Array = index["offset"]  # (n,) int64, in the order of sending
        self.length: Array = index["length"]  # (n,) int64
        self.body: Array = index["body"]  # (n,) int64: bytes of the body, the packet's last
        self.outbox: Array = index["outbox"]  # (n,) int32; the seq of an outbox's batches rises in the order of sending
        self.sealed_ms: Array = index["sealed_ms"]  # (n,) int64, rising: when each is due at the load's rate

    @property
    def taken_at(self) -> Array:
        """(n,) where in `packets` the header's taken_ms stands."""
        found: Array = self.offset + self.length - self.body - wire.HEADER_BYTES + TAKEN_OFFSET
        return found

    @property
    def packet_id_at(self) -> Array:
        """(n,) where the packet id stands, when the QoS is 1."""
        found: Array = self.offset + self.length - self.body - wire.HEADER_BYTES - PACKET_ID_BYTES
        return found

    def bodies(self, upto: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(outbox, body) in the order of sending."""
        chosen = slice(0, upto)
        ends = self.offset[chosen] + self.length[chosen]
        for outbox, begin, end in zip(
            self.outbox[chosen].tolist(), (ends - self.body[chosen]).tolist(), ends.tolist(), strict=True
        ):
            yield outbox, self.packets[begin:end]


def make(folder: Path, plan: Plan, processes: int = 2) -> Load:
    """Encode a load into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    firsts = range(0, plan.outboxes, CHUNK_OUTBOXES)
    indexes, base = [], 0
    with (
        (folder / "packets.bin").open("wb") as packets,
        ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool,
    ):
        waiting = iter(firsts)
        running = [pool.submit(_encode, plan, first) for first in itertools.islice(waiting, 2 * processes)]
        while running:  # a few at a time: a load may be larger than memory
            data, sealed_ms, lengths, bodies, outboxes = running.pop(0).result()
            running += [pool.submit(_encode, plan, first) for first in itertools.islice(waiting, 1)]
            packets.write(data)
            indexes.append((sealed_ms, base + np.cumsum(lengths) - lengths, lengths, bodies, outboxes))
            base += len(data)
    sealed, offset, length, body, outbox = (np.concatenate(parts) for parts in zip(*indexes, strict=True))
    order = np.argsort(sealed, kind="stable")
    _reorder(folder / "packets.bin", offset[order].tolist(), length[order].tolist())
    length = length[order]
    np.savez(
        folder / "index.npz", offset=np.cumsum(length) - length, length=length, body=body[order], outbox=outbox[order],
        sealed_ms=sealed[order],
    )  # fmt: skip
    (folder / "load.json").write_bytes(msgspec.json.encode(plan))
    return Load(folder)


def _reorder(file: Path, offset: list[int], length: list[int]) -> None:
    """Put the packets of a file into the order of sealing: what is sent together lies together."""
    other = file.with_suffix(".ordered")
    with (
        file.open("rb") as before,
        mmap.mmap(before.fileno(), 0, access=mmap.ACCESS_READ) as packets,
        other.open("wb") as after,
    ):
        for begin, size in zip(offset, length, strict=True):
            after.write(packets[begin : begin + size])
    other.replace(file)


def _encode(plan: Plan, first: int) -> tuple[bytes, Array, Array, Array, Array]:
    """Packets of some outboxes, one after the other; of each: when it is sealed (ms), lengths, outbox."""
    fleet, profiles = plan.fleet, kinds.load(environ={})
    data, sealed, lengths, bodies, outboxes = bytearray(), [], [], [], []
    for outbox in range(first, min(plan.outboxes, first + CHUNK_OUTBOXES)):
        topic = fleet.topic(outbox, Channel.BATCH).encode()
        for seq, (groups, clock_ms) in enumerate(_batches(plan, fleet, profiles, outbox), start=1):
            body = wire.encode_body(groups)
            header = wire.Header(
                epoch=fleet.epochs[outbox], seq=seq, floor=1, nonce=fleet.nonces[outbox],
                first=1 + (seq - 1) * plan.observations, count=plan.observations, clock_ms=clock_ms, taken_ms=0,
                backlog=0,
            )  # fmt: skip
            packet = publication(topic, wire.pack(header, body), plan.qos)
            data += packet
            sealed.append(clock_ms)
            lengths.append(len(packet))
            bodies.append(len(body))
            outboxes.append(outbox)
    return (
        bytes(data), np.array(sealed, np.int64), np.array(lengths, np.int64), np.array(bodies, np.int64),
        np.array(outboxes, np.int32),
    )  # fmt: skip


def _batches(
    plan: Plan, fleet: Fleet, profiles: dict[str, kinds.Profile], outbox: int
) -> Iterator[tuple[wire.Groups, int]]:
    """An outbox's batches in order: the groups, and the agent's clock (ms) when it seals them."""
    pace = rate(fleet, profiles)  # observations a second of the fleet's own time
    wanted = plan.batches * plan.observations
    span_s = 1.1 * wanted / pace + 120.0
    readings = {kind: found for kind, found in read(fleet, profiles, outbox, span_s).items() if len(found.at_s)}
    names = list(readings)
    at_s = np.concatenate([readings[kind].at_s for kind in names])
    kind_of = np.concatenate([np.full(len(readings[kind].at_s), i) for i, kind in enumerate(names)])
    order = np.argsort(at_s, kind="stable")
    if len(order) < wanted:
        raise AssertionError(f"outbox {outbox} reports {len(order)} of {wanted}")
    order = order[:wanted]
    # Outboxes start at different places in their first batch, or all would seal at once.
    early_s = plan.observations / pace * ((outbox * 0.6180339887) % 1.0)
    passes = plan.outboxes * pace / plan.rate  # of the load's time, for one second of the fleet's
    at_ms = plan.start_ms + ((at_s - early_s) * passes * 1000).astype(np.int64)
    columns: list[list[tuple[str, list[Any]]]] = []
    upto: list[list[int]] = []  # per kind: its rows before each batch
    edges = np.arange(0, wanted + 1, plan.observations)
    begin = 0
    for i, kind in enumerate(names):
        found = readings[kind]
        here = fleet.names(outbox, kind)
        columns.append(
            [
                ("device", [here[place] for place in found.device.tolist()]),
                ("observed_at", at_ms[begin : begin + len(found.at_s)].tolist()),
                *found.columns.items(),
            ]
        )
        begin += len(found.at_s)
        upto.append(np.concatenate([[0], np.cumsum(kind_of[order] == i)])[edges].tolist())
    last = order[edges[1:] - 1]
    for batch, clock_ms in enumerate(at_ms[last].tolist()):
        groups: wire.Groups = {}
        for i, kind in enumerate(names):
            low, high = upto[i][batch], upto[i][batch + 1]
            if high > low:
                groups[kind] = {name: values[low:high] for name, values in columns[i]}
        yield groups, clock_ms


def publication(topic: bytes, payload: bytes, qos: int) -> bytes:
    """An MQTT 3.1.1 PUBLISH; its packet id, when the QoS is 1, stands before the payload and is 0 as yet."""
    variable = struct.pack(">H", len(topic)) + topic + (b"\0" * PACKET_ID_BYTES if qos else b"")
    return bytes([0x30 | qos << 1]) + remaining_length(len(variable) + len(payload)) + variable + payload


def remaining_length(value: int) -> bytes:
    """MQTT's variable byte integer."""
    out = bytearray()
    while True:
        value, low = divmod(value, 128)
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)
