"""Metrics of the API, under the names of contracts.metrics."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from contracts import metrics
from platform_api.stream import Hub

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measured:
    """One registry a process."""

    def __init__(self, hub: Hub) -> None:
        self.registry = CollectorRegistry()

        def made(kind: Any, metric: metrics.Metric, **more: Any) -> Any:
            return kind(metric.name, metric.help, metric.labels, registry=self.registry, **more)

        self.requests: Counter = made(Counter, metrics.API_REQUESTS)
        self.seconds: Histogram = made(Histogram, metrics.API_REQUEST_SECONDS, buckets=BUCKETS_S)
        made(Gauge, metrics.API_STREAM_CLIENTS).set_function(lambda: len(hub.clients))
        made(Gauge, metrics.API_BROKER_CONNECTED).set_function(lambda: float(hub.connected))
        self.registry.register(_Coalesced(hub))


class _Coalesced(Collector):
    """The hub's own count, read when asked for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> list[Metric]:
        metric = metrics.API_STREAM_COALESCED
        family = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help)
        family.add_metric([], self._hub.coalesced)
        return [family]
