"""`./run bench`: finds the benchmark that a name stands for, runs it, prints its table and writes its JSON.

Imports nothing but the benchmark that was asked for. Each is a module here with `add_arguments(parser)` and
`run(options) -> list[Case]`, and says in its heading why its path is hot; one that wants a table of its own has
`table(cases)`. `./run score` is the same frame with other names (`score.py`).
"""

import argparse
import difflib
import importlib
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks import report

BENCHMARKS = {
    "ingest": "observations a second from the broker's socket to COMMIT, beside \\copy, a C subscriber and peers",
    "stages": "where ingest's time goes between a message and COMMIT, stage by stage",
    "detect": "values a second and bytes a series of the detectors, beside river and rrcf; their share of ingest",
    "alarms": "what alarms cost a flush, and what a storm of them does",
    "wire": "bytes an observation on the wire, beside SenML and Sparkplug B",
    "latency": "from a sensor's reading to the committed row and to the live stream",
    "query": "milliseconds of the API's questions over a city's month",
    "storage": "bytes an observation in the database",
}
HELP = """\
usage: ./run bench <name> [--json FILE] [options]
       ./run bench <name> --help

{names}
Each measures its ceiling or its peers in the same run, checks the results as well as the time, prints a table on stdout
and, with --json FILE, writes a list of {{case, value, unit, baseline, baseline_value, ratio, input}}. Progress goes to
stderr; some take minutes. Nothing else should run on the machine meanwhile: read the ratios, not the rates.
docs/guides/benchmarks.md tells what each measures and how to read it.
"""


def main(
    argv: Sequence[str],
    *,
    command: str = "bench",
    names: Mapping[str, str] = BENCHMARKS,
    help_text: str = HELP,
    prefix: str = "",
) -> int:
    """Run one of `names`, the module `<prefix><name>`; 0, or 1 when its results were wrong, or 2 when it was asked
    wrongly.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        width = max(map(len, names)) + 2
        print(help_text.format(names="".join(f"  {name:<{width}}{words}\n" for name, words in names.items())), end="")
        return 0
    name, rest = argv[0], list(argv[1:])
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        print(f"./run {command}: no benchmark {name!r}{hint} (known are {', '.join(names)})", file=sys.stderr)
        return 2
    benchmark = importlib.import_module(f"tests.benchmarks.{prefix}{name}")
    parser = argparse.ArgumentParser(
        prog=f"./run {command} {name}",
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the cases as JSON")
    benchmark.add_arguments(parser)
    options = parser.parse_args(rest)
    try:
        cases = benchmark.run(options)
    except report.Wrong as wrong:
        print(f"./run {command} {name}: wrong result: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(getattr(benchmark, "table", report.table)(cases), flush=True)
    if options.json:
        report.write_json(cases, options.json)
    return 0


def stoppable() -> None:
    """Every signal to end ends what was started, too; a shell's background jobs would ignore SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    stoppable()
    sys.exit(main(sys.argv[1:]))
