"""What each identity may do on each broker, and that what it may not do happens to nobody else."""

import os
import re
import socket

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from contracts import topics, wire
from contracts.topics import Channel
from tests.services.broker_fixture import (
    Connection,
    RunningBroker,
    any_broker,
    connect,
    mosquitto_broker,
    nats_broker,
)

__all__ = ["any_broker", "mosquitto_broker", "nats_broker"]  # pytest finds fixtures by name here

ONE, TWO = "41280.pole-01", "41280.pole-02"
QOS = pytest.mark.parametrize("qos", [0, 1])


def topic_of(name: str, channel: Channel) -> str:
    municipality, agent = name.split(".")
    return topics.of_agent(municipality, agent, channel)


def unique(word: str) -> bytes:
    return f"{word}-{os.urandom(8).hex()}".encode()


def carries(sender: Connection, topic: str, receiver: Connection, qos: int = 0) -> None:
    """Pass when a message gets through within a few tries (a broker may have disconnected the sender meanwhile)."""
    word = unique("control")
    for attempt in range(20):
        sender.publish(topic, word, qos)
        try:
            receiver.expect(word, within_s=0.5 + attempt / 4)
        except AssertionError:
            continue
        return
    raise AssertionError(f"nothing gets through on {topic}")


@QOS
def test_ingest_reads_an_agents_batches_through_either_filter(any_broker: RunningBroker, qos: int) -> None:
    shard = topics.shard_of("41280", "pole-01")
    for filters in (topics.filters(Channel.BATCH), topics.filters(Channel.BATCH, [shard])):
        with (
            connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
            connect(any_broker.credentials(ONE), any_broker.protocol) as agent,
        ):
            for topic_filter in filters:
                assert not ingest.subscribe(topic_filter, qos).is_failure
            batch = unique("batch")
            mid = agent.publish(topic_of(ONE, Channel.BATCH), batch, qos)
            assert ingest.expect(batch) == topic_of(ONE, Channel.BATCH)
            agent.expect_puback(mid)


@QOS
def test_an_agent_reads_its_cursor_and_its_commands(any_broker: RunningBroker, qos: int) -> None:
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials("api"), any_broker.protocol) as api,
        connect(any_broker.credentials(ONE), any_broker.protocol) as agent,
    ):
        for channel in (Channel.CURSOR, Channel.COMMAND):
            assert not agent.subscribe(topic_of(ONE, channel), qos).is_failure
        cursor, command = unique("cursor"), unique("command")
        ingest.publish(topic_of(ONE, Channel.CURSOR), cursor, qos)
        api.publish(topic_of(ONE, Channel.COMMAND), command, qos)
        assert agent.expect(cursor) == topic_of(ONE, Channel.CURSOR)
        assert agent.expect(command) == topic_of(ONE, Channel.COMMAND)


@QOS
def test_the_api_reads_what_ingest_publishes_live(any_broker: RunningBroker, qos: int) -> None:
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials("api"), any_broker.protocol) as api,
    ):
        api.subscribe(topics.filters(Channel.LIVE)[0], qos)
        live = unique("live")
        ingest.publish(topic_of(TWO, Channel.LIVE), live, qos)
        assert api.expect(live) == topic_of(TWO, Channel.LIVE)


@QOS
@pytest.mark.parametrize(
    ("who", "whose", "channel"),
    [(ONE, TWO, Channel.BATCH), (ONE, ONE, Channel.CURSOR), (ONE, ONE, Channel.COMMAND), (ONE, TWO, Channel.LIVE)],
)
def test_an_agent_cannot_publish_on_another_topic(
    any_broker: RunningBroker, qos: int, who: str, whose: str, channel: Channel
) -> None:
    """Each topic is read by somebody who may, so what leaked would be seen."""
    reader = {Channel.BATCH: "ingest", Channel.LIVE: "api"}.get(channel, whose)
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials(reader), any_broker.protocol, client_id=unique("reader").decode()) as witness,
        connect(any_broker.credentials(who), any_broker.protocol) as intruder,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0], qos)
        witness.subscribe(topic_of(whose, channel) if "." in reader else topics.filters(channel)[0], qos)
        forged = unique("forged")
        intruder.publish(topic_of(whose, channel), forged, qos)
        carries(intruder, topic_of(who, Channel.BATCH), ingest)  # what came before this has been dealt with
        if channel is not Channel.BATCH:
            with connect(any_broker.credentials("api"), any_broker.protocol, client_id=unique("api").decode()) as api:
                allowed = api if channel is Channel.COMMAND else ingest
                carries(allowed, topic_of(whose, channel), witness, qos)  # and the witness is listening
        assert not witness.received(forged)
        assert not ingest.received(forged)
        assert witness.disconnects == 0


