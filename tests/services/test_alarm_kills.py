"""kill -9 of ingest in the middle of a storm of alarms: groups, members, occurrences and history are those of a run
without the kill, to the observation.
"""

from pathlib import Path

import pytest

from tests.database_fixture import Database
from tests.services.alarm_fixture import ALARMS, EVENTS
from tests.services.broker_fixture import RunningBroker
from tests.services.ingest_fixture import (
    KeepSending,
    Row,
    agent,
    assert_exactly_once,
    broker,
    load,
    running_ingest,
    schema,
    seal_load,
    settle,
)
from tests.waiting import wait_for

__all__ = ["broker"]

DARK = {f"sl-{number}" for number in range(8)}  # of a circuit of ten


def stormy_street() -> list[list[Row]]:
    """A circuit whose voltage is too high, flaps, and is gone; two lamps elsewhere for which the same holds."""
    batches = load(170)
    for minute, rows in enumerate(batches):
        high = 40 <= minute < 52 or 56 <= minute < 75
        for place, (device, at, _value) in enumerate(rows):
            late = int(device.removeprefix("sl-")) % 3  # they do not do it all at once
            if high and minute >= 40 + late and (device in DARK or device in ("sl-15", "sl-16")):
                rows[place] = (device, at, 270.0)
        if 95 <= minute < 130:
            rows[:] = [row for row in rows if row[0] not in DARK]
    return batches


def stored(
    where: Database, broker: RunningBroker, folder: Path, kills: tuple[int, ...]
) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    settle(where)
    where.rows(
        "UPDATE device SET attributes = "
        "jsonb_build_object('circuit', CASE WHEN device_id <= 10 THEN 'c-1' ELSE 'c-2' END)"
    )
    settings = {"save_period_s": 1, "flush_observations": 160}
    with (
        running_ingest(where, broker, folder, **settings) as ingest,
        agent(broker) as sender,
    ):
        generated = seal_load(sender, stormy_street())
        sending = KeepSending(sender)
        for upto in kills:
            wait_for(lambda upto=upto: sender.sender.acked >= upto, pause_s=0.002)  # type: ignore[misc]
            ingest.kill()
            ingest.restart()
        sending.finish()
        assert_exactly_once(where, generated)
        wait_for(lambda: where.rows("SELECT bool_and(examined) FROM detector_journal") in ([(True,)], [(None,)]))
    return where.rows(ALARMS), where.rows(EVENTS)


@pytest.mark.timeout(180)
def test_a_storm_through_which_ingest_is_killed_leaves_the_alarms_of_a_run_without(
    database: Database, postgres_url: str, broker: RunningBroker, tmp_path: Path
) -> None:
    with schema(postgres_url) as other:
        steady = stored(other, broker, tmp_path, ())
    killed = stored(database, broker, tmp_path, (44, 100))
    assert killed == steady
    groups = {(row[0], row[1]): row for row in steady[0] if str(row[0]).startswith("circuit")}
    high, silent = (groups["circuit 41280 streetlight c-1", name] for name in ("out_of_range:voltage", "silent"))
    assert (high[2], high[8], high[12]) == ("cleared", 2, 8)  # it flapped, and stayed one
    assert (silent[2], silent[8], silent[12]) == ("cleared", 1, 8)
    assert {row[2] for row in groups.values()} == {"cleared"}
