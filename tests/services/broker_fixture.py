"""Really running brokers, one of each kind a session, with credentials for a few agents, ingest and api.

Fixtures: `nats_broker`, `mosquitto_broker`, and `any_broker` (a test runs once with each). A broker is shared by all
tests of the session: a test that breaks one starts its own with `running_broker`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.registry import Credentials, read_credentials

ROOT = Path(__file__).parents[2]
AGENTS = (("41280", "pole-01"), ("41280", "pole-02"), ("41480", "pole-01"))
PROTOCOLS = {"nats": mqtt.MQTTv311, "mosquitto": mqtt.MQTTv5}
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def fleet(agents: tuple[tuple[str, str], ...] = AGENTS) -> str:
    return json.dumps({"agents": [{"municipality": town, "agent": agent, "replay": False} for town, agent in agents]})


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "dure.py"), "broker", *map(str, arguments)]


class RunningBroker:
    """`dure broker` as a process of its own, and the files that its clients take."""

    def __init__(self, name: str, state: Path) -> None:
        self.name = name
        self.state = state
        self.protocol = PROTOCOLS[name]
        self.register(AGENTS)
        self.process = self._start()

    @property
    def port(self) -> int:
        return int((self.state / "port").read_text())

    def register(self, agents: tuple[tuple[str, str], ...], *options: str) -> subprocess.CompletedProcess[str]:
        """Run `dure broker credentials` for these agents."""
        manifest = self.state.with_suffix(".fleet.json")
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(fleet(agents))
        arguments = command("credentials", "--state", self.state, "--fleet", manifest, *options)
        return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60)

    def file_of(self, name: str) -> Path:
        """Credential file of "ingest", "api" or "<municipality>.<agent>"."""
        return self.state / "credentials" / ("agents" if "." in name else "services") / f"{name}.toml"

    def credentials(self, name: str) -> Credentials:
        return read_credentials(self.file_of(name))

    def broker_pid(self) -> int:
        return int(json.loads((self.state / "process.json").read_text())["pid"])

    def kill_broker(self) -> None:
        os.kill(self.broker_pid(), signal.SIGKILL)

    def kill_supervisor(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start again on the same state, after the supervisor has gone."""
        self.process = self._start()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)

    def _start(self) -> subprocess.Popen[str]:
        with self.state.with_suffix(".err").open("a") as errors:
            process = subprocess.Popen(
                command("--state", self.state, "--broker", self.name, "--port", 0),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready port="), self.state.with_suffix(".err").read_text()
        return process


@contextmanager
def running_broker(name: str, state: Path) -> Iterator[RunningBroker]:
    """A broker for one test that is going to break it."""
    if name == "mosquitto" and MOSQUITTO is None:
        pytest.skip("mosquitto is missing: apt-get install mosquitto")
    broker = RunningBroker(name, state)
    try:
        yield broker
    finally:
        if broker.process.poll() is None:
            broker.stop()


class Connection:
    """A paho client with what it has seen, for tests: messages, reason codes, disconnects. Reconnects by itself."""

    def __init__(self, credentials: Credentials, protocol: int, *, client_id: str | None = None) -> None:
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or credentials.client_id,
            protocol=MQTTProtocolVersion(protocol),
            clean_session=None if protocol == mqtt.MQTTv5 else True,
        )
        if credentials.username:
            self.client.username_pw_set(credentials.username, credentials.password)
        self.messages: list[tuple[str, bytes]] = []
        self.published: dict[int, ReasonCode] = {}
        self.subscribed: dict[int, ReasonCode] = {}
        self.connects: list[ReasonCode] = []
        self.disconnects = 0
        self._filters: dict[str, int] = {}
        self._changed = threading.Condition()
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self.client.on_publish = lambda _c, _u, mid, reason, _p: self._note(self.published, mid, reason)
        self.client.on_subscribe = lambda _c, _u, mid, reasons, _p: self._note(self.subscribed, mid, reasons[0])
        self.client.reconnect_delay_set(1, 1)
        self.client.connect(credentials.host, credentials.port, keepalive=20)
        self.client.loop_start()
        self.wait(lambda: self.connects, "an answer to CONNECT")

    def subscribe(self, topic_filter: str, qos: int = 0) -> ReasonCode:
        """Subscribe, now and after every reconnect; returns what the broker said."""
        self._filters[topic_filter] = qos
        _, mid = self.client.subscribe(topic_filter, qos)
        assert mid is not None
        self.wait(lambda: mid in self.subscribed, f"SUBACK of {topic_filter}")
        return self.subscribed[mid]

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> int:
        return self.client.publish(topic, payload, qos).mid

    def received(self, payload: bytes) -> bool:
        return any(seen == payload for _, seen in self.messages)

    def wait(self, condition: Callable[[], object], what: str, within_s: float = 15.0) -> None:
        """Wait until a condition on this connection holds; fails naming `what` when it doesn't."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(condition()), within_s), f"{what}: not within {within_s} s"

    def expect(self, payload: bytes, within_s: float = 15.0) -> str:
        """Wait for a message with this payload; returns its topic."""
        self.wait(lambda: self.received(payload), f"message {payload[:60]!r}", within_s)
        return next(topic for topic, seen in self.messages if seen == payload)

    def expect_connects(self, count: int, within_s: float = 15.0) -> None:
        """Wait until the broker has let this client in or turned it away so many times."""
        self.wait(lambda: len(self.connects) >= count, f"{count} connects", within_s)

    def expect_puback(self, mid: int) -> ReasonCode:
        """Wait until a publication is done (acknowledged, for QoS 1)."""
        self.wait(lambda: mid in self.published, f"PUBACK of {mid}")
        return self.published[mid]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, client: mqtt.Client, _user: object, _flags: object, reason: ReasonCode, _p: object) -> None:
        if not reason.is_failure:
            for topic_filter, qos in self._filters.items():
                client.subscribe(topic_filter, qos)
        with self._changed:
            self.connects.append(reason)
            self._changed.notify_all()

    def _on_disconnect(self, *_: object) -> None:
        with self._changed:
            self.disconnects += 1
            self._changed.notify_all()

    def _on_message(self, _client: mqtt.Client, _user: object, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.messages.append((message.topic, bytes(message.payload)))
            self._changed.notify_all()

    def _note(self, where: dict[int, ReasonCode], mid: int, reason: ReasonCode) -> None:
        with self._changed:
            where[mid] = reason
            self._changed.notify_all()


@contextmanager
def connect(
    credentials: Credentials, protocol: int = mqtt.MQTTv311, *, client_id: str | None = None
) -> Iterator[Connection]:
    """A connected client of these credentials, closed at the end."""
    connection = Connection(credentials, protocol, client_id=client_id)
    try:
        yield connection
    finally:
        connection.close()


def wait_until(condition: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, f"{what}: not within {within_s} s"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def nats_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker("nats", tmp_path_factory.mktemp("nats") / "state") as broker:
        yield broker


@pytest.fixture(scope="session")
def mosquitto_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker("mosquitto", tmp_path_factory.mktemp("mosquitto") / "state") as broker:
        yield broker


@pytest.fixture(params=["nats", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def any_broker(request: pytest.FixtureRequest) -> RunningBroker:
    """Each broker in turn."""
    found: RunningBroker = request.getfixturevalue(f"{request.param}_broker")
    return found
