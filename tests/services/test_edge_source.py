"""The driver `sim` against a source on a unix socket that misbehaves, and how much one agent takes in."""

import contextlib
import json
import socket
import threading
import time

import pytest

from edge.drivers.sim import RETRY_MS, Sim
from tests.services.broker_fixture import any_broker, mosquitto_broker, nats_broker
from tests.services.edge_fixture import Source, assert_exactly_once, street

__all__ = ["any_broker", "mosquitto_broker", "nats_broker"]  # fixtures


class Scripted:
    """A source that answers each connection with the next of these texts, then closes."""

    def __init__(self, path, *answers: bytes) -> None:
        self.asked: list[int] = []
        self._answers = list(answers)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for answer in self._answers:
            stream, _ = self._listener.accept()
            with stream, stream.makefile("rb") as reader, contextlib.suppress(OSError):
                self.asked.append(json.loads(reader.readline())["after"])
                stream.sendall(answer)


def line(first: int, *devices: str) -> bytes:
    group = {"device": list(devices), "observed_at": list(range(first, first + len(devices)))}
    return json.dumps({"first": first, "clock_ms": first, "observations": {"k": group}}).encode() + b"\n"


def end(last: int) -> bytes:
    return b'{"end":true,"last":%d}\n' % last


def play(path, *answers: bytes, after: int = 0) -> tuple[list[str], Scripted, Sim]:
    """Everything the driver hands on until the source ended."""
    source = Scripted(path, *answers)
    driver = Sim(str(path), "41280/pole-01")
    driver.resume(after)
    devices: list[str] = []
    now_ms, give_up = 0, time.monotonic() + 20
    while not driver.ended:
        assert time.monotonic() < give_up
        reading = driver.poll(now_ms, 0)
        if reading is None:
            time.sleep(0.005)
            now_ms += RETRY_MS // 20
        else:
            devices += reading.groups["k"]["device"]
    return devices, source, driver


def test_asks_again_behind_what_it_has_when_the_source_breaks_off(tmp_path):
    half = line(3, "c", "d")
    devices, source, driver = play(tmp_path / "s", line(1, "a", "b") + half[:20], half, end(4))
    assert devices == ["a", "b", "c", "d"]
    assert source.asked == [0, 2, 4]
    assert driver.clock_ms(99) == 3


def test_skips_what_it_has_and_asks_for_what_is_missing(tmp_path):
    devices, source, _ = play(
        tmp_path / "s", line(1, "a") + line(3, "c"), line(1, "a") + line(2, "b") + line(3, "c") + end(3)
    )
    assert devices == ["a", "b", "c"]
    assert source.asked == [0, 1]


def test_does_not_believe_an_end_before_the_last_number(tmp_path):
    devices, source, _ = play(tmp_path / "s", line(1, "a") + end(2), line(2, "b") + end(2))
    assert devices == ["a", "b"]
    assert source.asked == [0, 1]


def test_nonsense_on_the_socket_is_asked_again(tmp_path):
    devices, source, _ = play(
        tmp_path / "s", b"\xff\xfe\n", b'{"first":"x"}\n', b"[]\n", line(6, "f") + end(6), after=5
    )
    assert devices == ["f"]
    assert source.asked == [5, 5, 5, 5]


@pytest.mark.slow
@pytest.mark.alone
def test_takes_in_twenty_thousand_observations_a_second(nats_broker, tmp_path):
    """From the socket to the disk and through the broker, in lines of 500; what limits is one core."""
    total = 200_000
    with street(tmp_path, nats_broker, total, pace=1e9) as (source, receiver, edge):
        assert isinstance(source, Source)
        source._a_line = 500
        begin = time.monotonic()
        edge.start("--until-drained")
        assert edge.wait(100) == 0
        rate = total / (time.monotonic() - begin)
        print(f"{rate:,.0f} observations/s through one agent, {total:,} observations")
        assert_exactly_once(source, receiver)
        assert rate > 20_000
