"""What a replay found, as text for a terminal."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from ingest_service.replay import marks
from ingest_service.replay.detect import Result
from ingest_service.replay.episodes import Episode, begin_of
from ingest_service.replay.tally import Row

FATES = {"same": "found", "other": "by another detector", "gone": "not found"}


def text(result: Result) -> str:
    """The summary, a table of what was found, and what became of alarms that people have judged."""
    lines = [*_head(result), ""]
    rows = [_row(result, key[0], key[1], key[2], row) for key, row in result.rows.items()]
    lines += aligned([_columns(result), *rows]) if rows else ["nothing was found"]
    if result.marks:
        lines += ["", *_fates(result)]
    return "\n".join(lines) + "\n"


def rate(row: Row, number: int, device_days: float) -> float | None:
    """Episodes a device-day; None where no device was heard for any time."""
    return row.episodes[number] / device_days if device_days else None


def _head(result: Result) -> Iterator[str]:
    if not result.complete:
        yield f"PARTIAL: interrupted; every process came to {at(result.until_ms)} at least"
    begin = f"from {at(int(result.wish.begin.timestamp() * 1000))}" if result.wish.begin else "from the beginning"
    days, heard = sum(result.device_days.values()), sum(result.devices.values())
    yield f"{begin} to {at(result.until_ms)} (UTC), {' and '.join(result.names)}"
    yield (
        f"{result.observations:,} observations of {heard:,} devices, {days:,.1f} device-days; {result.seconds:,.1f} s, "
        f"{result.observations / max(result.seconds, 1e-3):,.0f} observations/s, {result.processes} processes"
    )


def _columns(result: Result) -> list[str]:
    fixed = ["kind", "property", "detector"]
    if len(result.names) == 1:
        return [*fixed, "episodes", "devices", "a device-day", "open", "worst"]
    first, second = result.names
    return [
        *fixed,
        first,
        second,
        "both",
        f"only {first}",
        f"only {second}",
        f"a device-day: {first}",
        second,
        "worst of only one",
    ]


def _row(result: Result, kind: str, name: str, detector: str, row: Row) -> list[str]:
    rates = [rate(row, number, result.device_days.get(kind, 0.0)) for number in range(len(result.names))]
    said = ["" if item is None else f"{item:.4f}" for item in rates]
    if len(result.names) == 1:
        counts = [f"{row.episodes[0]:,}", f"{row.devices[0]:,}", said[0], f"{row.open[0]:,}"]
        return [kind, name, detector, *counts, _example(row.examples["all"][:1])]
    counts = [*(f"{count:,}" for count in (*row.episodes, row.both, *row.alone))]
    return [kind, name, detector, *counts, *said, _example(row.examples.get("1") or row.examples.get("0") or [])]


def _example(episodes: Sequence[Episode]) -> str:
    return " ".join(f"{item.municipality}/{item.device} {at(begin_of(item))}" for item in episodes[:1])


def _fates(result: Result) -> Iterator[str]:
    yield "alarms of that time that people closed with a cause, and what detectors say of them now"
    names = result.names
    head = [
        "cause",
        "alarms",
        *(word if len(names) == 1 else f"{name}: {word}" for name in names for word in FATES.values()),
    ]
    counts = [marks.counted(result.marks, number) for number in range(len(names))]
    rows = [
        [cause, str(counts[0][cause]["all"]), *(str(count[cause][fate]) for count in counts for fate in FATES)]
        for cause in counts[0]
    ]
    yield from aligned([head, *rows])
    for number, name in enumerate(names):
        false, real = counts[number].get("false"), counts[number].get("real")
        said = [f"{false['gone']} of {false['all']} marked false would vanish"] if false else []
        said += [f"{real['gone']} of {real['all']} marked real would be lost"] if real else []
        if said:
            yield f"{name}: {', '.join(said)}"


def at(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns of one width; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [
        all(not cell or cell.replace(",", "").replace(".", "").isdigit() for cell in column)
        for column in zip(*rows[1:], strict=True)
    ] or [False] * len(widths)
    return [
        "  ".join(
            cell.rjust(width) if side else cell.ljust(width)
            for cell, width, side in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
