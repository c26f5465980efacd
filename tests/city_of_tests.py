"""A small registered city, and batches of its agents, for tests that open no socket."""

from contracts import profiles, topics, wire
from contracts.cursor import Position
from contracts.topics import Channel
from ingest_service.admission import Admission, Message
from ingest_service.registry import Registry

NOW_MS = 1_780_000_000_000
KINDS = profiles.load(environ={})
AGENTS = {"pole-01": 11, "pole-02": 12, "old-01": 13}  # of 41280; old-01 replays
DEVICES = {  # name -> (device_id, kind), of 41280
    "sl-1": (101, "streetlight"),
    "sl-2": (102, "streetlight"),
    "bin-1": (103, "waste_container"),
    "bay-1": (104, "parking_spot"),
    "garage-1": (105, "off_street_parking"),
}


def registry(*, more_lights: int = 0) -> Registry:
    """Goyang with its agents and devices, and one of each in Paju."""
    found = Registry()
    found.put_municipality("41280")
    found.put_municipality("41480")
    for name, agent_id in AGENTS.items():
        found.put_agent(agent_id, "41280", name, name.startswith("old"))
    found.put_agent(21, "41480", "pole-01", False)
    for name, (device_id, kind) in DEVICES.items():
        found.put_device(device_id, "41280", name, kind)
    found.put_device(201, "41480", "paju-1", "streetlight")
    for number in range(more_lights):
        found.put_device(1000 + number, "41280", f"light-{number}", "streetlight")
    return found


def admission(known: Registry) -> Admission:
    return Admission(KINDS, known, ahead_limit_s=120, past_limit_days=90)


def nothing_committed(keys):
    return dict.fromkeys(keys, Position())


def lights(*rows) -> dict:
    """Body groups of (device, seconds before NOW, {property: value}) rows of streetlights."""
    names = sorted({name for _, _, values in rows for name in values})
    return {
        "streetlight": {
            "device": [device for device, _, _ in rows],
            "observed_at": [NOW_MS - 1000 * ago for _, ago, _ in rows],
            **{name: [values.get(name) for _, _, values in rows] for name in names},
        }
    }


def batch(groups, *, agent="pole-01", town="41280", shard=None, **header) -> Message:
    """A batch as an agent sends it; `groups` may be a body's bytes."""
    body = groups if isinstance(groups, bytes) else wire.encode_body(groups)
    fields = {"epoch": 1, "seq": 1, "floor": 1, "nonce": 5, "first": 1, "clock_ms": NOW_MS, "taken_ms": NOW_MS - 50}
    fields |= {"backlog": 0, "count": 1 if isinstance(groups, bytes) else wire.count_of(groups)} | header
    topic = topics.of_agent(town, agent, Channel.BATCH)
    if shard is not None:
        topic = topics.build(topics.Topic(shard, town, agent, Channel.BATCH))
    return Message(topic, wire.pack(wire.Header(**fields), body))
