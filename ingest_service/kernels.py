"""Where compiled kernels are kept: a folder for each state of the sources.

numba looks at the file that a kernel stands in and at none of the files that it calls: after an update it would go on
with what was compiled from the old ones. Whoever imports `ingest_service` has this done first.
"""

import os
import shutil
import sys
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

NAME = "kernels-"
KEPT_S = 30 * 86_400  # of a state of the sources that nobody began with since


def keep_apart(root: Path) -> None:
    """Have numba keep what it compiles below NUMBA_CACHE_DIR (or ~/.cache/dure) in a folder of these sources' own.
    root: of the checkout or the installed packages.
    """
    place = _place()
    if place is None:
        return
    own = place / f"{NAME}{_digest(root)}"
    os.environ["NUMBA_CACHE_DIR"] = str(own)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(own)
    if own.exists():
        with suppress(OSError):
            os.utime(own)
    else:
        _forget_others(own)


def _place() -> Path | None:
    told = os.environ.get("NUMBA_CACHE_DIR")
    if told:
        return Path(told).parent if Path(told).name.startswith(NAME) else Path(told)  # what our parent process made
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dure"
    except RuntimeError:
        return None  # nobody's home: numba finds a place, or compiles each time


def _digest(root: Path) -> str:
    """Of every file that a kernel may be made from."""
    digest = blake2b(digest_size=8)
    for package in ("contracts", "ingest_service"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _forget_others(own: Path) -> None:
    for other in own.parent.glob(f"{NAME}*"):
        if other != own and time.time() - other.stat().st_mtime > KEPT_S:
            shutil.rmtree(other, ignore_errors=True)
