"""The broker's connection: made, lost and made again on a thread of its own; the agent's loop only sees a `Link`.

Each connection is a new MQTT client with a clean session and a new random nonce, so nothing of an old one is sent again
by anyone but the outbox. Waits between attempts double up to a bound, with jitter. Speaks MQTT 5 and, where the broker
closes the door on that, 3.1.1. The credentials file is read anew at each attempt.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from contracts import topics, wire
from contracts.config import ConfigError
from contracts.log import log
from contracts.topics import Channel
from contracts.wire import CursorMessage
from edge.condition import Condition
from edge.settings import Broker, Settings, read_broker

HANDSHAKE_S = 10.0
VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class Connection:
    """Implements `Link`. `wake` is called, from another thread, whenever the loop has something to look at."""

    def __init__(self, settings: Settings, *, wake: Callable[[], None], random: Callable[[], float]) -> None:
        self._settings = settings
        self._wake = wake
        self._random = random
        self._batch_topic = topics.of_agent(settings.municipality, settings.agent, Channel.BATCH)
        self._cursor_topic = topics.of_agent(settings.municipality, settings.agent, Channel.CURSOR)
        self._versions: list[str] = ["5", "3.1.1"] if settings.mqtt == "auto" else [settings.mqtt]
        self._try_other_version = len(self._versions) > 1
        self._nonce: int | None = None
        self._client: mqtt.Client | None = None
        self._cursors: deque[CursorMessage] = deque(maxlen=1024)
        self._unsent: deque[tuple[mqtt.MQTTMessageInfo, int]] = deque()
        self._unsent_bytes = 0
        self._stopping = threading.Event()
        self._gone = threading.Event()  # the present connection has ended
        self._subscribed = threading.Event()  # the present connection is ready
        self._failure = ""
        self._versions_turned = False
        self._away = Condition("broker_unreachable")
        self._thread = threading.Thread(target=self._keep_connected, name="connection", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Say goodbye and stop; what is not sent yet is not waited for."""
        self._stopping.set()
        self._gone.set()
        self._thread.join(timeout=2.0)

    # -- Link, called from the agent's loop

    @property
    def nonce(self) -> int | None:
        return self._nonce

    def cursors(self) -> list[CursorMessage]:
        heard = []
        while self._cursors:
            heard.append(self._cursors.popleft())
        return heard

    def has_room(self, size: int) -> bool:
        return self.unsent_bytes + size <= self._settings.window_bytes

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the client has not handed to the network."""
        while self._unsent and self._unsent[0][0].is_published():
            self._unsent_bytes -= self._unsent.popleft()[1]
        return self._unsent_bytes

    def publish(self, payload: bytes, nonce: int) -> None:
        client = self._client
        if client is None or nonce != self._nonce:
            return  # it will be sent again over the next connection
        info = client.publish(self._batch_topic, payload, qos=self._settings.qos)
        if info.rc == mqtt.MQTT_ERR_SUCCESS:
            self._unsent.append((info, len(payload)))
            self._unsent_bytes += len(payload)

    # -- the thread

    def _keep_connected(self) -> None:
        wait_s = self._settings.reconnect_s
        while not self._stopping.is_set():
            if self._connect_once():
                wait_s = self._settings.reconnect_s
                self._try_other_version = len(self._versions) > 1
            elif self._versions_turned:
                self._try_other_version = self._versions_turned = False
                continue
            self._stopping.wait(wait_s * (0.5 + self._random()))
            wait_s = min(self._settings.reconnect_max_s, wait_s * 2)

    def _connect_once(self) -> bool:
        """One connection from its beginning to its end; whether it came about."""
        self._gone.clear()
        self._subscribed = threading.Event()  # before the network's thread starts: it may be answered at once
        self._failure = ""
        version = self._versions[0]
        try:
            broker = read_broker(Path(self._settings.broker_file))
            client = self._make_client(broker, VERSIONS[version])
            client.connect(broker.host, broker.port, keepalive=self._settings.keepalive_s, **_clean(version))
        except (OSError, ValueError, ConfigError) as error:
            self._away.update(True, reason=error)
            return False
        nonce = secrets.randbits(32)
        client.user_data_set(nonce)
        client.loop_start()
        subscribed = self._wait_until_subscribed()
        if subscribed:
            self._away.update(False)
            log("connected", host=broker.host, port=broker.port, mqtt=version)
            self._unsent.clear()
            self._unsent_bytes = 0
            self._client, self._nonce = client, nonce
            self._wake()
            self._gone.wait()
            self._nonce = self._client = None
            self._wake()
            if not self._stopping.is_set():
                log("disconnected", level="warning", reason=self._failure)
        elif not self._stopping.is_set():
            if not self._try_other_version:
                self._away.update(
                    True, host=broker.host, port=broker.port, mqtt=version, reason=self._failure or "no answer"
                )
            self._versions.append(self._versions.pop(0))  # perhaps it is the version
            self._versions_turned = self._try_other_version
        client.disconnect()
        client.loop_stop()
        return subscribed

    def _wait_until_subscribed(self) -> bool:
        for _ in range(int(HANDSHAKE_S * 20)):
            if self._subscribed.wait(0.05):
                return True
            if self._gone.is_set() or self._stopping.is_set():
                return False
        return False

    def _make_client(self, broker: Broker, version: MQTTProtocolVersion) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if version == MQTTProtocolVersion.MQTTv5 else True,
            protocol=version,
            reconnect_on_failure=False,
        )
        client.username_pw_set(broker.username, broker.password)
        client.max_inflight_messages_set(self._settings.window_batches)
        client.connect_timeout = HANDSHAKE_S
        if self._settings.ca_file:
            client.tls_set(self._settings.ca_file, self._settings.cert_file or None, self._settings.key_file or None)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _props: Any) -> None:
        if reason.is_failure:
            self._failure = f"refused: {reason}"
            self._gone.set()
        else:
            client.subscribe(self._cursor_topic, qos=0)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _props: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._failure = f"may not subscribe to {self._cursor_topic}"
            self._gone.set()
        else:
            self._subscribed.set()

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            self._cursors.append(wire.decode_cursor(bytes(message.payload)))
        except wire.WireError as error:
            log("cursor_unreadable", level="warning", error=error)
        self._wake()

    def _on_disconnect(
        self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _props: Properties | None
    ) -> None:
        self._failure = self._failure or str(reason)
        self._gone.set()


def _clean(version: str) -> dict[str, Any]:
    return {"clean_start": True} if version == "5" else {}
