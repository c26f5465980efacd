"""What a run generated, after the fact: its account from disk, and its observations again from the seed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from firmware_sim.run import RunError
from firmware_sim.stream import Stream

END_OF_TIME_MS = 2**62


def account(state: Path) -> dict[str, Any]:
    """The account as last written; raises RunError."""
    file = state / "account.json"
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise RunError(f"{state}: nothing has been played here (no account.json)") from None
    except ValueError as error:
        raise RunError(f"{file}: cannot be read: {error}") from None
    return found


def handed_over(state: Path) -> dict[str, int]:
    """What agents were given before; nothing at the first start."""
    if not (state / "account.json").exists():
        return {}
    return {name: int(row["handed_over"]) for name, row in account(state)["agents"].items()}


def rows(stream: Stream, municipality: str, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Observations number first..last of an agent: number, municipality, device, kind, observed_at, values."""
    position = stream.place(first - 1)
    while position.after < last:
        number = position.after
        found = stream.read(position, END_OF_TIME_MS)
        if found is None:
            return
        for kind, columns in found[0].items():
            names = [name for name in columns if name not in ("device", "observed_at")]
            for i, (device, at) in enumerate(zip(columns["device"], columns["observed_at"], strict=True)):
                number += 1
                if number > last:
                    return
                values = {name: columns[name][i] for name in names if columns[name][i] is not None}
                yield {
                    "number": number,
                    "municipality": municipality,
                    "device": device,
                    "kind": kind,
                    "observed_at": at,
                    "values": values,
                }
