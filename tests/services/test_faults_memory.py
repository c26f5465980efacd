"""Memory stays bounded whatever waits: a flood that outruns the database fills the inbox to its bytes and no further.

The flood is real batches sent again and again, far more bytes than the inbox may hold, while the database answers
nothing or too slowly. What is dropped is counted, `/ready` says so, and after the flood every row is stored once.
"""

import time

import pytest

from tests.services.faults_fixture import frozen, town_on
from tests.services.ingest_fixture import agent, assert_exactly_once, broker
from tests.waiting import wait_for

__all__ = ["broker"]

MB = 1 << 20
INBOX = 4 * MB
FLUSH = 7_000  # observations, of which a backlog makes three times as many in a flush
FLOOD = 64 * MB
ROOM = INBOX + 28 * MB  # the inbox, a flush under way and one prepared, sockets; well below the flood


def flood_and_measure(town, sender):
    """Send what waits again and again, FLOOD bytes of it; by how many bytes ingest grew at most."""
    base = most = town.watched.rss_bytes()
    payloads = [sender.payload(seq) for seq in range(sender.sender.acked + 1, sender.sender.top + 1)]
    sent, client = 0, sender.connection.client
    while sent < FLOOD:
        for payload in payloads:
            published = client.publish(sender.topic, payload)
            sent += len(payload)
        published.wait_for_publish(20)
        most = max(most, town.watched.rss_bytes())
    end = time.monotonic() + 1.0  # what the broker still holds
    while time.monotonic() < end:
        most = max(most, town.watched.rss_bytes())
        time.sleep(0.02)
    return most - base


def warm(town):
    """As much memory as an ordinary load takes, before it is measured."""
    with town.sending(100, reports=45):
        pass
    town.changes()


@pytest.fixture
def town(postgres_url, broker, tmp_path):
    with town_on(postgres_url, broker, tmp_path, inbox_bytes=INBOX, flush_observations=FLUSH) as found:
        warm(found)
        yield found


def test_a_flood_while_the_database_answers_nothing_fills_the_inbox_and_no_more(town):
    with agent(town.broker) as sender:
        town.seal(sender, 60, reports=45)
        wait_for(lambda: sender.connection.connects)
        sender.pump()
        with frozen(town.backends()):
            grown = flood_and_measure(town, sender)
            town.watched.wait_reason("inbox_full")
            assert town.watched.metric("dure_ingest_messages_shed_total") > 100
        sender.deliver()
    assert grown < ROOM, f"{grown / MB:.0f} MB"
    assert_exactly_once(town.database, town.generated)
    assert town.changes(of="inbox") == [("inbox", "not_ready", "inbox_full"), ("inbox", "ready", "inbox_full")]


def test_a_flood_that_outruns_a_slow_database_is_bounded_just_so(town):
    with town.database.connect(autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'"
        )
        connection.execute("CREATE TRIGGER slow AFTER UPDATE OR INSERT ON cursor EXECUTE FUNCTION slow()")
        with agent(town.broker) as sender:
            town.seal(sender, 60, reports=45)
            wait_for(lambda: sender.connection.connects)
            sender.pump()
            grown = flood_and_measure(town, sender)
            assert town.watched.metric("dure_ingest_messages_shed_total") > 100
            connection.execute("DROP TRIGGER slow ON cursor")
            sender.deliver()
    assert grown < ROOM, f"{grown / MB:.0f} MB"
    assert_exactly_once(town.database, town.generated)
    assert ("inbox", "not_ready", "inbox_full") in town.changes(of="inbox")


def test_the_measure_turns_red_when_the_inbox_has_no_bound_to_speak_of(postgres_url, broker, tmp_path):
    """The same flood with room for all of it: the growth that the tests above would have seen."""
    with town_on(postgres_url, broker, tmp_path, inbox_bytes=4 * FLOOD) as town:
        warm(town)
        with agent(town.broker) as sender:
            town.seal(sender, 60, reports=45)
            wait_for(lambda: sender.connection.connects)
            sender.pump()
            with frozen(town.backends()):
                grown = flood_and_measure(town, sender)
            sender.deliver()
        assert grown > ROOM, f"{grown / MB:.0f} MB"
        assert_exactly_once(town.database, town.generated)
