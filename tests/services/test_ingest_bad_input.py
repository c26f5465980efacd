"""Bad input is data: each kind of it is refused or quarantined with its reason, and the good load beside it is
complete.
"""

import time

import msgspec
import pytest
import zstandard

from contracts import topics, wire
from contracts.topics import Channel
from tests.services.broker_fixture import connect
from tests.services.ingest_fixture import (
    START_MS,
    account,
    agent,
    broker,
    lights,
    load,
    running_ingest,
    schema,
    seal_load,
    settle,
    stored,
    wait_for_rows,
)
from tests.waiting import wait_for

__all__ = ["broker"]

YEAR_MS = 365 * 86_400_000
minutes = iter(range(0, 10_000, 5))


@pytest.fixture(scope="module")
def town(postgres_url, broker, tmp_path_factory):
    """One ingest for all of this file that does not stop or bound it."""
    with schema(postgres_url) as database:
        settle(database)
        with running_ingest(database, broker, tmp_path_factory.mktemp("ingest")) as ingest:
            yield database
            assert ingest.process.poll() is None


@pytest.fixture
def good_load(town, broker):
    """A load beside the bad input; afterwards it must be in the database exactly once."""
    with agent(broker, "41280.pole-02") as other:
        generated = seal_load(other, load(5, from_minute=next(minutes)))
        other.pump()
        yield other
        other.deliver()
        times = {at for _, at, _ in generated}
        assert [row for row in stored(town) if row[1] in times] == sorted(generated, key=lambda row: (row[1], row[0]))
        counted = account(town, other.epoch)
        assert counted["committed"] == len(generated) == 100
        assert counted["quarantined"] == 0


def row(device="sl-1", at=START_MS, kind="streetlight", **values):
    return {kind: {"device": [device], "observed_at": [at], **{name: [value] for name, value in values.items()}}}


