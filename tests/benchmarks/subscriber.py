"""The ceiling of single messages: how many `mosquitto_sub`, a subscriber in C, receives of the same messages.

It writes to /dev/null. What it has received is read from the bytes that the kernel counts for its process, so it is
not slowed by being watched; and the load runs ahead of it by so many messages and no more, so that none is dropped.
"""

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np

from contracts import topics
from contracts.topics import Channel
from tests.benchmarks import stack
from tests.benchmarks.load import Load
from tests.benchmarks.report import Wrong, progress
from tests.waiting import wait_for

AHEAD = 20_000  # messages
LOOK_S = 0.003
PATIENCE_S = 30.0


def receive_rate(load: Load, broker_name: str, place: Path, seconds: float) -> float | None:
    """Messages a second, None where there is no mosquitto_sub."""
    program = shutil.which("mosquitto_sub")
    if program is None:
        progress("there is no mosquitto_sub to compare with: apt-get install mosquitto-clients")
        return None
    with stack.broker(broker_name, place) as broker:
        account = broker.account
        command = [program, "-h", account.host, "-p", str(account.port), "-i", "ceiling", "-u", account.username, "-P",
                   account.password, "-q", str(load.plan.qos), "-t", topics.filters(Channel.BATCH)[0]]  # fmt: skip
        process = subprocess.Popen([*command, "-V", "mqttv311"], stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_for(lambda: _settled(process.pid), 20)
            base = _read(process.pid)
            arrives = np.cumsum(load.length)
            sending = stack.Sending(load.folder, broker)
            try:
                return _carry(process, base, arrives, sending, seconds)
            finally:
                sending.stop()
        finally:
            stack.end(process)


def _carry(
    process: subprocess.Popen[bytes], base: int, arrives: np.ndarray, sending: stack.Sending, seconds: float
) -> float:
    total, granted = len(arrives), 0
    wait_for(lambda: sending.lines, 60)
    began = changed = time.monotonic()
    received = 0
    while True:
        now = time.monotonic()
        found = int(np.searchsorted(arrives, _read(process.pid) - base, side="right"))
        changed = now if found > received else changed
        received = found
        if now - began < seconds:
            granted = min(total, received + AHEAD)
            sending.grant(granted)
        if received >= granted:
            break
        if process.poll() is not None or now - changed > PATIENCE_S:
            raise Wrong(f"mosquitto_sub received {received} of {granted} messages")
        time.sleep(LOOK_S)
    return received / (changed - began)


def _settled(pid: int) -> bool:
    """Whether the process has stopped reading: it has connected and subscribed."""
    before = _read(pid)
    time.sleep(0.5)
    return before > 0 and _read(pid) == before


def _read(pid: int) -> int:
    """Bytes that a process has read so far."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])
