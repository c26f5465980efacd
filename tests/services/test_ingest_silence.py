"""A silent agent is one alarm, cleared when it speaks again; its devices stay out of it. The pipeline runs in this
process.
"""

import threading
import time

from contracts import profiles
from ingest_service.health import Health
from ingest_service.inbox import Inbox
from ingest_service.pipeline import Pipeline
from ingest_service.settings import Database as DatabaseSettings
from ingest_service.settings import Settings, parse_shards
from ingest_service.store.store import Store
from tests.services.ingest_fixture import START_MS, agent, broker, lights, load, seal_load, settle, wait_for_rows
from tests.waiting import wait_for

__all__ = ["broker"]

SILENT = (
    "SELECT state, a.name FROM alarm JOIN agent a USING (agent_id) WHERE condition = 'agent_silent' ORDER BY alarm_id"
)


def test_a_silent_agent_is_one_alarm_until_it_speaks(database, broker):
    settle(database)
    # A setting below the 31 s that the configuration allows, so that the test need not wait for them.
    settings = Settings(broker_file=broker.file_of("ingest"), agent_silent_s=2)
    kinds = profiles.load(environ={})
    shards = parse_shards(settings.shards)
    store = Store(
        DatabaseSettings(url=database.url, schema=database.schema),
        kinds,
        worker="test",
        shards=shards,
        quarantine_bytes=0,
    )
    inbox = Inbox(settings.broker_file, shards, worker="test", qos=0, max_bytes=1 << 20, health=Health())
    pipeline = Pipeline(settings, kinds, store, inbox, Health())
    pipeline.load()
    stopping = threading.Event()
    worker = threading.Thread(target=pipeline.run, args=(stopping,))
    inbox.start()
    worker.start()
    try:
        assert inbox.wait_connected(20)
        with agent(broker) as sender, agent(broker, "41280.pole-02") as other:
            seal_load(sender, load(1))
            other.seal(lights([("sl-1", START_MS - 1, 220.0)]))
            sender.deliver()
            other.deliver()
            deadline = time.monotonic() + 20
            while not database.rows(SILENT) and time.monotonic() < deadline:
                other.heartbeat(START_MS)
                time.sleep(0.3)
            assert database.rows(SILENT) == [("open", "pole-01")]
            for _ in range(8):  # it stays one, and the other agent stays out of it
                other.heartbeat(START_MS)
                time.sleep(0.3)
            assert database.rows(SILENT) == [("open", "pole-01")]
            sender.heartbeat(START_MS)
            wait_for_rows(database, f"SELECT 1 FROM ({SILENT}) t WHERE state = 'cleared'")
            # Silent again a moment later is the same alarm again.
            again = [("open", "pole-01")]
            wait_for(lambda: (other.heartbeat(START_MS), database.rows(SILENT) == again)[1], pause_s=0.3)
            assert database.rows("SELECT occurrences FROM alarm") == [(2,)]
            assert database.rows("SELECT count(*) FROM alarm WHERE device_id IS NOT NULL") == [(0,)]
    finally:
        stopping.set()
        worker.join(20)
        store.close()
    assert not worker.is_alive()
