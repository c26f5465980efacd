"""The life of alarms, as a pure function: what changes do to the alarms that are there.

Promise: one change after the other, so that what comes out depends on the order of changes alone and not on how they
are cut into flushes. A condition that is back soon after it cleared reopens its alarm; one that begins inside a
maintenance window is suppressed; when enough of a circuit, an agent's devices or a municipality have the same condition
at once, one group alarm opens and they are folded under it, those that were there before as well (`alarm_groups` says
how many are enough). What is stored, and the reading of what a batch of changes touches, belong to `store.alarm_rows`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from ingest_service import alarm_groups
from ingest_service.alarm_groups import CRITICAL, WARNING, Cell, Group, Place, Scope, Tally
from ingest_service.alarms import Change

State = Literal["open", "acknowledged", "suppressed", "cleared", "closed"]
Key = tuple[str, str]  # subject, condition
ACTIVE = ("open", "acknowledged")
REOPEN_MS = 600_000  # back within this, or within three reports of its kind: the same alarm
REOPEN_REPORTS = 3


class Alarm(msgspec.Struct, eq=False, kw_only=True):
    """A row of `alarm`, as far as its life needs it."""

    alarm_id: int = 0  # 0: not stored yet
    municipality: str
    device_id: int | None
    agent_id: int | None
    kind: str | None
    circuit: str | None
    condition: str
    detector: str
    property: str | None
    severity: int
    state: State
    opened_ms: int
    last_ms: int
    cleared_ms: int | None = None
    findings: int = 1
    occurrences: int = 1
    acknowledged: bool = False
    parent: "Alarm | None" = None
    scope: Scope | None = None
    key: str | None = None
    size: int | None = None
    members_open: int = 0
    members_most: int = 0
    window_id: int | None = None
    evidence: dict[str, Any] | None = None  # None: as it is stored
    raised: bool = False  # waits for somebody from now on, and not from when it first did
    via: int | None = None  # device whose agent carries the news of a group


class Event(msgspec.Struct, frozen=True):
    alarm: Alarm
    event: str
    at_ms: int | None
    detail: dict[str, Any]


class Device(msgspec.Struct, frozen=True):
    """What an alarm's groups and windows go by."""

    name: str
    kind: str
    circuit: str | None
    agent_id: int | None
    agent: str | None


class Window(msgspec.Struct, frozen=True):
    """A maintenance window; times in ms, the end excluded."""

    window_id: int
    municipality: str
    scope: str
    target: str
    begins_ms: int
    ends_ms: int

    def covers(self, municipality: str, at_ms: int, device: Device | None, agent: str | None) -> bool:
        """Whether an alarm of this device (or agent) that begins at at_ms begins inside."""
        if municipality != self.municipality or not self.begins_ms <= at_ms < self.ends_ms:
            return False
        if self.scope == "municipality":
            return True
        if self.scope == "agent":
            return self.target == agent
        if device is None:
            return False
        return self.target == {"kind": device.kind, "circuit": device.circuit, "device": device.name}[self.scope]


class World(msgspec.Struct, kw_only=True):
    """What a batch of changes may touch. `alarms`: the newest of each key, whatever its state."""

    alarms: dict[Key, Alarm]
    devices: Mapping[int, Device]
    agents: Mapping[int, str]  # agent_id -> name, of alarms of agents
    windows: list[Window]
    tallies: dict[Place, Tally]
    sizes: Mapping[Group, int]
    report_ms: Mapping[str, int]  # kind -> report period


class Fold(msgspec.Struct, frozen=True):
    """A group alarm that opened: whatever is active in the group and in no other goes under it."""

    group: Group
    alarm: Alarm
    condition: str


class Outcome(msgspec.Struct):
    """What is to be stored, in this order: new and changed alarms, folds of those that were not at hand, events."""

    touched: list[Alarm]
    folds: list[Fold]
    events: list[Event]


def groups_of(alarm: Alarm) -> list[Group]:
    """The groups that an alarm may stand for, narrow before wide."""
    return alarm_groups.groups_of(
        alarm.municipality, alarm.kind, alarm.circuit, alarm.agent_id, device=alarm.device_id is not None
    )


def _place(alarm: Alarm) -> Place:
    return alarm.municipality, alarm.kind, alarm.condition


