"""The cursor protocol over everything that can befall it, and broken variants of it that this very check must catch."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import tests.properties.cursor_world as world_module
from contracts.cursor import Position, Sender, Verdict
from contracts.wire import CursorMessage, Header
from edge import uplink
from edge.outbox import Epoch, Outbox
from tests.properties.cursor_world import PLENTY, SCARCE, Database, Receiver, World

FATES = st.sampled_from(["arrives"] * 6 + ["lost", "doubled", "garbled", "rolled back"])
ANSWERS = st.sampled_from(["arrives"] * 4 + ["lost", "doubled"])
WHO = st.integers(0, 1)
WHICH = st.one_of(st.just(0), st.integers(0, 30))

USUAL = (
    st.tuples(st.just("say"), WHO, st.integers(1, 9)),
    st.tuples(st.just("listen"), WHO),
    st.tuples(st.just("pump"), WHO),
    st.tuples(st.just("wait"), st.sampled_from([50, 1100, 2500, 30_000])),
    st.tuples(st.just("connect"), WHO),
    st.tuples(st.just("carry"), WHICH, FATES),
    st.tuples(st.just("carry"), WHICH, FATES),
    st.tuples(st.just("answer"), WHICH, ANSWERS),
    st.tuples(st.just("flow"), st.integers(1, 4)),
    st.tuples(st.just("work"), WHO, st.integers(1, 9)),
    st.tuples(st.just("rough"), st.lists(FATES, min_size=1, max_size=6)),
    st.tuples(st.just("disconnect"), WHO),
    st.tuples(st.just("broker_dies")),
    st.tuples(st.just("crash"), WHO),
)
CARDS = (st.tuples(st.just("copy_card")), st.tuples(st.just("copy_card_back")), st.tuples(st.just("clone")))
DATABASES = (st.tuples(st.just("copy_database")), st.tuples(st.just("restore_database")))
FLOOD = (st.tuples(st.just("flood"), WHO, st.integers(10, 80)),) * 2


def stories(*steps: Any) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(st.one_of(*steps), min_size=4, max_size=45)


LIVES = st.one_of(
    st.tuples(st.just(PLENTY), stories(*USUAL)),
    st.tuples(st.just(SCARCE), stories(*USUAL, *FLOOD)),
    st.tuples(st.just(PLENTY), stories(*USUAL, *CARDS, *CARDS)),
    st.tuples(st.just(PLENTY), stories(*USUAL, *DATABASES, *DATABASES)),
    st.tuples(st.sampled_from([PLENTY, SCARCE]), stories(*USUAL, *FLOOD, *CARDS, *DATABASES)),
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Thousands of lives would fill the log."""
    monkeypatch.setattr("edge.uplink.log", lambda *_, **__: None)
    monkeypatch.setattr("edge.condition.log", lambda *_, **__: None)


FLOODED = st.tuples(
    st.just(SCARCE),
    stories(
        st.tuples(st.just("flood"), st.just(0), st.integers(20, 90)),
        st.tuples(st.just("rough"), st.lists(FATES, min_size=1, max_size=4)),
        st.tuples(st.just("broker_dies")),
        st.tuples(st.just("crash"), st.just(0)),
    ),
)


def live(life: tuple[int, list[tuple[Any, ...]]]) -> World:
    """Let a life befall a world, then check what must hold."""
    max_bytes, steps = life
    world = World(max_bytes=max_bytes)
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
        world.check_always()
    assert world.settle(), "the outboxes do not get empty"
    world.check_settled()
    return world


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(LIVES)
def test_every_observation_is_there_once_or_counted_as_lost(life):
    live(life)


# -- broken variants

Change = tuple[Any, str, Any]
_on_cursor, _send_batch, _commit, _open_epoch = (
    Sender.on_cursor,
    uplink.Uplink._send_batch,
    Outbox.commit,
    Outbox.open_epoch,
)
_drop_waiting, _outbox_commit, _hear = Outbox._drop_waiting, Outbox._commit, uplink.Uplink._hear


def gap_is_taken() -> list[Change]:
    return [(world_module, "judge", lambda p, h: Verdict.DUPLICATE if h.seq <= p.seq else Verdict.NEXT)]


def last_batch_is_taken_again() -> list[Change]:
    return [(world_module, "judge", lambda p, h: Verdict.DUPLICATE if h.seq < p.seq else Verdict.NEXT)]


def gap_at_the_floor_is_refused() -> list[Change]:
    def judge(position: Position, header: Header) -> Verdict:
        if header.seq == position.seq + 1:
            return Verdict.NEXT
        return Verdict.DUPLICATE if header.seq <= position.seq else Verdict.OUT_OF_ORDER

    return [(world_module, "judge", judge)]


def loss_is_not_counted() -> list[Change]:
    return [(world_module, "advance", lambda p, h: (Position(h.seq, h.first + h.count), 0))]


def cursor_is_kept_though_the_rows_were_rolled_back() -> list[Change]:
    def roll_back(receiver: Receiver, after: Database) -> None:
        receiver.database.positions = after.positions

    return [(Receiver, "roll_back", roll_back)]


def cursor_is_of_the_agent_and_not_of_the_epoch() -> list[Change]:
    class OnePosition(dict):
        def get(self, _key, default=None):
            return super().get(0, default)

        def __setitem__(self, _key, value):
            super().__setitem__(0, value)

    def copy(self: Database) -> Database:
        positions = OnePosition()
        positions.update(self.positions)
        return Database(list(self.rows), list(self.quarantined), positions, dict(self.count))

    return [(Database, "copy", copy)]


