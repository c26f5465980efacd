# ruff: noqa: E501 - statements that fill tables read better unbroken
"""A month of a province, made in place: every value follows from the device's number and the time, so that any answer can
be worked out again without the database.

`build` fills a migrated schema: devices of four kinds in five municipalities, an observation each 300 s for 30 days (or fewer),
time by time as they would have come; hours rolled up and partitions closed by ingest's own statements as the month goes on, three
connections abreast. The last hour stays open and the last partition hot. `value` says in numpy what `FORMULAS` says in SQL.
"""

import json
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import psycopg
from numpy.typing import NDArray

from contracts import profiles
from ingest_service.rollups import Roller
from ingest_service.settings import Database as Settings
from ingest_service.store import closing, rolling
from ingest_service.store.connection import connect
from ingest_service.store.migrate import migrate
from ingest_service.store.partitions import HOUR_MS, Partitions, listed
from tests.benchmarks.load_fleet import KINDS as TOWN_KINDS
from tests.benchmarks.report import progress

Array = NDArray[Any]
KINDS = {kind: profile for kind, profile in profiles.load(environ={}).items() if kind in TOWN_KINDS}
PERIOD_S, SLOTS_A_DAY = 300, 288
END_MS = 1_793_502_000_000  # 2026-11-01 03:00 UTC, in the middle of a partition
EDGE_MS = END_MS - HOUR_MS  # up to where hours are closed
TOWNS = {"41280": (0, 5), "41480": (5, 7), "41500": (7, 8), "41570": (8, 9), "41590": (9, 10)}  # of device_id % 10
SHARES = {"streetlight": (0, 14), "waste_container": (14, 17), "parking_spot": (17, 19), "off_street_parking": (19, 20)}
MIX, SLOT, PART = 7919, 104_729, 1_299_709  # primes
NOISE = "(device_id * 7919 + s * 104729 + {0} * 1299709) % 1000"
ON = "(s / 12 % 24 BETWEEN 9 AND 20)"  # 18 to 6 o'clock in Seoul

FORMULAS: dict[str, dict[str, str]] = {
    "streetlight": {
        "power_state": f"CASE WHEN {ON} THEN 1 ELSE 0 END",
        "illuminance_level": f"CASE WHEN {ON} THEN (60 + {NOISE.format(1)} % 40) / 100.0 ELSE 0 END",
        "power_consumption": f"CASE WHEN {ON} THEN (500 + {NOISE.format(2)} % 300) / 10.0 ELSE {NOISE.format(2)} % 10 / 10.0 END",
        "voltage": f"CASE WHEN {NOISE.format(5)} <> 0 THEN (2150 + {NOISE.format(3)} % 100) / 10.0 END",
        "current": f"CASE WHEN {ON} THEN (200 + {NOISE.format(4)} % 200) / 1000.0 ELSE 0 END",
    },
    "waste_container": {
        "filling_level": "(s + device_id * 37) % 2016 * 1000 / 2016 / 1000.0",
        "temperature": f"(150 + {NOISE.format(1)} % 100) / 10.0",
        "cargo_weight": f"(100 + {NOISE.format(2)}) / 10.0",
        "status": f"CASE WHEN {NOISE.format(3)} = 1 THEN 1 ELSE 0 END",
    },
    "parking_spot": {"status": f"{NOISE.format(1)} % 2"},
    "off_street_parking": {
        "available_spot_number": f"{NOISE.format(1)} % 300",
        "occupied_spot_number": f"300 - {NOISE.format(1)} % 300",
        "status": "0",
    },
}  # fmt: skip


