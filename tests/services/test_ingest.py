"""The real ingest between a real broker and a real PostgreSQL: committed exactly once, whatever is killed meanwhile."""

import signal

import pytest

from contracts import topics
from contracts.topics import Channel
from tests.database_fixture import Database, DatabaseProcess
from tests.services.broker_fixture import connect
from tests.services.ingest_fixture import (
    START_MS,
    KeepSending,
    account,
    agent,
    assert_exactly_once,
    broker,
    lights,
    load,
    running_ingest,
    seal_load,
    settle,
    wait_for_rows,
)
from tests.waiting import wait_for

__all__ = ["broker"]

ALARMS = (
    "SELECT d.name, a.condition, a.state, a.findings, a.opened_at, a.last_finding_at, a.cleared_at, a.evidence "
    "FROM alarm a JOIN device d USING (device_id) ORDER BY 5, 1, 2"
)


def test_batches_are_committed_once_answered_published_and_saved_at_the_stop(database, broker, tmp_path):
    settle(database)
    with (
        running_ingest(database, broker, tmp_path) as ingest,
        connect(broker.credentials("api")) as screen,
        agent(broker) as sender,
    ):
        screen.subscribe(topics.filters(Channel.LIVE)[0])
        generated = seal_load(sender, load(50))
        sender.deliver()
        assert sender.cursors[-1].seq == 50
        assert_exactly_once(database, generated)
        assert account(database, sender.epoch)["committed"] == 1000

        sender.sender.sent = sender.sender.acked = 40  # an agent that forgot the last ten acknowledgements
        sender.deliver()
        wait_for(lambda: account(database, sender.epoch)["duplicate"] == 200)
        assert_exactly_once(database, generated)

        screen.wait(lambda: screen.messages, "a live message")
        topic, payload = screen.messages[-1]
        assert topics.parse(topic).agent == "pole-01"
        assert b'"streetlight":{"device_id":[' in payload
        newest = wait_for_rows(
            database, "SELECT max(observed_at), count(*) FROM newest_streetlight HAVING count(*) = 20"
        )
        assert newest[0][0].timestamp() * 1000 == max(at for _, at, _ in generated)

        for shard in (0, 63):  # no second worker can have them
            locked = "SELECT pg_try_advisory_lock(%s, %s # hashtext(current_schema()))"
            assert database.rows(locked, 0x44555247, shard) == [(False,)]

        ingest.process.send_signal(signal.SIGTERM)
        assert ingest.process.wait(20) == 0
        assert database.rows("SELECT count(*) FROM detector_journal") == [(0,)]
        assert database.rows("SELECT count(*) FROM detector_state WHERE length(body) > 500") == [(1,)]
        assert database.rows("SELECT counters ? 'latency_p99_ms' FROM ingest_worker") == [(True,)]


def test_the_checker_of_exactly_once_turns_red(database, broker, tmp_path):
    settle(database)
    with running_ingest(database, broker, tmp_path), agent(broker) as sender:
        generated = seal_load(sender, load(3))
        sender.deliver()
    assert_exactly_once(database, generated)
    one = "device_id = 1 AND observed_at = (SELECT min(observed_at) FROM observation_streetlight WHERE device_id = 1)"
    for harm in (
        f"DELETE FROM observation_streetlight WHERE {one}",
        f"INSERT INTO observation_streetlight SELECT * FROM observation_streetlight WHERE {one}",
        f"UPDATE observation_streetlight SET voltage = 1 WHERE {one}",
    ):
        with database.connect() as connection:
            assert connection.execute(harm.encode()).rowcount == 1
            connection.commit()
            with pytest.raises(AssertionError):
                assert_exactly_once(database, generated)
            connection.execute(b"DELETE FROM observation_streetlight")
            connection.execute(
                b"INSERT INTO observation_streetlight (device_id, observed_at, voltage) "
                b"SELECT device_id, to_timestamp(at / 1000.0), v FROM unnest(%s::text[], %s::bigint[], %s::float4[]) "
                b"AS k (name, at, v) JOIN device USING (name)",
                [list(column) for column in zip(*generated, strict=True)],
            )
            connection.commit()
        assert_exactly_once(database, generated)


