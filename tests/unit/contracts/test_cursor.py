"""The receiver's side of the cursor: every verdict, and what a position is afterwards."""

import pytest

from contracts.cursor import Position, Verdict, advance, judge
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
