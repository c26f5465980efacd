"""The account of a demo: figures from both sides, faults against alarms, and when it is good."""

from typing import Any

from deploy.demo import account

LABEL = {
    "municipality": "41280", "device": "sl-1", "property": "voltage", "fault": "stuck",
    "onset_at": 1_000_000, "end_at": 2_000_000, "severity": 1.0,
}  # fmt: skip


def alarm(**changes: Any) -> dict[str, Any]:
    return {
        "alarm_id": 1, "municipality": "41280", "device": "sl-1", "property": "voltage", "detector": "stuck",
        "opened_at": 1_500_000,
    } | changes  # fmt: skip


def figures(**changes: Any) -> dict[str, Any]:
    counted = {
        "committed": 90, "quarantined": 10, "duplicates": 3, "committed_twice": 0, "alarms_opened": 1,
        "alarms_by_fault": {"stuck": 1}, "quarantined_by_reason": {"unknown_device": 10}, "received": 103,
        "out_of_order": 0, "dropped_by_outboxes": 0, "hours_rolled_up": 2,
        "workers": {"ingest-0": {"latency_ms_histogram": {"bounds": [1.0, 10.0, 100.0], "counts": [5, 80, 5, 0]}}},
    }  # fmt: skip
    counted["sql"] = {name: f"select {name}" for name in counted}
    given: dict[str, Any] = {
        "generated": {"generated": 100, "clock_ms": 1_600_000}, "counted": counted | changes,
        "latency_before": {"ingest-0": [5, 0, 0, 0]}, "committed_before": 40, "seconds": 10.0,
        "labels": [LABEL], "alarms": [alarm()], "drained": True,
    }  # fmt: skip
    return account.report(**given)


def test_it_adds_up_what_the_devices_and_the_database_counted() -> None:
    found = figures()
    assert (found["generated"], found["committed"], found["quarantined"], found["lost"]) == (100, 90, 10, 0)
    assert found["observations_per_s"] == 5.0  # of this run: what was committed before does not count
    assert (found["latency_p50_ms"], found["latency_p99_ms"]) == (10.0, 100.0)
    assert found["sources"]["committed"] == "select committed"
    assert found["faults"] == {"stuck": {"injected": 1, "found": 1, "at_work": 0}}
    assert found["alarms_without_fault"] == 0
    assert account.good(found)


def test_every_figure_names_its_source() -> None:
    found = figures()
    assert set(found["sources"]) == set(found) - {"sources", "this_run", "alarms_without_fault"}


def test_it_is_not_good_when_something_is_lost_doubled_or_still_waiting() -> None:
    assert not account.good(figures(committed=89))
    assert figures(committed=89)["lost"] == 1
    assert not account.good(figures(committed_twice=1))
    assert not account.good(figures() | {"drained": False})


def test_a_quantile_is_the_upper_bound_of_its_bucket() -> None:
    def check(share: float, expected: float | None, *counts: int) -> None:
        assert account.quantile_ms([1.0, 10.0, 100.0], list(counts), share) == expected

    check(0.5, 1.0, 1, 0, 0, 0)
    check(0.5, 10.0, 1, 3, 0, 0)
    check(0.99, 100.0, 0, 90, 10, 0)
    check(0.99, 100.0, 0, 0, 0, 7)  # beyond the last bound
    check(0.5, None, 0, 0, 0, 0)


def test_a_fault_is_found_by_an_alarm_of_its_device_property_detector_and_time_only() -> None:
    def check(found: int, unexplained: int, *alarms: dict[str, Any]) -> None:
        rows, others = account.match_faults([LABEL], list(alarms), 3_000_000)
        assert (rows["stuck"]["found"], others) == (found, unexplained)

    check(1, 0, alarm())
    check(0, 1, alarm(device="sl-2"))
    check(0, 1, alarm(municipality="41480"))
    check(0, 1, alarm(property="current"))
    check(0, 1, alarm(opened_at=900_000))
    check(0, 1, alarm(opened_at=2_000_000 + account.LATE_MS + 1))
    check(0, 0, alarm(detector="spike"))  # the fault explains it, but is not found by it
    check(1, 1, alarm(), alarm(alarm_id=2, device="sl-2"))
    check(1, 0, alarm(), alarm(alarm_id=2, device=None, group={"scope": "circuit"}))


def test_a_fault_that_is_not_over_may_still_be_found() -> None:
    assert account.match_faults([LABEL], [], 1_999_999)[0]["stuck"] == {"injected": 1, "found": 0, "at_work": 1}
    assert account.match_faults([LABEL], [], 2_000_000)[0]["stuck"] == {"injected": 1, "found": 0, "at_work": 0}


def test_a_fault_that_has_not_begun_does_not_count() -> None:
    assert account.match_faults([LABEL], [], 999_999) == ({}, 0)


def test_the_text_tells_what_the_numbers_are_of() -> None:
    text = account.text(figures(), continued_since="2026-11-22 18:27")
    assert "everything since 2026-11-22 18:27" in text
    assert "unknown_device 10" in text and "stuck 1 of 1" in text
