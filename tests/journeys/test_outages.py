"""Broker and database away for a while: outboxes grow, then drain; and a small outbox says what it lost."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.demo_process import DemoProcess
from tests.journeys.proof import assert_exactly_once
from tests.waiting import wait_for

LOAD = 1000
OUTAGE_S = 6.0  # an hour of the city's time

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Make = Callable[..., DemoProcess]


@pytest.mark.parametrize(("away", "supervisor"), [("nats", "broker"), ("postgres", "database")])
def test_outboxes_grow_while_the_broker_or_the_database_is_away_and_drain_afterwards(
    demo: Make, away: str, supervisor: str
) -> None:
    running = demo("--for", "15s")
    running.start()
    running.wait_ready()
    running.wait_committed(LOAD)
    with running.without(away, supervisor):
        time.sleep(OUTAGE_S / 2)
        before = {agent: running.backlog(agent) for agent in running.agents()}
        time.sleep(OUTAGE_S / 2)
        after = {agent: running.backlog(agent) for agent in running.agents()}
        assert all(after[agent] > before[agent] > 0 for agent in after), (before, after)
    assert running.wait_end() == 0, running.said()
    assert all(running.backlog(agent) == 0 for agent in running.agents())
    assert_exactly_once(running)


def test_an_agent_that_is_killed_after_its_source_has_left_is_given_its_end_again(demo: Make) -> None:
    running = demo()
    running.start()
    running.wait_ready()
    running.wait_committed(6 * LOAD)
    with running.without("nats", "broker"):
        time.sleep(1)  # so that there is something to drain
        sim = running.pid("sim")
        running.signal(signal.SIGINT)
        wait_for(lambda: not Path(f"/proc/{sim}").exists() or "simulator leaves" in _log(running), 30)
        running.kill(next(name for name in running.parts() if name.startswith("agent-")))
    assert running.wait_end() == 0, running.said()
    assert running.report()["processes"]["sim"]["starts"] == 2
    assert_exactly_once(running)


def _log(running: DemoProcess) -> str:
    return (running.state / "logs" / "sim.log").read_text()


def test_an_outbox_at_its_byte_limit_drops_the_oldest_and_the_loss_is_counted_exactly(demo: Make) -> None:
    running = demo("--for", "15s", DURE_EDGE_MAX_BYTES=str(64 * 1024))
    running.start()
    running.wait_ready()
    running.wait_committed(LOAD)
    with running.without("nats", "broker"):
        dropping = [running.state / "logs" / f"{name}.log" for name in running.parts() if name.startswith("agent-")]
        wait_for(lambda: any("outbox_full" in file.read_text() for file in dropping), 60)
        time.sleep(1)
    assert running.wait_end() == 1, running.said()
    report = running.report()
    assert report["drained"]
    assert report["lost"] == report["dropped_by_outboxes"] > 0
    assert report["lost"] == report["generated"] - report["committed"] - report["quarantined"]
    assert_exactly_once(running, lost=report["lost"])
