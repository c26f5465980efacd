"""The frame of the benchmarks: names, table, JSON, and what is said of a wrong result."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.benchmarks import __main__ as frame
from tests.benchmarks import report, score

ROOT = Path(__file__).parents[3]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_its_help_lists_every_benchmark():
    said = bench("--help").stdout
    for name in frame.BENCHMARKS:
        assert f"  {name}" in said
    assert bench().stdout == said


def test_an_unknown_name_is_refused_with_what_is_known():
    done = bench("ingset")
    assert done.returncode == 2
    assert "no benchmark 'ingset'; did you mean 'ingest'?" in done.stderr
    assert "wire" in done.stderr


def test_every_module_that_is_there_teaches_its_options(capsys):
    for name in frame.BENCHMARKS:
        if (ROOT / "tests" / "benchmarks" / f"{name}.py").exists():
            with pytest.raises(SystemExit) as asked:
                frame.main([name, "--help"])
            assert asked.value.code == 0
            assert "--json" in capsys.readouterr().out


def test_a_case_says_its_ratio_in_table_and_json(tmp_path):
    cases = [
        report.case("dure", 150_000.0, "observations/s", against=("\\copy", 600_000.0), of="6,000,000 observations"),
        report.case("alone", 0.0123, "s"),
    ]
    said = report.table(cases)
    assert "150,000" in said
    assert "0.25x" in said
    assert "0.0123" in said
    report.write_json(cases, tmp_path / "deep" / "cases.json")
    (first, second) = msgspec.json.decode((tmp_path / "deep" / "cases.json").read_bytes())
    assert list(first) == ["case", "value", "unit", "baseline", "baseline_value", "ratio", "input"]
    assert first["ratio"] == 0.25
    assert second["baseline"] is None


def test_a_wrong_result_ends_the_run_without_a_figure(monkeypatch, capsys):
    class Module:
        """A benchmark that finds that a row is missing."""

        @staticmethod
        def add_arguments(parser):
            parser.add_argument("--rows", type=int, default=3)

        @staticmethod
        def run(options):
            raise report.Wrong(f"{options.rows} rows are missing")

    monkeypatch.setattr(frame.importlib, "import_module", lambda name: Module)
    assert frame.main(["wire", "--rows", "7"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "wrong result: 7 rows are missing" in said.err


def test_figures_have_the_digits_that_mean_something():
    def check(value, text):
        assert report.figure(value) == text

    check(123_456.7, "123,457")
    check(12.34, "12.3")
    check(0.01234, "0.0123")
    check(5.0, "5")
    check(float("nan"), "-")
    check(float("inf"), "inf")


def test_every_score_is_listed_and_teaches_its_options(capsys):
    def asked(*arguments):
        return frame.main(arguments, command="score", names=score.SCORES, help_text=score.HELP, prefix="score_")

    assert asked() == 0
    listed = capsys.readouterr().out
    for name, words in score.SCORES.items():
        assert f"  {name}" in listed and words in listed
        with pytest.raises(SystemExit) as left:
            asked(name, "--help")
        assert left.value.code == 0
        assert "--json" in capsys.readouterr().out
    assert asked("nob") == 2
    assert "./run score: no benchmark 'nob'; did you mean 'nab'?" in capsys.readouterr().err
