"""/metrics of the ingest service, for Prometheus, on loopback. Names come from contracts.metrics."""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from contracts import metrics
from ingest_service.counters import LATENCY_BOUNDS_MS, Counters


class _Collector:
    def __init__(
        self, counters: Callable[[], Counters], shed: Callable[[], int], connected: Callable[[], bool]
    ) -> None:
        self._counters, self._shed, self._connected = counters, shed, connected

    def collect(self) -> Iterator[Any]:
        now = self._counters()
        plain = {
            metrics.INGEST_RECEIVED: now.received,
            metrics.INGEST_COMMITTED: now.committed,
            metrics.INGEST_DUPLICATE: now.duplicate,
            metrics.INGEST_OUT_OF_ORDER: now.out_of_order,
            metrics.INGEST_LOST: now.lost,
            metrics.INGEST_MALFORMED: now.malformed,
            metrics.INGEST_SHED: self._shed(),
            metrics.INGEST_FLUSHES: now.flushes,
            metrics.INGEST_ROLLBACKS: now.rollbacks,
            metrics.INGEST_FLUSH_SECONDS: now.flush_seconds,
        }
        for metric, value in plain.items():
            yield CounterMetricFamily(metric.name, metric.help, value=value)
        for metric, values in (
            (metrics.INGEST_QUARANTINED, now.quarantined),
            (metrics.INGEST_FINDINGS, now.findings),
            (metrics.INGEST_ALARMS_OPENED, now.alarms_opened),
        ):
            family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for label, value in dict(values).items():
                family.add_metric([label], value)
            yield family
        yield GaugeMetricFamily(
            metrics.INGEST_CONNECTED.name, metrics.INGEST_CONNECTED.help, value=float(self._connected())
        )
        passed, buckets = 0, []
        for bound, count in zip([*LATENCY_BOUNDS_MS, None], now.latency.counts, strict=True):
            passed += count
            buckets.append(("+Inf" if bound is None else str(bound / 1000), passed))
        yield HistogramMetricFamily(
            metrics.INGEST_LATENCY_SECONDS.name, metrics.INGEST_LATENCY_SECONDS.help, buckets=buckets, sum_value=None
        )


def serve(port: int, counters: Callable[[], Counters], shed: Callable[[], int], connected: Callable[[], bool]) -> int:
    """Serve /metrics; the port. Raises OSError when it is taken."""
    registry = CollectorRegistry()
    registry.register(_Collector(counters, shed, connected))
    server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
    return int(server.server_port)
