"""How a span becomes at most so many points: the width of buckets, raw rows thinned so that extremes stay, gaps as
rows of nulls.

Pure functions over times (ms) and columns. They know neither the database nor the clock.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Widths that people read well, seconds; each is a multiple of the one of its unit (60 or 3600) that it can be made
# from.
WIDTHS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)
RAW_EXCESS = 8  # so many observations a point are still read raw and thinned; beyond, a rollup is cheaper


def width_s(from_ms: int, to_ms: int, points: int, least_s: int) -> int:
    """The narrowest width of which at most `points` aligned buckets cover the span."""
    width = least_s
    for width in (*(item for item in WIDTHS if item >= least_s), 0):
        if width and buckets(from_ms, to_ms, width) <= points:
            return width
    width = WIDTHS[-1]
    while buckets(from_ms, to_ms, width) > points:
        width += WIDTHS[-1]
    return width


def buckets(from_ms: int, to_ms: int, width: int) -> int:
    """How many buckets of `width` seconds, aligned to 1970, touch [from_ms, to_ms)."""
    return -(-(to_ms - floor(from_ms, width)) // (width * 1000))


def floor(ms: int, width: int) -> int:
    """The start of the bucket that holds `ms`."""
    return ms - ms % (width * 1000)


def gaps(
    times: Sequence[int], gap_ms: float, silences: Sequence[tuple[int, int]] | None = None, slack_ms: int = 0
) -> dict[int, int]:
    """Index of a row -> time of the gap that follows it (the moment at which the silence had become one).

    times    : ms, rising.
    gap_ms   : a longer break is a gap.
    silences : for devices that report changes only: a break is a gap only where one of these, the silences of all their
               agent's devices (begin, end, rising), lies in it.
    slack_ms : width of the buckets whose starts `times` are: a silence may end within the bucket that follows.
    """
    found: dict[int, int] = {}
    next_silence = 0
    for index in range(len(times) - 1):
        begin, end = times[index], times[index + 1]
        if end - begin <= gap_ms:
            continue
        if silences is None:
            found[index] = begin + int(gap_ms)
            continue
        while next_silence < len(silences) and silences[next_silence][0] < begin:
            next_silence += 1
        if next_silence < len(silences) and silences[next_silence][1] <= end + slack_ms:
            found[index] = min(silences[next_silence][0] + int(gap_ms), end - 1)
    return found


def thinned(times: Array, columns: Sequence[Array], most: int) -> Array:
    """Indexes of at most `most` rows, rising: first and last, and of every stretch of time the first, the last, and the
    lowest and highest of each column (M4, by as many stretches as fit).

    times   : (n,) int64, ms, rising.
    columns : (n,) float64 each; NaN is no value. Enums by their number, so that a state that shows briefly stays.
    return  : (k,) int64, k <= most. Where even one stretch has more extremes than `most`, those that come first.
    source  : Jugel et al. (2014), "M4: A Visualization-Oriented Time Series Data Aggregation".
    """
    if len(times) <= most or most < 2:
        return np.arange(min(len(times), most))
    stretches = most
    while True:
        kept = _kept(times, columns, stretches)
        if len(kept) <= most:
            return kept
        if stretches == 1:
            return np.append(kept[: most - 1], kept[-1])
        stretches = max(1, min(stretches - 1, stretches * most // len(kept)))


def _kept(times: Array, columns: Sequence[Array], stretches: int) -> Array:
    stretch = (times - times[0]) // ((times[-1] - times[0]) // stretches + 1)
    chosen = list(_ends(stretch, np.arange(len(times))))
    for column in columns:
        known = np.flatnonzero(~np.isnan(column))
        chosen += _ends(stretch, known[np.lexsort((column[known], stretch[known]))])
    return np.unique(np.concatenate(chosen))


def _ends(stretch: Array, order: Array) -> tuple[Array, Array]:
    """The first and the last index of each stretch, of indexes ordered by it."""
    first = np.flatnonzero(np.diff(stretch[order], prepend=-1))
    return order[first], order[np.append(first[1:], len(order))[: len(first)] - 1]


def with_gaps(times: Sequence[int], kept: Sequence[int], found: dict[int, int]) -> list[tuple[int, int | None]]:
    """(time, index of the row or None for a gap), in order; `kept` are the rows to show, `found` the gaps between
    all rows."""
    merged: list[tuple[int, int | None]] = [(times[index], index) for index in kept]
    merged += [(at, None) for at in found.values()]
    return sorted(merged, key=lambda item: item[0])
