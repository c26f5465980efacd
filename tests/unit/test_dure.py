"""The dispatcher: what it imports, what it says."""

import json
import subprocess
import sys
from pathlib import Path

import dure

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("numpy", "numba", "psycopg", "fastapi", "pydantic", "pyarrow")


def modules_after(*arguments: str) -> set[str]:
    """The modules that a run of `dure` with these arguments has loaded."""
    program = (
        "import contextlib, io, json, sys, dure\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    dure.main({list(arguments)!r})\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_agent_loads_nothing_that_a_small_box_lacks():
    loaded = modules_after("edge", "--help")
    assert "edge.cli" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_help_and_backups_want_nothing_that_only_files_of_observations_need():
    for command in ("export", "import"):
        assert "pyarrow" not in modules_after(command, "--help")
    assert "pyarrow" not in modules_after("backup", "--verify", "no-such-file")


def test_help_loads_no_part_at_all():
    packages = {name.split(".")[0] for name in modules_after("--help")}
    assert packages.isdisjoint({command.module.split(".")[0] for command in dure.COMMANDS.values()})


def test_help_shows_every_command(capsys):
    assert dure.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, command in dure.COMMANDS.items():
        assert f"  {name} " in shown
        assert command.summary in shown


def test_a_wrong_command_is_refused_with_the_nearest_one(capsys):
    assert dure.main(["datebase"]) == 2
    assert "did you mean 'database'?" in capsys.readouterr().err


def test_a_missing_package_is_named_with_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(dure.COMMANDS, "edge", dure.Command("no_such_part.cli", "", "edge"))
    assert dure.main(["edge"]) == 1
    said = capsys.readouterr().err
    assert "'no_such_part'" in said
    assert "pip install 'dure[edge]'" in said


def test_the_part_gets_the_rest_of_the_line_and_its_code_is_ours(monkeypatch):
    part = type(sys)("part_for_test")
    part.main = lambda argv: len(argv)
    monkeypatch.setitem(sys.modules, "part_for_test", part)
    monkeypatch.setitem(dure.COMMANDS, "part", dure.Command("part_for_test", ""))
    assert dure.main(["part", "--help", "x"]) == 2
