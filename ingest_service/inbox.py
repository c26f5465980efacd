"""The ingest service's side of MQTT: batches in, cursors and live changes out. The network runs in a thread of its own.

Promise: at most `max_bytes` of messages wait, either way; beyond that they are dropped and counted; agents send theirs
again. Subscribes with a clean session: the broker stores nothing of ours that matters.
"""

import contextlib
import random
import select
import socket
import threading
import time
import tomllib
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from contracts import topics, wire
from contracts.config import ConfigError
from contracts.log import log
from contracts.readiness import Part, Reason
from contracts.topics import Channel
from ingest_service import mqtt
from ingest_service.admission import Message
from ingest_service.back_off import next_retry_s
from ingest_service.health import Health
from ingest_service.registry import Agent

KEEPALIVE_S = 15
CONNECT_S = 10.0  # from the first byte to the granted subscription
LAST_WORDS_S = 2.0  # for what is still to be said when we are stopped
MESSAGE_OVERHEAD = 200  # Python's own bytes for a queued message
RECEIVE_BYTES = 1 << 18
MAX_PACKET_BYTES = wire.MAX_BODY_BYTES + 4096


class Broker(msgspec.Struct, frozen=True):
    """How to reach the broker, as `dure broker credentials` writes it."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    username: str
    password: str
    client_id: str


def read_broker(file: Path) -> Broker:
    """Credentials from a file; raises ConfigError."""
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Broker)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file}: {error}") from error


class Refused(ConnectionError):
    """The broker does not let us in, or refuses the subscription."""


class Inbox:
    """A subscription to the batches of some shards."""

    def __init__(
        self, broker_file: Path, shards: Sequence[int], *, worker: str, qos: int, max_bytes: int, health: Health
    ) -> None:
        self.shed = 0  # batches dropped because too many wait
        self.connected_since: float | None = None  # monotonic seconds
        self._health = health
        self._broker_file = broker_file
        self._worker = worker
        self._filters = topics.filters(Channel.BATCH, None if len(shards) == topics.SHARDS else list(shards))
        self._qos = qos
        self._max_bytes = max_bytes
        self._waiting: deque[Message] = deque()
        self._bytes = self._observations = 0
        self._arrived = threading.Condition()
        self._outgoing: deque[bytes] = deque()
        self._outgoing_bytes = 0
        self._sending = threading.Lock()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._topics: dict[tuple[int, Channel], bytes] = {}  # by agent index
        self._stopped = False
        read_broker(broker_file)
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, enough: int, max_wait_s: float, *, most: int = 0) -> list[Message]:
        """What has arrived, in order: as soon as there are enough observations, or after the wait. No message beyond
        enough, or `most`, where that is more. A heartbeat counts as one observation.
        """
        deadline = time.monotonic() + max_wait_s
        with self._arrived:
            while self._observations < enough and not self._stopped:
                left = deadline - time.monotonic()
                if left <= 0 or not self._arrived.wait(left):
                    break
            taken: list[Message] = []
            observations = size = 0
            while self._waiting and observations < max(enough, most):
                message = self._waiting.popleft()
                observations += message.observations
                size += len(message.payload) + MESSAGE_OVERHEAD
                taken.append(message)
            self._observations -= observations
            self._bytes -= size
            if self._bytes < self._max_bytes // 2:
                self._health.say(Part.INBOX, None)
            return taken

    def reply(self, cursors: Iterable[tuple[Agent, wire.CursorMessage]]) -> None:
        """Tell agents how far an epoch of theirs is committed; only after COMMIT."""
        self._send(
            [mqtt.publish(self._topic(agent, Channel.CURSOR), wire.encode_cursor(cursor)) for agent, cursor in cursors]
        )

    def publish_live(self, contents: Iterable[tuple[Agent, bytes]]) -> None:
        self._send([mqtt.publish(self._topic(agent, Channel.LIVE), content) for agent, content in contents])

    def stop(self) -> None:
        with self._arrived:
            self._stopped = True
            self._arrived.notify_all()
        self._wake_up()
        self._thread.join(timeout=5)

    @property
    def connected(self) -> bool:
        return self.connected_since is not None

    def wait_connected(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self.connected and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.connected

    def _topic(self, agent: Agent, channel: Channel) -> bytes:
        found = self._topics.get((agent.index, channel))
        if found is None:
            found = mqtt.topic_of(topics.of_agent(agent.municipality, agent.name, channel))
            self._topics[agent.index, channel] = found
        return found

    def _send(self, packets: list[bytes]) -> None:
        """Hand packets to the network thread; what is too much for the broker is dropped, and asked for again."""
        data = b"".join(packets)
        with self._sending:
            if not data or not self.connected or self._outgoing_bytes + len(data) > self._max_bytes:
                return
            self._outgoing.append(data)
            self._outgoing_bytes += len(data)
        self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of wakes already
            self._wake.send(b"w")

    # The network thread.

    def _run(self) -> None:
        """Stay connected until stopped; credentials are read anew for each attempt."""
        failures = 0
        while not self._stopped:
            began = time.monotonic()
            try:
                self._serve(read_broker(self._broker_file))
            except Refused as error:
                self._health.say(Part.BROKER, Reason.BROKER_REFUSES, error)
            except (OSError, ConfigError, mqtt.ProtocolError) as error:
                if not self._stopped:
                    self._health.say(Part.BROKER, Reason.NO_BROKER, error)
            self.connected_since = None
            with self._sending:
                self._outgoing.clear()
                self._outgoing_bytes = 0
            if not self._stopped:
                failures = 1 if time.monotonic() - began > 5 else failures + 1
                time.sleep(next_retry_s(failures, random.random()))

    def _serve(self, broker: Broker) -> None:
        """One connection, from its beginning to its end, which is an exception unless we were stopped."""
        client_id = f"{broker.client_id}-{self._worker}"
        with socket.create_connection((broker.host, broker.port), timeout=CONNECT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(mqtt.connect(client_id, broker.username, broker.password, KEEPALIVE_S))
            connection.setblocking(False)
            self._exchange(connection)
            with contextlib.suppress(OSError):
                connection.send(mqtt.DISCONNECT)

    def _exchange(self, connection: socket.socket) -> None:
        buffer, end = bytearray(RECEIVE_BYTES + MAX_PACKET_BYTES), 0
        view = memoryview(buffer)
        unsent = memoryview(b"")
        began = heard = told = time.monotonic()
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        while not self._stopped:
            poll.register(connection, select.POLLIN | (select.POLLOUT if unsent else 0))
            events = dict(poll.poll(500))
            now = time.monotonic()
            if events.get(self._woken.fileno()):
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
            if events.get(connection.fileno(), 0) & ~select.POLLOUT:
                received = connection.recv_into(view[end : end + RECEIVE_BYTES])
                if received == 0:
                    raise ConnectionError("the broker closed the connection")
                heard, end = now, end + received
                messages, ids, others, used = mqtt.read(buffer, end, MAX_PACKET_BYTES)
                buffer[: end - used] = buffer[used:end]
                end -= used
                self._deliver(messages)
                unsent = memoryview(bytes(unsent) + b"".join([mqtt.puback(number) for number in ids]))
                for packet in others:
                    unsent = memoryview(bytes(unsent) + self._on_packet(packet))
            if not unsent:
                unsent = memoryview(self._next_outgoing())
            if unsent:
                with contextlib.suppress(BlockingIOError):
                    unsent = unsent[connection.send(unsent) :]
                    told = now
            if not self.connected and now - began > CONNECT_S:
                raise ConnectionError(f"the broker granted no subscription in {CONNECT_S:.0f} s")
            if now - heard > 1.5 * KEEPALIVE_S:
                raise ConnectionError(f"nothing heard of the broker for {now - heard:.0f} s")
            if (now - told > KEEPALIVE_S / 2 or now - heard > KEEPALIVE_S) and not unsent:
                unsent, told = memoryview(mqtt.PINGREQ), now
        connection.settimeout(LAST_WORDS_S)
        with contextlib.suppress(OSError):  # agents whose last cursor is lost ask again
            connection.sendall(bytes(unsent) + self._next_outgoing())

    def _next_outgoing(self) -> bytes:
        with self._sending:
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            self._outgoing_bytes = 0
            return data

    def _on_packet(self, packet: mqtt.Packet) -> bytes:
        """What to answer to a packet that is no message."""
        if packet.type == mqtt.CONNACK:
            code = packet.body[1] if len(packet.body) == 2 else 3
            if code:
                raise Refused(mqtt.REFUSALS.get(code, f"return code {code}"))
            return mqtt.subscribe(1, self._filters, self._qos)
        if packet.type == mqtt.SUBACK:
            if mqtt.FAILED in packet.body[2:]:
                raise Refused(f"subscription: {', '.join(self._filters)}")
            self.connected_since = time.monotonic()
            self._health.say(Part.BROKER, None)
            log("broker.connected", filters=len(self._filters))
        return b""

    def _deliver(self, messages: list[tuple[str, bytes]]) -> None:
        if not messages:
            return
        with self._arrived:
            for topic, payload in messages:
                size = len(payload) + MESSAGE_OVERHEAD
                if self._bytes + size > self._max_bytes:
                    self.shed += 1
                    self._health.say(Part.INBOX, Reason.INBOX_FULL, f"{self._max_bytes} bytes")
                    continue
                observations = wire.peek_count(payload) or 1
                self._waiting.append(Message(topic, payload, observations))
                self._bytes += size
                self._observations += observations
            self._arrived.notify()
