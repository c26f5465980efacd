"""A real agent process between a source in this process and a receiver that commits to memory by contracts.cursor.

The source numbers its observations and knows what it generated; the receiver knows what it took.
"""

import json
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contracts import topics, wire
from contracts.cursor import Position, Verdict, advance, judge
from contracts.topics import Channel
from contracts.wire import CursorMessage
from tests.services.broker_fixture import ROOT, RunningBroker
from tests.waiting import wait_for

FIRST_AT_MS = 1_780_000_000_000
DEVICES = 50


class Source:
    """Serves the source protocol on a unix socket; observation N is always the same. Ends after `total`."""

    def __init__(self, path: Path, total: int, *, a_line: int = 20, lines_per_s: float = 200.0) -> None:
        self.path = path
        self.total = total
        self.asked_after: list[int] = []
        self._a_line = a_line
        self._pause_s = 1 / lines_per_s
        self._closing = threading.Event()
        self.paused = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def line(self, first: int) -> bytes:
        last = min(self.total, first + self._a_line - 1)
        numbers = range(first, last + 1)
        group = {
            "device": [f"sl-{n % DEVICES:05d}" for n in numbers],
            "observed_at": [FIRST_AT_MS + n for n in numbers],
            "power_consumption": [(n * 7919) % 100_003 / 700 for n in numbers],
        }
        return json.dumps(
            {"first": first, "clock_ms": FIRST_AT_MS + last, "observations": {"streetlight": group}}
        ).encode()

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with stream, stream.makefile("rb") as reader:
                try:
                    after = json.loads(reader.readline())["after"]
                    self.asked_after.append(after)
                    self._feed(stream, after + 1)
                    reader.read()  # until the agent has closed its end
                except (OSError, ValueError):
                    continue

    def _feed(self, stream: socket.socket, first: int) -> None:
        while first <= self.total and not self._closing.is_set():
            while self.paused.is_set():
                stream.sendall(b'{"clock_ms":%d}\n' % (FIRST_AT_MS + first))
                self._closing.wait(0.1)
            stream.sendall(self.line(first) + b"\n")
            first += self._a_line
            self._closing.wait(self._pause_s)
        stream.sendall(b'{"end":true,"last":%d}\n' % self.total)


class Receiver:
    """Commits batches to memory and answers with cursors, as the service `ingest`."""

    def __init__(self, broker: RunningBroker) -> None:
        self.rows: list[int] = []
        self.positions: dict[tuple[str, int], Position] = {}
        self.count = dict.fromkeys(("received", "committed", "duplicate", "out_of_order", "lost"), 0)
        self.headers: list[wire.Header] = []
        self.silent = False
        self._lock = threading.Lock()
        login = broker.credentials("ingest")
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=login.client_id,
            protocol=broker.protocol,
            clean_session=None if broker.protocol == mqtt.MQTTv5 else True,
        )
        self.client.username_pw_set(login.username, login.password)
        self.client.on_connect = lambda client, *_: client.subscribe(topics.filters(Channel.BATCH)[0])
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        self.client.connect(login.host, login.port)
        self.client.loop_start()
        assert ready.wait(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def copy(self) -> tuple[Any, ...]:
        with self._lock:
            return list(self.rows), dict(self.positions), dict(self.count)

    def restore(self, copy: tuple[Any, ...]) -> None:
        with self._lock:
            self.rows, self.positions, self.count = list(copy[0]), dict(copy[1]), dict(copy[2])

    def _on_message(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        with self._lock:
            if self.silent:
                return
            header, body = wire.unpack(bytes(message.payload))
            self.headers.append(header)
            topic = topics.parse(message.topic)
            key = (f"{topic.municipality}/{topic.agent}", header.epoch)
            position = self.positions.get(key, Position())
            verdict = judge(position, header) if header.seq else None
            if verdict:
                self.count["received"] += header.count
                if verdict.taken:
                    position, lost = advance(position, header)
                    self.positions[key] = position
                    rows = [at - FIRST_AT_MS for kind in wire.decode_body(body).values() for at in kind["observed_at"]]
                    assert len(rows) == header.count
                    self.rows += rows
                    self.count["committed"] += header.count
                    self.count["lost"] += lost
                else:
                    self.count[verdict.value] += header.count
            gap = verdict is Verdict.OUT_OF_ORDER
            answer = CursorMessage(header.epoch, position.seq, header.nonce, gap)
            client.publish(topics.of_agent(topic.municipality, topic.agent, Channel.CURSOR), wire.encode_cursor(answer))


class EdgeProcess:
    """`dure edge` as a process; its configuration and outbox live in `directory`."""

    def __init__(self, directory: Path, broker: RunningBroker, *, agent: str = "pole-01", **settings: Any) -> None:
        self.directory = directory
        self.config = directory / "edge.toml"
        self.outbox = directory / "outbox.db"
        values = {
            "municipality": "41280",
            "agent": agent,
            "broker_file": str(broker.file_of(f"41280.{agent}")),
            "driver": "sim",
            "source": str(directory / "source.sock"),
            "outbox": str(self.outbox),
            "reconnect_s": 0.2,
            "reconnect_max_s": 1.0,
            **settings,
        }
        self.config.write_text("[edge]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
        self.process: subprocess.Popen[str] | None = None

    def start(self, *options: str, file_bytes: int | None = None) -> None:
        """Start and wait until it is ready. `file_bytes` bounds the size of any file, like a disk that is full."""

        def limit() -> None:
            if file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))

        with (self.directory / "edge.log").open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "dure.py"), "edge", "--config", str(self.config), *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=limit,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready agent="), self.log

    @property
    def log(self) -> str:
        return (self.directory / "edge.log").read_text()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def wait(self, seconds: float = 60.0) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def status(self) -> dict[str, Any]:
        arguments = [sys.executable, str(ROOT / "dure.py"), "edge", "status", "--config", str(self.config)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def street(
    directory: Path, broker: RunningBroker, total: int, *, agent: str = "pole-01", pace: float = 200.0, **settings: Any
) -> Iterator[tuple[Source, Receiver, EdgeProcess]]:
    """A source, an agent (not started yet) and a receiver; all gone at the end."""
    source = Source(directory / "source.sock", total, lines_per_s=pace)
    receiver = Receiver(broker)
    edge = EdgeProcess(directory, broker, agent=agent, **settings)
    try:
        yield source, receiver, edge
    finally:
        if edge.process is not None and edge.process.poll() is None:
            edge.kill()
        source.close()
        receiver.close()


def assert_exactly_once(source: Source, receiver: Receiver) -> None:
    assert sorted(receiver.rows) == list(range(1, source.total + 1))
    assert receiver.count["committed"] == source.total
    assert receiver.count["lost"] == 0
    assert receiver.count["received"] == sum(
        receiver.count[name] for name in ("committed", "duplicate", "out_of_order")
    )


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    wait_for(condition, seconds=seconds)
