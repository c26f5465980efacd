"""The agent's loop at a clock of the test's own: group commit, jumps of the wall clock, patience."""

import sqlite3

from edge.agent import Agent, Doorbell
from edge.outbox import Outbox, Reading
from edge.settings import Settings
from edge.uplink import Uplink
from tests.unit.edge.test_uplink import Wire


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.wall = 1_780_000_000_000

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.wall


class Driver:
    """Hands on what the test puts in."""

    source = "by hand"
    ended = False

    def __init__(self, *, patient: bool = False) -> None:
        self.patient = patient
        self.ready: list[Reading] = []
        self.number = 0

    def put(self, count: int) -> None:
        numbers = range(self.number + 1, self.number + count + 1)
        self.number += count
        values = [(n * 7919) % 100_003 / 7 for n in numbers]
        groups = {"k": {"device": [f"d{n}" for n in numbers], "observed_at": list(numbers), "v": values}}
        self.ready.append(Reading(groups, self.number, 0))

    def resume(self, after: int) -> None: ...

    def poll(self, now_ms: int, wall_ms: int) -> Reading | None:
        return self.ready.pop(0) if self.ready else None

    def due_ms(self, now_ms: int) -> int:
        return now_ms + 60_000

    def fileno(self) -> int | None:
        return None

    def clock_ms(self, wall_ms: int) -> int:
        return wall_ms

    def close(self) -> None: ...


class Box:
    """An agent whose loop the test turns by hand."""

    def __init__(self, *, patient: bool = False, max_bytes: int = 1 << 28) -> None:
        self.clock, self.driver, self.link = Clock(), Driver(patient=patient), Wire()
        self.outbox = Outbox(sqlite3.connect(":memory:"), max_bytes=max_bytes)
        settings = Settings(
            municipality="41280", agent="a", broker_file="", driver="sim", source="", max_bytes=max(max_bytes, 1 << 16)
        )
        uplink = Uplink(self.outbox, self.link, random=lambda: 0.5)
        self.agent = Agent(settings, self.driver, self.outbox, uplink, self.clock, Doorbell())

    def turn(self, after_ms: int = 0) -> int:
        """One turn of the loop; in how many ms it wants the next."""
        self.clock.now_ms += after_ms
        now_ms = self.clock.now_ms
        return min(self.agent._take(now_ms), self.agent._keep(now_ms), self.agent._send(now_ms)) - now_ms


def test_observations_share_a_write_but_wait_no_longer_than_100_ms():
    box = Box()
    box.driver.put(1)
    assert box.turn() == 100
    box.driver.put(1)
    assert box.turn(60) == 40
    assert box.outbox.sources == {}
    box.turn(40)
    assert box.outbox.sources == {"by hand": 2}


def test_many_observations_are_not_held_back():
    box = Box()
    for _ in range(10):
        box.driver.put(500)
    box.turn()
    assert box.outbox.sources == {"by hand": 2000}


def test_jump_of_the_wall_clock_neither_hurries_nor_stops_anything():
    for jump_ms in (-86_400_000, 86_400_000):
        box = Box()
        box.link.nonce = 7
        box.turn()
        box.driver.put(5)
        box.turn()
        box.turn(100)
        box.clock.wall += jump_ms
        box.turn(800)
        assert [seq for _, seq in box.link.take() if seq] == []
        box.turn(200)
        assert [seq for _, seq in box.link.take() if seq] == [1]
        assert len(box.outbox.epochs) == 1


def test_patient_source_is_made_to_wait_instead_of_dropping():
    box = Box(patient=True, max_bytes=128 * 1024)
    for _ in range(200):
        box.driver.put(500)
        box.turn(100)
    assert box.outbox.counters["dropped"] == 0
    assert box.driver.ready, "something still waits in the source"
    assert box.outbox.backlog == box.outbox.sources["by hand"]


def test_impatient_source_is_taken_from_and_the_oldest_goes():
    box = Box(max_bytes=128 * 1024)
    for _ in range(200):
        box.driver.put(500)
        box.turn(100)
    box.turn(100)
    assert not box.driver.ready
    assert box.outbox.counters["dropped"] + box.outbox.backlog == 100_000


def test_disk_that_takes_no_more_stops_the_intake_and_is_told_once(capsys):
    box = Box()
    box.driver.put(500)
    box.turn()
    box.turn(100)
    pages = box.outbox._db.execute("PRAGMA page_count").fetchone()[0]
    box.outbox._db.execute(f"PRAGMA max_page_count={pages}")
    for _ in range(100):
        box.driver.put(500)
        box.turn(200)
    stored = box.outbox.sources["by hand"]
    assert stored < box.driver.number
    assert capsys.readouterr().err.count(" disk_full ") == 1
    box.outbox._db.execute("PRAGMA max_page_count=1000000")
    for _ in range(60):
        box.turn(1000)
    assert box.outbox.sources["by hand"] == box.driver.number == box.outbox.backlog
    assert capsys.readouterr().err.count(" disk_full_over ") <= 1
