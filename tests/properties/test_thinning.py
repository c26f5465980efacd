"""A thinned chart looks like the whole one: ends and extremes stay, of every stretch, and gaps stay gaps."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from platform_api import thinning

VALUES = st.one_of(st.just(math.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32))


@st.composite
def charts(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray], int]:
    """(times, columns, most)."""
    steps = draw(st.lists(st.integers(0, 10_000), min_size=0, max_size=120))
    times = np.cumsum(np.array(steps, np.int64)) + 1_760_000_000_000
    n = len(times)
    columns = [np.array(draw(st.lists(VALUES, min_size=n, max_size=n)), float) for _ in range(draw(st.integers(0, 3)))]
    return times, columns, draw(st.integers(0, 60))


@given(charts())
def test_no_more_rows_than_asked_each_once_and_in_order(chart):
    times, columns, most = chart
    kept = thinning.thinned(times, columns, most)
    assert len(kept) <= most
    assert (np.diff(kept) > 0).all()
    if len(times) <= most:
        assert len(kept) == len(times)
    elif most >= 2:
        assert (kept[0], kept[-1]) == (0, len(times) - 1)


@given(charts())
def test_the_lowest_and_highest_of_each_column_stay(chart):
    times, columns, most = chart
    kept = thinning.thinned(times, columns, most)
    if most < 2 + 2 * len(columns):
        return
    for column in columns:
        if not np.isnan(column).all():
            assert (np.nanmin(column[kept]), np.nanmax(column[kept])) == (np.nanmin(column), np.nanmax(column))


@given(charts())
def test_of_every_stretch_the_chart_keeps_what_a_pixel_shows(chart):
    """M4 against its definition: first, last, lowest and highest of each stretch, by plain Python."""
    times, columns, _ = chart
    if not len(times):
        return
    for stretches in (1, 3, 17):
        kept = set(thinning._kept(times, columns, stretches).tolist())
        width = (int(times[-1]) - int(times[0])) // stretches + 1
        rows: dict[int, list[int]] = {}
        for row, at in enumerate(times.tolist()):
            rows.setdefault((at - int(times[0])) // width, []).append(row)
        wanted = {row for members in rows.values() for row in (members[0], members[-1])}
        assert wanted <= kept
        assert len(rows) <= stretches
        for column in columns:
            for members in rows.values():
                known = [column[row] for row in members if not math.isnan(column[row])]
                shown = [column[row] for row in members if row in kept and not math.isnan(column[row])]
                if known:
                    assert (min(known), max(known)) == (min(shown), max(shown))
        assert len(kept) <= len(rows) * (2 + 2 * len(columns))


@given(charts(), st.integers(1, 20_000))
def test_a_gap_of_the_whole_chart_is_a_gap_of_the_thinned_one(chart, gap_ms):
    """Between two rows that are shown stands a null exactly where a break longer than the gap lies between them."""
    times, columns, most = chart
    found = thinning.gaps(times.tolist(), gap_ms)
    merged = thinning.with_gaps(times.tolist(), thinning.thinned(times, columns, max(most, 2)).tolist(), found)
    assert [at for at, _ in merged] == sorted(at for at, _ in merged)
    assert sum(index is None for _, index in merged) == len(found)
    shown = [place for place, (_, index) in enumerate(merged) if index is not None]
    for before, after in itertools.pairwise(shown):
        first, last = merged[before][1], merged[after][1]
        breaks = sum(1 for row in range(first, last) if times[row + 1] - times[row] > gap_ms)
        assert after - before - 1 == breaks
