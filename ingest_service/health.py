"""What keeps the service from being ready, since when, and in whose words; told by its parts, asked by `/ready`.

Promise: one log line a change: `<part>.not_ready` with the reason when it arises or becomes another one, `<part>.ready`
when it is over. Saying the same again costs a lock and a comparison, and logs nothing. Any thread may say or ask.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from contracts.log import log
from contracts.readiness import MEANS, Part, Reason

STALL_S = 20.0  # twice the longest wait for a lock, after which a statement is given up


class Trouble(msgspec.Struct, frozen=True):
    """One part that is not ready."""

    part: Part
    reason: Reason
    means: str
    words: str  # as the broker or the database said it
    since: str  # UTC
    for_s: float


class Report(msgspec.Struct, frozen=True):
    """The answer of `/ready`."""

    ready: bool
    since: str  # UTC; of being ready, or of the oldest reason
    reasons: list[Trouble]


class _State(msgspec.Struct):
    reason: Reason
    words: str
    since_s: float


class Health:
    """What each part last said. A part that has said nothing is well; those in `waiting_for` must first say so."""

    def __init__(
        self, waiting_for: tuple[Part, ...] = (Part.BROKER, Part.DATABASE), clock: Callable[[], float] = time.time
    ) -> None:
        now_s = clock()
        self._clock = clock
        self._lock = threading.Lock()
        self._troubles = {part: _State(Reason.STARTING, "", now_s) for part in waiting_for}
        self._since_s = now_s
        self._turned_s: float | None = None

    def say(self, part: Part, reason: Reason | None, words: object = "") -> None:
        """A part is well (None), or is not, for this reason."""
        now_s = self._clock()
        text = str(words).strip()
        with self._lock:
            before = self._troubles.get(part)
            if reason is None:
                if before is None:
                    return
                del self._troubles[part]
                if not self._troubles:
                    self._since_s = now_s
            elif before is not None and before.reason is reason:
                before.words = text
                return
            else:
                since_s = before.since_s if before is not None and before.reason is not Reason.STARTING else now_s
                self._troubles[part] = _State(reason, text, since_s)
        if reason is not None:
            log(f"{part}.not_ready", level="warning", reason=reason, words=text)
        elif before is not None and before.reason is not Reason.STARTING:
            log(f"{part}.ready", after_s=round(now_s - before.since_s, 1), reason=before.reason)

    def turn(self) -> None:
        """The round begins anew; between two turns may lie STALL_S at most."""
        self._turned_s = self._clock()

    def report(self) -> Report:
        """All that is not ready now, oldest first."""
        now_s = self._clock()
        with self._lock:
            found = [(part, state.reason, state.words, state.since_s) for part, state in self._troubles.items()]
            since_s = self._since_s
        turned_s = self._turned_s
        if turned_s is not None and now_s - turned_s > STALL_S:
            found.append((Part.ROUND, Reason.STALLED, "", turned_s))
        found.sort(key=lambda item: item[3])
        troubles = [
            Trouble(part, reason, MEANS[reason], words, _utc(at_s), round(max(0.0, now_s - at_s), 1))
            for part, reason, words, at_s in found
        ]
        return Report(not troubles, _utc(since_s) if not troubles else troubles[0].since, troubles)


def _utc(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
