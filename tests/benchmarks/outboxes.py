"""The sending side of a load, as a process of its own that costs little: all outboxes over a few connections.

Each outbox is a `contracts.cursor.Sender` with an agent's window; it hears the cursor topic, sends on when the store
has committed, and sends again from the cursor after silence. What an outbox may seal follows from the pace: as fast as
the store commits (so many batches under way among all outboxes), so many observations a second, or, for consumers that
know no cursor, as far as the number read last from stdin. Once a second, and at the end, it prints a line of JSON.
"""

import argparse
import json
import os
import random
import re
import resource
import select
import selectors
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path

import msgspec
import numpy as np

from broker.registry import Credentials
from contracts import topics
from contracts.cursor import Sender
from contracts.topics import Channel
from tests.benchmarks.load import Load, remaining_length
from tests.benchmarks.readings import Array

CONNECTIONS = 4  # at QoS 1, where each waits for acknowledgements; at QoS 0 one is enough
WINDOW_BATCHES = 32  # edge.settings: window_batches
MAX_UNACKNOWLEDGED = 8_000  # of a connection at QoS 1; below NATS's max_ack_pending of 16,384
FIRST_IN_FLIGHT = 300  # batches, until it is known how fast the store commits
AHEAD_S, GROWTH, STEP_S = 1.2, 1.1, 0.1
LOOK_S = 0.5  # how often silence is looked for
TURN_S = 0.004  # packets that become due within it are written together
PAUSE_S = 0.02
RECV_BYTES = 1 << 20
MAX_CURSOR_BYTES = 200  # of one cursor message; what may be cut at the end of what was read
_cursor = re.compile(rb'\{"epoch":(\d+),"seq":(\d+),"nonce":(\d+)(,"gap":true)?\}')


class Refused(RuntimeError):
    """The broker let nobody in."""


