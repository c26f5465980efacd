"""Whether the database holds exactly what was sent: every observation, once, with its values.

The account is made from the bodies that went to the broker, decoded anew, and from the rows of the tables, grouped by
device: how many, the sum of their times, and for each property how many values and their sum in units of the last
decimal. It is itself put to the proof: `prove` takes away, doubles and changes single rows and must be told of each.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from contracts import profiles as kinds
from contracts import wire
from contracts.profiles import Profile, Property
from tests.benchmarks.load_fleet import device_id
from tests.benchmarks.readings import Array
from tests.benchmarks.report import Wrong
from tests.database_fixture import Database

BASE_MS = 1_700_000_000_000  # times are summed from here, so that sums stay exact

Account = dict[str, dict[str, Array]]  # kind -> column -> (devices + 1,) int64, by device_id


def columns_of(profile: Profile) -> list[str]:
    """What is counted of a kind."""
    return ["rows", "times", *(f"{name} {what}" for name in profile.properties for what in ("values", "sum"))]


def of_bodies(bodies: Iterable[bytes], devices: int) -> Account:
    """The account of what was sent."""
    profiles = kinds.load(environ={})
    found = {
        kind: {name: np.zeros(devices + 1, np.int64) for name in columns_of(profile)}
        for kind, profile in profiles.items()
    }
    some: dict[str, dict[str, list[Any]]] = {}
    for number, body in enumerate(bodies):
        for kind, group in wire.decode_body(body).items():
            held = some.setdefault(kind, {})
            for name, values in group.items():
                held.setdefault(name, []).extend(values)
        if number % 1000 == 999:
            _add(found, some, profiles)
            some = {}
    _add(found, some, profiles)
    return found


def _add(found: Account, some: dict[str, dict[str, list[Any]]], profiles: dict[str, Profile]) -> None:
    for kind, group in some.items():
        account = found[kind]
        size = len(account["rows"])
        ids = np.array([device_id(name) for name in group["device"]])
        account["rows"] += np.bincount(ids, minlength=size)
        np.add.at(account["times"], ids, np.array(group["observed_at"], np.int64) - BASE_MS)
        for name, item in profiles[kind].properties.items():
            units = _units(item, group[name])
            there = ~np.isnan(units)
            account[f"{name} values"] += np.bincount(ids[there], minlength=size)
            np.add.at(account[f"{name} sum"], ids[there], units[there].astype(np.int64))


def _units(item: Property, values: list[Any]) -> Array:
    """(n,) float64: values in units of the last decimal, an enum's place among its values; NaN for null."""
    if item.type == "enum":
        places: dict[Any, float] = {value: float(place) for place, value in enumerate(item.values)}
        return np.array([places[value] if value is not None else np.nan for value in values], np.float64)
    units: Array = np.rint(np.array(values, np.float64) * 10 ** (item.decimals if item.type == "number" else 0))
    return units


def statement(profile: Profile) -> str:
    """The account of a kind's table, a row a device."""
    chosen = ["device_id", "count(*)", f"sum((date_part('epoch', observed_at) * 1000)::bigint - {BASE_MS})::bigint"]
    for name, item in profile.properties.items():
        scaled = f"round({name}::float8 * {10**item.decimals})" if item.type == "number" else name
        chosen += [f"count({name})", f"coalesce(sum({scaled}::bigint), 0)::bigint"]
    return f"SELECT {', '.join(chosen)} FROM observation_{profile.kind} GROUP BY 1"


def of_tables(database: Database, devices: int) -> Account:
    """The account of what is stored."""
    found: Account = {}
    with database.connect() as connection:
        connection.execute("SET work_mem = '512MB'")
        for kind, profile in kinds.load(environ={}).items():
            rows = connection.execute(statement(profile).encode()).fetchall()
            rows = [row for row in rows if row[0] <= devices]  # others may send, too
            table = np.array(rows, np.int64).reshape(len(rows), 1 + len(columns_of(profile)))
            found[kind] = {}
            for place, name in enumerate(columns_of(profile), start=1):
                column = np.zeros(devices + 1, np.int64)
                if len(rows):
                    column[table[:, 0]] = table[:, place]
                found[kind][name] = column
    return found


def same(sent: Account, stored: Account) -> None:
    """Raise Wrong with the first difference: lost, twice, or another value."""
    lost = sum(int(np.maximum(0, sent[kind]["rows"] - stored[kind]["rows"]).sum()) for kind in sent)
    twice = sum(int(np.maximum(0, stored[kind]["rows"] - sent[kind]["rows"]).sum()) for kind in sent)
    if lost or twice:
        raise Wrong(f"{lost} observations lost, {twice} too many")
    for kind, account in sent.items():
        for name, column in account.items():
            wrong = np.flatnonzero(column != stored[kind][name])
            if len(wrong):
                device = int(wrong[0])
                raise Wrong(
                    f"{kind} {name}: device {device} sent {column[device]}, stored {stored[kind][name][device]} "
                    f"({len(wrong)} devices differ)"
                )


def total(account: Account) -> int:
    """Observations in an account."""
    return sum(int(columns["rows"].sum()) for columns in account.values())


def prove(database: Database, sent: Account, devices: int) -> list[str]:
    """Break the tables in small ways, one after the other, and put each right again; what was said of each break.

    Raises AssertionError when a break is not noticed.
    """
    same(sent, of_tables(database, devices))
    lamps = "observation_streetlight"
    one = f"WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM {lamps} ORDER BY observed_at, device_id LIMIT 1)"
    breaks = {
        "a row is missing": f"DELETE FROM {lamps} {one}",
        "a row is there twice": f"INSERT INTO {lamps} SELECT * FROM {lamps} {one}",
        "a value is another": f"UPDATE {lamps} SET voltage = voltage + 0.1 {one}",
        "a value is missing": f"UPDATE {lamps} SET voltage = NULL {one}",
        "a time is another": f"UPDATE {lamps} SET observed_at = observed_at + interval '1 ms' {one}",
        "a row is another device's": f"UPDATE {lamps} SET device_id = device_id + 1 {one}",
    }
    said = []
    with database.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT * FROM observation_streetlight")
    for name, breaking in breaks.items():
        database.rows(breaking)
        try:
            same(sent, of_tables(database, devices))
        except Wrong as wrong:
            said.append(f"{name}: {wrong}")
        else:
            raise AssertionError(f"not noticed: {name}")
        database.rows("TRUNCATE observation_streetlight")
        database.rows("INSERT INTO observation_streetlight SELECT * FROM kept")
    database.rows("DROP TABLE kept")
    same(sent, of_tables(database, devices))
    return said
