"""Restore: a backup into an empty schema, complete or not at all.

The schema is filled under another name and takes its place in one step when every checksum and every count was right.
Ingest waits meanwhile; afterwards it reads its memory anew, cursors are where the backup had them, and agents send what
came after from their reserve.
"""

from collections.abc import Mapping
from datetime import datetime

from contracts.profiles import Profile
from ingest_service.lifecycle.archive import BadArchive, Manifest, Piece, Reader
from ingest_service.lifecycle.progress import Progress
from ingest_service.settings import Database
from ingest_service.store import engine, migrate, whole_schema
from ingest_service.store.whole_schema import RestoreRefused


def restore(
    database: Database,
    kinds: Mapping[str, Profile],
    reader: Reader,
    progress: Progress,
    *,
    replace: bool,
    convert: bool,
    now: datetime,
) -> list[str]:
    """Put a backup into the database; what there is to know, a line each. Raises RestoreRefused, BadArchive,
    SchemaError, psycopg.Error; the schema is as it was then.
    """
    manifest = reader.manifest
    _check(manifest)
    described = manifest.described
    tables = {table.name: table for table in described.tables}
    pieces: dict[str, list[Piece]] = {}
    for piece in manifest.pieces:
        pieces.setdefault(piece.table, []).append(piece)
    with whole_schema.restoring(database, replace=replace) as restoring:
        restoring.make(described, kinds, anew=convert or described.engine != engine.POSTGRESQL)
        for name in restoring.order(tables):
            for piece in pieces.get(name, []):
                span = (piece.begin, piece.end) if piece.begin and piece.end else None
                rows = restoring.fill(tables[name], span, reader.rows_of(piece))
                if rows != piece.rows:
                    raise BadArchive(f"{reader.path}: {piece.member} holds {rows} rows, the manifest says {piece.rows}")
                progress.add(rows, piece.bytes, name)
        restoring.set_sequences(described.sequences)
        done = migrate.migrate(restoring.database, kinds)
        restoring.note(manifest.made_at, reader.path.name)
        aside = restoring.take_place(database.schema, f"{now:%Y%m%dt%H%M%S}")
    notes = [f"{line}: done on top of the backup" for line in done]
    if aside:
        notes.append(
            f'what was in schema {database.schema} is in schema {aside} now; drop it by: DROP SCHEMA "{aside}" CASCADE'
        )
    stored = {name.removeprefix("newest_") for name in tables if name.startswith("newest_")}
    return notes + [
        f"kind {kind} is restored and has no profile here: add profiles/{kind}.toml to DURE_PROFILES"
        for kind in sorted(stored - set(kinds))
    ]


def _check(manifest: Manifest) -> None:
    newest, has = migrate.newest_version(), max(manifest.described.versions, default=0)
    if has > newest:
        raise RestoreRefused(
            f"cannot restore: the backup's schema is at version {has} and this program knows up to {newest}; use the "
            f"dure that made it ({manifest.dure}) or a later one"
        )
