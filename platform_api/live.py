"""What comes in by itself: observations and alarms from the broker's live channel, and alarms that people changed.

Subscribes once, in paho's thread, and hands to the hub; reconnects with back-off. Alarms are read again from the
database by
number, so a stream shows what is stored, with all its members. Changes made at any API process arrive by NOTIFY;
after a
lost connection everything changed since is read.
"""

import asyncio
import random
import secrets
import time
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contracts import topics
from contracts.config import ConfigError
from contracts.log import log
from platform_api.queries import alarms as alarms_query
from platform_api.queries.database import Database, DatabaseAwayError, DatabaseBusyError, SchemaMissingError
from platform_api.stream import Hub

MAX_PENDING = 10_000
BATCH = 500


class BrokerFile(msgspec.Struct, frozen=True):
    """Where the broker is, and who the API is there."""

    host: str
    port: int
    username: str
    password: str
    client_id: str
    ca_file: str = ""


class AlarmNumber(msgspec.Struct, frozen=True):
    alarm_id: int


class LiveMessage(msgspec.Struct, frozen=True):
    observations: dict[str, dict[str, list[Any]]] = {}
    alarms: list[AlarmNumber] = []


_decoder = msgspec.json.Decoder(LiveMessage)


def read_broker_file(path: Path) -> BrokerFile:
    """The credentials; raises ConfigError naming the file."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), BrokerFile)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: not a broker file: {error}") from error


class Subscription:
    """The live channel of all agents, in a thread of its own."""

    def __init__(self, broker: BrokerFile, hub: Hub, alarms: "AlarmReader") -> None:
        self._broker, self._hub, self._alarms = broker, hub, alarms
        self.malformed = 0
        # Processes share the credentials, and a broker drops a client whose name comes twice: a suffix of our own.
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{broker.client_id}-{secrets.token_hex(4)}",
            clean_session=True,
            protocol=mqtt.MQTTv311,
        )
        client.username_pw_set(broker.username, broker.password)
        if broker.ca_file:
            client.tls_set(ca_certs=broker.ca_file)
        client.reconnect_delay_set(min_delay=1, max_delay=15)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client
        self._refused = ""

    def start(self) -> None:
        """Connect, and go on connecting; returns at once."""
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=30)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            if str(reason) != self._refused:
                log("broker refused", level="warning", host=self._broker.host, port=self._broker.port, reason=reason)
            self._refused = str(reason)
            return
        self._refused = ""
        client.subscribe([(item, 0) for item in topics.filters(topics.Channel.LIVE)])

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            log("broker refused the live channel", level="error", user=self._broker.username)
            return
        log("broker connected", host=self._broker.host, port=self._broker.port)
        self._hub.set_connected(True, int(time.time() * 1000))

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._hub.connected:
            log("broker lost", level="warning", host=self._broker.host, port=self._broker.port, reason=reason)
        self._hub.set_connected(False, int(time.time() * 1000))

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = topics.parse(message.topic)
            live = _decoder.decode(message.payload)
            self._hub.publish(topic.municipality, live.observations)
        except (topics.TopicError, msgspec.DecodeError, KeyError, ValueError, TypeError) as error:
            self.malformed += 1
            if self.malformed == 1:
                log("live message cannot be read", level="warning", topic=message.topic, error=error)
            return
        if live.alarms:
            self._alarms.request([item.alarm_id for item in live.alarms])


class AlarmReader:
    """Reads alarms that changed and gives them to the hub."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database, self._hub = database, hub
        self._pending: dict[int, None] = {}
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._seen_ms = int(time.time() * 1000)

    def request(self, alarm_ids: list[int]) -> None:
        """Have these read soon; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._add, alarm_ids)

    async def run(self) -> None:
        """Read what is asked for, until cancelled."""
        self._loop = asyncio.get_running_loop()
        delay_s = 0.5
        while True:
            await self._event.wait()
            self._event.clear()
            while self._pending:
                wanted = list(self._pending)[:BATCH]
                try:
                    found = await alarms_query.alarms(
                        self._database, None, alarm_ids=wanted, everything=True, page=BATCH
                    )
                except (DatabaseAwayError, DatabaseBusyError, SchemaMissingError):
                    await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))
                    delay_s = min(delay_s * 2, 5.0)
                    continue
                delay_s = 0.5
                for alarm_id in wanted:
                    self._pending.pop(alarm_id, None)
                self._take(found)

    async def listen(self) -> None:
        """Follow NOTIFY, and catch up after every interruption, until cancelled."""
        delay_s, lost = 0.5, False
        while True:
            try:
                async for payload in self._database.notifications(alarms_query.channel(self._database)):
                    if payload is None:
                        if lost:
                            log("database connected again")
                        delay_s, lost = 0.5, False
                        changed_after = self._seen_ms - 1000
                        self._take(
                            await alarms_query.alarms(
                                self._database, None, changed_after=changed_after, everything=True, page=1000
                            )
                        )
                    elif payload.isdigit():
                        self._add([int(payload)])
            except (DatabaseAwayError, DatabaseBusyError, SchemaMissingError) as error:
                if not lost:
                    log("database lost", level="warning", error=error)
                lost = True
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))
            delay_s = min(delay_s * 2, 5.0)

    def _add(self, alarm_ids: list[int]) -> None:
        for alarm_id in alarm_ids:
            self._pending[alarm_id] = None
        while len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._event.set()

    def _take(self, found: list[Any]) -> None:
        if found:
            self._seen_ms = max(self._seen_ms, *(alarm.changed_at or 0 for alarm in found))
            self._hub.publish_alarms(sorted(found, key=lambda alarm: alarm.changed_at or 0))
