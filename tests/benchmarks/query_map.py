# ruff: noqa: E501 - statements and questions read better unbroken
"""The map of 100,000 devices, as part of `query`: as it is shipped while devices report, and made anew each time."""

import json
import threading
import time

import numpy as np

from ingest_service.store.connection import connect
from tests.benchmarks import month as made
from tests.benchmarks.asking import Api, Asking, Times, unpacked
from tests.benchmarks.month import END_MS, KINDS, PERIOD_S, Month
from tests.benchmarks.report import Case, Wrong, case, progress

MAP_DEVICES, MAP_PERIOD_S = 100_000, 60


def kept(asking: Asking) -> list[Case]:
    """As it is shipped, while devices report."""
    of = f"{MAP_DEVICES:,} devices, {MAP_DEVICES // MAP_PERIOD_S:,} of them reporting each second"
    _as_made(asking)
    bare = _bare_select(asking)
    with Api(asking.url, "map") as api, Reporting(asking):
        first_ms, _, body, _ = api.get("/map")
        _check_map(asking, api)
        alone = api.times(["/map"] * asking.requests, pause_s=0.1)
        four = api.times(["/map"] * asking.requests, abreast=4, pause_s=0.1)
        boxes = [f"/map?bbox={_box(asking)}" for _ in range(asking.requests)]
        boxed = api.times(boxes)
        geo_ms = api.get("/devices.geojson")[0]
    progress(f"map: first {first_ms:.0f} ms, p95 {alone.share(0.95):.1f} ms, {len(body):,} bytes")
    cases = asking.cases("map", alone, four, ("psycopg: SELECT of the same rows, fetchall", bare), of)
    cases.append(
        case("map, first request after the start", first_ms, "ms", against=("GeoJSON, first request", geo_ms), of=of)
    )
    cases.append(case("map, sent", len(body) / MAP_DEVICES, "B/device", of=f"{of}; gzip"))
    cases += asking.cases("map of a random box of 2 km", boxed, None, None, of)
    return cases


