"""The file of a backup: a zip whose members are compressed each by itself, and a manifest that names them all.

Promise: every member is known by length and sha256; whatever is not as the manifest says is found before it is used.
Any zip program opens it; `tables/*.zst` are PostgreSQL's binary COPY, compressed with zstd.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self

import msgspec
import zstandard

from ingest_service.store.whole_schema import Described

FORMAT = 1
MANIFEST = "manifest.json"
READ_BYTES = 1 << 20
LEVEL = 3


class BadArchive(ValueError):
    """A file that is no backup, or not a whole one; the message says what is wrong."""


class Piece(msgspec.Struct):
    """A member that holds rows of a table. begin, end: of a piece of observations."""

    member: str
    table: str
    rows: int
    bytes: int  # as stored
    sha256: str
    begin: datetime | None = None
    end: datetime | None = None


class File(msgspec.Struct):
    """A member that is a file: a profile, or one of the broker's."""

    member: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct):
    format: int
    made_at: datetime
    dure: str
    schema: str
    described: Described
    pieces: list[Piece] = []
    files: list[File] = []

    @property
    def rows(self) -> dict[str, int]:
        found = {table.name: 0 for table in self.described.tables}
        for piece in self.pieces:
            found[piece.table] += piece.rows
        return found


class Writer:
    """Fills an archive; with its manifest, at the end, it is one."""

    def __init__(self, stream: BinaryIO, manifest: Manifest) -> None:
        self._zip = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True)
        self.manifest = manifest

    def add_rows(self, piece: Piece, parts: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, int]]:
        """Store a COPY stream ((rows, bytes) each) as a member; (rows, bytes) of each part, as it is stored."""
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        digest = hashlib.sha256()
        with self._zip.open(_info(piece.member), "w", force_zip64=True) as member:
            for rows, data in parts:
                stored = compressor.compress(data)
                digest.update(stored)
                piece.bytes += member.write(stored)
                piece.rows += rows
                yield rows, len(data)
            stored = compressor.flush()
            digest.update(stored)
            piece.bytes += member.write(stored)
        piece.sha256 = digest.hexdigest()
        self.manifest.pieces.append(piece)

    def add_file(self, member: str, content: bytes) -> None:
        self._zip.writestr(_info(member), content)
        self.manifest.files.append(File(member, len(content), hashlib.sha256(content).hexdigest()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._zip.writestr(_info(MANIFEST), msgspec.json.format(msgspec.json.encode(self.manifest), indent=1))
        self._zip.close()


class Reader:
    """An archive to read; raises BadArchive, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            self.manifest = msgspec.json.decode(self._zip.read(MANIFEST), type=Manifest)
        except (zipfile.BadZipFile, KeyError, msgspec.DecodeError) as error:
            raise BadArchive(f"cannot read {path}: it is no whole backup ({error})") from error
        if self.manifest.format != FORMAT:
            raise BadArchive(
                f"cannot read {path}: it is of format {self.manifest.format}, and this program reads format {FORMAT}"
            )

    def close(self) -> None:
        self._zip.close()

    def rows_of(self, piece: Piece) -> Iterator[bytes]:
        """A piece's COPY stream; raises BadArchive at its end when it was not what the manifest says."""
        plain = zstandard.ZstdDecompressor().decompressobj()
        for stored in self._stored(piece):
            try:
                if data := plain.decompress(stored):
                    yield data
            except zstandard.ZstdError as error:
                raise BadArchive(f"{self.path}: {piece.member} is damaged: {error}") from error

    def file(self, file: File) -> bytes:
        return b"".join(self._stored(file))

    def verify(self) -> Iterator[Piece | File]:
        """Read everything; each member when it is found good. Raises BadArchive."""
        for piece in self.manifest.pieces:
            for _ in self.rows_of(piece):
                pass
            yield piece
        for file in self.manifest.files:
            self.file(file)
            yield file

    def _stored(self, entry: Piece | File) -> Iterator[bytes]:
        digest, size = hashlib.sha256(), 0
        try:
            with self._zip.open(entry.member) as member:
                assert isinstance(member, io.BufferedIOBase)
                while data := member.read(READ_BYTES):
                    digest.update(data)
                    size += len(data)
                    yield data
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise BadArchive(f"{self.path}: {entry.member} is damaged: {error}") from error
        if size != entry.bytes or digest.hexdigest() != entry.sha256:
            raise BadArchive(f"{self.path}: {entry.member} is damaged: its checksum is not the manifest's")


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o600 << 16
    return info
