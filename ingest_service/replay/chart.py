"""One episode as a picture: the observed line with gaps as gaps, the expected band, and when each set of parameters
had an alarm. Inline SVG; colours come from the page's style.
"""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np

from contracts.profiles import Property
from ingest_service.columns import Array, as_float
from ingest_service.replay.episodes import Side, number_of

WIDTH, HEIGHT = 680, 184
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 8, 36
STRIP = 5  # height of a mark of an alarm
MOST_POINTS = 600
GAP_INTERVALS = 3  # a line is not drawn over longer than so many usual intervals

Scale = Callable[[float], float]


def svg(item: Property, at_ms: Array, column: Array, sides: Sequence[Side | None], begin_ms: int, end_ms: int) -> str:
    """The picture. at_ms, column: (n,) observations by time, of [begin_ms, end_ms)."""
    values = as_float(item, column)
    if not item.numeric:
        values = np.where(column < 0, np.nan, column.astype(np.float64))
    stepped = not item.numeric
    usual_ms = float(np.median(np.diff(at_ms))) if len(at_ms) > 1 else 0.0
    at, value = thinned(at_ms, values)
    low, high = _extent(item, values, sides)

    def x(ms: float) -> float:
        return LEFT + (ms - begin_ms) / max(1, end_ms - begin_ms) * (WIDTH - LEFT - RIGHT)

    def y(number: float) -> float:
        return TOP + (high - number) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [_grid(item, low, high, y)]
    for number, side in enumerate(sides):
        if side is None:
            continue
        left = max(x(side.began_ms), LEFT)
        right = min(x(end_ms if side.ended_ms is None else side.ended_ms), WIDTH - RIGHT)
        wide = max(2.0, right - left)
        bottom_edge, top_edge, expected = (number_of(side, key) for key in ("low", "high", "expected"))
        if bottom_edge is not None or top_edge is not None:
            top = TOP if top_edge is None else y(min(high, top_edge))
            bottom = HEIGHT - BOTTOM if bottom_edge is None else y(max(low, bottom_edge))
            parts.append(f'<rect class="band" x="{left:.1f}" y="{top:.1f}" {_size(max(wide, 12), bottom - top)}/>')
        if expected is not None and low <= expected <= high:
            to = left + max(wide, 12)
            parts.append(f'<path class="expected" d="M{left:.1f} {y(expected):.1f}H{to:.1f}"/>')
        foot = HEIGHT - BOTTOM + 3 + number * STRIP
        parts.append(f'<rect class="side{number}" x="{left:.1f}" y="{foot}" {_size(wide, STRIP - 1)}/>')
    parts.append(f'<path class="line" d="{_path(at, value, x, y, usual_ms * GAP_INTERVALS, stepped)}"/>')
    parts.append(_times(begin_ms, end_ms, x))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'


def thinned(at_ms: Array, values: Array) -> tuple[Array, Array]:
    """At most some MOST_POINTS of a series: the least and the greatest of each of equally many."""
    n = len(values)
    if n <= MOST_POINTS:
        return at_ms, values
    kept: set[int] = {0, n - 1}
    for rows in np.array_split(np.arange(n), MOST_POINTS // 2):
        known = rows[~np.isnan(values[rows])]
        if len(known):
            kept |= {int(known[values[known].argmin()]), int(known[values[known].argmax()])}
        if len(known) < len(rows):
            kept.add(int(rows[np.isnan(values[rows])][0]))  # a gap stays one
    chosen = np.array(sorted(kept))
    return at_ms[chosen], values[chosen]


def _extent(item: Property, values: Array, sides: Sequence[Side | None]) -> tuple[float, float]:
    """The least and the greatest number that the picture shows: the observations, and a band that is near them."""
    if item.values:
        return -0.5, len(item.values) - 0.5
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    reach = 3 * max(high - low, 10.0**-item.decimals)
    edges = [number_of(side, key) for side in sides if side is not None for key in ("low", "high", "expected")]
    near = [edge for edge in edges if edge is not None and low - reach <= edge <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room


def _path(at_ms: Array, values: Array, x: Scale, y: Scale, longest_ms: float, stepped: bool) -> str:
    parts: list[str] = []
    before: int | None = None
    for ms, value in zip(at_ms.tolist(), values.tolist(), strict=True):
        if not math.isfinite(value):
            before = None
            continue
        place = f"{x(ms):.1f} {y(value):.1f}"
        if before is None or ms - before > longest_ms > 0:
            parts.append(f"M{place}h.01")  # a point by itself is seen too
        else:
            parts.append(f"H{x(ms):.1f}V{y(value):.1f}" if stepped else f"L{place}")
        before = ms
    return "".join(parts)


def _grid(item: Property, low: float, high: float, y: Scale) -> str:
    parts: list[str] = []
    if item.values:
        ticks = [(float(code), word) for code, word in enumerate(item.values)]
    elif item.type == "boolean":
        ticks = [(0.0, "false"), (1.0, "true")]
    else:
        ticks = [
            (number, f"{number:.{item.decimals}f}".rstrip("0").rstrip(".") if item.decimals else f"{number:.0f}")
            for number in round_numbers(low, high)
        ]
    for number, word in ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {y(number):.1f}H{WIDTH - RIGHT}"/>')
        labels = item.value_labels.get(word)
        said = (
            "".join(f'<tspan class="{language}">{escape(label)}</tspan>' for language, label in labels.items())
            if labels
            else escape(word)
        )
        parts.append(f'<text class="tick" x="{LEFT - 5}" y="{y(number) + 3.5:.1f}" text-anchor="end">{said}</text>')
    return "".join(parts)


def _times(begin_ms: int, end_ms: int, x: Scale) -> str:
    parts: list[str] = []
    for number in range(5):
        at_ms = begin_ms + (end_ms - begin_ms) * (2 * number + 1) // 10
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        said = f"{at:%m-%d %H:%M}" if end_ms - begin_ms > 600_000 else f"{at:%H:%M:%S}"
        parts.append(f'<text class="tick" x="{x(at_ms):.1f}" y="{HEIGHT - 7}" text-anchor="middle">{said}</text>')
    return "".join(parts)


def round_numbers(low: float, high: float) -> list[float]:
    """Three to six round numbers between two."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= next((factor for factor in (5, 2) if (high - low) / (step * factor) >= 3), 1)
    places = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [place for place in places if low <= place <= high]  # rounding may put one beyond


def _size(width: float, height: float) -> str:
    return f'width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"'
