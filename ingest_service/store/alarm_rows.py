"""What a flush does to alarms, in its transaction: read what the changes touch, let `alarm_life` work, write it back.

Promise: BATCH changes at a time, some ten statements each, however many alarms there are; none where nothing changes.
Whoever calls holds a transaction; `alarm_lock` keeps others from the same municipalities until it ends, because group
alarms count their members.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import psycopg

from contracts.profiles import Profile
from ingest_service import alarm_groups
from ingest_service.alarm_groups import Group, Place, Tally
from ingest_service.alarm_life import ACTIVE, Alarm, Device, Life, Outcome, Window, World, groups_of
from ingest_service.alarms import Change
from ingest_service.store.arrays import BigInts, Ints, array
from ingest_service.store.connection import Connection
from ingest_service.store.statements import text

BATCH = 5_000
FIELDS = (
    "municipality", "device_id", "agent_id", "kind", "circuit", "condition", "detector", "property", "severity",
    "state", "opened_ms", "last_ms", "cleared_ms", "findings", "occurrences", "acknowledged",
)  # fmt: skip
GROUP_FIELDS = ("scope", "key", "size", "members_open", "members_most", "window_id")

Rows = psycopg.Cursor[tuple[Any, ...]]
Sizes = dict[Group, int]  # of groups, as long as the registry stays as it is
Told = dict[
    str, Any
]  # an alarm that changed, for the live channel; `via`: (device_id, agent_id) whose agent carries it


def change(
    connection: Connection, changes: Sequence[Change], profiles: Mapping[str, Profile], sizes: Sizes
) -> list[Told]:
    """Do what the changes say, in order; the alarms that changed, as they stand then."""
    told: list[Told] = []
    if changes:
        lock(connection, {item.municipality for item in changes})
    for first in range(0, len(changes), BATCH):
        batch = changes[first : first + BATCH]
        told += work(connection, batch, profiles, sizes, lambda life, batch=batch: life.take(batch))  # type: ignore[misc]
    return told


def ask(connection: Connection, name: str, parameters: Mapping[str, Any]) -> Rows:
    """Run a statement, planned anew: a plan from quiet days, when the table was small, would read all of it in a storm
    (measured: 800 microseconds an alarm instead of 100).
    """
    return connection.execute(text(name), parameters, prepare=False)


def lock(connection: Connection, municipalities: Iterable[str]) -> None:
    ask(connection, "alarm_lock", {"municipalities": sorted(municipalities)})


def work(
    connection: Connection,
    batch: Sequence[Change],
    profiles: Mapping[str, Profile],
    sizes: Sizes,
    act: Callable[[Life], Outcome],
) -> list[Told]:
    """Read what the changes of a batch touch, act, and write what came of it."""
    return _write(connection, act(Life(_read(connection, batch, profiles, sizes))))


# Reading.


def _read(connection: Connection, batch: Sequence[Change], profiles: Mapping[str, Profile], sizes: Sizes) -> World:
    devices = {
        int(device_id): Device(*about)
        for device_id, *about in ask(
            connection,
            "alarm_devices",
            {"devices": array(Ints, list({c.device_id for c in batch if c.device_id is not None}))},
        )
    }
    speakers = {c.agent_id for c in batch if c.agent_id is not None}
    names = ask(connection, "alarm_agents", {"agents": array(Ints, list(speakers))}) if speakers else ()
    found = _Found(connection)
    found.latest({item.key() for item in batch})
    found.parents()
    wanted: dict[tuple[Group, str], int] = {}  # with how many may yet begin
    for item in batch:
        device = devices.get(item.device_id) if item.device_id is not None else None
        circuit, agent_id = (device.circuit, device.agent_id) if device else (None, item.agent_id)
        groups = alarm_groups.groups_of(item.municipality, item.kind, circuit, agent_id, device=device is not None)
        known = found.by_key.get(item.key())
        for group in dict.fromkeys(groups + (groups_of(known) if known is not None else [])):
            wanted[group, item.condition] = wanted.get((group, item.condition), 0) + item.begins
    found.latest({(group.subject, condition) for group, condition in wanted})
    found.parents()
    tallies = _tallies(connection, batch, found.by_key)
    missing = [
        group
        for (group, condition), begins in wanted.items()
        if group not in sizes
        and tallies[group.municipality, group.kind, condition].of(group) + max(begins, 1)
        >= alarm_groups.bounds(group)[0]
    ]
    sizes.update(zip(missing, _sizes(connection, missing), strict=True))
    span = [item.at_ms for item in batch if item.begins]
    return World(
        alarms=found.by_key,
        devices=devices,
        agents={int(agent_id): str(name) for agent_id, name in names},
        windows=_windows(connection, {item.municipality for item in batch}, span),
        tallies=tallies,
        sizes=sizes,
        report_ms={kind: profile.report_period_s * 1000 for kind, profile in profiles.items()},
    )


class _Found:
    """Alarms that were read, each once, linked to the groups they are in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._by_id: dict[int, Alarm] = {}
        self._parent_ids: dict[int, int] = {}  # whose parents are not linked yet
        self.by_key: dict[tuple[str, str], Alarm] = {}

    def latest(self, keys: Iterable[tuple[str, str]]) -> None:
        wanted = sorted(key for key in keys if key not in self.by_key)
        if wanted:
            parameters = {"subjects": [subject for subject, _ in wanted], "conditions": [name for _, name in wanted]}
            self._take(ask(self._connection, "alarm_latest", parameters).fetchall())

    def parents(self) -> None:
        """Link alarms to their groups, and these to theirs."""
        while self._parent_ids:
            missing = set(self._parent_ids.values()) - self._by_id.keys()
            waiting, self._parent_ids = self._parent_ids, {}
            if missing:
                rows = ask(self._connection, "alarm_by_id", {"ids": array(BigInts, sorted(missing))}).fetchall()
                self._take(rows)
            for alarm_id, parent_id in waiting.items():
                self._by_id[alarm_id].parent = self._by_id.get(parent_id)

    def _take(self, rows: list[tuple[Any, ...]]) -> None:
        for alarm_id, subject, *row in rows:
            if alarm_id in self._by_id:
                continue
            parent_id = row[len(FIELDS)]
            alarm = Alarm(
                alarm_id=alarm_id,
                **dict(zip(FIELDS, row, strict=False)),
                **dict(zip(GROUP_FIELDS, row[len(FIELDS) + 1 :], strict=True)),
            )
            self._by_id[alarm_id] = alarm
            if parent_id is not None:
                self._parent_ids[alarm_id] = parent_id
            newer = self.by_key.get((subject, alarm.condition))
            if newer is None or newer.alarm_id < alarm_id:
                self.by_key[subject, alarm.condition] = alarm


