"""Reports of a replay: the table on stdout, and the files that were asked for, by the ending of their names."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from ingest_service.lifecycle.output import whole
from ingest_service.replay import listing, page, table
from ingest_service.replay.detect import Result

WRITERS: dict[str, Callable[[Result, BinaryIO], None]] = {".json": listing.write, ".html": page.write}


def check(file: Path) -> None:
    """Raise ValueError when no report can be written there; nothing is written."""
    if file.suffix not in WRITERS:
        raise ValueError(f"cannot write {file}: a report is {' or '.join(WRITERS)}")
    if not file.parent.is_dir():
        raise ValueError(f"cannot write {file}: no folder {file.parent}")


def write(result: Result, files: Sequence[Path]) -> None:
    """Files first, so that they are there when the table is read."""
    for path in files:
        with whole(path) as file:
            WRITERS[path.suffix](result, file)
    print(table.text(result), end="")
