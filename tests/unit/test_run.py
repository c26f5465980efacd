"""The bootstrap script: what it says when something is missing, and how little it does when nothing is."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TOOLS = (
    "sh", "cat", "cksum", "cut", "date", "dirname", "env", "find", "grep", "id", "ln", "mkdir", "rm", "rmdir", "sleep",
    "sort", "tail", "chmod",
)  # fmt: skip


@pytest.fixture
def checkout(tmp_path):
    """A checkout with nothing set up, and a PATH that has only the plainest tools."""
    place = tmp_path / "a checkout"
    (place / "bin").mkdir(parents=True)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (place / "bin" / tool).symlink_to(found)
    shutil.copy(ROOT / "run", place)
    shutil.copytree(ROOT / "requirements", place / "requirements")
    return place


def program(checkout: Path, name: str, text: str) -> None:
    path = checkout / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # never write through a link to the system's own tool
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "run"), *arguments],
        env={"PATH": str(checkout / "bin"), "HOME": str(checkout), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def set_up(checkout: Path) -> None:
    """Pretend that the packages are installed: a Python that tells what it was asked to run."""
    program(checkout, ".venv/bin/python", 'echo "python $*"')
    for lock in ("services", "dev"):
        total = subprocess.run(
            ["cksum"], stdin=(checkout / "requirements" / f"{lock}.lock").open(), capture_output=True, check=True
        )
        (checkout / ".venv" / f"{lock}.stamp").write_bytes(total.stdout)


def test_it_is_plain_shell():
    shell = shutil.which("dash") or "/bin/sh"
    for script in ("run", ".ci/run", "requirements/lock.sh"):
        subprocess.run([shell, "-n", script], cwd=ROOT, check=True)
        assert os.access(ROOT / script, os.X_OK)


def test_a_missing_python_is_named_with_what_to_do(checkout):
    done = run(checkout, "demo")
    assert done.returncode == 1
    assert "cannot find Python 3.11 or later" in done.stderr
    assert "apt-get install" in done.stderr


def test_an_old_python_is_refused_with_its_version(checkout):
    program(checkout, "bin/python3", 'case $1 in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac')
    done = run(checkout, "demo")
    assert done.returncode == 1
    assert "Python 3.9.2" in done.stderr
    done = run(checkout, "demo", PYTHON=str(checkout / "bin" / "python3"))
    assert "is not a Python 3.11 or later" in done.stderr


def test_a_python_without_venv_is_told_what_to_install(checkout):
    program(checkout, "bin/python3", 'case "$*" in *version_info*) exit 0 ;; *) exit 1 ;; esac')
    done = run(checkout, "setup")
    assert done.returncode == 1
    assert "python3-venv" in done.stderr
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".dure" / "setup.lock").exists()


def test_a_failing_step_shows_its_last_lines_and_what_to_do(checkout):
    program(checkout, "bin/python3", "exit 0")
    program(checkout, "bin/uv", 'case $1 in venv) exit 0 ;; *) echo "no route to the index"; exit 1 ;; esac')
    done = run(checkout, "setup")
    assert done.returncode == 1
    assert "no route to the index" in done.stderr
    assert "Is the package index reachable" in done.stderr
    assert ".dure/setup.log" in done.stderr


@pytest.mark.alone
def test_nothing_is_set_up_twice_and_the_hand_over_is_quick(checkout):
    set_up(checkout)
    begun = time.monotonic()
    done = run(checkout, "demo", "--for", "60s")
    assert time.monotonic() - begun < 1
    assert done.stdout == f"python {checkout}/dure.py demo --for 60s\n"


def test_a_changed_lock_is_installed_again(checkout):
    set_up(checkout)
    program(checkout, "bin/uv", 'echo "$*" >"$HOME/asked"')
    with (checkout / "requirements" / "services.lock").open("a") as lock:
        lock.write("# changed\n")
    assert run(checkout, "setup").returncode == 0
    asked = (checkout / "asked").read_text()
    assert "--require-hashes" in asked
    assert "services.lock" in asked
    assert run(checkout, "setup").stdout == "set up; next: ./run demo\n"


def test_a_setup_that_was_killed_does_not_block_the_next(checkout):
    set_up(checkout)
    (checkout / ".venv" / "services.stamp").unlink()
    program(checkout, "bin/uv", "exit 0")
    (checkout / ".dure" / "setup.lock").mkdir(parents=True)
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout
    (checkout / ".dure" / "setup.lock" / "pid").write_text(gone)
    assert run(checkout, "setup").returncode == 0


def test_suites_become_folders_and_the_rest_goes_to_pytest(checkout):
    set_up(checkout)
    for suite in ("unit", "services", "browser", "benchmarks"):
        (checkout / "tests" / suite).mkdir(parents=True)
    side_by_side = "-n 3 --no-loadscope-reorder"
    said = run(checkout, "test", "unit", "-k", "topics").stdout
    assert said == f"python -m pytest tests/unit {side_by_side} -k topics\n"
    assert "python -m pytest tests/unit/test_run.py\n" in run(checkout, "test", "tests/unit/test_run.py").stdout
    for tool in ("ruff", "mypy", "lint-imports"):
        program(checkout, f".venv/bin/{tool}", "exit 0")
    everything = run(checkout, "test")
    assert f"python -m pytest tests/unit tests/services {side_by_side}\npython -m pytest tests/browser\n" in (
        everything.stdout
    )
    assert everything.returncode == 0


def test_a_benchmark_is_handed_over_with_its_arguments(checkout):
    set_up(checkout)
    assert (
        run(checkout, "bench", "wire", "--json", "w.json").stdout == "python -m tests.benchmarks wire --json w.json\n"
    )


def test_a_failing_check_fails_the_whole_and_does_not_stop_the_rest(checkout):
    set_up(checkout)
    (checkout / "tests" / "unit").mkdir(parents=True)
    for tool in ("ruff", "lint-imports"):
        program(checkout, f".venv/bin/{tool}", "exit 0")
    program(checkout, ".venv/bin/mypy", "echo wrong type; exit 1")
    done = run(checkout, "test", "lint", "unit")
    assert done.returncode == 1
    assert "wrong type" in done.stdout
    assert "python -m pytest tests/unit -n 3 " in done.stdout


def test_ci_requires_a_browser(checkout):
    if os.geteuid() == 0:
        program(checkout, "bin/apt-get", "exit 0")
        program(checkout, "bin/id", "echo 1000")
    set_up(checkout)
    done = run(checkout, "test", "browser", CI="true")
    assert done.returncode == 1
    assert "CI requires" in done.stderr


def test_cleaning_removes_what_was_made(checkout):
    set_up(checkout)
    (checkout / ".dure").mkdir()
    (checkout / "edge" / "__pycache__").mkdir(parents=True)
    assert run(checkout, "clean").returncode == 0
    assert sorted(path.name for path in checkout.iterdir()) == ["bin", "edge", "requirements", "run"]
    assert not (checkout / "edge" / "__pycache__").exists()


def test_the_locks_pin_by_hash_and_name_no_index():
    for lock in ("edge", "services", "dev", "node"):
        text = (ROOT / "requirements" / f"{lock}.lock").read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index-url" not in text
