"""NAB's rule as `./run score nab` uses it: one threshold for all, and thresholds that never saw their own category."""

import numpy as np
import pytest

from tests.benchmarks import score_nab
from tests.benchmarks.report import Wrong

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(
        not score_nab.SCORER.exists() or not score_nab.DATA.exists(), reason="no benchmark in ../shared"
    ),
]
CHOSEN = ("realKnownCause/nyc_taxi.csv", "realTraffic/speed_7578.csv", "realTraffic/occupancy_t4013.csv")


@pytest.fixture(scope="module")
def some():
    """The rule, three files, and a peer's scores of them."""
    nab = score_nab.scorer(score_nab.SCORER)
    files = {file: content for file, content in nab.load_root(str(score_nab.DATA)).items() if file in CHOSEN}
    scores = nab.run_detector(score_nab.Ewma, files)
    return nab, files, scores, {file: nab.Prepared(t, windows) for file, (t, _, windows) in files.items()}


def test_one_threshold_for_all_files_gives_the_rules_own_figure(some):
    nab, files, scores, preps = some
    wanted = nab.evaluate(files, scores)["standard"]
    by = dict.fromkeys(CHOSEN, wanted["threshold"])
    assert score_nab.normalised(nab, preps, scores, "standard", by, CHOSEN) == pytest.approx(wanted["score"])
    alarms, hits = score_nab.said(nab, preps, scores, by, CHOSEN)
    assert (alarms, hits) == (wanted["false_positives"], wanted["windows_hit"])


def test_a_categorys_threshold_does_not_come_from_its_own_files(some):
    nab, _, scores, preps = some
    before = score_nab.left_out(nab, preps, scores, "standard")
    random = np.random.default_rng(1)
    other = {file: random.random(len(s)) if file.startswith("realTraffic/") else s for file, s in scores.items()}
    after = score_nab.left_out(nab, preps, other, "standard")
    assert before["realTraffic/speed_7578.csv"] == after["realTraffic/speed_7578.csv"]
    assert before["realKnownCause/nyc_taxi.csv"] != after["realKnownCause/nyc_taxi.csv"]


def test_scores_that_look_ahead_are_refused(some):
    nab, files, _, _ = some

    class Batch:
        """Says of each value how it stands in its batch."""

        def __init__(self, n):
            pass

        def update(self, series_idx, t, value):
            return value.argsort().argsort() / len(value)

    with pytest.raises(Wrong, match="differ with"):
        score_nab._check(nab, Batch, files, nab.run_detector(Batch, files))
