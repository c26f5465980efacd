"""Brokers that die, hang on to their port, and take over new identities while they run."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import process
from broker.registry import read_credentials
from contracts import topics
from contracts.topics import Channel
from tests.services.broker_fixture import (
    AGENTS,
    Connection,
    RunningBroker,
    command,
    connect,
    fleet,
    running_broker,
    wait_until,
)

ONE, TWO = "41280.pole-01", "41280.pole-02"
NEW = ("41570", "pole-77")


@pytest.fixture(params=["nats", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningBroker]:
    """A broker that this test may break; its state directory has a space in its name."""
    with running_broker(request.param, tmp_path / "the state") as broker:
        yield broker


def batch_topic(name: str) -> str:
    municipality, agent = name.split(".")
    return topics.of_agent(municipality, agent, Channel.BATCH)


def carries(agent: Connection, name: str, ingest: Connection, qos: int = 0, within_s: float = 20.0) -> None:
    """Pass when a batch of the agent reaches ingest; tries again while either reconnects."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        word = os.urandom(8).hex().encode()
        if agent.client.is_connected():
            agent.publish(batch_topic(name), word, qos)
            try:
                ingest.expect(word, within_s=0.5)
            except AssertionError:
                continue
            return
        time.sleep(0.05)
    raise AssertionError(f"no batch of {name} gets through within {within_s} s")


def errors_of(broker: RunningBroker) -> str:
    return broker.state.with_suffix(".err").read_text()


@pytest.mark.parametrize("qos", [0, 1])
def test_a_killed_broker_comes_back_on_its_port_and_clients_go_on(own_broker: RunningBroker, qos: int) -> None:
    with (
        connect(own_broker.credentials("ingest"), own_broker.protocol) as ingest,
        connect(own_broker.credentials(ONE), own_broker.protocol) as agent,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0], qos)
        carries(agent, ONE, ingest, qos)
        port = own_broker.port
        for deaths in (1, 2):
            killed = own_broker.broker_pid()
            own_broker.kill_broker()
            for client in (agent, ingest):
                client.expect_connects(deaths + 1)
            assert own_broker.broker_pid() != killed
            carries(agent, ONE, ingest, qos)
        assert own_broker.port == port
    assert errors_of(own_broker).count("broker_died") == 2


def test_the_broker_dies_with_its_supervisor_and_a_new_one_takes_over(own_broker: RunningBroker) -> None:
    with (
        connect(own_broker.credentials("ingest"), own_broker.protocol) as ingest,
        connect(own_broker.credentials(ONE), own_broker.protocol) as agent,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0])
        carries(agent, ONE, ingest)
        port, orphan = own_broker.port, own_broker.broker_pid()
        own_broker.kill_supervisor()
        wait_until(lambda: process.start_tick(orphan) is None, "the orphan's end", within_s=3)
        own_broker.restart()
        assert own_broker.port == port
        carries(agent, ONE, ingest)


def test_a_broker_that_outlived_its_supervisor_is_ended_first(own_broker: RunningBroker, tmp_path: Path) -> None:
    """Where the kernel does not end it, the next supervisor does: here the record names a process that still runs."""
    own_broker.stop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        survivor = subprocess.Popen(["sleep", "600"], pass_fds=[listener.fileno()])  # holds the port open
        port = listener.getsockname()[1]
    (own_broker.state / "port").write_text(str(port))
    tick = process.start_tick(survivor.pid)
    (own_broker.state / "process.json").write_text(f'{{"pid":{survivor.pid},"started":{tick}}}')
    own_broker.restart()
    assert survivor.wait(5) == -signal.SIGKILL
    assert own_broker.port == port


