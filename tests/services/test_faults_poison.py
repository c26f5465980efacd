"""Batches that the database refuses are found by halves, kept in quarantine with its words, and the rest goes in.

What it refuses is real: a CHECK that the profile does not know, a trigger that raises on one partition.
What other content would meet as well (a column that was dropped) is nobody's poison: it is waited for, and named.
"""

import pytest

from tests.services.faults_fixture import batches_of, town_on
from tests.services.ingest_fixture import START_MS, KeepSending, agent, assert_exactly_once, broker, lights
from tests.waiting import wait_for

__all__ = ["broker"]

POISON = 200.5  # volts; what the database refuses here


@pytest.fixture(scope="module")
def street(postgres_url, broker, tmp_path_factory):
    """One ingest for all of this file."""
    with town_on(postgres_url, broker, tmp_path_factory.mktemp("town")) as found:
        yield found


@pytest.fixture
def town(street):
    """The same, with an empty quarantine, and nothing refused any more afterwards."""
    street.watched.new_log()
    yield street
    street.database.rows("ALTER TABLE observation_streetlight DROP CONSTRAINT IF EXISTS no_poison")
    street.database.rows("DELETE FROM quarantine")


def seal_poisoned(sender, at_ms, lamp=0):
    """A batch with one row that is refused and one that is not; what of it must be in quarantine."""
    sender.seal(lights([(f"sl-{lamp}", at_ms, 220.0), (f"sl-{lamp + 1}", at_ms, POISON)]), clock_ms=at_ms)
    return sender.sender.top


def quarantined(town):
    return town.database.rows("SELECT reason, detail, observations, length(body) FROM quarantine ORDER BY 1, 2")


def refuse(town, statement):
    with town.database.connect(autocommit=True) as connection:
        connection.execute(statement)


CHECK = f"ALTER TABLE observation_streetlight ADD CONSTRAINT no_poison CHECK (voltage <> {POISON})"


def test_several_poisoned_batches_among_many_are_each_isolated_and_all_others_go_in(town):
    refuse(town, CHECK)
    with agent(town.broker) as sender, agent(town.broker, "41280.pole-02") as other:
        poisoned = []
        for part in range(8):
            town.seal(sender, 23)
            poisoned.append(seal_poisoned(sender, START_MS - 1000 - part))
            town.seal(other, 5)
        poisoned.append(seal_poisoned(sender, START_MS - 2000))  # two next to each other, and the last
        running = KeepSending(other)
        sender.deliver()
        running.finish()
        assert_exactly_once(town.database, town.generated)
        found = quarantined(town)
        assert len(found) == len(poisoned) == 9
        for reason, detail, observations, body in found:
            assert (reason, observations) == ("refused_by_database", 2)
            assert "no_poison" in detail and "violates check constraint" in detail
            assert body > 40
    lines = [line for line in town.watched.ingest.log.read_text().splitlines() if "batch.refused" in line]
    assert len(lines) == 9
    assert town.changes() == []  # a refusal is no trouble of the database
    assert town.watched.metric(r'dure_ingest_observations_quarantined_total\{reason="refused_by_database"\}') == 18


def test_a_poisoned_batch_prepared_while_a_good_flush_commits_does_not_hurt_it_nor_the_next(town):
    refuse(town, CHECK)
    refuse(
        town,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END'",
    )
    refuse(town, "CREATE TRIGGER slow AFTER INSERT ON observation_streetlight EXECUTE FUNCTION slow()")
    with agent(town.broker) as sender, agent(town.broker, "41280.pole-02") as other:
        town.seal(other, 1)
        other.pump()  # a good flush is under way for 0.3 s and more
        sleeping = (
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'dure ingest ingest-0' AND wait_event = 'PgSleep'"
        )
        wait_for(lambda: town.database.rows(sleeping), pause_s=0.01)
        seal_poisoned(sender, START_MS - 5000)
        sender.pump()  # prepared meanwhile
        town.seal(other, 3)
        town.seal(sender, 3)
        running = KeepSending(other)
        sender.deliver()
        running.finish()
    refuse(town, "DROP TRIGGER slow ON observation_streetlight")
    assert_exactly_once(town.database, town.generated)
    assert [(reason, count) for reason, _, count, _ in quarantined(town)] == [("refused_by_database", 2)]


def test_a_trigger_on_one_partition_that_raises_is_quoted_and_other_partitions_go_on(town):
    with agent(town.broker) as sender:
        town.seal(sender, 5)
        sender.deliver()
        day_ms = START_MS + 24 * 3_600_000
        later = batches_of(5, day_ms)
        for rows in later[:1]:
            sender.seal(lights(rows), clock_ms=rows[-1][1])
        sender.deliver()
        ((partition,),) = town.database.rows(
            "SELECT DISTINCT tableoid::regclass::text FROM observation_streetlight WHERE observed_at >= "
            "to_timestamp(%s / 1000.0)",
            day_ms,
        )
        refuse(
            town,
            "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''this day is closed: %'', NEW.observed_at; END'",
        )
        refuse(town, f"CREATE TRIGGER closed BEFORE INSERT ON {partition} FOR EACH ROW EXECUTE FUNCTION closed()")
        for rows in later[1:]:
            sender.seal(lights(rows), clock_ms=rows[-1][1])
        town.seal(sender, 5)
        sender.deliver()
        town.generated += later[0]
        assert_exactly_once(town.database, town.generated)
    found = quarantined(town)
    assert [(reason, count) for reason, _, count, _ in found] == [("refused_by_database", 20)] * 4
    assert all("this day is closed" in detail for _, detail, _, _ in found)


def test_a_column_that_is_gone_holds_all_of_it_and_quarantines_nothing(town):
    refuse(town, "ALTER TABLE observation_streetlight RENAME COLUMN voltage TO volts")
    with town.sending(10) as sender:
        assert "voltage" in town.watched.wait_reason("schema_differs")
        assert quarantined(town) == [] and sender.sender.acked == 0
        refuse(town, "ALTER TABLE observation_streetlight RENAME COLUMN volts TO voltage")
    assert town.changes() == [("database", "not_ready", "schema_differs"), ("database", "ready", "schema_differs")]
    assert quarantined(town) == []
