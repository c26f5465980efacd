"""/metrics of the ingest service carries every name of contracts.metrics, with the counts as they stand."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from contracts import metrics
from ingest_service.counters import Counters
from ingest_service.exporter import _Collector


def samples(counters: Counters) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(_Collector(lambda: counters, lambda: 3, lambda: True))
    text = generate_latest(registry).decode()
    return {
        (
            sample.name,
            next((value for key, value in sample.labels.items() if key != "le"), sample.labels.get("le", "")),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_count_is_exported_under_its_name():
    counters = Counters()
    counters.received, counters.committed, counters.duplicate = 10, 7, 2
    counters.quarantined["unknown_device"] = 1
    counters.findings["stuck"] = 4
    counters.latency.add(100.0, 7)
    found = samples(counters)
    assert found[metrics.INGEST_RECEIVED.name, ""] == 10
    assert found[metrics.INGEST_COMMITTED.name, ""] == 7
    assert found[metrics.INGEST_DUPLICATE.name, ""] == 2
    assert found[metrics.INGEST_QUARANTINED.name, "unknown_device"] == 1
    assert found[metrics.INGEST_FINDINGS.name, "stuck"] == 4
    assert found[metrics.INGEST_SHED.name, ""] == 3
    assert found[metrics.INGEST_CONNECTED.name, ""] == 1
    assert found[f"{metrics.INGEST_LATENCY_SECONDS.name}_bucket", "+Inf"] == 7


def test_every_metric_of_ingest_in_the_contract_is_exported():
    counters = Counters()
    counters.quarantined = counters.findings = counters.alarms_opened = {"x": 1}
    exported = {name for name, _ in samples(counters)}
    for metric in metrics.ALL:
        if metric.name.startswith("dure_ingest_"):
            names = {metric.name, f"{metric.name}_bucket"}
            assert names & exported, metric.name
