"""An agent process, a real broker, and whatever breaks between a device and the platform: everything arrives once."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services.broker_fixture import ROOT, any_broker, mosquitto_broker, nats_broker, running_broker
from tests.services.edge_fixture import assert_exactly_once, street, until

__all__ = ["any_broker", "mosquitto_broker", "nats_broker"]  # fixtures

pytestmark = pytest.mark.timeout(120)
BROKERS = ["nats", pytest.param("mosquitto", marks=pytest.mark.mosquitto)]


@pytest.mark.parametrize("qos", [0, 1])
def test_everything_arrives_once_and_the_agent_ends_when_drained(any_broker, tmp_path, qos):
    with street(tmp_path, any_broker, 3000, qos=qos) as (source, receiver, edge):
        edge.start("--until-drained")
        assert edge.wait() == 0
        assert_exactly_once(source, receiver)
        assert receiver.count["duplicate"] == 0
        status = edge.status()
        assert status["waiting"] == 0
        assert status["sources"] == {"sim:41280/pole-01": 3000}
    assert all(header.backlog <= 3000 for header in receiver.headers)


def test_speaks_the_newest_mqtt_version_that_the_broker_has(any_broker, tmp_path):
    with street(tmp_path, any_broker, 20) as (_, receiver, edge):
        edge.start("--until-drained")
        assert edge.wait() == 0
        assert len(receiver.rows) == 20
        assert f"mqtt={'5' if any_broker.name == 'mosquitto' else '3.1.1'}" in edge.log


def test_agent_killed_in_the_middle_goes_on_where_it_was(nats_broker, tmp_path):
    with street(tmp_path, nats_broker, 6000) as (source, receiver, edge):
        for received in (500, 2000, 4000):
            edge.start()
            until(lambda received=received: len(receiver.rows) >= received)
            edge.kill()
        edge.start("--until-drained")
        assert edge.wait() == 0
        assert_exactly_once(source, receiver)
        assert len({header.epoch for header in receiver.headers}) >= 4
        assert source.asked_after == sorted(source.asked_after)
        assert source.asked_after[-1] > 0


@pytest.mark.parametrize("name", BROKERS)
def test_broker_killed_in_the_middle_costs_nothing(name, tmp_path):
    with (
        running_broker(name, tmp_path / "broker") as broker,
        street(tmp_path, broker, 6000) as (source, receiver, edge),
    ):
        edge.start("--until-drained")
        until(lambda: len(receiver.rows) >= 1000)
        broker.kill_broker()
        until(lambda: len(receiver.rows) >= 3000)
        broker.kill_broker()
        assert edge.wait() == 0
        assert_exactly_once(source, receiver)
        assert "disconnected" in edge.log


def test_silent_platform_is_waited_for(nats_broker, tmp_path):
    with street(tmp_path, nats_broker, 4000) as (source, receiver, edge):
        edge.start("--until-drained")
        until(lambda: len(receiver.rows) >= 500)
        receiver.silent = True
        time.sleep(4.5)
        at_most_the_window = len(receiver.rows)
        receiver.silent = False
        assert edge.wait() == 0
        assert at_most_the_window < source.total
        assert_exactly_once(source, receiver)


def test_restored_database_is_served_from_the_reserve(nats_broker, tmp_path):
    with street(tmp_path, nats_broker, 4000, heartbeat_s=1.0) as (source, receiver, edge):
        edge.start()
        until(lambda: len(receiver.rows) >= 500)
        copy = receiver.copy()
        until(lambda: len(receiver.rows) >= 2000)
        edge.kill()  # so that what is missing belongs to an epoch that has nothing more to say
        edge.start()
        until(lambda: len(receiver.rows) == source.total)
        receiver.restore(copy)
        assert len(receiver.rows) < source.total
        until(lambda: len(receiver.rows) == source.total)
        assert edge.stop() == 0
        assert sorted(receiver.rows) == list(range(1, source.total + 1))
        assert receiver.count["lost"] == 0
        assert "cursor_went_back" in edge.log


def test_what_the_full_outbox_drops_is_counted_by_agent_and_platform_alike(nats_broker, tmp_path):
    total = 30_000
    with street(tmp_path, nats_broker, total, pace=1000, max_bytes=96 * 1024) as (source, receiver, edge):
        receiver.silent = True
        edge.start("--until-drained")
        until(lambda: "source_ended" in edge.log)
        until(lambda: edge.status()["sources"]["sim:41280/pole-01"] == total)
        receiver.silent = False
        assert edge.wait() == 0
        dropped = edge.status()["dropped"]
        assert 0 < dropped < total
        assert receiver.count["lost"] == dropped == total - len(receiver.rows)
        assert len(set(receiver.rows)) == len(receiver.rows)
        assert max(receiver.rows) == total, "the oldest go, not the newest"
        assert edge.log.count(" outbox_full ") == 1
        assert edge.outbox.stat().st_size <= 96 * 1024 + 64 * 1024
    assert source.asked_after == [0]


def test_full_disk_stops_the_intake_until_there_is_room(nats_broker, tmp_path):
    with street(tmp_path, nats_broker, 20_000, pace=400) as (source, receiver, edge):
        receiver.silent = True
        edge.start("--until-drained", file_bytes=400 * 1024)
        until(lambda: "disk_full" in edge.log)
        time.sleep(1.5)
        assert edge.process is not None and edge.process.poll() is None
        stored = edge.status()["sources"]["sim:41280/pole-01"]
        assert stored < source.total
        receiver.silent = False
        resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert edge.wait() == 0
        assert_exactly_once(source, receiver)
        assert edge.log.count(" disk_full ") == 1
        assert edge.log.count(" disk_full_over") == 1


def test_sigterm_seals_and_sends_what_there_is(nats_broker, tmp_path):
    with street(tmp_path, nats_broker, 45, max_age_s=600.0) as (_, receiver, edge):
        edge.start()
        until(lambda: "source_ended" in edge.log or edge.status()["pending"] == 45)
        assert edge.stop() == 0
        assert len(receiver.rows) == 45
        assert edge.status()["waiting"] == 0


def test_sigterm_without_a_broker_ends_soon_and_keeps_everything(nats_broker, tmp_path):
    nowhere = tmp_path / "nowhere.toml"
    nowhere.write_text('host = "127.0.0.1"\nport = 9\nusername = "a"\npassword = "b"\nclient_id = "c"\n')
    with street(tmp_path, nats_broker, 40, broker_file=str(nowhere)) as (_, receiver, edge):
        edge.start()
        until(lambda: edge.outbox.exists() and edge.status()["waiting"] == 40)
        begin = time.monotonic()
        assert edge.stop() == 0
        assert time.monotonic() - begin < 5
        assert edge.status()["waiting"] == 40
        assert receiver.rows == []
        assert "broker_unreachable" in edge.log


def test_credentials_are_read_again_after_a_refusal(nats_broker, tmp_path):
    right = nats_broker.file_of("41280.pole-01").read_text()
    wrong = tmp_path / "broker.toml"
    password = nats_broker.credentials("41280.pole-01").password
    wrong.write_text(right.replace(password, "not-the-password"))
    with street(tmp_path, nats_broker, 40, broker_file=str(wrong)) as (source, receiver, edge):
        edge.start("--until-drained")
        until(lambda: "broker_unreachable" in edge.log)
        assert "not-the-password" not in edge.log
        wrong.write_text(right)
        assert edge.wait() == 0
        assert_exactly_once(source, receiver)


def test_second_agent_on_the_same_outbox_is_refused(nats_broker, tmp_path):
    with street(tmp_path, nats_broker, 100_000) as (_, _receiver, edge):
        edge.start()
        second = subprocess.run(
            [sys.executable, str(ROOT / "dure.py"), "edge", "--config", str(edge.config)],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert second.returncode == 1
        assert "another agent has it open" in second.stderr


def test_broken_outbox_is_set_aside_and_the_agent_starts_anew(nats_broker, tmp_path):
    (tmp_path / "outbox.db").write_bytes(b"this was a database once " * 1000)
    with street(tmp_path, nats_broker, 100) as (source, receiver, edge):
        edge.start("--until-drained")
        assert edge.wait() == 0
        assert_exactly_once(source, receiver)
        assert "outbox_corrupt" in edge.log
        assert len(list(tmp_path.glob("outbox.db.corrupt-*"))) == 1


def test_outbox_that_breaks_while_in_use_is_set_aside_and_the_agent_goes_on(nats_broker, tmp_path):
    total = 600_000  # the source must be far from its end when the outbox breaks, on a fast machine too
    with street(tmp_path, nats_broker, total, pace=50) as (source, receiver, edge):
        source._a_line = 500
        receiver.silent = True
        edge.start("--until-drained")
        until(lambda: source.asked_after and edge.status()["sources"].get("sim:41280/pole-01", 0) >= 150_000)
        source.paused.set()
        time.sleep(0.5)
        for name in ("outbox.db", "outbox.db-wal"):  # all but the first pages
            size = (tmp_path / name).stat().st_size
            with (tmp_path / name).open("r+b") as file:
                file.seek(64 * 1024)
                file.write(b"\xa5" * max(0, size - 64 * 1024))
        receiver.silent = False
        source.paused.clear()
        assert edge.wait() == 0
        assert "outbox_corrupt" in edge.log
        assert len(set(receiver.rows)) == len(receiver.rows)
        assert max(receiver.rows) == total
        assert source.asked_after[-1] >= 150_000, "where the source resumes is known"


@pytest.mark.alone
def test_stays_small_and_idle_at_the_pace_of_a_street(nats_broker, tmp_path):
    """50 devices that speak every 10 s: 5 observations a second, in lines of one."""
    with street(tmp_path, nats_broker, 100_000, pace=5.0) as (source, receiver, edge):
        source._a_line = 1
        edge.start()
        until(lambda: len(receiver.rows) >= 5)
        assert edge.process is not None
        before, begin = cpu_s(edge.process.pid), time.monotonic()
        time.sleep(8)
        used = (cpu_s(edge.process.pid) - before) / (time.monotonic() - begin)
        resident = resident_bytes(edge.process.pid)
        assert edge.stop() == 0
        print(f"cpu {used:.2%} of a core, resident {resident / 1e6:.1f} MB")
        assert used < 0.05
        assert resident <= 40e6


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_interrupt_from_the_keyboard_is_an_orderly_stop_too(nats_broker, tmp_path):
    with street(tmp_path, nats_broker, 100_000) as (_, receiver, edge):
        edge.start()
        until(lambda: len(receiver.rows) >= 100)
        assert edge.process is not None
        edge.process.send_signal(signal.SIGINT)
        assert edge.process.wait(10) == 0
        assert "stopped" in edge.log
