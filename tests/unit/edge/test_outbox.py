"""The outbox by itself: what it promises about power cuts, limits, epochs and what it is fed."""

import random
import sqlite3

import pytest

from contracts import wire
from edge.outbox import LAST_NUMBER, MAX_EPOCHS, Outbox, OutboxFull, Reading
from edge.outbox_file import OutboxInUse, open_outbox, status

SOURCE = "test"


def reading(first: int, count: int, **columns: list) -> Reading:
    numbers = range(first, first + count)
    group = {"device": [f"d{n}" for n in numbers], "observed_at": list(numbers), "v": [0.5] * count, **columns}
    return Reading({"streetlight": group}, first + count - 1, 5000 + first)


def memory(card: bytes | None = None, **options) -> Outbox:
    database = sqlite3.connect(":memory:")
    if card is not None:
        database.deserialize(card)
    return Outbox(database, **options)


def store(outbox: Outbox, first: int, count: int, now_ms: int = 0, **columns: list) -> None:
    outbox.store(SOURCE, [reading(first, count, **columns)], clock_ms=first + count, now_ms=now_ms)


def sealed(outbox: Outbox) -> list[tuple[int, int, int, int]]:
    """(ordinal of the epoch, seq, first, count) of every batch."""
    found = []
    for epoch in outbox.epochs.values():
        for seq in range(epoch.floor, epoch.next_seq):
            batch = outbox.read(epoch.epoch, seq)
            assert batch is not None
            assert wire.count_of(wire.decode_body(batch.body)) == batch.count
            found.append((epoch.ordinal, seq, batch.first, batch.count))
    return found


def test_fills_batches_and_lets_the_rest_wait():
    outbox = memory()
    store(outbox, 1, 250)
    assert sealed(outbox) == [(1, 1, 1, 100), (1, 2, 101, 100)]
    assert outbox.backlog == 250
    store(outbox, 251, 49)
    assert len(sealed(outbox)) == 2
    store(outbox, 300, 1)
    assert sealed(outbox)[-1] == (1, 3, 201, 100)


def test_seals_what_has_waited_long_enough():
    outbox = memory(seal_after_ms=1000)
    store(outbox, 1, 3, now_ms=500)
    store(outbox, 4, 3, now_ms=1400)
    outbox.seal_due(1499, clock_ms=77)
    assert sealed(outbox) == []
    assert outbox.seal_due_ms() == 1500
    outbox.seal_due(1500, clock_ms=77)
    assert sealed(outbox) == [(1, 1, 1, 6)]
    batch = outbox.read(outbox.live.epoch, 1)
    assert batch is not None
    assert (batch.clock_ms, batch.taken_ms) == (77, 5001)
    assert outbox.seal_due_ms() is None


def test_restart_seals_what_waited_into_the_old_epoch_and_opens_a_new_one(tmp_path):
    outbox = open_outbox(tmp_path / "o.db")
    store(outbox, 1, 130)
    old = outbox.live.epoch
    outbox.close()
    again = open_outbox(tmp_path / "o.db")
    assert sealed(again) == [(1, 1, 1, 100), (1, 2, 101, 30)]
    assert again.live.epoch != old
    assert again.live.next_seq == 1
    assert again.sources == {SOURCE: 130}


def test_copy_of_the_card_numbers_what_waited_as_the_original_did():
    outbox = memory()
    store(outbox, 1, 130)
    card = outbox._db.serialize()
    store(outbox, 131, 500)
    original = outbox.read(outbox.live.epoch, 2)
    copy = memory(card)
    restored = copy.read(outbox.live.epoch, 2)
    assert original is not None and restored is not None
    ours = wire.decode_body(restored.body)["streetlight"]["device"]
    theirs = wire.decode_body(original.body)["streetlight"]["device"]
    assert ours == theirs[: len(ours)]
    assert restored.first == original.first


