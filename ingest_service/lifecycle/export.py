"""Export: the observations of a kind in a span of time, as a stream, in an order that depends on nothing but the data.

One snapshot of the database; a window (partition) at a time is sorted by the server and handed on in pieces, so memory
stays flat whatever the span.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from contracts.profiles import Profile
from ingest_service.lifecycle import sinks
from ingest_service.lifecycle.output import whole
from ingest_service.lifecycle.progress import Progress
from ingest_service.lifecycle.table import Reader
from ingest_service.settings import Database
from ingest_service.store import snapshot


class Refused(ValueError):
    """What was asked for cannot be exported; the message says why."""


class Wish(msgspec.Struct, frozen=True):
    """What to export: [begin, end), None is without bound; municipalities and devices None are all."""

    profile: Profile
    begin: datetime | None
    end: datetime | None
    municipalities: Sequence[str] | None = None
    devices: Sequence[str] | None = None


def export(database: Database, wish: Wish, format: str, output: Path | None, progress: Progress) -> int:
    """Write what is wished for to a file (None: stdout); rows. Raises Refused, psycopg.Error, OSError."""
    profile, table = wish.profile, f"observation_{wish.profile.kind}"
    with snapshot.opened(database, [table], name="export") as found:
        places = found.devices(profile.kind, wish.municipalities, wish.devices)
        _check(found, wish, {place.name for place in places})
        every = wish.municipalities is None and wish.devices is None
        ids = None if every else [place.device_id for place in places]
        reader = Reader(profile, places)
        with whole(output) as file:
            stream = sinks.Counting(file)
            sink = sinks.opened(format, stream, profile)
            for window in found.windows(table, wish.begin, wish.end) if places else []:
                for rows, piece in found.copy(snapshot.observations(profile, window, ids)):
                    if rows:
                        before = stream.bytes
                        sink.write(reader.batch(piece))
                        progress.add(rows, stream.bytes - before, f"{window[0]:%Y-%m-%d %H:%M}" if window[0] else "")
            before = stream.bytes
            sink.close()
            progress.add(0, stream.bytes - before)
    return progress.rows


def _check(found: snapshot.Snapshot, wish: Wish, names: set[str]) -> None:
    if wish.begin and wish.end and wish.begin >= wish.end:
        raise Refused(f"cannot export: --from {wish.begin} is not before --to {wish.end}")
    known = set(found.municipalities())
    for town in wish.municipalities or ():
        if town not in known:
            raise Refused(f"cannot export: no municipality {town!r}; there are {', '.join(sorted(known)) or 'none'}")
    for name in wish.devices or ():
        if name not in names:
            where = f" in {', '.join(wish.municipalities)}" if wish.municipalities else ""
            raise Refused(f"cannot export: no {wish.profile.kind} named {name!r}{where}")