def faulty_street():
    """Two hours of a street with a lamp out of range and back, one stuck, one that spikes, one that falls silent."""
    batches = load(120)
    for minute, rows in enumerate(batches):
        for place, (device, at, value) in enumerate(rows):
            if device == "sl-1" and 40 <= minute < 60:
                rows[place] = (device, at, 262.0)
            if device == "sl-2" and 30 <= minute < 70:
                rows[place] = (device, at, 219.5)
            if device == "sl-3" and minute == 65:
                rows[place] = (device, at, value + 25)
        if 50 <= minute < 80:
            rows[:] = [row for row in rows if row[0] != "sl-4"]
    return batches


def test_alarms_after_a_killed_ingest_are_those_of_an_undisturbed_run(database, broker, tmp_path, postgres_url):
    from tests.services.ingest_fixture import schema

    def run(where: Database, kills: tuple[int, ...]):
        settle(where)
        with running_ingest(where, broker, tmp_path, save_period_s=1) as ingest, agent(broker) as sender:
            generated = seal_load(sender, faulty_street())
            for upto in kills:
                sender.deliver(upto=upto)
                ingest.kill()
                ingest.restart()
            sender.deliver()
            assert_exactly_once(where, generated)
            wait_for_rows(where, "SELECT 1 FROM alarm WHERE condition = 'silent' AND state = 'cleared'")
        return where.rows(ALARMS)

    with schema(postgres_url) as other:
        steady = run(other, ())
        killed = run(database, (60,))
    found = {(name, condition) for name, condition, *_ in steady}
    assert found >= {("sl-1", "out_of_range:voltage"), ("sl-1", "stuck:voltage")}
    assert found >= {("sl-2", "stuck:voltage"), ("sl-3", "spike:voltage"), ("sl-4", "silent")}
    assert {name for name, _ in found} == {"sl-1", "sl-2", "sl-3", "sl-4"}
    assert {state for _, _, state, *_ in steady} == {"cleared"}
    assert killed == steady


def test_a_condition_is_one_alarm_however_often_it_is_found(database, broker, tmp_path):
    settle(database)
    with running_ingest(database, broker, tmp_path), agent(broker) as sender:
        for minute, voltage in enumerate([220.1, 300.0, 301.0, 300.5, 220.2, 300.0, 299.0]):
            sender.seal(lights([("sl-0", START_MS + 60_000 * minute, voltage)]), clock_ms=START_MS)
        sender.deliver()
        opened = "SELECT state, occurrences FROM alarm WHERE condition = 'out_of_range:voltage' ORDER BY alarm_id"
        assert database.rows(opened) == [("open", 1)]
        for minute, voltage in enumerate([220.1, 220.2, 220.3, 300.0], start=10):
            sender.seal(lights([("sl-0", START_MS + 60_000 * minute, voltage)]), clock_ms=START_MS)
        sender.deliver()
        assert database.rows(opened) == [("open", 2)]  # back within a minute: no new alarm
        for minute, voltage in ((20, 220.1), (21, 220.2), (22, 220.3), (40, 300.0)):
            sender.seal(lights([("sl-0", START_MS + 60_000 * minute, voltage)]), clock_ms=START_MS)
        sender.deliver()
        assert database.rows(opened) == [("cleared", 2), ("open", 1)]


def test_nothing_is_lost_or_doubled_when_ingest_is_killed_in_the_middle_of_a_load(database, broker, tmp_path):
    settle(database)
    with running_ingest(database, broker, tmp_path, flush_observations=140) as ingest, agent(broker) as sender:
        generated = seal_load(sender, load(400))
        sending = KeepSending(sender)
        wait_for(lambda: sender.sender.acked >= 100, pause_s=0.002)
        ingest.kill()
        ingest.restart()
        sending.finish()
        assert_exactly_once(database, generated)
        assert account(database, sender.epoch)["committed"] == len(generated)