def test_batches_stay_below_the_limit_of_the_wire_and_waiting_ones_stay_together():
    def noise(n: int) -> list[str]:
        return [random.randbytes(4500).hex() for _ in range(n)]

    outbox = memory()
    for first in range(1, 400, 8):
        store(outbox, first, 8, text=noise(8))
    outbox.seal_due(0, clock_ms=0, force=True)
    batches = sealed(outbox)
    assert sum(count for *_, count in batches) == 400
    for epoch in outbox.epochs.values():
        for seq in range(1, epoch.next_seq):
            batch = outbox.read(epoch.epoch, seq)
            assert batch is not None and len(batch.body) < wire.MAX_BODY_BYTES
    assert [first for _, _, first, _ in batches] == [1 + sum(c for *_, c in batches[:i]) for i in range(len(batches))]


def test_reserve_goes_before_what_nobody_has(tmp_path):
    outbox = open_outbox(tmp_path / "o.db", max_bytes=256 * 1024)
    for first in range(1, 40_001, 1000):
        store(outbox, first, 1000, v=[(n * 7919) % 1000 / 7 for n in range(1000)])
        outbox.commit(outbox.live.epoch, outbox.live.next_seq - 1)
    assert outbox.counters["dropped"] == 0
    assert outbox.live.floor > 1
    assert outbox.bytes <= 256 * 1024
    outbox.commit(outbox.live.epoch, outbox.live.floor)  # a restored database
    held = outbox.backlog
    for first in range(40_001, 80_001, 1000):
        store(outbox, first, 1000, v=[(n * 7919) % 1000 / 7 for n in range(1000)])
    assert outbox.counters["dropped"] > 0
    assert outbox.backlog + outbox.counters["dropped"] == held + 40_000
    assert outbox.bytes <= 256 * 1024


def test_last_batch_of_an_epoch_is_emptied_rather_than_dropped():
    outbox = memory(max_bytes=48 * 1024)
    store(outbox, 1, 100)
    old = outbox.live
    outbox.open_epoch(clock_ms=0)
    for first in range(101, 60_000, 1000):
        store(outbox, first, 1000, v=[(n * 7919) % 1000 / 7 for n in range(1000)])
    assert sealed(outbox)[0] == (old.ordinal, 1, 101, 0)
    assert outbox.counters["dropped"] + outbox.backlog == 60_100


def test_committed_epochs_are_kept_in_reserve_up_to_a_number():
    outbox = memory()
    for n in range(MAX_EPOCHS + 20):
        store(outbox, 1 + 100 * n, 100)
        outbox.commit(outbox.live.epoch, 1)
        outbox.open_epoch(clock_ms=0)
    assert len(outbox.epochs) == MAX_EPOCHS + 1
    assert outbox.backlog == 0


def test_epoch_that_never_held_anything_leaves_no_trace():
    outbox = memory()
    for _ in range(5):
        outbox.open_epoch(clock_ms=0)
    assert len(outbox.epochs) == 1


def test_new_epoch_begins_before_the_numbers_run_out():
    outbox = memory()
    outbox.live.next_number = LAST_NUMBER - 50
    store(outbox, 1, 100)
    assert len(outbox.epochs) == 2
    assert outbox.live.next_number == 1


def test_cursor_survives_with_the_next_write():
    outbox = memory()
    store(outbox, 1, 300)
    outbox.commit(outbox.live.epoch, 2)
    assert outbox.backlog == 100
    outbox.save_cursors()
    again = memory(outbox._db.serialize())
    assert next(iter(again.epochs.values())).committed == 2
    assert again.backlog == 100


