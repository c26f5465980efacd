"""When many devices of one group have the same condition at once: which groups there are, and how many are enough.

A lamp's alarm may stand for its circuit, its agent or its municipality; an agent's for its municipality. Narrow before
wide: a dark circuit is one alarm of the circuit. A group alarm of a circuit or an agent takes those that are in no
other group; one of a municipality takes all that are left, and the alarms of its circuits and agents too.
"""

import math
from typing import Any, Literal

import msgspec

Scope = Literal["circuit", "agent", "municipality"]
WARNING, CRITICAL = 2, 3

# At least so many, and at least this share of the group's devices of the kind. Independent faults do not get there: of
# 40 lamps with one in a hundred faulty at a time, five are so once in 20,000 looks, and twenty never. Below five an
# operator reads the single alarms as fast. A municipality's fifty are more than a screen of the list; a fifth of a town
# is no accident of its devices.
CIRCUIT = (5, 0.5)
AGENT = (10, 0.5)
MUNICIPALITY = (50, 0.2)
AGENTS = (5, 0.5)  # agents of a municipality

Place = tuple[str, str | None, str]  # municipality, kind, condition
Cell = tuple[str | None, int | None]  # circuit, agent_id


class Group(msgspec.Struct, frozen=True):
    """Devices of a kind of one circuit, agent (key: its number) or municipality (key: empty); kind None: its agents."""

    scope: Scope
    municipality: str
    kind: str | None
    key: str

    @property
    def subject(self) -> str:
        """As the table's generated column says it."""
        return f"{self.scope} {self.municipality} {self.kind or ''} {self.key}"

    def takes(self, cell: Cell) -> bool:
        """Whether devices of this circuit and agent, of the same municipality and kind, are in the group."""
        if self.scope == "municipality":
            return True
        return self.key == (cell[0] if self.scope == "circuit" else str(cell[1]))


class Tally:
    """Active alarms of one condition, kind and municipality: all of them; those in no group, by circuit and agent;
    group alarms of circuits and agents that are in no group themselves.
    """

    def __init__(self) -> None:
        self.total = 0
        self.groups = 0
        self._loose: dict[Cell, int] = {}
        self._by_circuit: dict[str | None, int] = {}
        self._by_agent: dict[int | None, int] = {}

    def add(self, cell: Cell, more: int) -> None:
        """So many more are in no group."""
        circuit, agent_id = cell
        self._loose[cell] = self._loose.get(cell, 0) + more
        self._by_circuit[circuit] = self._by_circuit.get(circuit, 0) + more
        self._by_agent[agent_id] = self._by_agent.get(agent_id, 0) + more

    def of(self, group: Group) -> int:
        """How many count towards a group."""
        if group.scope == "municipality":
            return self.total
        if group.scope == "circuit":
            return self._by_circuit.get(group.key, 0)
        return self._by_agent.get(int(group.key), 0)

    def take(self, group: Group) -> int:
        """How many go under a group; they are loose no more."""
        cells = [(cell, n) for cell, n in self._loose.items() if n and group.takes(cell)]
        for cell, n in cells:
            self.add(cell, -n)
        return sum(n for _, n in cells)


def groups_of(
    municipality: str, kind: str | None, circuit: str | None, agent_id: int | None, *, device: bool
) -> list[Group]:
    """The groups that an alarm of a device (or of an agent) may stand for, narrow before wide."""
    found: list[Group] = []
    if device and circuit:
        found.append(Group("circuit", municipality, kind, circuit))
    if device and agent_id is not None:
        found.append(Group("agent", municipality, kind, str(agent_id)))
    found.append(Group("municipality", municipality, kind, ""))
    return found


def bounds(group: Group) -> tuple[int, float]:
    """How many at least, and which share of the group."""
    if group.scope == "municipality":
        return AGENTS if group.kind is None else MUNICIPALITY
    return CIRCUIT if group.scope == "circuit" else AGENT


def enough(group: Group, active: int, size: int | None) -> bool:
    """Whether so many active alarms of a group of this size are one alarm of the group."""
    least, share = bounds(group)
    return size is not None and active >= max(least, math.ceil(share * size))


def parameters(group: Group, size: int | None) -> dict[str, Any]:
    """What a group alarm was judged by, for its evidence."""
    least, share = bounds(group)
    return {"scope": group.scope, "of": size, "at_least": least, "share": share}
