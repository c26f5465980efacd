"""What a flush tells the roller: nothing of observations on time, and (kind, hour, devices) of late ones.

Promise: an hour that the roller closes holds every observation that a flush did not mark. See `rollup_closing` in the
migrations for how the two meet.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ingest_service.columns import Array, Block
from ingest_service.store.arrays import Ints, array, times
from ingest_service.store.connection import Connection
from ingest_service.store.statements import text

HOUR_MS = 3_600_000


def put(connection: Connection, blocks: Sequence[Block]) -> None:
    """Mark what is late in these blocks, in the transaction that stores them. The connection knows `arrays`."""
    if not blocks:
        return
    closing = closing_ms(connection)
    for block in blocks:
        until = closing.get(block.kind)
        if until is None or not len(block) or int(block.observed_ms.min()) >= until:
            continue
        late = block.observed_ms < until
        hours, devices, begins = by_hour(block.observed_ms[late], block.device_id[late])
        connection.execute(
            text("rollup_mark"),
            {
                "kind": block.kind,
                "hours": times(hours),
                "devices": array(Ints, devices),
                "firsts": array(Ints, begins[:-1] + 1),
                "lasts": array(Ints, begins[1:]),
            },
        )


def closing_ms(connection: Connection) -> Mapping[str, int]:
    """Before when an observation of a kind is late, ms; holds that still until the transaction ends."""
    return {str(kind): int(until) for kind, until in connection.execute(text("rollup_closing"))}


def by_hour(observed_ms: Array, device_id: Array) -> tuple[Array, Array, Array]:
    """(h,) hours in ms, rising; the distinct devices of each, one hour after the other; (h + 1,) where each begins."""
    hour = observed_ms // HOUR_MS
    order = np.lexsort((device_id, hour))
    hour, device = hour[order], device_id[order]
    distinct = np.append(True, (np.diff(hour) != 0) | (np.diff(device) != 0))
    hour, device = hour[distinct], device[distinct]
    begins = np.flatnonzero(np.append(True, np.diff(hour) != 0))
    return hour[begins] * HOUR_MS, device, np.append(begins, len(device))
