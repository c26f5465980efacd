"""What is unusual for a bin becomes an alarm with its score, though ingest is killed and stopped while it learns."""

import numpy as np

from ingest_service.detection.novelty import BEGINS, ENDS, Novelty
from tests.services.ingest_fixture import START_MS, agent, broker, running_ingest, settle, wait_for_rows

__all__ = ["broker"]

TEN_MINUTES_MS, DAY = 600_000, 144
FIRST_MS = START_MS - 8 * 86_400_000


def warming_bin():
    """Eight days of a bin's temperature; on the last, 25 degrees more than the hour brings."""
    random = np.random.default_rng(5)
    values = 15 + 6 * np.sin(np.arange(8 * DAY) * 2 * np.pi / DAY) + random.normal(0, 0.4, 8 * DAY)
    values[7 * DAY + 60 :] += 25
    return np.round(values, 1)


def test_a_warming_bin_is_one_alarm_with_the_score_of_an_undisturbed_run(database, broker, tmp_path):
    values = warming_bin()
    at_ms = FIRST_MS + TEN_MINUTES_MS * np.arange(len(values), dtype=np.int64)
    undisturbed = Novelty(1, threshold=0.8, clear_after=12)
    score, changes, band = undisturbed.examine(np.zeros(len(values), np.int64), at_ms, values.astype(np.float32))
    (begun,) = np.flatnonzero(changes == BEGINS)
    assert begun == 7 * DAY + 60
    assert (changes == ENDS).sum() == 1

    def send(first_day, last_day):
        for low in range(first_day * DAY, last_day * DAY, 96):
            rows = slice(low, low + 96)
            body = {"device": ["bin-0"] * 96, "observed_at": at_ms[rows].tolist(), "temperature": values[rows].tolist()}
            sender.seal({"waste_container": body}, clock_ms=int(at_ms[rows][-1]))
        sender.deliver()

    settle(database)
    with running_ingest(database, broker, tmp_path) as ingest, agent(broker) as sender:
        send(0, 2)
        ingest.kill()  # learns again from the journal
        ingest.restart()
        send(2, 6)
        ingest.stop()  # saves what it has learnt, and no journal is left
        assert database.rows("SELECT count(*) FROM detector_journal") == [(0,)]
        ingest.restart()
        send(6, 8)
        ((at, cleared, severity, evidence),) = wait_for_rows(
            database,
            "SELECT (extract(epoch FROM opened_at) * 1000)::bigint, state = 'cleared', severity, evidence FROM alarm "
            "WHERE condition = 'novelty:temperature'",
        )
    assert (at, cleared, severity) == (at_ms[begun], True, 1)
    assert evidence["score"] == score[begun]
    assert [evidence["low"], evidence["expected"], evidence["high"]] == band[begun].tolist()
    assert evidence["parameters"] == {"threshold": 0.8, "clear_after": 12}
