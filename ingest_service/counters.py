"""What a worker counts, and the latency of observations as a histogram that survives a restart."""

from bisect import bisect_left
from collections import deque
from typing import Any

RATE_SPAN_S = 10.0
LATENCY_BOUNDS_MS = [round(1.25**step, 3) for step in range(60)]  # 1 ms to 521 s, a quarter apart


class Latency:
    """Histogram of milliseconds, weighted by observations."""

    def __init__(self, counts: list[int] | None = None) -> None:
        size = len(LATENCY_BOUNDS_MS) + 1
        self.counts = counts if counts is not None and len(counts) == size else [0] * size

    def add(self, ms: float, observations: int) -> None:
        self.counts[bisect_left(LATENCY_BOUNDS_MS, ms)] += observations

    def quantile(self, share: float) -> float | None:
        """Upper bound of the bucket that holds the quantile, in ms; None before the first observation."""
        total = sum(self.counts)
        if total == 0:
            return None
        passed = 0
        for bound, count in zip([*LATENCY_BOUNDS_MS, float("inf")], self.counts, strict=True):
            passed += count
            if passed >= share * total:
                return min(bound, LATENCY_BOUNDS_MS[-1])
        return LATENCY_BOUNDS_MS[-1]


class Counters:
    """Counts since this process started; `told` continues the latency of the worker's earlier processes."""

    def __init__(self, told: dict[str, Any] | None = None) -> None:
        self.received = self.committed = self.duplicate = self.out_of_order = self.lost = 0
        self.malformed = self.flushes = self.rollbacks = 0
        self.quarantined: dict[str, int] = {}
        self.findings: dict[str, int] = {}
        self.alarms_opened: dict[str, int] = {}
        self.flush_seconds = 0.0
        histogram = (told or {}).get("latency_ms_histogram") or {}
        self.latency = Latency(histogram.get("counts"))
        self._recent: deque[tuple[float, int]] = deque()

    def note_rate(self, now_s: float, committed: int) -> None:
        self._recent.append((now_s, committed))

    def rate(self, now_s: float) -> float:
        """Observations a second over the last RATE_SPAN_S."""
        while self._recent and self._recent[0][0] < now_s - RATE_SPAN_S:
            self._recent.popleft()
        return sum(count for _, count in self._recent) / RATE_SPAN_S

    def tell(self, now_s: float, shed: int) -> dict[str, Any]:
        """What the status page shows of this worker."""
        return {
            "observations_per_s": round(self.rate(now_s), 1),
            "latency_p50_ms": self.latency.quantile(0.50),
            "latency_p99_ms": self.latency.quantile(0.99),
            "latency_ms_histogram": {"bounds": LATENCY_BOUNDS_MS, "counts": self.latency.counts},
            "flushes": self.flushes,
            "rollbacks": self.rollbacks,
            "malformed": self.malformed,
            "shed": shed,
            "findings": self.findings,
            "alarms_opened": self.alarms_opened,
        }
