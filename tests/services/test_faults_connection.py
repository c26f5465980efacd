"""The connection breaks in COPY, before COMMIT, in the middle of COMMIT's answer: each row is stored once.

The breaks are real: a backend terminated while it is in COPY, and a proxy on the server's socket that lets so many
bytes pass and no more. Where COMMIT's answer was lost the rows are stored already; where COMMIT was lost they are not.
"""

import time

import pytest

from tests.services.faults_fixture import INGEST, Proxy, town_on
from tests.services.ingest_fixture import agent, assert_exactly_once, broker
from tests.waiting import wait_for

__all__ = ["broker"]

COMMIT = b"COMMIT\0"  # in the client's command, and in the server's answer that it is done


@pytest.fixture(scope="module")
def proxy(breakable, tmp_path_factory):
    found = Proxy(breakable.url, tmp_path_factory.mktemp("p"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def town(breakable, broker, proxy, tmp_path_factory):
    """One ingest for all of this file, behind the proxy."""
    with town_on(breakable.url, broker, tmp_path_factory.mktemp("town"), through=proxy.url, flush_batches=8) as found:
        yield found


def lost(*reasons):
    """One trouble: the first reason, what it became, and the end."""
    return [("database", "not_ready", reason) for reason in reasons] + [("database", "ready", reasons[-1])]


def test_a_backend_that_is_terminated_in_copy_stores_nothing_of_it_and_all_of_it_next_time(town):
    with town.database.connect(autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE rows_seen")
        connection.execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN IF nextval(''rows_seen'') = 30 THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END'"
        )
        connection.execute(
            "CREATE TRIGGER dawdle BEFORE INSERT ON observation_streetlight FOR EACH ROW EXECUTE FUNCTION dawdle()"
        )
        with town.sending(40):
            in_copy = f"FROM pg_stat_activity WHERE {INGEST} AND query LIKE 'COPY %%' AND wait_event = 'PgSleep'"
            wait_for(lambda: connection.execute(f"SELECT pg_terminate_backend(pid) {in_copy}").fetchall(), pause_s=0.01)
        connection.execute("DROP TRIGGER dawdle ON observation_streetlight")
    assert town.changes() == lost("no_database")


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_connection_that_is_cut_in_the_stream_of_copy_is_made_anew(town, proxy, part):
    def cut(seen):
        """Within the first message of COPY's data."""
        start = seen.find(b"PGCOPY\n\xff\r\n\0")
        if start < 5 or len(seen) < start:
            return None
        length = int.from_bytes(seen[start - 4 : start], "big")
        return start + int(part * length)

    before = proxy.cuts
    proxy.cut_request = cut
    with town.sending(40):
        wait_for(lambda: proxy.cuts == before + 1)
    assert town.changes() == lost("no_database")


def test_a_connection_that_is_cut_before_commit_arrives_stored_nothing(town, proxy):
    before = proxy.cuts
    with town.sending(40) as sender:
        wait_for(lambda: sender.sender.acked >= 2, pause_s=0.002)
        proxy.cut_request = lambda seen: found if (found := seen.find(COMMIT)) >= 0 else None
        wait_for(lambda: proxy.cuts == before + 1)
    assert set(town.changes()) <= {*lost("no_database"), *lost("cursor_moved")}


@pytest.mark.parametrize("let", [0, 3, len(COMMIT)])
def test_an_answer_of_commit_that_is_lost_is_asked_for_and_nothing_is_stored_again(town, proxy, let):
    before = proxy.cuts
    proxy.cut_answer = lambda seen: found + let if (found := seen.find(COMMIT)) >= 0 else None
    with town.sending(40):
        wait_for(lambda: proxy.cuts == before + 1)
    assert len(town.changes()) <= 2


def test_an_answer_of_commit_that_is_lost_while_nobody_can_be_asked_is_found_out_later(town, proxy):
    """The rows are stored, the agents know nothing, and the database cannot say so for a while."""
    before = proxy.cuts

    def cut(seen):
        if (found := seen.find(COMMIT)) < 0:
            return None
        proxy.refusing = True
        return found

    proxy.cut_answer = cut
    with town.sending(40) as sender:
        wait_for(lambda: proxy.cuts == before + 1)
        town.watched.wait_reason("no_database", "cursor_moved")
        held = sender.sender.acked
        time.sleep(1.0)
        assert sender.sender.acked == held
        proxy.refusing = False
    seen = town.changes()
    assert seen[-1][1] == "ready" and [state for _, state, _ in seen].count("ready") == 1, seen
    assert len(seen) <= 3


def test_cuts_at_commits_answer_again_and_again_in_one_load(town, proxy):
    before, acked = proxy.cuts, -1
    with town.sending(400) as sender:
        while not sender.sender.finished and proxy.cuts < before + 12:
            if proxy.cut_answer is None and sender.sender.acked > acked:
                acked = sender.sender.acked
                proxy.cut_answer = lambda seen: found + 2 if (found := seen.find(COMMIT)) >= 0 else None
            time.sleep(0.01)
        proxy.cut_answer = None
    assert proxy.cuts - before >= 4


def test_a_database_that_doubles_or_loses_one_row_in_a_fault_turns_the_proof_red(town):
    """The proof of all of the above, itself proven: the database is made to do the harm on its own."""
    for harm in (
        "RETURN NULL",
        "NEW.voltage := 0; RETURN NEW",
        "INSERT INTO observation_streetlight SELECT NEW.*; RETURN NEW",
    ):
        with town.database.connect(autocommit=True) as connection:
            connection.execute("CREATE SEQUENCE harmed")
            connection.execute(
                f"CREATE FUNCTION harm() RETURNS trigger LANGUAGE plpgsql AS "
                f"'BEGIN IF nextval(''harmed'') = 7 THEN {harm}; END IF; RETURN NEW; END'"
            )
            connection.execute(
                "CREATE TRIGGER harm BEFORE INSERT ON observation_streetlight FOR EACH ROW EXECUTE FUNCTION harm()"
            )
            with agent(town.broker) as sender:
                town.seal(sender, 2)
                sender.deliver()
            with pytest.raises(AssertionError):
                assert_exactly_once(town.database, town.generated)
            connection.execute("DROP TRIGGER harm ON observation_streetlight")
            connection.execute("DROP FUNCTION harm")
            connection.execute("DROP SEQUENCE harmed")
            forget_the_last(town, connection, 40)
        assert_exactly_once(town.database, town.generated)


def forget_the_last(town, connection, rows):
    """Take the harmed load out of the database and out of what was generated."""
    first_ms = min(at for _, at, _ in town.generated[-rows:])
    connection.execute("DELETE FROM observation_streetlight WHERE observed_at >= to_timestamp(%s / 1000.0)", [first_ms])
    del town.generated[-rows:]
