"""`./run score`: how well detection detects. Names and help; the frame is that of `./run bench`."""

import sys

from tests.benchmarks.__main__ import main

SCORES = {
    "faults": "what the fault monitors find, when, under which name, and how often they cry wolf",
    "constants": "how much the novelty score hangs on each of its constants",
    "cases": "what is known to be wrong in recordings of real cities, and what else is said of them",
    "states": "bays that never change and lamps against the sun, in simulated cities",
    "nab": "the novelty score on the Numenta Anomaly Benchmark, developers' half",
}
HELP = """\
usage: ./run score <name> [--json FILE] [options]
       ./run score <name> --help

{names}
Each runs the objects that ingest runs, with the thresholds of the shipped profiles, prints a table on stdout and, with
--json FILE, writes a list of {{case, value, unit, baseline, baseline_value, ratio, input}}. Progress goes to stderr.
docs/guides/benchmarks.md tells how it is counted.
"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], command="score", names=SCORES, help_text=HELP, prefix="score_"))
