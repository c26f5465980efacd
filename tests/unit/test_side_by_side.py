"""Tests that run in several processes: who wants the machine alone gets it, and soon."""

import multiprocessing
import time
from pathlib import Path

from tests.side_by_side import group_of, turn


def hold(folder: Path, alone: bool, seconds: float, times) -> None:
    with turn(folder, alone=alone):
        began = time.monotonic()
        time.sleep(seconds)
        times.put((alone, began, time.monotonic()))


def test_one_alone_overlaps_nobody_and_the_others_overlap_each_other(tmp_path):
    context = multiprocessing.get_context("fork")
    times = context.Queue()
    holders = [
        context.Process(target=hold, args=(tmp_path, alone, 0.8, times)) for alone in (False, False, True, False)
    ]
    for holder in holders:
        holder.start()
        time.sleep(0.03)
    spans = [times.get(timeout=10) for _ in holders]
    for holder in holders:
        holder.join()
    (alone,) = [span for span in spans if span[0]]
    others = sorted(span for span in spans if not span[0])
    assert all(end <= alone[1] or begin >= alone[2] for _, begin, end in others)
    assert others[0][2] > others[1][1]  # the first two, at the same time
    assert others[2][1] >= alone[2]  # it came after the one alone, and did not overtake


def test_a_file_stays_together_and_so_do_the_copies_of_one_city():
    assert group_of("tests/services/test_ingest.py::test_x[1]") == "tests/services/test_ingest.py"
    assert group_of("tests/journeys/test_demo.py::test_x") == "tests/journeys/test_demo.py"
    copies = {group_of(f"tests/journeys/test_{name}.py::test_x") for name in ("kills", "outages", "new_kind")}
    assert len(copies) == 1
