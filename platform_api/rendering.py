"""Answers as bytes, kept: made once for all who may see the same, for at most `map_max_age_s`, compressed once.

A kept one is given out while the next is made, unless it is too old. `GeoJson` makes them in the server's text;
`Columns` from the fleet in memory, and goes on making them for `WARM_S` after somebody asked, so that only the first
waits.
"""

import asyncio
import hashlib
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from contracts.profiles import Profile
from platform_api import pieces
from platform_api.earth import Box
from platform_api.fleet import Fleet, Town
from platform_api.queries.database import Database, DatabaseAwayError, DatabaseBusyError, SchemaMissingError
from platform_api.queries.devices import device_features

MAX_KEPT = 32
TOO_OLD_S = 9.0  # a new stream is given the last 10 s; a map of this age has no hole before it
WARM_S = 300.0
WARM_PERIOD_S = 4.0
MAX_WARM = 8
LOST = (DatabaseAwayError, DatabaseBusyError, SchemaMissingError)


class Asked(msgspec.Struct, frozen=True):
    """What a map shows, and who may see it."""

    kinds: tuple[str, ...]
    permitted: tuple[str, ...] | None
    municipality: str | None
    box: Box | None


class Rendered(msgspec.Struct, frozen=True):
    plain: bytes
    compressed: bytes
    etag: str
    made_s: float  # monotonic, when its first statement began


class Kept:
    """Renderings by what was asked."""

    def __init__(self, make: Callable[[Asked], Awaitable[Rendered]], max_age_s: float) -> None:
        self._make, self.max_age_s = make, max_age_s
        self._kept: OrderedDict[Asked, Rendered] = OrderedDict()
        self._making: dict[Asked, asyncio.Task[Rendered]] = {}

    async def of(self, asked: Asked) -> Rendered:
        """A rendering that is young enough."""
        kept = self._kept.get(asked)
        age_s = time.monotonic() - kept.made_s if kept else float("inf")
        if kept is not None and age_s < self.max_age_s:
            return kept
        task = self._making.get(asked)
        if task is None or self.max_age_s == 0:
            task = self.renew(asked)
        if kept is not None and self.max_age_s > 0 and age_s < TOO_OLD_S:
            return kept
        return await asyncio.shield(task)

    def renew(self, asked: Asked) -> "asyncio.Task[Rendered]":
        """Begin to make it anew."""
        task = asyncio.create_task(self._run(asked))
        self._making[asked] = task
        task.add_done_callback(lambda done: self._made(asked, done))
        return task

    async def close(self) -> None:
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _made(self, asked: Asked, task: "asyncio.Task[Rendered]") -> None:
        if self._making.get(asked) is task:
            del self._making[asked]
        if not task.cancelled():
            task.exception()  # those who waited have raised it; one made ahead is made again when asked for

    async def _run(self, asked: Asked) -> Rendered:
        rendered = await self._make(asked)
        self._kept[asked] = rendered
        self._kept.move_to_end(asked)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return rendered


class GeoJson:
    """The map as GeoJSON, its features written by the server."""

    def __init__(self, database: Database, profiles: Mapping[str, Profile], max_age_s: float) -> None:
        self._database, self._profiles = database, profiles
        self.kept = Kept(self._make, max_age_s)

    async def _make(self, asked: Asked) -> Rendered:
        began_s = time.monotonic()
        parts, times = [], []
        permitted = None if asked.permitted is None else list(asked.permitted)
        for kind in asked.kinds:
            features, as_of = await device_features(
                self._database, self._profiles[kind], permitted, asked.municipality, asked.box
            )
            if features:
                parts.append(features)
            if as_of is not None:
                times.append(as_of)
        return await asyncio.to_thread(_assembled, parts, max(times, default=None), began_s)


class Columns:
    """The map in columns, from the fleet in memory."""

    def __init__(self, database: Database, profiles: Mapping[str, Profile], max_age_s: float) -> None:
        self._fleet = Fleet(database, profiles)
        self._lock = asyncio.Lock()  # the fleet is not for two at once
        self._process = secrets.token_hex(6)
        self._asked: OrderedDict[Asked, float] = OrderedDict()
        self.kept = Kept(self._make, max_age_s)

    async def of(self, asked: Asked) -> Rendered:
        if asked.box is None:
            self._asked[asked] = time.monotonic()
            self._asked.move_to_end(asked)
            while len(self._asked) > MAX_WARM:
                self._asked.popitem(last=False)
        return await self.kept.of(asked)

    async def close(self) -> None:
        await self.kept.close()
        await self._fleet.close()

    async def keep_warm(self) -> None:
        """Make again what was asked for lately, until cancelled."""
        while True:
            await asyncio.sleep(max(WARM_PERIOD_S, self.kept.max_age_s))
            for asked, at_s in list(self._asked.items()):
                if time.monotonic() - at_s > WARM_S:
                    del self._asked[asked]
                elif self.kept.max_age_s > 0:
                    try:
                        await self.kept.renew(asked)
                    except LOST:
                        break  # whoever asks is told

    async def _make(self, asked: Asked) -> Rendered:
        async with self._lock:
            towns, read_s = await self._fleet.towns(asked.permitted, asked.municipality, self.kept.max_age_s / 2)
            return await asyncio.to_thread(self._written, asked, towns, read_s)

    def _written(self, asked: Asked, towns: Mapping[str, Town], read_s: float) -> Rendered:
        shown: list[pieces.Piece] = []
        times: list[int | None] = []
        versions = hashlib.blake2b(f"{self._process} {asked}".encode(), digest_size=12)
        for code, town in towns.items():
            for kind, part in town.parts.items():
                if kind not in asked.kinds or not len(part):
                    continue
                found = pieces.of_part(part) if asked.box is None else pieces.of_box(part, asked.box)
                if not found:
                    continue
                shown += [pieces.piece(b","), *found] if shown else found
                times += [town.as_of.get(kind), town.alarms_at, part.registered_at]
                versions.update(f"{code} {kind} {part.version} {part.registered_at} {len(part)};".encode())
        as_of = max((at for at in times if at is not None), default=None)
        versions.update(str(as_of).encode())
        head = f'{{"as_of":{"null" if as_of is None else as_of},"parts":['
        whole = [pieces.piece(head.encode()), *shown, pieces.piece(b"]}")]
        return Rendered(pieces.plain(whole), pieces.compressed(whole), f'W/"{versions.hexdigest()}"', read_s)


def _assembled(parts: Sequence[str], as_of: int | None, made_s: float) -> Rendered:
    head = f'{{"type":"FeatureCollection","as_of":{"null" if as_of is None else as_of},"features":['
    plain = b"".join((head.encode(), ",".join(parts).encode(), b"]}"))
    packer = zlib.compressobj(pieces.LEVEL, zlib.DEFLATED, 31)  # 31: gzip
    compressed = packer.compress(plain) + packer.flush()
    return Rendered(plain, compressed, f'W/"{hashlib.blake2b(plain, digest_size=16).hexdigest()}"', made_s)
