"""The cursor: every verdict and what a position is afterwards; how a sender behaves before a slow store."""

import random
from collections import deque

import pytest

from contracts.cursor import FIRST_BATCHES, FIRST_TIMEOUT_MS, Position, Sender, Verdict, advance, judge
from contracts.wire import Header


def batch(seq, *, floor=1, first=1, count=100):
    return Header(epoch=1, seq=seq, floor=floor, nonce=0, first=first, count=count, clock_ms=0, taken_ms=0, backlog=0)


def test_a_batch_is_judged_by_what_is_committed():
    at_five = Position(seq=5, next=501)
    assert judge(Position(), batch(1)) is Verdict.NEXT
    assert judge(at_five, batch(6)) is Verdict.NEXT
    assert judge(at_five, batch(5)) is Verdict.DUPLICATE
    assert judge(at_five, batch(1)) is Verdict.DUPLICATE
    assert judge(at_five, batch(7)) is Verdict.OUT_OF_ORDER
    assert judge(at_five, batch(7, floor=6)) is Verdict.OUT_OF_ORDER
    assert judge(at_five, batch(7, floor=7)) is Verdict.AT_FLOOR
    assert judge(at_five, batch(5, floor=5)) is Verdict.DUPLICATE


def test_only_the_next_batch_and_one_at_its_floor_are_taken():
    assert [verdict for verdict in Verdict if verdict.taken] == [Verdict.NEXT, Verdict.AT_FLOOR]


def test_a_position_moves_to_the_batch_and_counts_what_lies_between_as_lost():
    assert advance(Position(), batch(1, first=1, count=100)) == (Position(1, 101), 0)
    assert advance(Position(5, 501), batch(9, floor=9, first=901, count=7)) == (Position(9, 908), 400)


def test_an_empty_batch_declares_the_loss_of_an_epochs_end():
    assert advance(Position(5, 501), batch(9, floor=9, first=801, count=0)) == (Position(9, 801), 300)


@pytest.mark.parametrize("first", [1, 400, 500])
def test_numbers_that_go_back_lose_nothing(first):
    assert advance(Position(5, 501), batch(6, first=first))[1] == 0


def due(sender, now_ms, window=1000, draw=lambda: 0.5):
    """Numbers to send now, each noted as sent."""
    while (seq := sender.next_to_send(now_ms, draw)) is not None:
        if seq > sender.sent and sender.in_flight >= window:
            return
        sender.mark_sent(seq, now_ms)
        yield seq


