"""From changes of alarms to episodes, counts, the worst of them, and what became of alarms that people have judged."""

from ingest_service.alarms import Change
from ingest_service.replay import marks, spool, tally
from ingest_service.replay.episodes import QUIET_MS, Tracker, begin_of, end_of, order_of
from ingest_service.replay.marks import Mark, Marks
from ingest_service.replay.tally import Tally

MINUTE_MS = 60_000


def change(minute, begins, device_id=1, condition="stuck:voltage", **evidence):
    detector, _, name = condition.partition(":")
    return Change(
        "41280", device_id, None, "streetlight", condition, detector, name or None, 2, begins, minute * MINUTE_MS,
        evidence,
    )  # fmt: skip


def tracked(*said, sides=1):
    """Episodes of (set of parameters, change)."""
    found = []
    tracker = Tracker(sides, found.append)
    for number, item in said:
        tracker.take(number, item, f"sl-{item.device_id}")
    tracker.end()
    return found


def spans(episodes):
    return [
        (begin_of(item) // MINUTE_MS, None if end_of(item) is None else end_of(item) // MINUTE_MS) for item in episodes
    ]


def test_findings_with_less_than_an_hour_of_quiet_between_them_are_one_episode():
    said = [change(0, True), change(10, False), change(69, True), change(70, False), change(130, True)]
    found = tracked(*((0, item) for item in said))
    assert spans(found) == [(0, 70), (130, None)]
    assert found[0].sides[0].findings == 2
    assert QUIET_MS == 60 * MINUTE_MS


def test_devices_and_conditions_have_episodes_of_their_own():
    said = [change(0, True), change(1, True, 2), change(2, True, 1, "silent"), change(3, False), change(4, False, 2)]
    episodes = tracked(*((0, item) for item in said))
    found = {(item.device_id, item.condition): span for item, span in zip(episodes, spans(episodes), strict=True)}
    assert found == {(1, "stuck:voltage"): (0, 3), (2, "stuck:voltage"): (1, 4), (1, "silent"): (2, None)}


def test_an_end_without_a_begin_is_nothing_and_a_second_begin_is_a_finding_more():
    (found,) = tracked((0, change(0, False)), (0, change(1, True)), (0, change(2, True)), (0, change(3, False)))
    assert spans([found]) == [(1, 3)]
    assert found.sides[0].findings == 2


def test_two_sets_of_parameters_share_an_episode_where_they_overlap():
    both, second, first = tracked(
        (0, change(0, True)), (1, change(20, True)), (0, change(30, False)), (1, change(30, False)),
        (1, change(200, True)), (1, change(210, False)),
        (0, change(400, True)),
        sides=2,
    )  # fmt: skip
    assert [tally.sort_of(item) for item in (both, second, first)] == ["both", "1", "0"]
    assert spans([both, second, first]) == [(0, 30), (200, 210), (400, None)]


def test_alarms_that_the_other_set_bridges_are_still_counted_one_by_one():
    (found,) = tracked(
        (0, change(0, True)), (1, change(0, True)), (1, change(1, False)), (1, change(100, True)),
        (1, change(101, False)), (0, change(120, False)),
        sides=2,
    )  # fmt: skip
    assert [side.episodes for side in found.sides] == [1, 2]
    count = Tally(2, 0)
    count.add(found)
    (row,) = count.rows.values()
    assert (row.episodes, row.devices, row.both, row.alone, row.open) == ([1, 2], [1, 1], 1, [0, 0], [0, 0])


def test_counts_of_two_processes_add_up_and_the_worst_examples_stay():
    def counted(*devices):
        count = Tally(1, 0)
        for device_id, value in devices:
            begins = change(device_id, True, device_id, "out_of_range:voltage", values=[value], low=187.0, high=253.0)
            for episode in tracked((0, begins)):
                count.add(episode)
        return count.rows

    parts = [counted((1, 254.0), (2, 300.0), (3, 255.0)), counted((4, 100.0), (5, 256.0))]
    (row,) = tally.joined(parts, 0).values()
    assert (row.episodes, row.devices, row.open) == ([5], [5], [5])
    assert [item.device for item in row.examples["all"]] == ["sl-4", "sl-2", "sl-5"]
    (alone,) = counted((1, 254.0), (2, 300.0), (3, 255.0), (4, 100.0), (5, 256.0)).values()
    assert row == alone


def test_without_a_band_the_longest_is_the_worst():
    count = Tally(1, 1000 * MINUTE_MS)
    for device_id, minutes in ((1, 10), (2, 300), (3, 20), (4, None)):
        said = [(0, change(0, True, device_id))]
        said += [] if minutes is None else [(0, change(minutes, False, device_id))]
        count.add(*tracked(*said))
    (row,) = count.rows.values()
    assert [item.device for item in row.examples["all"]] == ["sl-4", "sl-2", "sl-3"]


def test_marks_are_found_again_by_the_same_condition_by_another_or_not_at_all():
    kept = Marks(
        Mark(number, 1, condition, minute * MINUTE_MS, (minute + 5) * MINUTE_MS, cause, [None])
        for number, (condition, minute, cause) in enumerate(
            [("stuck:voltage", 0, "real"), ("spike:voltage", 0, "real"), ("stuck:voltage", 300, "false")]
        )
    )
    for episode in tracked((0, change(8, True)), (0, change(20, False)), (0, change(3, True, 2))):
        kept.take(episode)
    assert [mark.found for mark in kept.all()] == [["same"], ["other"], [None]]
    assert marks.counted(kept.all(), 0) == {
        "real": {"all": 2, "same": 1, "other": 1},
        "false": {"all": 1, "gone": 1},
    }


def test_episodes_come_back_from_disk_in_order_however_they_were_added(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "RUN_LENGTH", 4)
    episodes = [
        item for minute in (5, 3, 9, 1, 7, 2, 8, 4, 6, 0) for item in tracked((0, change(minute, True, minute)))
    ]
    first, second = spool.Spool(tmp_path, "0"), spool.Spool(tmp_path, "1")
    for number, episode in enumerate(episodes):
        (first, second)[number % 2].add(episode)
    first.close()
    second.close()
    files = first.files + second.files
    assert len(files) == 4
    assert list(spool.read(files)) == sorted(episodes, key=order_of)
