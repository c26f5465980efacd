"""Exports under way: each is a `dure export` as a process of its own, read as a stream.

Owns how many there may be and that they end with their reader or with the API. A process, because an export is minutes
of work on one core: in here it would stand in the way of the map and the streams. Which municipalities it may read is
said by the caller, and stands on its command line.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

from contracts.log import log
from platform_api.settings import Database

DURE = Path(__file__).resolve().parents[1] / "dure.py"
CHUNK_BYTES = 256 * 1024


class ExportsFull(Exception):
    """As many exports are under way as there may be."""


class ExportRefused(Exception):
    """There is nothing of that name to export."""


class ExportFailed(Exception):
    """An export ended before it wrote anything; the message is its last line."""


class Exports:
    """The exports of this process."""

    def __init__(self, database: Database, most: int) -> None:
        self._environment = {"DURE_DATABASE_URL": database.url, "DURE_DATABASE_SCHEMA": database.schema}
        self._most = most
        self._running: set[Process] = set()
        self._places = most

    async def begin(self, arguments: Sequence[str]) -> tuple[Process, bytes]:
        """Start one; the process and its first bytes. Raises ExportsFull, ExportRefused, ExportFailed."""
        if not self._places:
            raise ExportsFull
        self._places -= 1
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(DURE), "export", "--quiet", *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, env={**os.environ, **self._environment},
            )  # fmt: skip
            self._running.add(process)
            assert process.stdout is not None and process.stderr is not None
            first = await process.stdout.read(CHUNK_BYTES)
            if not first:
                words = (await process.stderr.read()).decode(errors="replace").strip()
                log("export.refused", level="warning", words=words)
                raise ExportRefused if await process.wait() == 2 else ExportFailed(words)
        except BaseException:
            await self._end(process)
            raise
        return process, first

    async def stream(self, process: Process, first: bytes) -> AsyncIterator[bytes]:
        """The rest of an export; ends it when nobody reads on. A file that stays incomplete breaks the connection."""
        assert process.stdout is not None and process.stderr is not None
        try:
            yield first
            while data := await process.stdout.read(CHUNK_BYTES):
                yield data
            if await process.wait():
                words = (await process.stderr.read()).decode(errors="replace").strip()
                log("export.failed", level="warning", words=words)
                raise OSError("the export failed in the middle")
        finally:
            await self._end(process)

    async def close(self) -> None:
        """End all that are under way."""
        for process in self._running:
            with suppress(ProcessLookupError):
                process.kill()

    async def _end(self, process: Process | None) -> None:
        self._places += 1
        if process is None:
            return
        self._running.discard(process)
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(_reap(process))


async def _reap(process: Process) -> None:
    """Wait for an ended process; what is left in its pipes goes first, or asyncio would wait for ever."""
    assert process.stdout is not None and process.stderr is not None
    await asyncio.gather(process.stdout.read(), process.stderr.read())
    await process.wait()