@QOS
def test_services_cannot_publish_as_agents_or_as_each_other(any_broker: RunningBroker, qos: int) -> None:
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials("api"), any_broker.protocol) as api,
        connect(any_broker.credentials(ONE), any_broker.protocol) as agent,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0], qos)
        agent.subscribe(topic_of(ONE, Channel.CURSOR), qos)
        agent.subscribe(topic_of(ONE, Channel.COMMAND), qos)
        forged = [unique("forged") for _ in range(3)]
        api.publish(topic_of(ONE, Channel.BATCH), forged[0], qos)
        carries(api, topic_of(ONE, Channel.COMMAND), agent)
        api.publish(topic_of(ONE, Channel.CURSOR), forged[1], qos)
        carries(api, topic_of(ONE, Channel.COMMAND), agent)
        ingest.publish(topic_of(ONE, Channel.COMMAND), forged[2], qos)
        carries(ingest, topic_of(ONE, Channel.CURSOR), agent)
        assert not any(ingest.received(word) or agent.received(word) for word in forged)


@QOS
@pytest.mark.parametrize(
    "topic_filter",
    [
        "#",
        "dure/#",
        topic_of(TWO, Channel.CURSOR),
        topics.filters(Channel.CURSOR)[0],
        topics.filters(Channel.BATCH)[0],
        "$SYS/#",
    ],
)
def test_an_agent_hears_nothing_that_is_not_its_own(any_broker: RunningBroker, qos: int, topic_filter: str) -> None:
    """NATS refuses the subscription; Mosquitto grants it and delivers nothing but the agent's own."""
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials(ONE), any_broker.protocol) as eavesdropper,
        connect(any_broker.credentials(TWO), any_broker.protocol) as other,
    ):
        answer = eavesdropper.subscribe(topic_filter, qos)
        if any_broker.name == "nats":
            assert answer.is_failure
        eavesdropper.subscribe(topic_of(ONE, Channel.CURSOR), qos)
        other.subscribe(topic_of(TWO, Channel.CURSOR), qos)
        ingest.subscribe(topics.filters(Channel.BATCH)[0], qos)
        carries(other, topic_of(TWO, Channel.BATCH), ingest, qos)
        carries(ingest, topic_of(TWO, Channel.CURSOR), other, qos)
        carries(ingest, topic_of(ONE, Channel.CURSOR), eavesdropper, qos)
        assert {topic for topic, _ in eavesdropper.messages} == {topic_of(ONE, Channel.CURSOR)}


def test_a_service_hears_only_its_own_channel(any_broker: RunningBroker) -> None:
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials("api"), any_broker.protocol) as api,
        connect(any_broker.credentials(ONE), any_broker.protocol) as agent,
    ):
        for service in (api, ingest):
            service.subscribe("#")
        api.subscribe(topics.filters(Channel.LIVE)[0])
        ingest.subscribe(topics.filters(Channel.BATCH)[0])
        agent.subscribe(topic_of(ONE, Channel.CURSOR))
        for _ in range(2):  # the second round comes after all that the first one could have leaked
            carries(ingest, topic_of(ONE, Channel.CURSOR), agent)
            carries(ingest, topic_of(ONE, Channel.LIVE), api)
            carries(agent, topic_of(ONE, Channel.BATCH), ingest)
        assert {topics.parse(topic).channel for topic, _ in ingest.messages} == {Channel.BATCH}
        assert {topics.parse(topic).channel for topic, _ in api.messages} == {Channel.LIVE}


