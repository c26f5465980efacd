"""An agent's connection is ready when its subscription is granted, not before; and an answer that comes early counts.

The broker here is a socket that answers when the test says so: CONNACK at once, SUBACK later or in the same instant.
"""

import socket
import threading
import time

import pytest

from contracts import topics, wire
from contracts.topics import Channel
from edge.connection import Connection
from edge.settings import Settings
from tests.waiting import wait_for

CURSOR = wire.CursorMessage(epoch=7, seq=3, nonce=1)
CONNACK, SUBACK_TYPE, SUBSCRIBE_TYPE = b"\x20\x02\x00\x00", 0x90, 0x82


class Broker:
    """One connection of MQTT 3.1.1, as far as SUBSCRIBE; what it answers to that waits for `grant`."""

    def __init__(self, after_suback: bytes = b"") -> None:
        self.grant = threading.Event()
        self.asked = threading.Event()
        self._after_suback = after_suback
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.grant.set()
        self._listener.close()

    def _serve(self) -> None:
        stream, _ = self._listener.accept()
        with stream, stream.makefile("rb") as reader:
            read_packet(reader)
            stream.sendall(CONNACK)
            kind, body = read_packet(reader)
            assert kind == SUBSCRIBE_TYPE
            self.asked.set()
            self.grant.wait()
            stream.sendall(bytes((SUBACK_TYPE, 3)) + body[:2] + b"\x00" + self._after_suback)
            while reader.read(1):
                pass


def read_packet(reader):
    """Type and body of a packet shorter than 128 bytes, or of two length bytes."""
    kind, length = reader.read(2)
    if length & 0x80:
        length = (length & 0x7F) + 128 * reader.read(1)[0]
    return kind, reader.read(length)


def publication():
    topic = topics.of_agent("41280", "pole-01", Channel.CURSOR).encode()
    body = len(topic).to_bytes(2, "big") + topic + wire.encode_cursor(CURSOR)
    return bytes((0x30, len(body))) + body


@pytest.fixture
def connected(tmp_path):
    """Makes a connection of some class to a broker; all closed at the end."""
    made = []

    def make(cls, broker):
        credentials = tmp_path / "broker.toml"
        credentials.write_text(
            f'host = "127.0.0.1"\nport = {broker.port}\nusername = "u"\npassword = "p"\nclient_id = "c"\n'
        )
        settings = Settings(
            municipality="41280", agent="pole-01", broker_file=credentials, driver="sim", source=tmp_path / "s",
            outbox=tmp_path / "outbox.db", mqtt="3.1.1",
        )  # fmt: skip
        connection = cls(settings, wake=lambda: None, random=lambda: 0.5)
        made.extend((connection, broker))
        connection.start()
        return connection

    yield make
    for one in made:
        one.close()


class Slow(Connection):
    """Its thread is held up between the start of the network's thread and the wait for the answer."""

    def _wait_until_subscribed(self) -> bool:
        time.sleep(0.3)
        return super()._wait_until_subscribed()


class Forgetful(Slow):
    """What it was once: the event was made when the wait began, and an answer before that was gone."""

    def _wait_until_subscribed(self) -> bool:
        time.sleep(0.3)
        self._subscribed = threading.Event()
        return Connection._wait_until_subscribed(self)


def test_an_answer_that_comes_before_it_is_waited_for_is_not_missed(connected):
    broker = Broker()
    broker.grant.set()
    connection = connected(Slow, broker)
    wait_for(lambda: connection.nonce is not None, 2)


def test_the_test_of_that_catches_a_connection_that_forgets(connected):
    broker = Broker()
    broker.grant.set()
    connection = connected(Forgetful, broker)
    with pytest.raises(AssertionError):
        wait_for(lambda: connection.nonce is not None, 2)


def test_nothing_is_sent_before_the_subscription_is_granted_and_the_cursor_that_comes_with_it_is_heard(connected):
    broker = Broker(after_suback=publication())
    connection = connected(Connection, broker)
    assert broker.asked.wait(5)
    time.sleep(0.3)
    assert connection.nonce is None  # the agent sends nothing without one: no cursor could be missed
    broker.grant.set()
    wait_for(lambda: connection.nonce is not None, 2)
    wait_for(lambda: connection.cursors() == [CURSOR], 2)
