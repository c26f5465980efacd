"""The ingest service's side of MQTT: batches in, cursors and live changes out. The network runs in a thread of its own.

Promise: at most `max_bytes` of messages wait; beyond that they are dropped and counted; their agents send them again.
Subscribes with a clean session: the broker stores nothing of ours that matters.
"""

import random
import threading
import time
import tomllib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contracts import topics, wire
from contracts.config import ConfigError
from contracts.log import log
from contracts.readiness import Part, Reason
from contracts.topics import Channel
from ingest_service.admission import Message
from ingest_service.back_off import next_retry_s
from ingest_service.health import Health

KEEPALIVE_S = 15
MESSAGE_OVERHEAD = 200  # Python's own bytes for a queued message


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


class Inbox:
    """A subscription to the batches of some shards."""

    def __init__(
        self, broker_file: Path, shards: Sequence[int], *, worker: str, qos: int, max_bytes: int, health: Health
    ) -> None:
        self.shed = 0
        self._health = health
        self.connected_since: float | None = None  # monotonic seconds
        self._broker_file = broker_file
        self._worker = worker
        self._filters = topics.filters(Channel.BATCH, None if len(shards) == topics.SHARDS else list(shards))
        self._qos = qos
        self._max_bytes = max_bytes
        self._waiting: deque[Message] = deque()
        self._bytes = 0
        self._arrived = threading.Condition()
        self._stopped = False
        self._client = self._new_client()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, max_messages: int, max_wait_s: float) -> list[Message]:
        """What has arrived, in order: as soon as there are `max_messages`, or `max_wait_s` after the first; empty after
        that time.
        """
        deadline = time.monotonic() + max_wait_s
        with self._arrived:
            while len(self._waiting) < max_messages and not self._stopped:
                left = deadline - time.monotonic()
                if left <= 0 or not self._arrived.wait(left):
                    break
            taken = [self._waiting.popleft() for _ in range(min(max_messages, len(self._waiting)))]
            self._bytes -= sum(len(message.payload) + MESSAGE_OVERHEAD for message in taken)
            if self._bytes < self._max_bytes // 2:
                self._health.say(Part.INBOX, None)
            return taken

    def reply(self, municipality: str, agent: str, cursor: wire.CursorMessage) -> None:
        """Tell an agent how far one of its epochs is committed; only after COMMIT."""
        self._client.publish(
            topics.of_agent(municipality, agent, Channel.CURSOR), wire.encode_cursor(cursor), qos=self._qos
        )

    def publish_live(self, municipality: str, agent: str, content: bytes) -> None:
        self._client.publish(topics.of_agent(municipality, agent, Channel.LIVE), content, qos=0)

    def stop(self) -> None:
        with self._arrived:
            self._stopped = True
            self._arrived.notify_all()
        self._client.disconnect()
        self._thread.join(timeout=5)

    @property
    def connected(self) -> bool:
        return self.connected_since is not None

    def wait_connected(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self.connected and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.connected

    def _new_client(self) -> mqtt.Client:
        broker = read_broker(self._broker_file)
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{broker.client_id}-{self._worker}",
            clean_session=True,
            protocol=mqtt.MQTTv311,
        )
        client.username_pw_set(broker.username, broker.password)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        # Only the network thread writes to the socket: paho's publish() would write from the caller's thread as well,
        # and
        # two writers interleave their packets when the socket is full.
        client.on_socket_register_write = lambda *_: None
        return client

    def _run(self) -> None:
        """Stay connected until stopped; credentials are read anew for each attempt."""
        failures = 0
        while not self._stopped:
            try:
                broker = read_broker(self._broker_file)
                self._client.username_pw_set(broker.username, broker.password)
                self._client.connect(broker.host, broker.port, keepalive=KEEPALIVE_S)
                began = time.monotonic()
                self._loop()
                failures = 0 if time.monotonic() - began > 5 else failures
            except (OSError, ConfigError, ValueError) as error:
                self._health.say(Part.BROKER, Reason.NO_BROKER, error)
            if not self._stopped:
                failures += 1
                time.sleep(next_retry_s(failures, random.random()))

    def _loop(self) -> None:
        while not self._stopped and self._client.loop(timeout=0.5) == mqtt.MQTT_ERR_SUCCESS:
            pass

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._health.say(Part.BROKER, Reason.BROKER_REFUSES, reason)
            return
        client.subscribe([(text, self._qos) for text in self._filters])

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._health.say(Part.BROKER, Reason.BROKER_REFUSES, f"subscription: {reasons}")
            return
        self.connected_since = time.monotonic()
        self._health.say(Part.BROKER, None)
        log("broker.connected", filters=len(self._filters))

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self.connected_since is not None and not self._stopped:
            self._health.say(Part.BROKER, Reason.NO_BROKER, reason)
        self.connected_since = None

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        size = len(message.payload) + MESSAGE_OVERHEAD
        with self._arrived:
            if self._bytes + size > self._max_bytes:
                self.shed += 1
                self._health.say(Part.INBOX, Reason.INBOX_FULL, f"{self._max_bytes} bytes")
                return
            self._waiting.append(Message(message.topic, bytes(message.payload)))
            self._bytes += size
            self._arrived.notify()
