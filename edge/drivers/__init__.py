"""Drivers bring observations into the agent. The registry below is the list of them; each is one module.

A driver never blocks and never raises for what a device sent: it hands on what it read, and the outbox counts what is
malformed. A driver whose source can resume numbers the observations and is told, at the start, the number stored last.
"""

from collections.abc import Callable
from typing import Protocol

from edge.drivers.replay import Replay
from edge.drivers.sim import Sim
from edge.outbox import Reading
from edge.settings import Settings


class Driver(Protocol):
    """What the agent's loop asks of a driver."""

    source: str  # under this name the outbox keeps the number of the last observation stored
    patient: bool  # the source waits for us: take nothing while the outbox would have to drop something
    ended: bool  # nothing more will ever come

    def resume(self, after: int) -> None:
        """Begin, or begin again, behind observation `after`; 0 for the beginning."""

    def poll(self, now_ms: int, wall_ms: int) -> Reading | None:
        """What there is, at most some hundred observations; None when there is nothing now."""

    def due_ms(self, now_ms: int) -> int:
        """When to poll again at the latest, by the monotonic clock."""

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when there is something, if there is such a thing."""

    def clock_ms(self, wall_ms: int) -> int:
        """The driver's clock: the wall clock, unless its world has another; 0 while that is not known."""

    def close(self) -> None: ...


DRIVERS: dict[str, Callable[[Settings], Driver]] = {
    "sim": lambda settings: Sim(settings.source, f"{settings.municipality}/{settings.agent}"),
    "replay": lambda settings: Replay(settings.source, speed=settings.speed, times=settings.times),
}


def make(settings: Settings) -> Driver:
    return DRIVERS[settings.driver](settings)
