"""Broker or database are not there when ingest starts, or the broker dies under it: `/ready` says so all the while.

A start that waits can be stopped at once, and goes on by itself when what it waits for is there.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from ingest_service.cli import PATIENCE_S
from tests.database_fixture import ROOT, Database, DatabaseProcess
from tests.services.broker_fixture import running_broker
from tests.services.faults_fixture import Watched, changes_in, free_port, town_on
from tests.services.ingest_fixture import settle
from tests.waiting import wait_for


@contextmanager
def starting(database, broker_file, folder):
    """An ingest that is not waited for."""

    class Starting:
        log = folder / "ingest.log"

    port = free_port()
    environment = {
        **os.environ,
        **database.environment,
        "DURE_INGEST_BROKER_FILE": str(broker_file),
        "DURE_INGEST_METRICS_PORT": str(port),
    }
    with Starting.log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "dure.py", "ingest"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors,
            text=True,
        )  # fmt: skip
    Starting.process = process
    watched = Watched(Starting, port)
    try:
        wait_for(lambda: reachable(watched), 30)
        yield watched
    finally:
        process.kill()
        process.wait()


def reachable(watched):
    try:
        return watched.report()
    except OSError:
        return None


def broker_at(port, folder):
    file = folder / "broker.toml"
    file.write_text(f'host = "127.0.0.1"\nport = {port}\nusername = "u"\npassword = "p"\nclient_id = "ingest"\n')
    return file


def stops_before_its_patience_ends(watched):
    began = time.monotonic()
    watched.ingest.process.send_signal(signal.SIGTERM)
    assert watched.ingest.process.wait(90) == 0
    return time.monotonic() - began < PATIENCE_S


def test_without_a_broker_it_says_so_and_stops_when_asked(database, tmp_path):
    settle(database)
    with starting(database, broker_at(free_port(), tmp_path), tmp_path) as watched:
        assert "refused" in watched.wait_reason("no_broker")
        assert watched.reasons().keys() == {"no_broker"}  # the database is well, and told so
        assert stops_before_its_patience_ends(watched)
        lines = changes_in(watched.new_log())
        assert lines == [("broker", "not_ready", "no_broker")]  # however many attempts there were


def test_without_a_database_it_says_so_and_begins_when_there_is_one(nats_broker, tmp_path):
    server = DatabaseProcess(tmp_path / "state")
    database = Database(server.start(), "dure")
    settle(database)
    assert server.stop() == 0
    try:
        with starting(database, nats_broker.file_of("ingest"), tmp_path) as watched:
            assert "No such file" in watched.wait_reason("no_database")
            assert "starting" in watched.reasons()  # the broker is not asked before
            server.start()
            watched.wait_ready()
            assert watched.ingest.process.stdout.readline().startswith("ready worker=ingest-0")
            assert changes_in(watched.new_log()) == [
                ("database", "not_ready", "no_database"),
                ("database", "ready", "no_database"),
            ]
            assert stops_before_its_patience_ends(watched)
    finally:
        server.stop()


@pytest.mark.parametrize("kills", [3])
def test_a_broker_that_dies_in_the_middle_of_a_load_is_told_once_each_time_and_costs_nothing(
    postgres_url, tmp_path, kills
):
    with running_broker("nats", tmp_path / "broker") as broker, town_on(postgres_url, broker, tmp_path) as town:
        for _ in range(kills):
            with town.sending(60) as sender:
                wait_for(lambda sender=sender: sender.sender.acked >= 3, pause_s=0.002)
                broker.kill_broker()
                town.watched.wait_reason("no_broker")
        lines = town.changes(of="broker")
    assert lines == [("broker", "not_ready", "no_broker"), ("broker", "ready", "no_broker")] * kills