def agent_forgets_what_it_sent() -> list[Change]:
    def send_batch(link: uplink.Uplink, epoch: Epoch, sender: Sender, seq: int, now_ms: int, nonce: int) -> bool:
        sent = _send_batch(link, epoch, sender, seq, now_ms, nonce)
        link._outbox.commit(epoch.epoch, seq)
        link._outbox._drop(epoch, seq + 1 - epoch.floor)
        return sent

    return [(uplink.Uplink, "_send_batch", send_batch)]


def never_rewinds() -> list[Change]:
    return [(Sender, "_rewind", lambda self, now_ms, spread=0.0: None)]


def what_is_under_way_is_trimmed_with_the_cursor() -> list[Change]:
    def hear(link: uplink.Uplink, cursor: CursorMessage, now_ms: int) -> None:
        _hear(link, cursor, now_ms)
        if cursor.epoch in link._senders:
            link._outbox.commit(cursor.epoch, link._senders[cursor.epoch].sent)

    return [(uplink.Uplink, "_hear", hear)]


def cursor_never_goes_back() -> list[Change]:
    def on_cursor(sender: Sender, seq: int, nonce: int, now_ms: int, *, gap: bool = False) -> bool:
        return _on_cursor(sender, max(seq, sender.acked), nonce, now_ms, gap=gap)

    return [(Sender, "on_cursor", on_cursor)]


def committed_batches_are_deleted_at_once() -> list[Change]:
    def commit(outbox: Outbox, epoch: int, seq: int) -> None:
        _commit(outbox, epoch, seq)
        held = outbox.epochs.get(epoch)
        if held is not None and held.floor <= seq:
            outbox._drop(held, seq + 1 - held.floor)

    return [(Outbox, "commit", commit)]


def floor_is_not_declared() -> list[Change]:
    def header(**fields: Any) -> Header:
        return Header(**{**fields, "floor": 1})

    return [(uplink, "Header", header)]


def last_batch_is_dropped_without_trace() -> list[Change]:
    def drop_waiting(outbox: Outbox, epoch: Epoch) -> int | None:
        if epoch.floor == epoch.next_seq - 1:
            batch = outbox.read(epoch.epoch, epoch.floor)
            outbox._drop(epoch, 1)
            return batch.count if batch else None
        return _drop_waiting(outbox, epoch)

    return [(Outbox, "_drop_waiting", drop_waiting)]


def epoch_goes_on_after_a_restart() -> list[Change]:
    def open_epoch(outbox: Outbox, *, clock_ms: int) -> None:
        if not outbox.epochs:
            _open_epoch(outbox, clock_ms=clock_ms)
        elif outbox._waiting.count:
            outbox.seal_due(0, clock_ms=clock_ms, force=True)

    return [(Outbox, "open_epoch", open_epoch)]


def what_waited_is_sealed_into_the_new_epoch() -> list[Change]:
    def open_epoch(outbox: Outbox, *, clock_ms: int) -> None:
        waiting, outbox._waiting = outbox._waiting, world_module.Outbox.__init__.__globals__["Waiting"]()
        _open_epoch(outbox, clock_ms=clock_ms)
        outbox._waiting = waiting
        outbox._seal_at_ms = 0

    return [(Outbox, "open_epoch", open_epoch)]


def source_number_is_not_stored() -> list[Change]:
    def commit(outbox: Outbox, *arguments: Any, **options: Any) -> None:
        last = options.pop("last", 0)
        _outbox_commit(outbox, *arguments, **options)
        if last:
            outbox.sources[options["source"]] = last  # in memory only

    return [(Outbox, "_commit", commit)]


def idle_epochs_never_ask() -> list[Change]:
    return [(uplink.Uplink, "_say_hello", lambda self, now_ms, nonce, **stamps: None)]


MUTANTS: list[Callable[[], list[Change]]] = [
    gap_is_taken,
    last_batch_is_taken_again,
    gap_at_the_floor_is_refused,
    loss_is_not_counted,
    cursor_is_kept_though_the_rows_were_rolled_back,
    cursor_is_of_the_agent_and_not_of_the_epoch,
    agent_forgets_what_it_sent,
    never_rewinds,
    what_is_under_way_is_trimmed_with_the_cursor,
    cursor_never_goes_back,
    committed_batches_are_deleted_at_once,
    floor_is_not_declared,
    last_batch_is_dropped_without_trace,
    epoch_goes_on_after_a_restart,
    what_waited_is_sealed_into_the_new_epoch,
    source_number_is_not_stored,
    idle_epochs_never_ask,
]


NEEDS_A_FLOOD = (what_is_under_way_is_trimmed_with_the_cursor, last_batch_is_dropped_without_trace)


@contextmanager
def broken(mutant: Callable[[], list[Change]]) -> Iterator[None]:
    with ExitStack() as stack:
        for target, name, replacement in mutant():
            stack.enter_context(patch.object(target, name, replacement))
        yield


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_check_catches_a_broken_variant(mutant):
    @seed(2)
    @settings(
        max_examples=3000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(FLOODED if mutant in NEEDS_A_FLOOD else LIVES)
    def check(life):
        live(life)

    with broken(mutant), pytest.raises(AssertionError):
        check()