def test_a_second_supervisor_refuses_and_disturbs_nothing(own_broker: RunningBroker) -> None:
    with connect(own_broker.credentials(ONE), own_broker.protocol) as agent:
        arguments = command("--state", own_broker.state, "--broker", own_broker.name, "--port", 0)
        second = subprocess.run(arguments, capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert f"process {own_broker.process.pid} holds it" in second.stderr
        assert second.stdout == ""
        assert agent.disconnects == 0


def test_an_orderly_stop_leaves_no_process(own_broker: RunningBroker) -> None:
    pid = own_broker.broker_pid()
    assert own_broker.stop() == 0
    assert process.start_tick(pid) is None
    assert not (own_broker.state / "process.json").exists()


def test_new_agents_are_let_in_without_a_restart(own_broker: RunningBroker) -> None:
    name = ".".join(NEW)
    with (
        connect(own_broker.credentials("ingest"), own_broker.protocol) as ingest,
        connect(own_broker.credentials(ONE), own_broker.protocol) as agent,
    ):
        ingest.subscribe(topics.filters(Channel.BATCH)[0], 1)
        pid, before = own_broker.broker_pid(), own_broker.file_of(ONE).read_bytes()
        own_broker.register((*AGENTS, NEW))
        assert own_broker.file_of(ONE).read_bytes() == before
        with connect(own_broker.credentials(name), own_broker.protocol) as newcomer:
            assert not newcomer.connects[0].is_failure  # at once: the command returns when the broker knows
            for qos in (0, 1):
                carries(newcomer, name, ingest, qos)
                carries(agent, ONE, ingest, qos)
        assert own_broker.broker_pid() == pid
        assert (agent.disconnects, ingest.disconnects) == (0, 0)


def test_a_pruned_agent_is_thrown_out_and_others_stay(own_broker: RunningBroker) -> None:
    with (
        connect(own_broker.credentials(ONE), own_broker.protocol) as stays,
        connect(own_broker.credentials(TWO), own_broker.protocol) as goes,
    ):
        kept = own_broker.register(AGENTS[:1])
        assert "unlisted=2" in kept.stdout
        assert not goes.disconnects
        pruned = own_broker.register(AGENTS[:1], "--prune")
        assert "revoked=2" in pruned.stdout
        goes.wait(lambda: goes.disconnects and goes.connects[-1].is_failure, "being refused")
        assert not own_broker.file_of(TWO).exists()
        assert stays.disconnects == 0


def test_a_reissued_password_ends_the_old_one(own_broker: RunningBroker) -> None:
    old = own_broker.credentials(ONE)
    own_broker.register(AGENTS, "--reissue", ONE)
    with connect(old, own_broker.protocol) as refused:
        assert refused.connects[0].is_failure
    with connect(own_broker.credentials(ONE), own_broker.protocol) as accepted:
        assert not accepted.connects[0].is_failure


def test_no_password_reaches_a_command_line_a_log_or_a_readable_file(own_broker: RunningBroker) -> None:
    with connect(own_broker.credentials(ONE), own_broker.protocol) as agent:
        agent.subscribe("#")
    own_broker.register((*AGENTS, NEW))
    names = [*(f"{town}.{agent}" for town, agent in (*AGENTS, NEW)), "ingest", "api"]
    secrets = [own_broker.credentials(name).password for name in names]
    assert len(set(secrets)) == len(secrets)
    assert min(map(len, secrets)) >= 32
    told = errors_of(own_broker) + (own_broker.state / "broker.log").read_text()
    for pid in (own_broker.process.pid, own_broker.broker_pid()):
        told += Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
    ours = [path for path in own_broker.state.rglob("*") if path.is_file() and "jetstream" not in path.parts]
    for path in ours:
        assert path.stat().st_mode & 0o077 == 0, path
        if "credentials" not in path.parts:
            told += path.read_text()
    assert len(ours) > 10
    assert not any(secret in told for secret in secrets)


def test_a_taken_port_is_named(own_broker: RunningBroker, tmp_path: Path) -> None:
    arguments = command("--state", tmp_path / "other", "--broker", own_broker.name, "--port", own_broker.port)
    refused = subprocess.run(arguments, capture_output=True, text=True, timeout=30)
    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {own_broker.port}: another program does" in refused.stderr
    assert refused.stdout == ""


def test_a_remembered_port_that_others_took_is_replaced_everywhere(own_broker: RunningBroker) -> None:
    taken = own_broker.port
    own_broker.stop()
    with socket.create_server(("127.0.0.1", taken)):
        own_broker.restart()
        assert own_broker.port != taken
        for name in (ONE, "ingest"):
            assert own_broker.credentials(name).port == own_broker.port
        with connect(own_broker.credentials(ONE), own_broker.protocol) as agent:
            assert not agent.connects[0].is_failure


def test_a_damaged_store_is_set_aside(tmp_path: Path) -> None:
    """Nothing of ours is only in the broker's store, so it may begin with an empty one."""
    with running_broker("nats", tmp_path / "state") as broker:
        broker.stop()
        store = broker.state / "nats" / "jetstream"
        store.rename(store.with_name("whole"))
        store.write_text("not a directory")
        broker.restart()
        assert list(store.parent.glob("jetstream.damaged-*"))
        with connect(broker.credentials(ONE)) as agent:
            assert agent.subscribe(topics.of_agent(*AGENTS[0], Channel.CURSOR), 1).value == 1


def test_serves_loopback_only(tmp_path: Path) -> None:
    arguments = command("--state", tmp_path / "state", "--host", "0.0.0.0")
    refused = subprocess.run(arguments, capture_output=True, text=True, timeout=30)
    assert refused.returncode == 1
    assert "cannot listen on '0.0.0.0': only loopback" in refused.stderr


def test_credentials_keep_the_address_that_the_broker_was_given(tmp_path: Path) -> None:
    """A run that adds agents must not send the others elsewhere."""
    state, fleet_file = tmp_path / "state", tmp_path / "fleet.json"
    fleet_file.write_text(fleet())
    arguments = command("--state", state, "--host", "127.0.0.2", "--port", 0)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline().startswith("ready port=")
        subprocess.run(command("credentials", "--state", state, "--fleet", fleet_file), check=True, timeout=30)
        found = read_credentials(state / "credentials" / "agents" / f"{ONE}.toml")
        with connect(found) as agent:
            assert not agent.connects[0].is_failure
        assert found.host == "127.0.0.2"
        supervisor.terminate()
