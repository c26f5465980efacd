"""Episodes on their way into the report, on disk: memory stays flat however many there are.

Written in runs, each sorted; read as one sorted stream.
"""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from ingest_service.replay.episodes import Episode, order_of

RUN_LENGTH = 4096  # episodes of some hundred bytes
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Episode)


class Spool:
    """Writes episodes into files below a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.files: list[Path] = []
        self._folder, self._name = folder, name
        self._run: list[Episode] = []

    def add(self, episode: Episode) -> None:
        self._run.append(episode)
        if len(self._run) == RUN_LENGTH:
            self.close()

    def close(self) -> None:
        """What was added is in the files."""
        if not self._run:
            return
        path = self._folder / f"{self._name}-{len(self.files)}"
        with path.open("wb") as file:
            for episode in sorted(self._run, key=order_of):
                body = _encoder.encode(episode)
                file.write(len(body).to_bytes(4, "big") + body)
        self.files.append(path)
        self._run = []


def read(files: Iterable[Path]) -> Iterator[Episode]:
    """Every episode, by its begin."""
    return heapq.merge(*map(_run, files), key=order_of)


def _run(path: Path) -> Iterator[Episode]:
    with path.open("rb") as file:
        while size := file.read(4):
            yield _decoder.decode(file.read(int.from_bytes(size, "big")))