BOMB = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 26))
BAD = {
    "malformed body": (b'{"streetlight":', "malformed_body", "cannot decode body"),
    "columns of unequal length": (
        b'{"streetlight":{"device":["a"],"observed_at":[]}}',
        "malformed_body",
        "unequal length",
    ),
    "zstd bomb": (BOMB, "too_large", "67108864 bytes when decompressed"),
    "unknown kind": (row("t-1", kind="toaster"), "unknown_kind", "'toaster'"),
    "unknown device": (row("sl-999"), "unknown_device", "'sl-999'"),
    "device of another municipality": (row("paju-1"), "foreign_device", "'paju-1' is not of municipality 41280"),
    "device of another kind": (row("bin-1"), "kind_mismatch", "another kind"),
    "value out of range": (row(voltage=5000.0), "implausible_value", "voltage = 5000.0"),
    "number beyond any column": (row(voltage=1e300), "implausible_value", "inf"),
    "a year ahead": (row(at=START_MS + YEAR_MS), "too_far_ahead", "later than"),
    "a year ago": (row(at=START_MS - YEAR_MS), "too_long_ago", "earlier than"),
    "a time that no database holds": (row(at=2**61), "too_far_ahead", "later than"),
    "text for a number": (row(voltage="much"), "wrong_type", "voltage = 'much'"),
    "number for a time": (row(at=1.5), "wrong_type", "observed_at = 1.5"),
    "unknown property": (row(colour="red"), "unknown_property", "colour = 'red'"),
    "unknown word": (row(power_state="dim"), "unknown_value", "power_state = 'dim'"),
    "text with a NUL": (row("sl\x00-\ufffe"), "unknown_device", "is not registered"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_observation_is_quarantined_with_its_reason(town, broker, good_load, case):
    body, reason, words = BAD[case]
    with agent(broker) as sender:
        sender.seal(body)
        sender.deliver()
        ((found, detail, observations, town_code, name),) = town.rows(
            "SELECT reason, detail, observations, q.municipality, a.name FROM quarantine q JOIN agent a USING "
            "(agent_id) "
            "WHERE epoch = %s",
            sender.epoch,
        )
        assert (found, observations, town_code, name) == (reason, 1, "41280", "pole-01")
        assert words in detail
        counted = account(town, sender.epoch)
        assert (counted["received"], counted["quarantined"], counted["committed"]) == (1, 1, 0)


def test_one_bad_observation_leaves_the_rest_of_its_batch_alone(town, broker, good_load):
    at = START_MS - 3_600_000
    with agent(broker) as sender:
        sender.seal(lights([("sl-1", at, 220.0), ("sl-999", at, 220.0), ("sl-2", at, 9000.0), ("sl-3", at, 221.0)]))
        sender.deliver()
        counted = account(town, sender.epoch)
        assert (counted["committed"], counted["quarantined"]) == (2, 2)
        held = town.rows("SELECT device, reason, content FROM quarantine WHERE epoch = %s ORDER BY 1", sender.epoch)
        assert [(device, reason) for device, reason, _ in held] == [
            ("sl-2", "implausible_value"),
            ("sl-999", "unknown_device"),
        ]
        assert held[0][2] == {"kind": "streetlight", "device": "sl-2", "observed_at": at, "values": {"voltage": 9000.0}}


def test_messages_without_a_header_and_numbers_that_overflow_are_quarantined(town, broker, good_load):
    with agent(broker) as sender:
        sender.pump()
        header = wire.Header(sender.epoch, 1, 1, 0, 1, 1, 0, 0, 0)
        overflow = msgspec.structs.replace(header, first=2**64 - 1)
        for payload in (b"hello", b"", wire.pack(overflow, wire.encode_body(row()))):
            sender.connection.publish(sender.topic, payload)
        wait_for_rows(
            town,
            "SELECT 1 FROM quarantine WHERE reason = 'malformed_header' AND agent_id IS NOT NULL HAVING count(*) = 3",
        )
        sender.seal(lights([("sl-5", START_MS - 7_000_000, 220.0)]))  # the agent is not held up by what it sent
        sender.deliver()


def test_unknown_agents_and_municipalities_are_noted_once_and_keep_what_they_have(town, broker, good_load):
    for name, reason in (("99999.pole-01", "unknown_municipality"), ("41280.pole-99", "unknown_agent")):
        with agent(broker, name) as stranger:
            for _ in range(5):
                stranger.seal(row())
            stranger.pump()
            noted = wait_for_rows(town, "SELECT observations, detail FROM quarantine WHERE reason = %s", reason)
            time.sleep(0.3)
            stranger.pump()
            assert noted == town.rows("SELECT observations, detail FROM quarantine WHERE reason = %s", reason)
            assert noted[0][0] == 0
            assert stranger.sender.acked == 0


def test_a_payload_of_ten_megabytes_never_reaches_the_store(town, broker, good_load):
    with agent(broker) as sender:
        sender.connection.publish(sender.topic, bytes(10_000_000))
        sender.connection.wait(lambda: sender.connection.disconnects, "the broker to hang up")
        sender.connection.expect_connects(2)
        sender.seal(lights([("sl-6", START_MS - 7_000_000, 220.0)]))
        sender.deliver()
        assert account(town, sender.epoch)["committed"] == 1


def test_wrong_credentials_are_turned_away(broker, good_load):
    right = broker.credentials("41280.pole-01")
    for wrong in (
        msgspec.structs.replace(right, password="guessed"),
        msgspec.structs.replace(right, username="41280.nobody"),
        msgspec.structs.replace(right, username="", password=""),
    ):
        with connect(wrong) as intruder:
            assert intruder.connects[0].is_failure


def test_another_agents_topic_carries_nothing_of_mine(town, broker, good_load):
    with agent(broker) as sender:
        sender.topic = topics.of_agent("41480", "pole-01", Channel.BATCH)
        sender.seal(row("paju-1"))
        sender.pump()
        sender.topic = topics.of_agent("41280", "pole-01", Channel.BATCH)
        deaf = sender.connection.subscribe(topics.of_agent("41480", "pole-01", Channel.CURSOR))
        assert deaf.is_failure
        time.sleep(0.5)
        assert town.rows("SELECT 1 FROM cursor WHERE epoch = %s", sender.epoch) == []
        assert town.rows("SELECT 1 FROM device d JOIN newest_streetlight USING (device_id) WHERE name = 'paju-1'") == []


def ask(database, where, by="engineer"):
    """What the API does when an engineer asks for an admission."""
    database.rows(
        f"UPDATE quarantine SET admit_requested_at = now(), admit_requested_by = %s WHERE {where} AND admitted_at IS "
        "NULL",
        by,
    )


def test_an_unknown_device_is_admitted_once_after_it_is_registered(town, broker, good_load):
    with agent(broker) as sender:
        sender.seal(lights([("late-1", START_MS, 220.0), ("late-1", START_MS + 60_000, 221.0)]))
        sender.deliver()
        ask(town, "device = 'late-1'")
        wait_for_rows(
            town, "SELECT 1 FROM quarantine WHERE device = 'late-1' AND admit_requested_at IS NULL HAVING count(*) = 2"
        )
        assert stored(town, "late-") == []
        town.rows("INSERT INTO device (municipality, name, kind) VALUES ('41280', 'late-1', 'streetlight')")
        ask(town, "device = 'late-1'")
        ask(town, "device = 'late-1'")
        wait_for(lambda: len(stored(town, "late-")) == 2)
        ask(town, "device = 'late-1'")
        time.sleep(1.5)
        assert stored(town, "late-") == [("late-1", START_MS, 220.0), ("late-1", START_MS + 60_000, 221.0)]
        admitted = town.rows("SELECT admitted_at IS NOT NULL FROM quarantine WHERE device = 'late-1'")
        assert admitted == [(True,), (True,)]
        sender.seal(lights([("late-1", START_MS + 120_000, 222.0)]))
        sender.deliver()
        assert len(stored(town, "late-")) == 3


def test_a_batch_that_nobody_can_read_stays_in_quarantine_under_its_reason(town, broker, good_load):
    with agent(broker) as sender:
        sender.seal(b"nonsense")
        sender.deliver()
        ask(town, f"epoch = {sender.epoch}")
        found = wait_for_rows(
            town, "SELECT reason, detail FROM quarantine WHERE epoch = %s AND admit_requested_at IS NULL", sender.epoch
        )
        assert found[0][0] == "malformed_body"


def test_what_the_database_refuses_to_admit_stays_and_blames_nobody_else(town, broker, good_load):
    with town.connect() as connection:
        connection.execute(
            "ALTER TABLE observation_streetlight ADD CONSTRAINT odd CHECK (voltage IS DISTINCT FROM 333)"
        )
    with agent(broker) as sender:
        sender.seal(lights([("poison-1", START_MS, 333.0), ("poison-1", START_MS + 1, 220.0)]))
        sender.deliver()
        town.rows("INSERT INTO device (municipality, name, kind) VALUES ('41280', 'poison-1', 'streetlight')")
        ask(town, "device = 'poison-1'")
        seal_load(sender, load(5, from_minute=next(minutes)))
        sender.deliver()
        found = wait_for_rows(
            town,
            "SELECT reason, detail, admit_requested_at FROM quarantine WHERE device = 'poison-1' AND admitted_at IS "
            "NULL "
            "AND reason = 'refused_by_database'",
        )
        assert '"odd"' in found[0][1]
        assert found[0][2] is None
        wait_for(lambda: stored(town, "poison-"))  # each by itself: the one after the refused one follows
        assert stored(town, "poison-") == [("poison-1", START_MS + 1, 220.0)]
        counted = account(town, sender.epoch)
        assert (counted["quarantined"], counted["committed"]) == (2, 100)


def test_quarantine_is_bounded_in_bytes_and_counts_what_it_refuses(database, broker, tmp_path):
    settle(database)
    with running_ingest(database, broker, tmp_path, quarantine_bytes=3000) as ingest, agent(broker) as sender:
        for _ in range(4):
            sender.seal(lights([(f"ghost-{number}", START_MS, 1.0) for number in range(25)]))
        sender.deliver()
        held = "SELECT count(*), sum(bytes) FROM quarantine"
        ((kept, size),) = database.rows(held)
        assert 0 < kept < 30
        assert size <= 3000
        assert database.rows("SELECT reason, observations FROM quarantine_refused") == [("unknown_device", 100 - kept)]
        assert account(database, sender.epoch)["quarantined"] == 100
        ingest.stop()
        ingest.restart()  # the room is no larger after a restart
        sender.seal(lights([(f"ghost-{number}", START_MS, 1.0) for number in range(25)]))
        sender.deliver()
        assert database.rows(held) == [(kept, size)]
