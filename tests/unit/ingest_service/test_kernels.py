"""Compiled kernels follow the sources that they were made from, also those of other files."""

import os
import shutil
import subprocess
import sys
import time

CALLED = """
from numba.extending import register_jitable

@register_jitable
def answer():
    return {answer}
"""
KERNEL = """
import numba

from ingest_service.called import answer

@numba.njit(cache=True)
def run():
    return answer()
"""
START = """
from pathlib import Path

from ingest_service.kernels import keep_apart

keep_apart(Path(__file__).parent.parent)
"""


def test_a_kernel_is_compiled_anew_when_a_file_changed_that_it_calls(tmp_path):
    from ingest_service import kernels

    package = tmp_path / "ingest_service"
    package.mkdir()
    shutil.copy(kernels.__file__, package)
    (package / "__init__.py").write_text(START)
    (package / "kernel.py").write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}

    def ask():
        say = "from ingest_service.kernel import run; print(run(), sum(run.stats.cache_hits.values()))"
        done = subprocess.run(
            [sys.executable, "-c", say], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return tuple(map(int, done.stdout.split()))

    (package / "called.py").write_text(CALLED.format(answer=1))
    assert ask() == (1, 0)
    assert ask() == (1, 1)  # read, not compiled
    (package / "called.py").write_text(CALLED.format(answer=2))
    assert ask() == (2, 0)


def test_what_nobody_began_with_for_a_month_is_removed(tmp_path, monkeypatch):
    from ingest_service import kernels

    old, fresh = tmp_path / "kernels-old", tmp_path / "kernels-fresh"
    for folder in (old, fresh):
        folder.mkdir()
    long_ago = time.time() - kernels.KEPT_S - 60
    os.utime(old, (long_ago, long_ago))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(fresh))  # as a child process has it from its parent
    monkeypatch.setattr(kernels.sys, "modules", {})
    kernels.keep_apart(tmp_path / "nothing")
    assert os.environ["NUMBA_CACHE_DIR"].startswith(str(tmp_path / "kernels-"))
    assert not old.exists() and fresh.exists()
