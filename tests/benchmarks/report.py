"""What a benchmark found: cases, as a table for people and as JSON for programs.

A case is one figure with its unit, what it is held against (a ceiling or a peer of the same run), the ratio of the two,
and the size of the input. A figure whose result was not checked does not become a case: `Wrong` ends the run instead.
"""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec


class Wrong(Exception):
    """What was measured is not what should have happened, so its time means nothing."""


class Case(msgspec.Struct, frozen=True):
    """One figure. `ratio` is value / baseline_value; `input` says how much of what was worked on."""

    case: str
    value: float
    unit: str
    baseline: str | None = None
    baseline_value: float | None = None
    ratio: float | None = None
    input: str = ""


def case(name: str, value: float, unit: str, *, against: tuple[str, float] | None = None, of: str = "") -> Case:
    """A figure, its ratio worked out. against: (name, value) of the ceiling or the peer. of: the input."""
    if against is None:
        return Case(name, value, unit, input=of)
    baseline, other = against
    return Case(name, value, unit, baseline, other, value / other if other else None, of)


def table(cases: Sequence[Case]) -> str:
    """The cases as lines of text, figures aligned."""
    rows = [("case", "value", "unit", "ratio", "baseline", "", "input")]
    rows += [
        (
            item.case,
            figure(item.value),
            item.unit,
            "" if item.ratio is None else f"{item.ratio:.3g}x",
            item.baseline or "",
            "" if item.baseline_value is None else figure(item.baseline_value),
            item.input,
        )
        for item in cases
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {1, 3, 5}
    lines = [
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def figure(value: float) -> str:
    """A number with as many digits as mean something: 123,456 or 12.3 or 0.0123; - where there is none."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "inf"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def write_json(cases: Sequence[Case], file: Path) -> None:
    """The list of cases, one object each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(list(cases)), indent=1) + b"\n")


_began = time.monotonic()


def progress(words: str) -> None:
    """One line on stderr, with the seconds since the start: whoever waits sees what for."""
    print(f"{time.monotonic() - _began:7.1f} s  {words}", file=sys.stderr, flush=True)