def test_refuses_wrong_passwords_unknown_users_and_anonymous_clients(any_broker: RunningBroker) -> None:
    right = any_broker.credentials(ONE)
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(right, any_broker.protocol) as agent,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0])
        for changed in ({"password": "wrong"}, {"username": "41280.pole-99"}, {"username": ""}, {"password": ""}):
            wrong = msgspec.structs.replace(right, **changed)
            for protocol in (mqtt.MQTTv311, any_broker.protocol):
                with connect(wrong, protocol, client_id=right.client_id) as refused:
                    assert all(reason.is_failure for reason in refused.connects), changed
        carries(agent, topic_of(ONE, Channel.BATCH), ingest)
        assert (agent.disconnects, ingest.disconnects) == (0, 0)  # not even with the agent's own client id


def test_no_credentials_open_the_nats_client_port(nats_broker: RunningBroker) -> None:
    """NATS cannot close that port; whoever finds it gets no further than its greeting."""
    log = (nats_broker.state / "broker.log").read_text()
    port = int(re.findall(r"Listening for client connections on 127\.0\.0\.1:(\d+)", log)[-1])
    known = nats_broker.credentials("ingest")
    for options in ("{}", f'{{"user":"{known.username}","pass":"{known.password}"}}'):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(f"CONNECT {options}\r\nPING\r\n".encode())
            answer = b""
            while more := connection.recv(4096):
                answer += more
        assert b"Authorization Violation" in answer or b"Authentication" in answer
        assert b"PONG" not in answer


@QOS
def test_a_message_of_ten_megabytes_is_refused_and_the_load_goes_on(any_broker: RunningBroker, qos: int) -> None:
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials(TWO), any_broker.protocol) as neighbour,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0], qos)
        pid = any_broker.broker_pid()
        with connect(any_broker.credentials(ONE), any_broker.protocol) as agent:
            agent.publish(topic_of(ONE, Channel.BATCH), bytes(10_000_000), qos)
            agent.wait(lambda: agent.disconnects, "the broker hanging up")
            carries(neighbour, topic_of(TWO, Channel.BATCH), ingest, qos)
        with connect(any_broker.credentials(ONE), any_broker.protocol) as agent:
            carries(agent, topic_of(ONE, Channel.BATCH), ingest, qos)
        assert max(len(payload) for _, payload in ingest.messages) < 10_000_000
        assert (ingest.disconnects, neighbour.disconnects) == (0, 0)
        assert any_broker.broker_pid() == pid


@QOS
def test_the_largest_batch_of_the_contract_passes(any_broker: RunningBroker, qos: int) -> None:
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials(ONE), any_broker.protocol) as agent,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0], qos)
        largest = os.urandom(wire.MAX_BODY_BYTES + 1024)
        agent.publish(topic_of(ONE, Channel.BATCH), largest, qos)
        ingest.expect(largest)


def test_a_will_on_another_agents_topic_is_not_published(any_broker: RunningBroker) -> None:
    """A last will is a publish, too."""
    found = any_broker.credentials(ONE)
    with (
        connect(any_broker.credentials("ingest"), any_broker.protocol) as ingest,
        connect(any_broker.credentials(TWO), any_broker.protocol) as neighbour,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0])
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=found.client_id)
        client.username_pw_set(found.username, found.password)
        forged = unique("forged will")
        client.will_set(topic_of(TWO, Channel.BATCH), forged)
        client.connect(found.host, found.port)
        client.loop()
        client.loop()
        connection = client.socket()
        assert connection is not None
        connection.close()  # no DISCONNECT: the broker acts on the will
        for _ in range(5):
            carries(neighbour, topic_of(TWO, Channel.BATCH), ingest)
        assert not ingest.received(forged)


def test_nats_answers_protocol_5_with_a_code_to_fall_back_on(nats_broker: RunningBroker) -> None:
    found = nats_broker.credentials(ONE)
    with connect(found, mqtt.MQTTv5) as five:
        assert five.connects[0].value == 132  # unsupported protocol version
    with connect(found, mqtt.MQTTv311) as three:
        assert not three.connects[0].is_failure


def test_mosquitto_speaks_protocol_5_and_3(mosquitto_broker: RunningBroker) -> None:
    for protocol in (mqtt.MQTTv5, mqtt.MQTTv311):
        with connect(mosquitto_broker.credentials(ONE), protocol) as client:
            assert not client.connects[0].is_failure
