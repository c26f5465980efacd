"""A condition that is logged on entering and on leaving, not in between."""

from contracts.log import log


class Condition:
    """`name` in the log; `update` tells whether it holds now."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.holds = False

    def update(self, holds: bool, **fields: object) -> None:
        if holds != self.holds:
            self.holds = holds
            log(self.name if holds else f"{self.name}_over", level="warning" if holds else "info", **fields)