def _tallies(
    connection: Connection, batch: Sequence[Change], alarms: Mapping[tuple[str, str], Alarm]
) -> dict[Place, Tally]:
    """Of the places that a batch touches; where the municipality's group alarm is active, everything is in it."""
    tallies = {(item.municipality, item.kind, item.condition): Tally() for item in batch}
    places = [
        place
        for place in tallies
        if (wide := alarms.get((Group("municipality", place[0], place[1], "").subject, place[2]))) is None
        or wide.state not in ACTIVE
    ]
    groups: dict[Place, set[int]] = {}
    rows = ask(
        connection,
        "alarm_tally",
        {
            "municipalities": [p[0] for p in places],
            "kinds": [p[1] for p in places],
            "conditions": [p[2] for p in places],
        },
    )
    for municipality, kind, condition, circuit, agent_id, total, loose, parents in rows:
        tally = tallies[municipality, kind, condition]
        tally.total += total
        tally.add((circuit, agent_id), loose)
        groups.setdefault((municipality, kind, condition), set()).update(parents)
    for place, parents in groups.items():
        tallies[place].groups = len(parents)
    return tallies


def _sizes(connection: Connection, groups: Sequence[Group]) -> list[int]:
    if not groups:
        return []
    parameters = {
        "scopes": [group.scope for group in groups],
        "municipalities": [group.municipality for group in groups],
        "kinds": [group.kind for group in groups],
        "keys": [group.key for group in groups],
    }
    return [int(row[0]) for row in ask(connection, "alarm_sizes", parameters)]


def _windows(connection: Connection, municipalities: Iterable[str], at_ms: list[int]) -> list[Window]:
    if not at_ms:
        return []
    parameters = {"municipalities": sorted(municipalities), "from_ms": min(at_ms), "to_ms": max(at_ms)}
    return [Window(*row) for row in ask(connection, "alarm_windows", parameters)]


# Writing.


def _write(connection: Connection, outcome: Outcome) -> list[Told]:
    new = [alarm for alarm in outcome.touched if not alarm.alarm_id]
    if new:
        numbers = ask(connection, "alarm_numbers", {"count": len(new)}).fetchall()
        for alarm, (number,) in zip(new, numbers, strict=True):
            alarm.alarm_id = int(number)
    fresh = {alarm.alarm_id for alarm in new}
    for name, rows in (  # what cleared first: only then may the same condition open anew
        ("alarm_set", [_row(alarm) for alarm in outcome.touched if alarm.alarm_id not in fresh]),
        ("alarm_put", [_row(alarm) for alarm in new]),
    ):
        if rows:
            ask(connection, name, {"rows": _json(rows)})
    told = [_told(alarm) for alarm in outcome.touched]
    for fold in outcome.folds:
        if fold.alarm.state not in ACTIVE:
            continue  # over already, and so is all that it held
        parameters = {**msgspec.structs.asdict(fold.group), "parent": fold.alarm.alarm_id, "condition": fold.condition}
        folded = ask(connection, "alarm_fold", parameters)
        told += [{"alarm_id": alarm_id, "via": (device_id, agent_id)} for alarm_id, device_id, agent_id in folded]
    events = [
        {
            "alarm_id": item.alarm.alarm_id,
            "event": item.event,
            "observed_ms": item.at_ms,
            "detail": {**item.detail, "parent_id": item.alarm.parent.alarm_id}
            if item.event == "grouped" and item.alarm.parent is not None
            else item.detail,
        }
        for item in outcome.events
    ]
    if events:
        ask(connection, "alarm_event_put", {"rows": _json(events)})
    return told


def _row(alarm: Alarm) -> dict[str, Any]:
    row = {name: getattr(alarm, name) for name in (*FIELDS, *GROUP_FIELDS, "evidence", "raised")}
    row["alarm_id"] = alarm.alarm_id
    row["parent_id"] = alarm.parent.alarm_id if alarm.parent is not None else None
    return row


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode().replace("\\u0000", "\\ufffd")


def _told(alarm: Alarm) -> Told:
    names = (
        "alarm_id",
        "municipality",
        "device_id",
        "agent_id",
        "condition",
        "detector",
        "property",
        "severity",
        "state",
    )
    return {
        **{name: getattr(alarm, name) for name in names},
        "opened_at": alarm.opened_ms,
        "last_finding_at": alarm.last_ms,
        "cleared_at": alarm.cleared_ms,
        "via": (alarm.device_id or alarm.via, alarm.agent_id),
    }
