"""Whatever is stored comes out of the outbox once, in batches that fit; nothing that is cut or joined gets lost."""

import math
import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import wire
from edge import columns
from edge.outbox import Outbox, Reading

TEXTS = st.sampled_from(["", "on", "켜짐", "\x00"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(), TEXTS)
KINDS = st.sampled_from(["streetlight", "waste_container", "parking_spot"])


@st.composite
def groups(draw: st.DrawFn) -> columns.Groups:
    """Some kinds with some rows, of which some may be malformed."""
    made: columns.Groups = {}
    for kind in draw(st.lists(KINDS, unique=True, max_size=3)):
        rows = draw(st.integers(1, 9))
        names = draw(st.lists(st.sampled_from(["v", "w", "x"]), unique=True))
        made[kind] = {
            "device": draw(st.lists(st.one_of(st.just("d"), st.just(""), st.none()), min_size=rows, max_size=rows)),
            "observed_at": list(range(rows)),
            **{name: draw(st.lists(VALUES, min_size=rows, max_size=rows)) for name in names},
        }
    return made


def rows_of(made: columns.Groups) -> list[tuple]:
    """Every observation as (kind, values that are not null), in order within its kind."""
    found = []
    for kind, group in made.items():
        for n in range(len(group["device"])):
            values = {name: group[name][n] for name in group if group[name][n] is not None}
            found.append((kind, *sorted((name, repr(value)) for name, value in values.items())))
    return found


def finite(made: columns.Groups) -> columns.Groups:
    def clean(value: object) -> object:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {kind: {name: [clean(v) for v in column] for name, column in group.items()} for kind, group in made.items()}


@given(groups(), st.integers(1, 7), st.integers(1, 7))
def test_pieces_put_together_are_the_whole(made, first, size):
    pieces = list(columns.cuts(made, first, size))
    together: columns.Groups = {}
    for piece, count in pieces:
        assert count == wire.count_of(piece)
        columns.join(together, piece)
    assert rows_of(together) == rows_of(made)
    assert all(count == size for _, count in pieces[1:-1])
    assert not pieces or pieces[0][1] <= first


@given(groups(), groups())
def test_joined_columns_have_one_length_and_lose_nothing(one, two):
    together = columns.copy(one)
    columns.join(together, two)
    for group in together.values():
        assert len({len(column) for column in group.values()}) == 1
    assert sorted(rows_of(together)) == sorted(rows_of(one) + rows_of(two))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(groups(), st.sampled_from(["", "seal", "restart"])), max_size=12), st.integers(1, 12))
def test_what_is_stored_comes_out_once_and_the_rest_is_counted(steps, batch_observations):
    database = sqlite3.connect(":memory:")
    outbox = Outbox(database, batch_observations=batch_observations)
    stored, kept = 0, []
    for made, then in steps:
        outbox.store("s", [Reading(made, 0, 0)], clock_ms=0, now_ms=0)
        stored += wire.count_of(made)
        kept += rows_of(finite(columns.admissible(made)[0]))
        if then == "seal":
            outbox.seal_due(0, clock_ms=0, force=True)
        elif then == "restart":
            again = sqlite3.connect(":memory:")
            again.deserialize(database.serialize())
            database, outbox = again, Outbox(again, batch_observations=batch_observations)
    outbox.seal_due(0, clock_ms=0, force=True)
    found = []
    for epoch in outbox.epochs.values():
        number = 1
        for seq in range(1, epoch.next_seq):
            batch = outbox.read(epoch.epoch, seq)
            assert batch is not None
            assert batch.first == number
            assert 1 <= batch.count <= batch_observations
            number += batch.count
            found += rows_of(wire.decode_body(batch.body))
    assert sorted(found) == sorted(kept)
    assert len(found) + outbox.counters["malformed"] == stored
