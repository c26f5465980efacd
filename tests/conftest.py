"""What every test may ask for: a database. Compiled kernels are kept out of the source tree."""

import os
from pathlib import Path

os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parent.parent / ".dure" / "cache" / "numba"))

from tests.database_fixture import database, native_database, native_url, postgres_url

__all__ = ["database", "native_database", "native_url", "postgres_url"]
