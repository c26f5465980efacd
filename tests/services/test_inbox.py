"""The ingest service's own receive path against real brokers: all once and in order, back after a kill, bounded."""

import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from contracts import topics, wire
from contracts.readiness import Part, Reason
from contracts.topics import Channel
from ingest_service.health import Health
from ingest_service.inbox import Inbox
from ingest_service.registry import Agent
from tests.services.broker_fixture import Connection, any_broker, mosquitto_broker, nats_broker, running_broker
from tests.waiting import wait_for

__all__ = ["any_broker", "mosquitto_broker", "nats_broker"]

TOPIC = topics.of_agent("41280", "pole-01", Channel.BATCH)
POLE = Agent(0, 11, "41280", "pole-01", False, topics.shard_of("41280", "pole-01"))


def started(file: Path, *, qos: int = 0, max_bytes: int = 64 << 20, worker: str = "test") -> Inbox:
    inbox = Inbox(file, range(64), worker=worker, qos=qos, max_bytes=max_bytes, health=Health())
    inbox.start()
    return inbox


def batch(number: int, size: int = 20) -> bytes:
    header = wire.Header(1, number, 1, 7, number, 3, 1, 1, 0)
    return wire.pack(header, number.to_bytes(4, "big") + bytes(size))


def numbers(messages) -> list[int]:
    assert all(message.topic == TOPIC for message in messages)
    return [wire.unpack(message.payload)[0].seq for message in messages]


@pytest.mark.parametrize("qos", [0, 1])
def test_batches_arrive_once_and_in_order_small_and_large(any_broker, qos):
    inbox = started(any_broker.file_of("ingest"), qos=qos)
    try:
        assert inbox.wait_connected(20)
        sender = Connection(any_broker.credentials("41280.pole-01"), mqtt.MQTTv311)
        sizes = [wire.MAX_BODY_BYTES - 4 if number % 50 == 7 else 100 for number in range(1, 301)]
        for number, size in enumerate(sizes, start=1):
            sender.client.publish(TOPIC, batch(number, size), qos=1)
        found = []
        wait_for(lambda: found.extend(numbers(inbox.take(1000, 0.05))) or len(found) >= len(sizes))
        assert found == list(range(1, len(sizes) + 1))
        assert inbox.take(1, 0.05) == []
        sender.close()
    finally:
        inbox.stop()


def test_agents_are_answered_and_the_live_channel_is_fed(nats_broker):
    inbox = started(nats_broker.file_of("ingest"))
    try:
        assert inbox.wait_connected(20)
        hearer = Connection(nats_broker.credentials("41280.pole-01"), mqtt.MQTTv311)
        hearer.subscribe(topics.of_agent("41280", "pole-01", Channel.CURSOR))
        cursors = [wire.CursorMessage(5, seq, 9) for seq in range(1, 200)]
        inbox.reply([(POLE, cursor) for cursor in cursors])
        inbox.publish_live([(POLE, b"{}")])
        wait_for(lambda: len(hearer.messages) >= len(cursors))
        assert [wire.decode_cursor(payload) for _, payload in hearer.messages] == cursors
        hearer.close()
    finally:
        inbox.stop()


def test_the_last_words_are_said_when_it_is_stopped(nats_broker):
    hearer = Connection(nats_broker.credentials("api"), mqtt.MQTTv311)
    hearer.subscribe(topics.filters(Channel.LIVE)[0])
    contents = [bytes([number]) * 250_000 for number in range(120)]  # more than a socket takes at once
    inbox = started(nats_broker.file_of("ingest"), worker="last-words")
    assert inbox.wait_connected(20)
    inbox.publish_live([(POLE, content) for content in contents])
    inbox.stop()
    wait_for(lambda: len(hearer.messages) >= len(contents))
    assert [payload for _, payload in hearer.messages] == contents
    hearer.close()


def test_take_returns_at_the_wanted_number_of_observations_and_not_before_the_wait(nats_broker):
    inbox = started(nats_broker.file_of("ingest"), worker="take")
    try:
        assert inbox.wait_connected(20)
        began = time.monotonic()
        assert inbox.take(10, 0.2) == []
        assert time.monotonic() - began >= 0.2
        sender = Connection(nats_broker.credentials("41280.pole-01"), mqtt.MQTTv311)
        timer = threading.Timer(0.1, lambda: [sender.client.publish(TOPIC, batch(number)) for number in range(1, 9)])
        timer.start()
        began = time.monotonic()
        assert len(inbox.take(10, 30.0)) == 4  # three observations each
        assert time.monotonic() - began < 20
        timer.join()
        time.sleep(0.5)
        assert len(inbox.take(1, 30.0)) == 1
        assert len(inbox.take(1, 30.0, most=100)) == 3  # what waits besides, of a backlog
        sender.close()
    finally:
        inbox.stop()


def test_a_killed_broker_is_found_again_and_told_once(tmp_path):
    with running_broker("nats", tmp_path / "state") as broker:
        inbox = started(broker.file_of("ingest"))
        try:
            assert inbox.wait_connected(20)
            first = inbox.connected_since
            broker.kill_broker()
            wait_for(lambda: not inbox.connected)
            wait_for(lambda: inbox.connected, 30.0)
            assert inbox.connected_since > first
            sender = Connection(broker.credentials("41280.pole-01"), mqtt.MQTTv311)
            sender.client.publish(TOPIC, batch(1))
            assert numbers(inbox.take(1, 20.0)) == [1]
            sender.close()
        finally:
            inbox.stop()


def test_what_waits_is_bounded_and_what_was_dropped_is_counted(nats_broker):
    inbox = started(nats_broker.file_of("ingest"), max_bytes=20_000, worker="bounded")
    try:
        assert inbox.wait_connected(20)
        sender = Connection(nats_broker.credentials("41280.pole-01"), mqtt.MQTTv311)
        for number in range(1, 101):
            sender.client.publish(TOPIC, batch(number, 1000), qos=1)
        wait_for(lambda: inbox.shed > 0 and len(inbox._waiting) + inbox.shed == 100)
        kept = numbers(inbox.take(1000, 0.1))
        assert kept == list(range(1, len(kept) + 1))
        assert 10 <= len(kept) <= 20
        assert inbox._health.report().reasons[0].part is not Part.INBOX  # room again
        sender.close()
    finally:
        inbox.stop()


def test_a_wrong_password_is_told_in_words_and_mended_without_a_restart(any_broker, tmp_path):
    right = any_broker.file_of("ingest").read_text()
    file = tmp_path / "ingest.toml"
    password = any_broker.credentials("41280.pole-01").password
    file.write_text(right.replace(any_broker.credentials("ingest").password, password))
    inbox = started(file, worker="locked-out")
    try:
        wait_for(lambda: any(item.reason is Reason.BROKER_REFUSES for item in inbox._health.report().reasons))
        assert not inbox.connected
        file.write_text(right)
        assert inbox.wait_connected(30)
    finally:
        inbox.stop()