def test_nothing_is_lost_or_doubled_when_postgres_is_killed_in_the_middle_of_a_load(broker, tmp_path):
    server = DatabaseProcess(tmp_path / "state")
    database = Database(server.start(), "dure")
    try:
        settle(database)
        with running_ingest(database, broker, tmp_path, flush_observations=100) as ingest, agent(broker) as sender:
            generated = seal_load(sender, load(500))
            sending = KeepSending(sender)
            for upto in (40, 250):
                wait_for(lambda upto=upto: sender.sender.acked >= upto, pause_s=0.002)
                server.kill_postgres()
            sending.finish()
            assert_exactly_once(database, generated)
            assert "database.ready" in ingest.log.read_text()
            assert ingest.process.poll() is None
    finally:
        server.stop()


def test_a_commit_whose_answer_was_lost_leaves_detectors_and_rows_where_the_database_is(database, broker, tmp_path):
    """The backend is terminated again and again, also between COMMIT and its answer; the alarms must come out the same.
    The backend is terminated again and again, also between COMMIT and its answer; the alarms must come out the same.
    """
    settle(database)
    with running_ingest(database, broker, tmp_path, flush_observations=40) as ingest, agent(broker) as sender:
        generated = seal_load(sender, faulty_street())
        sending = KeepSending(sender)
        with database.connect(autocommit=True) as connection:
            while sending.is_alive():
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dure ingest "
                    "ingest-0'"
                )
                sending.join(0.4)
        sending.finish()
        assert_exactly_once(database, generated)
        found = {(name, condition) for name, condition, *_ in database.rows(ALARMS)}
        assert ("sl-1", "out_of_range:voltage") in found
        assert ("sl-4", "silent") in found
        assert "database.not_ready" in ingest.log.read_text()


