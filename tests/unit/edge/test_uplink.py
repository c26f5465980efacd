"""How the uplink shares its window among epochs, and when it speaks without being asked. No sockets: a link by hand."""

import sqlite3

from contracts import wire
from contracts.wire import CursorMessage, Header
from edge.outbox import Outbox, Reading
from edge.uplink import Uplink, Window


class Wire:
    """A link that keeps what was sent."""

    def __init__(self) -> None:
        self.nonce: int | None = None
        self.heard: list[CursorMessage] = []
        self.sent: list[Header] = []
        self.room = True

    def cursors(self) -> list[CursorMessage]:
        heard, self.heard = self.heard, []
        return heard

    def has_room(self, size: int) -> bool:
        return self.room

    def publish(self, payload: bytes, nonce: int) -> None:
        self.sent.append(wire.unpack(payload)[0])

    def take(self) -> list[tuple[int, int]]:
        sent, self.sent = self.sent, []
        return [(header.epoch, header.seq) for header in sent]


class Street:
    """An outbox and its uplink at a time that the test sets."""

    def __init__(self, **options) -> None:
        epochs = iter(range(1, 1000))
        self.outbox = Outbox(sqlite3.connect(":memory:"), batch_observations=10, new_epoch=lambda: next(epochs))
        self.link = Wire()
        self.uplink = Uplink(self.outbox, self.link, random=lambda: 0.5, **options)
        self.now_ms = 10_000
        self.number = 0

    def batches(self, count: int) -> None:
        numbers = range(self.number, self.number + 10 * count)
        self.number += 10 * count
        groups = {"k": {"device": [f"d{n}" for n in numbers], "observed_at": list(numbers)}}
        self.outbox.store("s", [Reading(groups, self.number, self.now_ms)], clock_ms=0, now_ms=self.now_ms)

    def pump(self) -> list[tuple[int, int]]:
        self.uplink.pump(self.now_ms, wall_ms=self.now_ms, clock_ms=5)
        return self.link.take()

    def cursor(self, epoch: int, seq: int, nonce: int | None = None) -> None:
        self.link.heard.append(CursorMessage(epoch, seq, self.link.nonce or 0 if nonce is None else nonce))


def test_keeps_a_window_under_way_and_goes_on_with_the_cursor():
    street = Street(window=Window(batches=4))
    street.batches(10)
    assert street.pump() == []
    street.link.nonce = 7
    assert street.pump() == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert street.pump() == []
    street.cursor(1, 3)
    assert street.pump() == [(1, 5), (1, 6), (1, 7)]


def test_window_is_bounded_in_bytes_too():
    street = Street(window=Window(batches=100, bytes=1))
    street.batches(10)
    street.link.nonce = 7
    assert street.pump() == [(1, 1)]


def test_waits_while_the_link_is_clogged():
    street = Street()
    street.batches(3)
    street.link.nonce = 7
    street.link.room = False
    assert street.pump() == []
    street.link.room = True
    assert street.pump() == [(1, 1), (1, 2), (1, 3)]


def test_cursor_of_another_connection_means_nothing():
    street = Street(window=Window(batches=2))
    street.batches(5)
    street.link.nonce = 7
    street.pump()
    street.cursor(1, 2, nonce=6)
    assert street.pump() == []
    assert street.outbox.backlog == 50


def test_new_observations_overtake_a_backlog_after_a_reconnect():
    street = Street(window=Window(batches=8), backlog_epoch_batches=20)
    street.batches(30)
    street.link.nonce = 7
    first = street.pump()
    assert [epoch for epoch, _ in first[:6]] == [1] * 6
    street.batches(2)
    assert street.pump() == [(2, 1), (2, 2)], "a quarter of the window is kept for the live epoch"
    street.cursor(2, 2)
    street.cursor(1, 6)
    assert {epoch for epoch, _ in street.pump()} == {1}


def test_live_epoch_leaves_a_quarter_of_the_window_to_the_backlog():
    street = Street(window=Window(batches=8), backlog_epoch_batches=20)
    street.batches(30)
    street.link.nonce = 7
    street.pump()
    street.batches(30)
    street.cursor(1, 6)
    sent = street.pump()
    assert sent.count((2, 1)) == 1
    assert len([epoch for epoch, _ in sent if epoch == 2]) == 6
    assert len([epoch for epoch, _ in sent if epoch == 1]) == 2


def test_old_backlog_is_overtaken_however_small():
    street = Street(backlog_epoch_ms=60_000)
    street.batches(1)
    street.now_ms += 60_001
    street.link.nonce = 7
    street.pump()
    assert len(street.outbox.epochs) == 2


def test_short_break_opens_no_epoch():
    street = Street()
    street.batches(3)
    for nonce in (7, None, 8):
        street.link.nonce = nonce
        street.pump()
    assert len(street.outbox.epochs) == 1


def test_silence_is_broken_by_a_heartbeat_and_every_epoch_asks_in_turn():
    street = Street(heartbeat_ms=1000)
    for _ in range(2):
        street.batches(1)
        street.outbox.commit(street.outbox.live.epoch, 1)
        street.outbox.open_epoch(clock_ms=0)
    street.link.nonce = 7
    assert sorted(street.pump()) == [(1, 0), (2, 0), (3, 0)]
    street.now_ms += 999
    assert street.pump() == []
    asked = []
    for _ in range(4):
        street.now_ms += 1000
        asked += street.pump()
    assert asked.count((3, 0)) == 4
    assert asked.count((1, 0)) == asked.count((2, 0)) == 2


def test_answer_to_a_heartbeat_brings_back_what_the_platform_forgot():
    street = Street()
    street.batches(3)
    street.outbox.commit(1, 3)
    street.outbox.open_epoch(clock_ms=0)
    street.link.nonce = 7
    assert (1, 0) in street.pump()
    street.cursor(1, 1)
    assert street.pump() == [(1, 2), (1, 3)]
    assert not street.uplink.finished
    street.cursor(1, 3)
    street.pump()
    assert street.uplink.finished


def test_after_silence_beyond_the_time_out_the_last_batch_is_sent_again_though_the_window_is_full():
    street = Street(window=Window(batches=2))
    street.batches(2)
    street.link.nonce = 7
    assert street.pump() == [(1, 1), (1, 2)]
    street.now_ms += 1999
    assert street.pump() == []
    street.now_ms += 1
    assert street.pump() == [(1, 2)]
    assert street.pump() == []


def test_header_tells_floor_backlog_and_stamps():
    street = Street()
    street.batches(2)
    street.link.nonce = 7
    street.uplink.pump(street.now_ms, wall_ms=street.now_ms, clock_ms=5)
    header = street.link.sent[0]
    assert (header.seq, header.floor, header.first, header.count, header.nonce) == (1, 1, 1, 10, 7)
    assert header.backlog == 20
    assert header.taken_ms == 10_000


def test_only_the_live_epoch_tells_the_clock_in_its_heartbeat():
    """An older one may be all there in a restored database that lacks what the live one has sent."""
    street = Street()
    street.batches(1)
    street.outbox.commit(1, 1)
    street.outbox.open_epoch(clock_ms=0)
    street.link.nonce = 7
    street.uplink.pump(street.now_ms, wall_ms=street.now_ms, clock_ms=5)
    assert {header.epoch: header.clock_ms for header in street.link.sent} == {1: 0, 2: 5}
