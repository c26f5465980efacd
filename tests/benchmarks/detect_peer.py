"""A peer's detector over the same values, in a Python of its own: `python detect_peer.py NAME VALUES.npy SECONDS`.

Prints JSON: values scored, seconds, bytes of memory that a series' detector takes. Each series has a detector
with the library's defaults; values come in arrival order. Imports the peer and numpy only: it runs outside this
project's packages.
"""

import json
import sys
import time
import tracemalloc

import numpy as np

TREES, TREE_SIZE = 40, 256  # rrcf's own example of a stream
SEEN = 256  # of each series before the clock starts: trees and windows are full


def half_space_trees(series):
    from river import anomaly

    detectors = [anomaly.HalfSpaceTrees() for _ in range(series)]

    def score(number, value):
        x = {"value": value}
        said = detectors[number].score_one(x)
        detectors[number].learn_one(x)
        return said

    return detectors, score


def random_cut_forest(series):
    import rrcf

    forests = [[rrcf.RCTree() for _ in range(TREES)] for _ in range(series)]
    seen = [0] * series

    def score(number, value):
        at, said = seen[number], 0.0
        seen[number] += 1
        for tree in forests[number]:
            if len(tree.leaves) >= TREE_SIZE:
                tree.forget_point(at - TREE_SIZE)
            tree.insert_point(np.array([value]), index=at)
            said += tree.codisp(at)
        return said / TREES

    return forests, score


def main(name, file, seconds):
    values = np.load(file)  # (steps, series)
    series = values.shape[1]
    make = {"river": half_space_trees, "rrcf": random_cut_forest}[name]
    _, score = make(series)
    for row in values[:SEEN].tolist():
        for number, value in enumerate(row):
            score(number, value)
    done, began = 0, time.process_time()
    for row in values[SEEN:].tolist():
        for number, value in enumerate(row):
            score(number, value)
        done += series
        if time.process_time() - began > seconds:
            break
    took = time.process_time() - began
    tracemalloc.start()
    kept = make(1)
    for value in values[:SEEN, 0].tolist():
        kept[1](0, value)
    print(json.dumps({"values": done, "seconds": took, "bytes": tracemalloc.get_traced_memory()[0]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