def sent_before_a_backlog(wait_ms, *, every_ms=500, batches=400):
    """How often a sender sends when each batch waits so long for its turn; duplicates are answered like the rest."""
    sender, sends, queue = Sender(1), 0, []
    sender.connect(7, 0)
    committed = 0
    for now_ms in range(0, batches * every_ms + 20 * wait_ms, 100):
        while queue and queue[0][0] <= now_ms:
            seq = queue.pop(0)[1]
            gap = seq > committed + 1
            committed = seq if seq == committed + 1 else committed
            sender.on_cursor(committed, 7, now_ms, gap=gap)
        if now_ms % every_ms == 0 and now_ms < batches * every_ms:
            sender.seal(now_ms // every_ms + 1)
        for seq in due(sender, now_ms, window=40):
            queue.append((now_ms + wait_ms, seq))
            sends += 1
    assert committed == batches
    return sends / batches


@pytest.mark.parametrize("wait_ms", [100, 1500, 4000, 8000, 15_000])
def test_a_backlog_before_the_store_does_not_make_senders_send_again_and_again(wait_ms):
    assert sent_before_a_backlog(wait_ms) < 1.2


def taken_by_a_store_that_is_asked_for_more_than_it_can(load, *, boxes=100, a_second=100, waiting=500, seconds=300):
    """Batches a second over the last two thirds, where so many may wait and what finds no room is dropped."""
    senders, queue, committed, taken = [Sender(1) for _ in range(boxes)], deque(), [0] * boxes, 0
    chance, draw = random.Random(5), random.Random(6)
    for sender in senders:
        sender.connect(7, 0)
    for now_ms in range(0, seconds * 1000, 100):
        answers = {}
        for _ in range(a_second // 10):
            if not queue:
                break
            box, seq = queue.popleft()
            committed[box] += seq == committed[box] + 1
            taken += now_ms > seconds * 333 and seq == committed[box]
            answers[box] = answers.get(box, False) or seq > committed[box]
        for box, gap in answers.items():
            senders[box].on_cursor(committed[box], 7, now_ms, gap=gap)
        for box, sender in enumerate(senders):
            if chance.random() < load * a_second / boxes / 10:
                sender.seal(sender.top + 1)
            for seq in due(sender, now_ms, window=32, draw=draw.random):
                if len(queue) < waiting:
                    queue.append((box, seq))
    return taken / (seconds * 0.667)


@pytest.mark.parametrize("load", [0.8, 1.1, 2.0, 5.0])
def test_a_store_that_is_asked_for_more_than_it_can_still_takes_nearly_what_it_can(load):
    assert taken_by_a_store_that_is_asked_for_more_than_it_can(load) > 0.85 * min(1.0, load) * 100


def test_silence_sends_one_batch_again_and_a_gap_what_was_lost():
    sender = Sender(1)
    sender.connect(7, 0)
    sender.seal(3)
    assert list(due(sender, 0)) == [1, 2, 3]
    assert list(due(sender, FIRST_TIMEOUT_MS)) == [3]
    assert list(due(sender, FIRST_TIMEOUT_MS)) == []
    sender.on_cursor(0, 7, FIRST_TIMEOUT_MS + 100, gap=True)
    assert list(due(sender, FIRST_TIMEOUT_MS + 100)) == [1, 2]


def test_a_batch_that_is_due_again_stays_due_until_it_is_sent_and_wants_no_room():
    sender = Sender(1)
    sender.connect(7, 0)
    sender.seal(100)
    assert list(due(sender, 0)) == list(range(1, FIRST_BATCHES + 1))
    for now_ms in (FIRST_TIMEOUT_MS, FIRST_TIMEOUT_MS + 1):
        assert sender.next_to_send(now_ms, lambda: 0.0) == FIRST_BATCHES == sender.in_flight
    sender.on_cursor(1, 7, FIRST_TIMEOUT_MS + 2)
    assert sender.next_to_send(FIRST_TIMEOUT_MS + 2, lambda: 0.0) == FIRST_BATCHES + 1


def test_after_a_gap_half_as_much_is_under_way_and_more_with_every_answer():
    def send_all(now_ms):
        list(due(sender, now_ms))
        return sender.in_flight

    sender = Sender(1)
    sender.connect(7, 0)
    sender.seal(500)
    assert send_all(0) == FIRST_BATCHES
    sender.on_cursor(FIRST_BATCHES, 7, 100)
    assert send_all(100) == 2 * FIRST_BATCHES
    sender.on_cursor(FIRST_BATCHES, 7, 200, gap=True)
    assert send_all(200) == FIRST_BATCHES
    sender.on_cursor(2 * FIRST_BATCHES, 7, 300)
    assert send_all(300) == FIRST_BATCHES + 1
    sender.connect(8, 400)
    assert send_all(400) == FIRST_BATCHES


class Street:
    """An outbox that seals a batch a second, a store that answers after 100 ms, and what may befall them."""

    def __init__(self, committed=0, top=0):
        self.sender = Sender(1, acked=committed, top=top)
        self.committed, self.now_ms, self.away = committed, 0, False
        self.sender.connect(7, 0)

    def go_on(self, seconds):
        for _ in range(seconds * 10):
            self.now_ms += 100
            if self.now_ms % 1000 == 0:
                self.sender.seal(self.sender.top + 1)
            arrived = [] if self.away else list(due(self.sender, self.now_ms - 100, window=32))
            if self.away:
                list(due(self.sender, self.now_ms - 100, window=32))
            gap = False
            for seq in arrived:
                gap = gap or seq > self.committed + 1
                self.committed += seq == self.committed + 1
            if arrived:
                self.sender.on_cursor(self.committed, 7, self.now_ms, gap=gap)

    def behind_s(self):
        """Seconds until everything is committed."""
        began = self.now_ms
        while not self.sender.finished:
            self.go_on(1)
            assert self.now_ms - began < 600_000, "the outbox does not get empty"
        return (self.now_ms - began) / 1000


@pytest.mark.parametrize("away_s", [10, 60, 200, 600])
def test_a_loss_soon_after_an_outage_is_made_up_for_at_once(away_s):
    street = Street()
    street.go_on(20)
    street.away = True
    street.go_on(away_s)
    street.away = False
    while street.committed < 21:
        street.go_on(1)
    street.away = True
    street.go_on(4)
    street.away = False
    assert street.behind_s() < 10


@pytest.mark.parametrize("back", [10, 100, 1000])
def test_a_cursor_that_goes_back_while_a_gap_is_made_up_for_is_followed(back):
    street = Street(committed=2000, top=2050)
    sender = street.sender
    assert len(list(due(sender, 0))) == FIRST_BATCHES
    for seq in (2000, 2000 - back):  # a gap; what is sent upon it meets a restored database
        sender.on_cursor(seq, 7, 100, gap=True)
        assert list(due(sender, 100)) == (list(range(2001, 2006)) if seq == 2000 else [])
    street.committed = 2000 - back
    assert street.behind_s() < 20 + back / 10


def test_a_gap_is_sent_again_at_once_and_what_came_twice_is_not():
    sender = Sender(1)
    sender.connect(7, 0)
    sender.seal(3)
    assert list(due(sender, 0)) == [1, 2, 3]
    sender.on_cursor(1, 7, 200)
    sender.on_cursor(1, 7, 300)
    assert sender.next_to_send(400, lambda: 0.0) is None
    sender.on_cursor(1, 7, 400, gap=True)
    assert sender.next_to_send(400, lambda: 0.0) == 2


def test_a_silence_is_borne_longer_where_answers_take_longer():
    sender = Sender(1)
    sender.connect(7, 0)
    sender.seal(2)
    sender.mark_sent(1, 0)
    sender.on_cursor(1, 7, 1_900)
    assert sender.timeout_ms > FIRST_TIMEOUT_MS
    sender.connect(8, 2_000)
    assert sender.timeout_ms == FIRST_TIMEOUT_MS