class Connection:
    """A raw MQTT 3.1.1 connection: writes whole packets, counts what is acknowledged."""

    def __init__(self, account: Credentials, number: int) -> None:
        self.socket = socket.create_connection((account.host, account.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.next_id = 0
        self.sent = self.acknowledged = 0
        parts = [f"{account.client_id}-{number}", account.username, account.password]
        fields = b"\0\x04MQTT\x04\xc2\0\0" + b"".join(struct.pack(">H", len(text)) + text.encode() for text in parts)
        self.socket.sendall(b"\x10" + remaining_length(len(fields)) + fields)
        answer = self.read_exactly(4)
        if answer != b"\x20\x02\0\0":
            raise Refused(f"CONNECT was answered with {answer!r}")

    def read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.socket.recv(size - len(data)) or self._gone()
        return data

    def subscribe(self, text: str) -> None:
        fields = b"\0\x01" + struct.pack(">H", len(text)) + text.encode() + b"\0"
        self.socket.sendall(b"\x82" + remaining_length(len(fields)) + fields)
        answer = self.read_exactly(5)
        if answer[:2] != b"\x90\x03" or answer[4] != 0:
            raise Refused(f"SUBSCRIBE to {text} was answered with {answer!r}")

    def take_acknowledgements(self) -> None:
        """Count the PUBACKs that have come; they are four bytes each."""
        self.acknowledged += len(self.receive()) / 4

    def receive(self) -> bytes:
        """What has come."""
        return self.socket.recv(RECV_BYTES) or self._gone()

    def _gone(self) -> bytes:
        raise Refused("the broker closed the connection")


class Outboxes:
    """All outboxes of a load, and how far each has come."""

    def __init__(self, load: Load, account: Credentials) -> None:
        plan, fleet = load.plan, load.plan.fleet
        self.qos = plan.qos
        self.senders = [Sender(epoch) for epoch in fleet.epochs]
        self.outbox_of = {epoch: outbox for outbox, epoch in enumerate(fleet.epochs)}
        order = np.argsort(load.outbox, kind="stable").tolist()
        self.mine = [order[i * plan.batches : (i + 1) * plan.batches] for i in range(plan.outboxes)]
        self.outbox: list[int] = load.outbox.tolist()  # by place in the order of sealing, which is that of the packets
        self.begin: list[int] = [*load.offset.tolist(), len(load.packets)]
        self.taken_at = load.taken_at if plan.stamped else None
        self.packet_id_at: list[int] = load.packet_id_at.tolist()
        self.packets = memoryview(load.packets)
        self.bytes = np.frombuffer(load.packets, np.uint8)
        self.held: set[int] = set()  # outboxes that wait for the broker's acknowledgements
        self.gone = bytearray(len(self.outbox))  # by place: 1 once it was sent
        self.sealed = self.acked = self.sent = self.resent = 0
        self.connections = [Connection(account, number) for number in range(CONNECTIONS if self.qos else 1)]
        self.waiting: list[list[memoryview]] = [[] for _ in self.connections]
        self.cpu_s_before = _cpu_s()  # making ready does not count
        now_ms = time.monotonic_ns() // 1_000_000
        for sender, nonce in zip(self.senders, fleet.nonces, strict=True):
            sender.connect(nonce, now_ms)

    def seal(self, upto: int, taken_ms: Array, now_ms: int) -> set[int]:
        """Batches up to a place enter their outboxes, and leave at once where nothing waits; where something does."""
        self.stamp(self.sealed, upto, taken_ms)
        run, behind = self.sealed, set()
        for place in range(self.sealed, upto):
            sender = self.senders[self.outbox[place]]
            seq = sender.top + 1
            at_once = not self.qos and sender.sent == sender.top and sender.open and sender.in_flight < WINDOW_BATCHES
            sender.seal(seq)
            if at_once:
                sender.mark_sent(seq, now_ms)
            else:
                behind.add(self.outbox[place])
                self.post_run(run, place)
                run = place + 1
        self.post_run(run, upto)
        self.sealed = upto
        return behind

    def stamp(self, begin: int, end: int, taken_ms: Array) -> None:
        """Write the times of sealing into the headers of batches."""
        if self.taken_at is not None and end > begin:
            places = self.taken_at[begin:end, None] + np.arange(8)
            self.bytes[places] = taken_ms.astype("<i8").view(np.uint8).reshape(-1, 8)

    def post_run(self, begin: int, end: int) -> None:
        """Put batches that lie one after the other among what `write` will send, at QoS 0."""
        if end > begin:
            self.waiting[0].append(self.packets[self.begin[begin] : self.begin[end]])
            self.gone[begin:end] = b"\1" * (end - begin)
            self.sent += end - begin

    def pump(self, outbox: int, now_ms: int) -> None:
        """Send what the outbox's window grants."""
        sender, mine = self.senders[outbox], self.mine[outbox]
        while (seq := sender.next_to_send(now_ms, random.random)) is not None:
            if seq > sender.sent and sender.in_flight >= WINDOW_BATCHES:
                return
            if not self.post(mine[seq - 1]):
                self.held.add(outbox)
                return
            sender.mark_sent(seq, now_ms)

    def post(self, place: int) -> bool:
        """Put a batch among what `write` will send; False when too much is unacknowledged."""
        lane = self.outbox[place] % len(self.connections)
        connection = self.connections[lane]
        if self.qos and connection.sent - connection.acknowledged >= MAX_UNACKNOWLEDGED:
            return False
        packet = self.packets[self.begin[place] : self.begin[place + 1]]
        if self.qos:
            connection.next_id = connection.next_id % 0xFFFF + 1
            struct.pack_into(">H", self.packets, self.packet_id_at[place], connection.next_id)
            packet = memoryview(bytes(packet))  # the same batch may wait to be sent again under another id
        self.waiting[lane].append(packet)
        connection.sent += 1
        self.sent += 1
        self.resent += self.gone[place]
        self.gone[place] = 1
        return True

    def write(self) -> None:
        """Hand everything that waits to the broker."""
        for connection, waiting in zip(self.connections, self.waiting, strict=True):
            if waiting:
                connection.socket.sendall(b"".join(waiting))
                waiting.clear()

    def hear(self, data: bytes, now_ms: int) -> tuple[set[int], int]:
        """Take the cursors in what the broker brought; the outboxes that moved, and the bytes that were read."""
        moved, upto = set(), 0
        for found in _cursor.finditer(data):
            upto = found.end()
            outbox = self.outbox_of.get(int(found[1]))
            if outbox is not None:
                sender = self.senders[outbox]
                before = sender.acked
                if sender.on_cursor(int(found[2]), int(found[3]), now_ms, gap=found[4] is not None):
                    self.acked += sender.acked - before
                    moved.add(outbox)
        return moved, upto


class Pace:
    """Which batches may have been sealed by now, and when each was.

    By the load's own clock (later by what its start was missed by), or as fast as it goes: ever more under way until a
    batch waits for AHEAD_S, which stays below the silence after which an outbox sends again.
    """

    def __init__(self, boxes: Outboxes, load: Load, in_flight: int) -> None:
        self._boxes, self._in_flight = boxes, in_flight
        self.late_ms = max(0, time.time_ns() // 1_000_000 - load.plan.start_ms) if not in_flight else 0
        self._sealed_ms = load.sealed_ms + self.late_ms
        self._window = min(in_flight, FIRST_IN_FLIGHT)
        self._noted: deque[tuple[float, int]] = deque([(0.0, 0)])
        self.total = len(boxes.outbox)

    def allowed(self, passed_s: float) -> int:
        if not self._in_flight:
            return int(np.searchsorted(self._sealed_ms, time.time_ns() // 1_000_000, side="right"))
        if passed_s - self._noted[-1][0] >= STEP_S:
            self._noted.append((passed_s, self._boxes.acked))
            then, acked = self._noted[0]
            if passed_s - then >= 1.0:
                self._noted.popleft()
            committed_a_s = (self._boxes.acked - acked) / (passed_s - then)
            waits_s = self._window / max(1.0, committed_a_s)  # Little's law
            wanted = self._window * GROWTH if waits_s < AHEAD_S else AHEAD_S * committed_a_s
            self._window = min(self._in_flight, max(FIRST_IN_FLIGHT, int(wanted)))
        return min(self.total, self._boxes.acked + self._window)

    def taken_ms(self, begin: int, end: int) -> Array:
        """When the outboxes had these batches."""
        return np.full(end - begin, time.time_ns() // 1_000_000) if self._in_flight else self._sealed_ms[begin:end]


def deliver(load: Load, account: Credentials, options: argparse.Namespace) -> None:
    """Send until the time is over or the load is; then until everything is committed."""
    boxes = Outboxes(load, account)
    heard = Connection(account, CONNECTIONS)
    heard.subscribe(topics.filters(Channel.CURSOR)[0])
    selector = selectors.DefaultSelector()
    selector.register(heard.socket, selectors.EVENT_READ, None)
    for connection in boxes.connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    pace = Pace(boxes, load, options.in_flight)
    if not options.in_flight:
        time.sleep(max(0.0, load.plan.start_ms / 1000 - time.time()))
    began = last_ack = time.monotonic()
    next_look, next_word, sealing, rest = began, began + 1.0, True, b""
    while boxes.acked < boxes.sealed or sealing:
        ready = selector.select(TURN_S if sealing else PAUSE_S)
        now = time.monotonic()
        now_ms = int(now * 1000)
        dirty: set[int] = set()
        for key, _ in ready:
            if key.data is not None:
                key.data.take_acknowledgements()
                dirty |= boxes.held
                boxes.held = set()
                continue
            rest += heard.receive()
            before = boxes.acked
            moved, upto = boxes.hear(rest, now_ms)
            rest = rest[max(upto, len(rest) - MAX_CURSOR_BYTES) :]
            dirty |= moved
            last_ack = now if boxes.acked > before else last_ack
        sealing = sealing and boxes.sealed < pace.total and (not options.seconds or now - began < options.seconds)
        if sealing:
            upto = max(boxes.sealed, pace.allowed(now - began))
            dirty |= boxes.seal(upto, pace.taken_ms(boxes.sealed, upto), now_ms)
        for outbox in dirty:
            boxes.pump(outbox, now_ms)
        if now >= next_look:
            next_look = now + LOOK_S
            for outbox in range(len(boxes.senders)):
                boxes.pump(outbox, now_ms)
        boxes.write()
        if now >= next_word:
            next_word += 1.0
            _tell(boxes, now - began)
        if now - last_ack > options.patience:
            break
    _tell(boxes, last_ack - began, finished=boxes.acked == boxes.sealed, late_ms=pace.late_ms)


def pour(load: Load, account: Credentials) -> None:
    """For consumers that know no cursor: send in order, as far as the newest number on stdin allows."""
    boxes = Outboxes(load, account)
    total, granted, text = len(boxes.outbox), 0, b""
    began = time.monotonic()
    next_word = began + 1.0
    _tell(boxes, 0.0)  # ready
    while boxes.sent < total:
        ready, _, _ = select.select([sys.stdin, *(one.socket for one in boxes.connections)], [], [], PAUSE_S)
        for source in ready:
            if source is sys.stdin:
                more = os.read(sys.stdin.fileno(), 65536)
                if not more:
                    return  # nobody counts any more
                *lines, text = (text + more).split(b"\n")
                granted = min(total, int(lines[-1])) if lines else granted
            else:
                next(one for one in boxes.connections if one.socket is source).take_acknowledgements()
        if boxes.sealed < granted:
            boxes.stamp(boxes.sealed, granted, np.full(granted - boxes.sealed, time.time_ns() // 1_000_000))
            boxes.sealed = granted
        if boxes.qos:
            while boxes.sent < granted and boxes.post(boxes.sent):
                pass
        else:
            boxes.post_run(boxes.sent, granted)
        boxes.write()
        if time.monotonic() >= next_word:
            next_word += 1.0
            _tell(boxes, time.monotonic() - began)
    _tell(boxes, time.monotonic() - began, finished=True)


def _tell(boxes: Outboxes, passed_s: float, **more: object) -> None:
    words: dict[str, object] = {
        "s": passed_s,
        "sealed": boxes.sealed,
        "acked": boxes.acked,
        "sent": boxes.sent,
        "resent": boxes.resent,
    }
    print(json.dumps({**words, "cpu_s": _cpu_s() - boxes.cpu_s_before, **more}), flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.outboxes", description=__doc__)
    parser.add_argument("load", type=Path, help="folder of the load")
    parser.add_argument("account", type=Path, help="JSON file with the broker's credentials")
    parser.add_argument("--on-time", action="store_true", help="each batch when the load's own clock says")
    parser.add_argument("--in-flight", type=int, default=0, help="as fast as the cursors allow: most batches under way")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop sealing after this; 0: the whole load")
    parser.add_argument("--patience", type=float, default=60.0, help="give up after so long without a cursor")
    options = parser.parse_args()
    account = msgspec.json.decode(options.account.read_bytes(), type=Credentials)
    if options.on_time or options.in_flight:
        deliver(Load(options.load), account, options)
    else:
        pour(Load(options.load), account)


if __name__ == "__main__":
    main()