def test_malformed_observations_are_counted_and_the_others_kept():
    def check(groups: dict, kept: int, malformed: int) -> None:
        outbox = memory()
        outbox.store(SOURCE, [Reading(groups, 9, 0)], clock_ms=0, now_ms=0)
        assert outbox.backlog == kept
        assert outbox.counters["malformed"] == malformed
        assert outbox.sources == {SOURCE: 9}
        outbox.seal_due(0, clock_ms=0, force=True)
        assert sum(count for *_, count in sealed(outbox)) == kept

    good = {"device": ["a", "b"], "observed_at": [1, 2]}
    check({"k": {**good, "v": [1, 2]}}, 2, 0)
    check({"k": {"device": ["a", None, "", 7], "observed_at": [1, 2, 3, 4]}}, 1, 3)
    check({"k": {"device": ["a", "b", "c"], "observed_at": [1, float("nan"), None]}}, 1, 2)
    check({"k": {**good, "v": [1]}, "l": {"device": ["c"], "observed_at": [1]}}, 1, 2)
    check({"k": {"v": [1, 2]}}, 0, 2)
    check({"k": {**good, "v": ["\ud800", "fine"]}}, 1, 1)
    check({"k": {**good, "v": [object(), 1]}}, 1, 1)
    check({"k": {"device": ["a" * 300_000, "b"], "observed_at": [1, 2]}}, 2, 0)  # compresses well: the platform judges
    check({}, 0, 0)


def test_numbers_that_are_not_finite_become_null():
    outbox = memory()
    store(outbox, 1, 4, v=[float("nan"), float("inf"), -float("inf"), 1.5])
    outbox.seal_due(0, clock_ms=0, force=True)
    batch = outbox.read(outbox.live.epoch, 1)
    assert batch is not None
    assert wire.decode_body(batch.body)["streetlight"]["v"] == [None, None, None, 1.5]


def test_full_disk_stores_nothing_and_loses_nothing():
    outbox = memory()
    store(outbox, 1, 150)
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count={pages}")
    before = outbox._db.serialize()
    with pytest.raises(OutboxFull):
        store(outbox, 151, 20_000, v=[n / 7 for n in range(20_000)])
    assert outbox._db.serialize() == before
    assert outbox.sources == {SOURCE: 150}
    assert outbox.backlog == 150
    outbox._db.execute("PRAGMA max_page_count=100000")
    store(outbox, 151, 20_000)
    assert outbox.backlog == 20_150


def test_one_agent_an_outbox(tmp_path):
    outbox = open_outbox(tmp_path / "o.db")
    with pytest.raises(OutboxInUse, match="another agent has it open"):
        open_outbox(tmp_path / "o.db")
    outbox.close()
    open_outbox(tmp_path / "o.db").close()


def test_broken_file_is_set_aside_and_its_source_numbers_are_saved_if_readable(tmp_path, capsys):
    path = tmp_path / "o.db"
    outbox = open_outbox(path)
    store(outbox, 1, 4000, v=[n / 7 for n in range(4000)])
    outbox.close()
    content = bytearray(path.read_bytes())
    root = sqlite3.connect(path).execute("SELECT rootpage FROM sqlite_master WHERE name = 'epoch'").fetchone()[0]
    content[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    again = open_outbox(path)
    assert again.backlog == 0
    assert again.sources == {SOURCE: 4000}
    assert len(list(tmp_path.glob("o.db.corrupt-*[0-9]"))) == 1
    assert "outbox_corrupt" in capsys.readouterr().err


def test_commits_reach_the_disk_before_store_returns(tmp_path):
    outbox = open_outbox(tmp_path / "o.db")
    assert outbox._db.execute("PRAGMA synchronous").fetchone()[0] == 2, "FULL"
    assert outbox._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    store(outbox, 1, 42)
    beside = sqlite3.connect(tmp_path / "o.db")
    assert beside.execute("SELECT sum(count) FROM pending").fetchone() == (42,)
    assert beside.execute("SELECT number FROM source").fetchone() == (42,)


def test_status_is_read_beside_a_running_agent(tmp_path):
    outbox = open_outbox(tmp_path / "o.db")
    store(outbox, 1, 350)
    outbox.commit(outbox.live.epoch, 1)
    outbox.save_cursors()
    found = status(tmp_path / "o.db")
    assert found["pending"] == 50
    assert found["waiting"] == 250
    assert found["sources"] == {SOURCE: 350}
    assert found["bytes"] == outbox.bytes
    (epoch,) = found["epochs"]
    assert (epoch["cursor"], epoch["floor"], epoch["next_seq"], epoch["batches_waiting"]) == (1, 1, 4, 2)
    outbox.close()
    assert status(tmp_path / "o.db")["waiting"] == 250