def value(name: str, device_id: Array, slot: Array) -> Array:
    """The value of a property of these devices at these slots, float64; NaN where there is none."""

    def noise(part: int) -> Array:
        return (device_id * MIX + slot * SLOT + part * PART) % 1000

    on = (slot // 12 % 24 >= 9) & (slot // 12 % 24 <= 20)
    made: dict[str, Callable[[], Array]] = {
        "voltage": lambda: np.where(noise(5) != 0, (2150 + noise(3) % 100) / 10, np.nan),
        "power_consumption": lambda: np.where(on, (500 + noise(2) % 300) / 10, noise(2) % 10 / 10),
        "illuminance_level": lambda: np.where(on, (60 + noise(1) % 40) / 100, 0.0),
        "current": lambda: np.where(on, (200 + noise(4) % 200) / 1000, 0.0),
        "filling_level": lambda: (slot + device_id * 37) % 2016 * 1000 // 2016 / 1000,
        "temperature": lambda: (150 + noise(1) % 100) / 10,
        "cargo_weight": lambda: (100 + noise(2)) / 10,
        "available_spot_number": lambda: (noise(1) % 300).astype(float),
        "free": lambda: (noise(1) % 2 == 0).astype(float),  # of a bay
    }
    return made[name]()


def kind_of(device_id: Array) -> Array:
    share = device_id // 10 % 20
    return np.select([(share >= low) & (share < high) for low, high in SHARES.values()], list(SHARES), "")


def town_of(device_id: Array) -> Array:
    digit = device_id % 10
    return np.select([(digit >= low) & (digit < high) for low, high in TOWNS.values()], list(TOWNS), "")


def place_of(device_id: Array) -> tuple[Array, Array]:
    """(latitude, longitude), degrees: a town each 0.15 degrees, its devices within 0.1."""
    town = np.searchsorted([5, 7, 8, 9], device_id % 10, side="right")
    latitude = 37.4 + town * 0.15 + device_id * 7919 % 10_007 / 10_007 * 0.1
    return latitude, 126.7 + device_id * 6271 % 10_009 / 10_009 * 0.1


class Month(msgspec.Struct, frozen=True):
    """How much of it: devices 1 to `devices`, `days` of each."""

    devices: int
    days: int = 30

    @property
    def slots(self) -> int:
        return self.days * SLOTS_A_DAY

    @property
    def begin_ms(self) -> int:
        return END_MS - self.slots * PERIOD_S * 1000

    @property
    def observations(self) -> int:
        return self.devices * self.slots

    def slot_ms(self, device_id: int, slot: int) -> int:
        """When a device says its word of a slot."""
        return self.begin_ms + (slot * PERIOD_S + device_id % PERIOD_S) * 1000

    def at(self) -> str:
        """The same in SQL."""
        return f"to_timestamp({self.begin_ms // 1000} + s * {PERIOD_S} + device_id % {PERIOD_S})"


def settings(url: str, schema: str) -> Settings:
    return Settings(url=url, schema=schema)


def register(connection: "psycopg.Connection[Any]", month: Month) -> None:
    """The devices, their newest observations, and alarms of one in a hundred."""
    for place, code in enumerate(TOWNS):
        connection.execute(
            "INSERT INTO municipality (code, name_ko, name_en, latitude, longitude) VALUES (%s, %s, %s, %s, 126.75)",
            (code, code, code, 37.45 + place * 0.15),
        )
    connection.execute(
        "INSERT INTO agent (agent_id, municipality, name) SELECT row_number() OVER (ORDER BY code, n), code, 'pole-' || n FROM municipality, generate_series(1, 200) n"
    )
    ids = np.arange(1, month.devices + 1)
    latitude, longitude = place_of(ids)
    with connection.cursor() as cursor, cursor.copy(
        "COPY device (device_id, municipality, name, kind, agent_id, label_ko, label_en, latitude, longitude, attributes) FROM STDIN"
    ) as copy:  # fmt: skip
        attributes, places = json.dumps({"report_period_s": PERIOD_S}), list(TOWNS)
        for row in zip(
            ids.tolist(),
            town_of(ids).tolist(),
            kind_of(ids).tolist(),
            latitude.tolist(),
            longitude.tolist(),
            strict=True,
        ):
            number, town, kind, north, east = row
            agent_id = 1 + number % 200 + 200 * places.index(town)
            name = f"{kind[:2]}-{number:06}"
            copy.write_row(
                (number, town, name, kind, agent_id, f"기기 {number}", f"Device {number}", north, east, attributes)
            )
    for kind, formulas in FORMULAS.items():
        connection.execute(
            f"INSERT INTO newest_{kind} (device_id, observed_at, {', '.join(formulas)}, as_of)"
            f" SELECT device_id, {month.at()}, {', '.join(formulas.values())}, now()"
            f" FROM device, (VALUES ({month.slots - 1})) slot (s) WHERE kind = '{kind}'".encode()
        )
    connection.execute(
        f"INSERT INTO alarm (municipality, device_id, condition, detector, severity, state, opened_at, last_finding_at)"
        f" SELECT municipality, device_id, 'stuck:voltage', 'stuck', 1 + device_id / 100 % 3, 'open', to_timestamp({END_MS // 1000}), to_timestamp({END_MS // 1000})"
        f" FROM device WHERE device_id % 100 = 7".encode()
    )
    connection.execute("VACUUM ANALYZE")


def build(url: str, schema: str, month: Month) -> float:
    """The whole month; seconds that it took."""
    began = time.monotonic()
    migrate(settings(url, schema), KINDS)
    with connect(settings(url, schema), name="month") as connection:
        register(connection, month)
        kept = Partitions(KINDS, 6)
        for kind in KINDS:
            kept.ensure(connection, kind, range(month.begin_ms, END_MS, HOUR_MS), END_MS)
        ranges = listed(connection, "streetlight")
    to_roll: queue.Queue[tuple[int, int] | None] = queue.Queue(maxsize=2)
    to_close: queue.Queue[tuple[int, int] | None] = queue.Queue(maxsize=2)
    failed: list[BaseException] = []
    steps = [
        threading.Thread(target=_guarded, args=(failed, work, url, schema), daemon=True)
        for work in (
            lambda c: _insert(c, month, [(low, high) for low, high, _ in ranges], to_roll),
            lambda c: _roll(c, to_roll, to_close),
            lambda c: _close(c, to_close, len(ranges)),
        )
    ]
    for step in steps:
        step.start()
    while any(step.is_alive() for step in steps):
        if failed:
            raise failed[0]
        time.sleep(0.2)
    if failed:
        raise failed[0]
    bring_up(url, schema)
    return time.monotonic() - began


def bring_up(url: str, schema: str) -> None:
    """A month that was made before, as today's code would have left it: migrated, its rollups closed."""
    migrate(settings(url, schema), KINDS)
    roller = Roller(KINDS, grace_s=0, stopping=threading.Event())
    with connect(settings(url, schema), name="month") as connection:
        rolling.prepare(connection)
        if sum(roller.close_rollups(connection, profile) for profile in KINDS.values()):
            for kind in KINDS:
                for tier in ("hour", "day", "municipality_hour"):
                    connection.execute(f"VACUUM ANALYZE rollup_{tier}_{kind}".encode())
            connection.execute("CHECKPOINT")


def _guarded(failed: list[BaseException], work: Callable[[Any], None], url: str, schema: str) -> None:
    try:
        with connect(settings(url, schema), name="month") as connection:
            rolling.prepare(connection)
            work(connection)
    except BaseException as error:
        failed.append(error)


def _insert(
    connection: Any, month: Month, ranges: list[tuple[int, int]], then: "queue.Queue[tuple[int, int] | None]"
) -> None:
    for low, high in ranges:
        first, last = (
            (min(max(at, month.begin_ms), END_MS) - month.begin_ms) // (PERIOD_S * 1000) for at in (low, high)
        )
        for kind, formulas in FORMULAS.items():
            connection.execute(
                f"INSERT INTO observation_{kind} (device_id, observed_at, {', '.join(formulas)})"
                f" SELECT device_id, {month.at()}, {', '.join(formulas.values())}"
                f" FROM generate_series({first}, {last - 1}) s, (SELECT device_id FROM device WHERE kind = '{kind}' ORDER BY device_id % {PERIOD_S}) d".encode()
            )
        then.put((low, high))
    then.put(None)


def _roll(
    connection: Any, todo: "queue.Queue[tuple[int, int] | None]", then: "queue.Queue[tuple[int, int] | None]"
) -> None:
    while (item := todo.get()) is not None:
        _, high = item
        for kind, profile in KINDS.items():
            _summarize(connection, kind, item[0])
            rolling.begin_closing(connection, kind, min(high, EDGE_MS))
            rolling.roll_closed(connection, profile, lambda: None)
            rolling.roll_days(connection, profile, lambda: None)
        then.put(item)
    then.put(None)


def _summarize(connection: Any, kind: str, low: int) -> None:
    """Bring a partition's BRIN up to date, as the roller does before it reads an hour."""
    name = next(name for begin, _, name in listed(connection, kind) if begin == low)
    connection.execute(
        "SELECT brin_summarize_new_values(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = to_regclass(%s) AND a.amname = 'brin'",
        (name,),
    )


def _close(connection: Any, todo: "queue.Queue[tuple[int, int] | None]", count: int) -> None:
    done = 0
    while (item := todo.get()) is not None:
        done += 1
        for kind in KINDS:
            name = next(name for low, _, name in listed(connection, kind) if low == item[0])
            if item[1] <= EDGE_MS and not closing.close(connection, kind, (*item, name)):
                raise RuntimeError(f"{name} could not be closed")
        if done % 10 == 0:
            progress(f"{done} of {count} partitions filled, rolled up and closed")
