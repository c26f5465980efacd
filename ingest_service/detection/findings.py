"""What detectors say: one Finding for each condition that begins or ends, made from what a kernel told of a row."""

from typing import Any

import msgspec
import numpy as np

from ingest_service.columns import Block
from ingest_service.detection.monitor_limits import CLEARED, NAMES, OUT_OF_RANGE, RATE_OF_CHANGE, STUCK, SUSPECT, Limits
from ingest_service.detection.watches import Noted


class Finding(msgspec.Struct, frozen=True):
    """What a detector says of one observation: a condition begins or ends."""

    kind: str
    slot: int
    detector: str  # of contracts.profiles.CONDITIONS
    property: str | None
    begins: bool
    at_ms: int
    value: float | None
    low: float | None
    high: float | None
    expected: float | None
    score: float | None = None
    detail: dict[str, Any] | None = None  # what else decided


def noted(block: Block, name: str, said: Noted) -> Finding:
    slot, at_ms = int(block.slot[said.row]), int(block.observed_ms[said.row])
    return Finding(
        block.kind,
        slot,
        said.detector,
        name,
        bool(said.begins),
        at_ms,
        said.value,
        said.low,
        said.high,
        said.expected,
        said.score,
        said.detail,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def of_device(kind: str, slot: int, detector: str, begins: bool, at_ms: int) -> Finding:
    return Finding(kind, slot, detector, None, begins, at_ms, None, None, None, None)


def explain(
    block: Block, name: str, limits: Limits, row: int, change: int, value: float, told: list[float]
) -> list[Finding]:
    """Findings of one value; told is what `monitors.step` tells of it."""
    found = []
    expects, scale, reached = told
    for bit, detector in NAMES.items():
        begins, ends = bool(change & bit), bool(change >> CLEARED & bit)
        if not begins and not ends:
            continue
        low: float | None = None
        high: float | None = None
        expected: float | None = None
        if bit == OUT_OF_RANGE:
            low, high = _finite(limits.low), _finite(limits.high)
        elif bit not in (STUCK, RATE_OF_CHANGE):
            expected = expects
            width = limits.spike * scale if np.isfinite(limits.spike) else SUSPECT * scale
            low, high = expected - width, expected + width
        slot, at_ms = int(block.slot[row]), int(block.observed_ms[row])
        score = 1.0 - 1.0 / (1.0 + max(reached, 1.0)) if begins else None
        found.append(Finding(block.kind, slot, detector, name, begins, at_ms, value, low, high, expected, score))
    return found