class Life:
    """One batch of changes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._touched: dict[int, Alarm] = {}  # by id(): in the order of the first touch
        self._folds: list[Fold] = []
        self._events: list[Event] = []
        self._loose: dict[Place, dict[Cell | str, dict[int, Alarm]]] = {}
        for alarm in world.alarms.values():
            self._wander(alarm)

    def outcome(self) -> Outcome:
        return Outcome(list(self._touched.values()), self._folds, self._events)

    def take(self, changes: Iterable[Change]) -> Outcome:
        for change in changes:
            if change.begins:
                self.begin(change)
            else:
                self.end(change)
        return self.outcome()

    def begin(self, change: Change) -> None:
        """A condition holds: a new alarm, one that is back, or one more finding of the one that is active."""
        alarm = self.world.alarms.get(change.key())
        if alarm is not None and alarm.state in (*ACTIVE, "suppressed"):
            alarm.findings += 1
            alarm.last_ms = max(alarm.last_ms, change.at_ms)
            self._touch(alarm)
            return
        device = self.world.devices.get(change.device_id) if change.device_id is not None else None
        agent = device.agent if device else self.world.agents.get(change.agent_id or 0)
        window = next(
            (item for item in self.world.windows if item.covers(change.municipality, change.at_ms, device, agent)), None
        )
        if alarm is not None and self._soon(alarm, change.at_ms):
            self._again(alarm, change.at_ms, change.evidence)
        else:
            alarm = Alarm(
                municipality=change.municipality, device_id=change.device_id,
                agent_id=device.agent_id if device else change.agent_id, kind=change.kind,
                circuit=device.circuit if device else None, condition=change.condition, detector=change.detector,
                property=change.property, severity=change.severity, state="open", opened_ms=change.at_ms,
                last_ms=change.at_ms, evidence=change.evidence,
            )  # fmt: skip
            self.world.alarms[change.key()] = alarm
            self._say(alarm, "opened", change.at_ms)
        self._touch(alarm)
        if window is not None:
            alarm.state, alarm.window_id, alarm.parent = "suppressed", window.window_id, None
            self._say(alarm, "suppressed", None, window_id=window.window_id)
        else:
            self._join(alarm, change.at_ms)

    def end(self, change: Change) -> None:
        """A condition holds no more."""
        alarm = self.world.alarms.get(change.key())
        if alarm is None or alarm.state not in (*ACTIVE, "suppressed"):
            return
        counted = alarm.state != "suppressed"
        self._clear(alarm, change.at_ms)
        if counted:
            self._leave(alarm, change.at_ms)

    def release(self, alarm: Alarm) -> None:
        """Its maintenance window has ended, and it still holds: it waits for somebody from now on."""
        alarm.state, alarm.raised = "open", True
        self._touch(alarm)
        self._say(alarm, "released", None, window_id=alarm.window_id)
        self._join(alarm, alarm.last_ms)

    # Members and their groups.

    def _join(self, alarm: Alarm, at_ms: int) -> None:
        """A device's (or agent's) alarm is active now: fold it under its group, or open the group that it completes."""
        tally = self.world.tallies[_place(alarm)]
        groups = groups_of(alarm)
        alarm.parent = next((found for group in groups if (found := self._active(group, alarm.condition))), None)
        tally.total += 1
        if alarm.parent is not None:
            self._count(alarm.parent, 1)
        else:
            tally.add((alarm.circuit, alarm.agent_id), 1)
            self._wander(alarm)
        for group in groups:
            if self._active(group, alarm.condition) is None and self._due(group, alarm, tally):
                self._gather(group, alarm, tally, at_ms)

    def _due(self, group: Group, alarm: Alarm, tally: Tally) -> bool:
        """Whether a group has enough active alarms for one of its own. A municipality counts all, a circuit or an agent
        those that are in no other group.
        """
        if group.scope != "municipality" and alarm.parent is not None:
            return False
        return alarm_groups.enough(group, tally.of(group), self.world.sizes.get(group))

    def _gather(self, group: Group, cause: Alarm, tally: Tally, at_ms: int) -> None:
        """Open the alarm of a group, and fold under it what is active in it and in no other group."""
        members = tally.take(group)
        if group.scope == "municipality":
            members += tally.groups
            tally.groups = 0
        key = (group.subject, cause.condition)
        alarm = self.world.alarms.get(key)
        size = self.world.sizes.get(group)
        evidence = {"parameters": {**alarm_groups.parameters(group, size), "active": members}}
        severity = CRITICAL if group.scope == "municipality" else max(WARNING, cause.severity)
        if alarm is not None and self._soon(alarm, at_ms):
            self._again(alarm, at_ms, evidence)
            alarm.size, alarm.members_open, alarm.members_most = size, members, max(members, alarm.members_most)
            alarm.parent = None
        else:
            alarm = Alarm(
                municipality=group.municipality, device_id=None,
                agent_id=int(group.key) if group.scope == "agent" else None, kind=group.kind,
                circuit=group.key if group.scope == "circuit" else None, condition=cause.condition,
                detector=cause.detector, property=cause.property, severity=severity, state="open", opened_ms=at_ms,
                last_ms=at_ms, scope=group.scope, key=group.key, size=size, members_open=members, members_most=members,
                evidence=evidence,
            )  # fmt: skip
            self.world.alarms[key] = alarm
            self._say(alarm, "opened", at_ms)
        alarm.via = cause.device_id
        self._touch(alarm)
        for other in self._loose_in(group, cause.condition):
            other.parent = alarm
            self._touch(other)
            self._say(other, "grouped", None)
            self._wander(other)
        self._folds.append(Fold(group, alarm, cause.condition))
        if group.scope != "municipality":
            wider = self._active(Group("municipality", group.municipality, group.kind, ""), cause.condition)
            alarm.parent = wider
            if wider is not None:
                self._count(wider, 1)
            else:
                tally.groups += 1
                self._wander(alarm)

    def _leave(self, alarm: Alarm, at_ms: int) -> None:
        """An active alarm is over: its group has one member less, and is over with the last."""
        tally = self.world.tallies[_place(alarm)]
        if alarm.scope is None:
            tally.total -= 1
            if alarm.parent is None:
                tally.add((alarm.circuit, alarm.agent_id), -1)
        elif alarm.parent is None and alarm.scope != "municipality":
            tally.groups -= 1
        elif alarm.scope == "municipality":
            tally.total = 0  # it was not counted while the municipality's alarm was active, and nothing is left
        self._wander(alarm)
        group = alarm.parent
        if group is not None and group.state in ACTIVE:
            self._count(group, -1)
            if group.members_open == 0:
                self._clear(group, at_ms)
                self._leave(group, at_ms)

    def _count(self, group: Alarm, more: int) -> None:
        group.members_open = max(0, group.members_open + more)
        group.members_most = max(group.members_most, group.members_open)
        self._touch(group)

    # Which of the alarms at hand are active and in no group: looked through when a group opens.

    def _wander(self, alarm: Alarm) -> None:
        """Note whether an alarm is active and in no group."""
        if alarm.scope == "municipality":
            return
        cells = self._loose.setdefault(_place(alarm), {})
        cell = "group" if alarm.scope is not None else (alarm.circuit, alarm.agent_id)
        if alarm.state in ACTIVE and alarm.parent is None:
            cells.setdefault(cell, {})[id(alarm)] = alarm
        elif cell in cells:
            cells[cell].pop(id(alarm), None)

    def _loose_in(self, group: Group, condition: str) -> list[Alarm]:
        cells = self._loose.get((group.municipality, group.kind, condition), {})
        return [
            alarm
            for cell, found in cells.items()
            if (group.scope == "municipality" if isinstance(cell, str) else group.takes(cell))
            for alarm in found.values()
        ]

    # One alarm.

    def _active(self, group: Group, condition: str) -> Alarm | None:
        found = self.world.alarms.get((group.subject, condition))
        return found if found is not None and found.state in ACTIVE else None

    def _soon(self, alarm: Alarm, at_ms: int) -> bool:
        """Whether a condition that begins at at_ms is the one of an alarm that cleared a moment ago."""
        period_ms = self.world.report_ms.get(alarm.kind or "", 0)
        reach_ms = max(REOPEN_MS, REOPEN_REPORTS * period_ms)
        return alarm.state == "cleared" and alarm.cleared_ms is not None and at_ms - alarm.cleared_ms <= reach_ms

    def _again(self, alarm: Alarm, at_ms: int, evidence: dict[str, Any]) -> None:
        """Reopen; who acknowledged it knows of it already."""
        alarm.state = "acknowledged" if alarm.acknowledged else "open"
        alarm.cleared_ms, alarm.evidence = None, evidence
        alarm.last_ms = max(alarm.last_ms, at_ms)
        alarm.findings += 1
        alarm.occurrences += 1
        self._say(alarm, "reopened", at_ms)

    def _clear(self, alarm: Alarm, at_ms: int) -> None:
        alarm.state, alarm.cleared_ms = "cleared", max(alarm.opened_ms, at_ms)
        self._touch(alarm)
        self._say(alarm, "cleared", alarm.cleared_ms)

    def _touch(self, alarm: Alarm) -> None:
        self._touched.setdefault(id(alarm), alarm)

    def _say(self, alarm: Alarm, event: str, at_ms: int | None, **detail: Any) -> None:
        self._events.append(Event(alarm, event, at_ms, detail))
