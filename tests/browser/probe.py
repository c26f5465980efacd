"""An agent that says what a test wants said: batches as `dure edge` sends them, of some lamps and a bay.

LAMP and BAY are well; MAST is the lamp to which things happen, and ROW are six lamps of one circuit.
"""

from __future__ import annotations

import secrets
import time
import tomllib
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from contracts import topics, wire

MUNICIPALITY, AGENT, LAMP, BAY, MAST = "41280", "probe", "probe-lamp", "probe-bay", "probe-mast"
CIRCUIT = "probe-circuit"
ROW = [f"probe-row-{number}" for number in range(1, 7)]
ENTRY = {"municipality": MUNICIPALITY, "agent": AGENT, "replay": False}
DEVICES = [
    {
        "municipality": MUNICIPALITY,
        "device": device,
        "kind": kind,
        "agent": AGENT,
        "latitude": 37.7005,
        "longitude": longitude,
        "label": {"ko": ko, "en": en},
        "attributes": {"circuit": CIRCUIT} if device in ROW else {},
    }
    for device, kind, longitude, ko, en in (
        (LAMP, "streetlight", 126.85, "시험 가로등", "Probe lamp"),
        (BAY, "parking_spot", 126.8506, "시험 주차면", "Probe bay"),
        (MAST, "streetlight", 126.8512, "시험 기둥", "Probe mast"),
        *(
            (name, "streetlight", 126.852 + k * 0.0004, f"시험 줄 {k + 1}", f"Row {k + 1}")
            for k, name in enumerate(ROW)
        ),
    )
]


class Probe:
    """Connected with its own credentials; keeps the numbers of its epoch."""

    def __init__(self, credentials: Path, now_ms: int) -> None:
        told = tomllib.loads(credentials.read_text())
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=told["client_id"])
        self.client.username_pw_set(told["username"], told["password"])
        self.client.connect(told["host"], told["port"])
        self.client.loop_start()
        self.epoch = secrets.randbits(62)
        self.seq = 0
        self.now_ms = now_ms

    def say(self, device: str, kind: str, *, after_s: int = 1, **values: Any) -> int:
        """One observation, so many seconds after the last; its time."""
        self.now_ms += after_s * 1000
        self.seq += 1
        columns = {"device": [device], "observed_at": [self.now_ms], **{name: [v] for name, v in values.items()}}
        header = wire.Header(
            epoch=self.epoch,
            seq=self.seq,
            floor=1,
            nonce=1,
            first=self.seq,
            count=1,
            clock_ms=self.now_ms,
            taken_ms=int(time.time() * 1000),
            backlog=0,
        )
        payload = wire.pack(header, wire.encode_body({kind: columns}))
        topic = topics.of_agent(MUNICIPALITY, AGENT, topics.Channel.BATCH)
        self.client.publish(topic, payload, qos=1).wait_for_publish(10)
        return self.now_ms

    def light(
        self, state: str, *, device: str = LAMP, after_s: int = 1, voltage: float = 221.0, watts: float | None = None
    ) -> int:
        """What a lamp says when it is on, low or off."""
        level = {"on": 1.0, "low": 0.6}.get(state, 0.0)
        power = level * 95.0 if watts is None else watts
        values = {"power_state": state, "illuminance_level": level, "power_consumption": power, "voltage": voltage}
        return self.say(device, "streetlight", after_s=after_s, **values, current=power / 220)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
