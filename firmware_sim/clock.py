"""The virtual clock: what time the simulated devices live in, as a pure function of the wall clock.

clock = min(start + speed x elapsed since the first start, wall clock, limit); it never passes the wall clock, because
an observation from the future is refused. Where it ends (a limit, or now when the run doesn't go on at 1x) it stays.
"""

import math
import re
from datetime import UTC, datetime

import msgspec

from firmware_sim import sun
from firmware_sim.geography import TOWNS

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


class Clock(msgspec.Struct, frozen=True):
    start_ms: int
    speed: float  # math.inf: as fast as readers read
    first_wall_ms: int  # wall clock at the first start of the run
    then_realtime: bool = True
    limit_ms: int | None = None

    def at(self, wall_ms: int) -> int:
        """Virtual time at this wall time."""
        elapsed = max(0, wall_ms - self.first_wall_ms)
        reached = math.inf if math.isinf(self.speed) else self.start_ms + self.speed * elapsed
        return int(min(reached, wall_ms, self.end_ms()))

    def end_ms(self) -> float:
        """Virtual time at which the run ends by itself; inf: never."""
        end = math.inf if self.limit_ms is None else float(self.limit_ms)
        if not self.then_realtime and self.speed > 1:
            head = self.first_wall_ms - self.start_ms
            caught_up = self.first_wall_ms + (0.0 if math.isinf(self.speed) else head / (self.speed - 1))
            end = min(end, math.floor(caught_up))
        return end

    def ended(self, wall_ms: int) -> bool:
        """Whether the clock stands still for good."""
        return self.at(wall_ms) >= self.end_ms()


def default_start_ms(now_ms: int) -> int:
    """The latest 'one hour before sunset' in Goyang that lies at least 24 hours ago, to the minute."""
    town = TOWNS["41280"]
    latest = now_ms - DAY_MS
    day = latest // DAY_MS + 1
    while True:
        start = int(sun.crossings_ms(day, town.latitude, town.longitude)[1]) - HOUR_MS
        if start <= latest:
            return start // 60_000 * 60_000
        day -= 1


def group_ms_for(speed: float) -> int:
    """Length of the groups in which observations are numbered: about a line every 17 ms of wall time while playing,
    at most 10 s.
    """
    for group_ms in (1_000, 2_000, 5_000):
        if speed * 1000 / 60 <= group_ms:
            return group_ms
    return 10_000


def instant(text: str) -> int:
    """ms since 1970 of an ISO time (UTC unless it names an offset) or a number of ms; raises ValueError."""
    if re.fullmatch(r"-?\d{9,}", text):
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"cannot read time {text!r}: neither ISO 8601 nor ms since 1970") from None
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def span_ms(text: str) -> int:
    """ms of '90s', '30m', '24h', '14d'; raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|d)", text)
    if found is None:
        raise ValueError(f"cannot read span {text!r}: a number and s, m, h or d, such as 90s or 24h")
    return round(float(found[1]) * {"s": 1_000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS}[found[2]])


def speed_of(text: str) -> float:
    """A factor above 0, or inf for 'max'; raises ValueError."""
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < math.inf:
        raise ValueError(f"cannot read speed {text!r}: a factor above 0, or max")
    return speed
