"""TimescaleDB without a server that has it: its WASM build from npm, over one connection at a time.

It takes DDL, INSERT and queries; COPY FROM STDIN ends it, and no background job runs. npm puts it into .dure/, in the
version and with the checksum of pglite/package-lock.json; without npm or its registry the tests are skipped, saying
so.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.database_fixture import ROOT

SOURCE = Path(__file__).parent / "pglite"
INSTALL_S = 120
OURS = ROOT / ".dure" / "node"  # where ./run keeps Node.js, when there is none in PATH


@contextmanager
def serving(log: Path) -> Iterator[str]:
    """The URL of a fresh PGlite; it ends with the block."""
    search = os.pathsep.join([str(OURS), os.environ.get("PATH", os.defpath)])
    node, npm = shutil.which("node", path=search), shutil.which("npm", path=search)
    if not node or not npm:
        pytest.skip("no node and npm in PATH, nor in .dure/node: ./run test services brings them")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [node, "server.mjs"], cwd=_installed(npm, search), stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready port="), line + log.read_text()
        port = int(line.removeprefix("ready port="))
        yield f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable&gssencmode=disable"
    finally:
        process.kill()
        process.communicate()


def _installed(npm: str, search: str) -> Path:
    """The folder with the packages and the server, made once for each content of pglite/."""
    files = sorted(path for path in SOURCE.iterdir() if path.is_file())
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    folder = ROOT / ".dure" / f"pglite-{content}"
    if not folder.exists():
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        fresh.mkdir(parents=True)
        for path in files:
            shutil.copy(path, fresh)
        try:
            done = subprocess.run(
                [npm, "ci", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=30000"],
                cwd=fresh, env={**os.environ, "PATH": search}, capture_output=True, text=True, timeout=INSTALL_S,
            )  # fmt: skip
            said = done.stderr.strip().splitlines()[:3] if done.returncode else []
        except subprocess.TimeoutExpired:
            said = [f"no answer within {INSTALL_S} s"]
        if said:
            shutil.rmtree(fresh)
            pytest.skip(f"npm cannot fetch PGlite with TimescaleDB: {' | '.join(said)}")
        try:
            fresh.rename(folder)
        except OSError:  # another run was faster
            shutil.rmtree(fresh)
    return folder