def anew(asking: Asking) -> list[Case]:
    """Read and written anew for each request, and unchanged."""
    of = f"{MAP_DEVICES:,} devices"
    bare = _bare_select(asking)
    with Api(asking.url, "map", DURE_API_MAP_MAX_AGE_S="0") as api:
        _, _, _, etag = api.get("/map")
        same = Times([api.get("/map", **{"If-None-Match": etag})[0] for _ in range(20)])
        reports = Reporting(asking)
        found = []
        for _ in range(min(60, asking.requests)):
            reports.report(MAP_DEVICES // MAP_PERIOD_S)
            found.append(api.get("/map")[0])
        reports.close()
    anew = Times(found)
    cases = asking.cases(
        "map made anew for each request, 1,667 devices changed", anew, None, ("psycopg: SELECT of the same rows, fetchall", bare), of
    )  # fmt: skip
    return [*cases, case("map made anew, unchanged: 304, p95", same.share(0.95), "ms", of=of)]


def _as_made(asking: Asking) -> None:
    """Back to the newest rows as they were made: what an earlier run reported is gone."""
    with connect(made.settings(asking.url, "map"), name="bench") as connection:
        for kind, formulas in made.FORMULAS.items():
            values = ", ".join(f"{name} = {formula}" for name, formula in formulas.items())
            connection.execute(
                f"UPDATE newest_{kind} SET observed_at = {Month(MAP_DEVICES, asking.month.days).at()}, as_of = now(), {values}"
                f" FROM (VALUES ({asking.month.slots - 1})) slot (s)".encode()
            )
            connection.execute(f"VACUUM ANALYZE newest_{kind}".encode())


def _bare_select(asking: Asking) -> Times:
    """What a project would write: all rows of the map, as psycopg gives them."""
    with connect(made.settings(asking.url, "map"), name="bench") as connection:
        found = []
        for _ in range(5):
            began, rows = time.perf_counter(), 0
            for kind, profile in KINDS.items():
                columns = ", ".join(f"n.{name}" for name in profile.properties)
                rows += len(
                    connection.execute(
                        f"SELECT d.device_id, d.name, d.municipality, d.agent_id, d.longitude, d.latitude, n.observed_at, {columns}"
                        f" FROM device d LEFT JOIN newest_{kind} n USING (device_id) WHERE d.kind = '{kind}'".encode()
                    ).fetchall()
                )
            found.append((time.perf_counter() - began) * 1000)
    if rows != MAP_DEVICES:
        raise Wrong(f"{rows:,} devices on the map, not {MAP_DEVICES:,}")
    return Times(found)


def _check_map(asking: Asking, api: Api) -> None:
    """Every device is there, in its place; those that did not report since the beginning have the values of numpy."""
    answer = json.loads(unpacked(api.get("/map")[2]))
    seen = 0
    for part in answer["parts"]:
        ids = np.array(part["device_id"])
        seen += len(ids)
        latitude, longitude = made.place_of(ids)
        if not (np.array_equal(part["latitude"], latitude) and np.array_equal(part["longitude"], longitude)):
            raise Wrong(f"{part['kind']} in {part['municipality']}: wrong places")
        if set(made.kind_of(ids)) != {part["kind"]} or set(made.town_of(ids)) != {part["municipality"]}:
            raise Wrong("devices in the wrong part")
        quiet = np.array(part["observed_at"]) < END_MS
        for name, column in part["values"].items():
            if name in ("status", "power_state", "occupied_spot_number"):
                continue
            said = np.array([np.nan if item is None else item for item in column])[quiet]
            if not np.allclose(
                said, made.value(name, ids, np.int64(asking.month.slots - 1))[quiet], atol=1e-9, equal_nan=True
            ):
                raise Wrong(f"{part['kind']}: {name} is not what was stored")
        alarmed = np.array(part["state"])[ids % 100 == 7]
        expected = np.array(["info", "warning", "critical"])[ids[ids % 100 == 7] // 100 % 3]
        if not np.array_equal(alarmed, expected):
            raise Wrong(f"{part['kind']}: wrong states")
    if seen != MAP_DEVICES:
        raise Wrong(f"the map shows {seen:,} devices")


def _box(asking: Asking) -> str:
    south = 37.4 + asking.rng.randrange(5) * 0.15 + asking.rng.uniform(0, 0.08)
    west = 126.7 + asking.rng.uniform(0, 0.08)
    return f"{west:.5f},{south:.5f},{west + 0.0226:.5f},{south + 0.018:.5f}"


class Reporting:
    """Devices of the map that report, each once a minute, as a worker writes it."""

    def __init__(self, asking: Asking) -> None:
        self._connection = connect(made.settings(asking.url, "map"), name="reporting")
        self._slots = asking.month.slots
        self._stopping, self._at = threading.Event(), 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def report(self, devices: int) -> None:
        """The next `devices` in turn."""
        first, self._at = self._at, (self._at + devices) % MAP_DEVICES
        for kind, formulas in made.FORMULAS.items():
            name, formula = next((n, f) for n, f in formulas.items() if n != "power_state")
            self._connection.execute(
                f"UPDATE newest_{kind} SET observed_at = to_timestamp({END_MS // 1000 + PERIOD_S} + extract(epoch FROM now())::bigint % 86400), as_of = now(),"
                f" {name} = {formula} FROM (SELECT {self._slots} + floor(random() * 100)::int AS s) slot"
                f" WHERE device_id > {first} AND device_id <= {first + devices}".encode()
            )

    def __enter__(self) -> "Reporting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.close()

    def close(self) -> None:
        self._connection.close()

    def _run(self) -> None:
        while not self._stopping.wait(1.0):
            self.report(MAP_DEVICES // MAP_PERIOD_S)
