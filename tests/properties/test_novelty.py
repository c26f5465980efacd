"""A novelty score is the same however it is compiled, cut into batches, saved or restored, and nothing poisons it."""

from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest_service.detection import novelty
from ingest_service.detection.novelty import Constants, Novelty

MINUTE_MS = 60_000
values = st.one_of(
    st.sampled_from([0.0, -0.0, 20.0, 1e-310, -5e-324, 1e6, 1e299, -1e299, 1e300, 1.7e308, np.nan, np.inf, -np.inf]),
    st.floats(10, 30),
    st.floats(allow_nan=True, allow_infinity=True),
)
minutes = st.integers(-400, 6000)  # four days, and some of it late
streams = st.lists(st.tuples(st.integers(0, 2), minutes, values), max_size=120)


def fed(detector, rows):
    slot = np.array([series for series, _, _ in rows], np.int64)
    at_ms = np.array([minute * MINUTE_MS for _, minute, _ in rows], np.int64)
    return detector.update(slot, at_ms, np.array([value for _, _, value in rows], np.float64))


def warm():
    """Three series that have seen four days, so that hours of the day and tails have a say."""
    detector = Novelty(3)
    fed(detector, [(i % 3, -6000 + 10 * (i // 3), 20.0 + (i * 7919 % 97) / 50) for i in range(1500)])
    return detector


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.just(0), minutes, values), max_size=150), st.booleans())
def test_the_compiled_score_is_the_plain_step_bit_for_bit(rows, after_days):
    compiled = warm() if after_days else Novelty(3)
    plain = np.array(compiled.state, copy=True).view(np.recarray)
    expected = []
    with np.errstate(all="ignore"):
        for _, minute, value in rows:
            score = novelty.step(plain[0], minute * MINUTE_MS, value, Constants())
            if score < 0:
                plain[0] = novelty.new_state(1)[0]
            expected.append(max(score, 0.0))
    assert fed(compiled, rows).tobytes() == np.array(expected, np.float64).tobytes()
    assert compiled.state[:1].tobytes() == plain[:1].tobytes()


@settings(max_examples=80, deadline=None)
@given(streams, st.lists(st.integers(0, 120), max_size=5))
def test_scores_do_not_depend_on_how_the_stream_is_cut(rows, cuts):
    whole, cut = warm(), warm()
    expected = fed(whole, rows)
    edges = [0, *sorted(min(edge, len(rows)) for edge in cuts), len(rows)]
    assert np.concatenate([fed(cut, rows[low:high]) for low, high in pairwise(edges)]).tobytes() == expected.tobytes()
    assert cut.state.tobytes() == whole.state.tobytes()


@settings(max_examples=80, deadline=None)
@given(streams, streams)
def test_a_saved_state_continues_bit_for_bit(before, after):
    steady = warm()
    fed(steady, before)
    restored = Novelty(3)
    restored.state = np.frombuffer(steady.state.tobytes(), novelty.STATE).copy().view(np.recarray)
    assert fed(restored, after).tobytes() == fed(steady, after).tobytes()
    assert restored.state.tobytes() == steady.state.tobytes()


@settings(max_examples=80, deadline=None)
@given(streams)
@example([(0, -1, np.nan), (0, -1, 1.0), (1, 3, 1.79e308), (1, 4, -1.79e308)])
def test_every_score_lies_from_0_to_1_and_no_state_is_poisoned(rows):
    detector = warm()
    scores = fed(detector, rows)
    assert np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all()
    for name in detector.state.dtype.names:
        assert np.isfinite(detector.state[name]).all()
    assert detector.anew == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([np.nan, np.inf, -np.inf, 1e301]), st.integers(0, 100)), max_size=40))
def test_gaps_infinities_and_late_values_score_nothing_and_leave_no_trace(odd):
    touched, never = warm(), warm()
    rows = [row for value, minute in odd for row in ((0, minute, value), (0, -6000 + minute, 999.0))]
    assert not fed(touched, rows).any()
    assert touched.state.tobytes() == never.state.tobytes()


@settings(max_examples=40, deadline=None)
@given(streams)
def test_a_series_does_not_hear_of_its_neighbours(rows):
    together = fed(warm(), rows)
    for series in range(3):
        alone = [row for row in rows if row[0] == series]
        mine = [score for score, row in zip(together, rows, strict=True) if row[0] == series]
        assert fed(warm(), alone).tolist() == mine
