"""The checker of every journey: what was generated, row by row, against what the database holds.

`dure sim list` generates the observations again from the seed; SQL reads what was stored, observation tables and
quarantine. Promise: a row that is missing, doubled, foreign or different is reported by name. It shares no code with
the way that the observations took; values are compared as the database keeps them (float32).
"""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from contracts.profiles import Profile
from deploy.demo.processes import DURE

Key = tuple[str, str, int]  # municipality, device, observed_at in ms
Values = dict[str, Any]


@dataclass
class Difference:
    """What the database has otherwise than generated; empty when all is well."""

    missing: list[Key] = field(default_factory=list)
    doubled: list[Key] = field(default_factory=list)
    foreign: list[Key] = field(default_factory=list)
    different: list[tuple[Key, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.doubled or self.foreign or self.different)

    def __str__(self) -> str:
        parts = [f"{name} {len(rows)}, first {rows[:3]}" for name, rows in vars(self).items() if rows]
        return "; ".join(parts) or "none"


def generated(sim_state: Path, environment: Mapping[str, str]) -> dict[Key, Values]:
    """Every observation that the run of this folder numbered, made anew."""
    rows: dict[Key, Values] = {}
    command = [*DURE, "sim", "list", "--state", str(sim_state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(environment)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            row = json.loads(line)
            key = row["municipality"], row["device"], row["observed_at"]
            assert key not in rows, f"generated twice: {key}"
            rows[key] = row["values"]
    assert process.returncode == 0
    return rows


def stored(connection: psycopg.Connection[Any], profiles: Mapping[str, Profile]) -> Iterator[tuple[Key, Values]]:
    """Every observation in the tables and in quarantine."""
    for kind, profile in profiles.items():
        names = list(profile.properties)
        columns = "".join(f", o.{name}" for name in names)
        statement = (
            "select d.municipality, d.name, (extract(epoch from o.observed_at) * 1000)::bigint"
            f"{columns} from observation_{kind} o join device d using (device_id)"
        )
        for town, device, at, *values in connection.execute(statement.encode()):
            found = {}
            for name, value in zip(names, values, strict=True):
                item = profile.properties[name]
                if value is not None:
                    found[name] = item.values[value] if item.type == "enum" else value
            yield (town, device, at), found
    held = "select municipality, content from quarantine where content is not null and admitted_at is null"
    for town, content in connection.execute(held):
        yield (town, content["device"], content["observed_at"]), content["values"]


def compare(
    expected: Mapping[Key, Values], connection: psycopg.Connection[Any], profiles: Mapping[str, Profile]
) -> Difference:
    """How the database differs from what was generated."""
    found = Difference()
    times: Counter[Key] = Counter()
    for key, values in stored(connection, profiles):
        times[key] += 1
        if key not in expected:
            found.foreign.append(key)
        elif times[key] > 1:
            found.doubled.append(key)
        elif (what := _differs(expected[key], values)) is not None:
            found.different.append((key, what))
    found.missing = [key for key in expected if not times[key]]
    return found


def _differs(expected: Values, values: Values) -> str | None:
    """Name of a property that is not the same."""
    for name in expected.keys() | values.keys():
        wanted, has = expected.get(name), values.get(name)
        if isinstance(wanted, float) and isinstance(has, float | int):
            if np.float32(wanted) != np.float32(has):
                return f"{name}: {wanted!r} stored as {has!r}"
        elif wanted != has:
            return f"{name}: {wanted!r} stored as {has!r}"
    return None
