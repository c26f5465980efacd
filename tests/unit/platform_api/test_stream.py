"""The hub: newest per device, only what may be seen, and told when something was missed."""

from platform_api.stream import Hub


def flush(device_ids: list[int], at: int) -> dict[str, dict[str, list[int]]]:
    return {
        "streetlight": {
            "device_id": device_ids,
            "observed_at": [at] * len(device_ids),
            "voltage": [at] * len(device_ids),
        }
    }


def test_a_client_is_given_what_comes_after_it_joined_and_each_device_once() -> None:
    hub = Hub(1000)
    client, _ = hub.join(None)
    for at in range(50):
        hub.publish("41280", flush([1, 2], at))
    hub.publish("41280", flush([1], 50))
    assert hub.take(client, 100)["streetlight"] == {"device_id": [2, 1], "observed_at": [49, 50], "voltage": [49, 50]}
    assert hub.take(client, 100) == {}
    assert hub.coalesced > 90


def test_an_older_observation_never_replaces_a_newer_one() -> None:
    hub = Hub(1000)
    client, _ = hub.join(None)
    hub.publish("41280", flush([1], 10))
    hub.publish("41280", flush([1], 9))
    assert hub.take(client, 10)["streetlight"]["voltage"] == [10]


def test_a_client_sees_its_municipalities_only() -> None:
    hub = Hub(1000)
    mine, _ = hub.join(frozenset({"41480"}))
    nobody, _ = hub.join(frozenset())
    hub.publish("41280", flush([1], 1))
    hub.publish("41480", flush([2], 1))
    assert hub.take(mine, 10)["streetlight"]["device_id"] == [2]
    assert hub.take(nobody, 10) == {}


def test_a_backlog_is_given_in_parts_without_loss() -> None:
    hub = Hub(10_000)
    client, _ = hub.join(None)
    hub.publish("41280", flush(list(range(5000)), 1))
    hub.publish("41480", flush(list(range(5000, 7000)), 1))
    seen: list[int] = []
    while columns := hub.take(client, 300):
        assert len(columns["streetlight"]["device_id"]) <= 300
        seen += columns["streetlight"]["device_id"]
    assert sorted(seen) == list(range(7000))


def test_memory_is_bounded_and_a_client_that_missed_something_is_told() -> None:
    hub = Hub(100)
    slow, _ = hub.join(None)
    hub.publish("41280", flush(list(range(500)), 1))
    assert len(hub.take(slow, 1000)["streetlight"]["device_id"]) == 100
    assert slow.missed
    quick, _ = hub.join(None)
    hub.publish("41280", flush([450], 2))
    hub.take(quick, 1000)
    assert not quick.missed


def test_a_new_client_is_given_the_last_seconds_that_a_kept_map_may_lack() -> None:
    hub = Hub(1000)
    hub.publish("41280", flush([1], 1))
    client, as_of = hub.join(None)
    assert hub.take(client, 10)["streetlight"]["device_id"] == [1]
    assert as_of > 0