def test_a_database_restored_from_a_backup_gets_again_what_it_lost(database, broker, tmp_path):
    settle(database)
    kept = ("cursor", "agent_status", "alarm", "detector_journal", "detector_state", "newest_streetlight")
    kept += ("observation_streetlight", "rollup_due")
    with running_ingest(database, broker, tmp_path, save_period_s=64_000) as ingest, agent(broker) as sender:
        street = faulty_street()
        generated = seal_load(sender, street[:35])
        sender.deliver()
        with database.connect() as connection:  # the backup
            for table in kept:
                connection.execute(f"CREATE TABLE backup_{table} AS SELECT * FROM {table}".encode())
        generated += seal_load(sender, street[35:70])
        sender.deliver()
        before = database.rows(ALARMS)
        assert before
        with database.connect() as connection:  # restored while ingest runs
            for table in kept:
                connection.execute(f"DELETE FROM {table}".encode())
                listed = ", ".join(
                    name
                    for (name,) in connection.execute(
                        b"SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() "
                        b"AND table_name = %s AND is_generated = 'NEVER' "
                        b"AND identity_generation IS DISTINCT FROM 'ALWAYS'",
                        [table],
                    )
                )
                connection.execute(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM backup_{table}".encode())
        sender.heartbeat(START_MS + 34 * 60_000)
        wait_for(lambda: (sender.pump(), sender.sender.acked < 70)[1])
        sender.deliver()
        assert_exactly_once(database, generated)
        assert "reason=cursor_moved" in ingest.log.read_text()
        # The detectors went back with the database and found the same again.
        assert database.rows(ALARMS) == before
        generated += seal_load(sender, street[70:])
        sender.deliver()
        assert_exactly_once(database, generated)


def test_rollups_equal_a_recomputation_also_after_late_data(database, broker, tmp_path):
    settle(database)
    with running_ingest(database, broker, tmp_path, rollup_grace_s=0) as ingest, agent(broker) as sender:
        seal_load(sender, load(190, lamps=6))  # three hours and the beginning of a fourth
        sender.deliver()
        hours = "SELECT count(*) FROM rollup_hour_streetlight HAVING count(*) = 18"
        wait_for_rows(database, hours)
        assert recomputed(database) == rolled(database)
        assert database.rows("SELECT DISTINCT bucket FROM rollup_hour_streetlight ORDER BY 1") == database.rows(
            "SELECT to_timestamp(%s / 1000.0 + 3600 * n) FROM generate_series(0, 2) n", START_MS
        )
        late = [(f"sl-{lamp}", START_MS + 3_600_000 + 500 + lamp, 199.5) for lamp in range(6)]
        sender.seal(lights(late), clock_ms=START_MS)
        sender.deliver()
        least = "SELECT 1 FROM rollup_hour_streetlight WHERE voltage_min = 199.5 HAVING count(*) = 6"
        wait_for_rows(database, least)
        assert recomputed(database) == rolled(database)
        assert wait_for_rows(database, "SELECT closed_until FROM rollup_watermark WHERE kind = 'streetlight'")
        assert ingest.process.poll() is None


def rolled(database):
    by_device = database.rows(
        "SELECT device_id, bucket, observations, voltage_mean, voltage_min, voltage_max FROM rollup_hour_streetlight"
    )
    by_town = database.rows(
        "SELECT municipality, bucket, devices, observations, voltage_mean FROM rollup_municipality_hour_streetlight"
    )
    return sorted(rounded(by_device)), sorted(rounded(by_town))


def rounded(rows):
    return [tuple(round(value, 3) if isinstance(value, float) else value for value in row) for row in rows]


def recomputed(database):
    """The same figures in Python, from every row of the hours that are closed."""
    groups: dict = {}
    rows = database.rows(
        "SELECT device_id, date_bin('1 hour', observed_at, '2000-01-01Z'), voltage::float8 FROM "
        "observation_streetlight "
        "WHERE observed_at < to_timestamp(%s / 1000.0)",
        START_MS + 3 * 3_600_000,
    )
    for device, bucket, value in rows:
        groups.setdefault((device, bucket), []).append(value)
    by_device = [
        (device, bucket, len(values), sum(values) / len(values), min(values), max(values))
        for (device, bucket), values in groups.items()
    ]
    towns: dict = {}
    for (device, bucket), values in groups.items():
        devices, seen = towns.setdefault(bucket, (set(), []))
        devices.add(device)
        seen += values
    by_town = [
        ("41280", bucket, len(devices), len(seen), sum(seen) / len(seen)) for bucket, (devices, seen) in towns.items()
    ]
    return sorted(rounded(by_device)), sorted(rounded(by_town))


def test_a_batch_that_the_database_refuses_is_isolated_and_kept_with_its_words(database, broker, tmp_path):
    settle(database)
    with database.connect() as connection:
        connection.execute(
            "ALTER TABLE observation_streetlight ADD CONSTRAINT no_round_hundreds CHECK (voltage <> 200 OR voltage IS "
            "NULL)"
        )
    with (
        running_ingest(database, broker, tmp_path) as ingest,
        agent(broker) as sender,
        agent(broker, "41280.pole-02") as other,
    ):
        generated = seal_load(sender, load(10))
        sender.seal(lights([("sl-0", START_MS - 1, 201.0), ("sl-1", START_MS - 1, 200.0)]))
        generated += seal_load(sender, load(10, from_minute=10))
        generated += seal_load(other, load(10, from_minute=20))
        for one in (sender, other):
            one.pump()
        sender.deliver()
        other.deliver()
        assert_exactly_once(database, generated)
        ((reason, detail, observations, body),) = database.rows(
            "SELECT reason, detail, observations, length(body) FROM quarantine"
        )
        assert (reason, observations) == ("refused_by_database", 2)
        assert "no_round_hundreds" in detail
        assert body > 50
        assert account(database, sender.epoch)["quarantined"] == 2
        assert "batch.refused_by_database" in ingest.log.read_text()
