"""How a span becomes at most so many points: the width of buckets, raw rows thinned so that extremes stay, gaps as
rows of nulls.

Pure functions over rows (dicts with `observed_at` in ms). They know neither the database nor the clock.
"""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

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


def thinned(rows: Sequence[Row], names: Sequence[str], most: int) -> list[int]:
    """Indexes of at most `most` rows: first and last, and of every stretch of time the first, last, lowest and
    highest of each name."""
    if len(rows) <= most:
        return list(range(len(rows)))
    if most < 2:
        return list(range(most))
    stretches = most
    while True:
        kept = _kept(rows, names, stretches)
        if len(kept) <= most:
            return kept
        if stretches == 1:  # fewer points than extremes: the ends of the span, and what fits of them
            return sorted({0, len(rows) - 1, *kept[1 : most - 1]})
        stretches = max(1, min(stretches - 1, stretches * most // len(kept)))


def _kept(rows: Sequence[Row], names: Sequence[str], stretches: int) -> list[int]:
    begin, end = rows[0]["observed_at"], rows[-1]["observed_at"]
    width = (end - begin) // stretches + 1
    kept: set[int] = set()
    start = 0
    while start < len(rows):
        limit = begin + ((rows[start]["observed_at"] - begin) // width + 1) * width
        stop = start
        while stop < len(rows) and rows[stop]["observed_at"] < limit:
            stop += 1
        kept.update((start, stop - 1))
        for name in names:
            known = [(rows[index][name], index) for index in range(start, stop) if rows[index][name] is not None]
            if known:
                kept.update((min(known)[1], max(known)[1]))
        start = stop
    return sorted(kept)


def with_gaps(times: Sequence[int], kept: Sequence[int], found: dict[int, int]) -> list[tuple[int, int | None]]:
    """(time, index of the row or None for a gap), in order; `kept` are the rows to show, `found` the gaps between
    all rows."""
    merged: list[tuple[int, int | None]] = [(times[index], index) for index in kept]
    merged += [(at, None) for at in found.values()]
    return sorted(merged, key=lambda item: item[0])
