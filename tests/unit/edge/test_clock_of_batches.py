"""The clock that a batch bears: what the agent knows up to then is in it or before it, for silence is judged by it."""

from pathlib import Path

from edge.drivers.sim import Sim
from edge.outbox import Reading
from edge.outbox_file import open_outbox

LINE_MS = 1000


def reading(number: int) -> Reading:
    """Observations 30 * number + 1 .. + 30, of one second."""
    devices = [f"sl-{row}" for row in range(30)]
    group = {"device": devices, "observed_at": [number * LINE_MS + row for row in range(30)]}
    return Reading({"streetlight": group}, 30 * number + 30, 5000, (number + 1) * LINE_MS)


def test_a_batch_never_bears_a_clock_that_is_ahead_of_what_was_told(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "outbox.db", max_bytes=1 << 24, batch_observations=100, seal_after_ms=1000)
    told = [reading(number) for number in range(20)]
    outbox.store("sim:a", told[:11], clock_ms=99_000, now_ms=0)  # 330 observations at once, as after a pause
    outbox.store("sim:a", told[11:], clock_ms=99_000, now_ms=0)
    live = outbox.live
    clocks = []
    for seq in range(1, live.next_seq):
        batch = outbox.read(live.epoch, seq)
        assert batch is not None
        held = batch.first + batch.count - 1  # observations told by the end of this batch
        assert batch.clock_ms <= held // 30 * LINE_MS
        clocks.append(batch.clock_ms)
    assert clocks == sorted(clocks) and clocks[0] > 0 and len(clocks) == 6
    outbox.close()


def test_the_driver_knows_no_time_before_its_source_has_spoken() -> None:
    assert Sim("nowhere.sock", "41280/pole-01").clock_ms(wall_ms=1_800_000_000_000) == 0
