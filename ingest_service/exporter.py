"""What the ingest service tells on loopback: /metrics for Prometheus, /ready with its reasons, /live.

`/ready` is 200 when batches go from the broker into the database, and 503 with what keeps them from it otherwise; both
carry the report of `health`. `/live` is 200 while the process answers at all: none of what keeps it waiting is mended
by starting it again. Names of metrics come from contracts.metrics.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer

from contracts import metrics
from contracts.readiness import Reason
from ingest_service.counters import LATENCY_BOUNDS_MS, Counters
from ingest_service.health import Health


class _Collector:
    def __init__(
        self, counters: Callable[[], Counters], shed: Callable[[], int], connected: Callable[[], bool], health: Health
    ) -> None:
        self._counters, self._shed, self._connected, self._health = counters, shed, connected, health

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
        report = self._health.report()
        yield GaugeMetricFamily(metrics.INGEST_READY.name, metrics.INGEST_READY.help, value=float(report.ready))
        waiting = GaugeMetricFamily(
            metrics.INGEST_NOT_READY.name, metrics.INGEST_NOT_READY.help, labels=metrics.INGEST_NOT_READY.labels
        )
        now_for_s = {trouble.reason: trouble.for_s for trouble in report.reasons}
        for reason in Reason:  # all of them, at all times: an alert needs a series to look at
            waiting.add_metric([reason], now_for_s.get(reason, 0.0))
        yield waiting
        passed, buckets = 0, []
        for bound, count in zip([*LATENCY_BOUNDS_MS, None], now.latency.counts, strict=True):
            passed += count
            buckets.append(("+Inf" if bound is None else str(bound / 1000), passed))
        yield HistogramMetricFamily(
            metrics.INGEST_LATENCY_SECONDS.name, metrics.INGEST_LATENCY_SECONDS.help, buckets=buckets, sum_value=None
        )


def serve(
    port: int,
    counters: Callable[[], Counters],
    shed: Callable[[], int],
    connected: Callable[[], bool],
    health: Health,
) -> int:
    """Serve all three from a thread; the port. Raises OSError when it is taken."""
    registry = CollectorRegistry()
    registry.register(_Collector(counters, shed, connected, health))
    tell_metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            found: Iterable[bytes] = tell_metrics(environ, start)
            return found
        report = health.report()
        status, content = {
            "/ready": ("200 OK" if report.ready else "503 Service Unavailable", msgspec.json.encode(report)),
            "/live": ("200 OK", b'{"live":true}'),
        }.get(path, ("404 Not Found", b'{"paths":["/live","/metrics","/ready"]}'))
        start(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [content]

    server = make_server("127.0.0.1", port, answer, ThreadingWSGIServer, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="exporter", daemon=True).start()
    return int(server.server_port)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Requests are not changes of state."""
