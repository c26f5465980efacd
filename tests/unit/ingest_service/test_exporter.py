"""/metrics carries every name of contracts.metrics, with the counts as they stand; /ready and /live say how it is."""

import json
import urllib.error
import urllib.request
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from contracts import metrics
from contracts.readiness import Part, Reason
from ingest_service.counters import Counters
from ingest_service.exporter import _Collector, serve
from ingest_service.health import Health


def samples(counters: Counters) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(_Collector(lambda: counters, lambda: 3, lambda: True, Health()))
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


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def test_ready_is_503_with_reasons_until_all_parts_are_well_and_live_is_200_all_the_while():
    health = Health()
    port = serve(0, Counters, lambda: 0, lambda: True, health)
    status, body = get(port, "/ready")
    assert (status, json.loads(body)["ready"]) == (503, False)
    assert [item["reason"] for item in json.loads(body)["reasons"]] == ["starting", "starting"]
    health.say(Part.BROKER, None)
    health.say(Part.DATABASE, Reason.DISK_FULL, "no room\n")
    status, body = get(port, "/ready")
    (only,) = json.loads(body)["reasons"]
    assert status == 503
    assert (only["part"], only["reason"], only["words"]) == ("database", "disk_full", "no room")
    assert only["means"] == "the database's disk is full"
    assert b'dure_ingest_not_ready_seconds{reason="disk_full"}' in get(port, "/metrics")[1]
    assert get(port, "/live") == (200, b'{"live":true}')
    health.say(Part.DATABASE, None)
    status, body = get(port, "/ready")
    assert (status, json.loads(body)["ready"], json.loads(body)["reasons"]) == (200, True, [])
    assert b"\ndure_ingest_ready 1.0" in get(port, "/metrics")[1]
    assert get(port, "/")[0] == 404
