"""One device's series: which resolution answers a question, and the answer.

Raw observations where they are few enough to read and thin; otherwise buckets from the minute, hour or day rollups,
with the open
tail worked out from observations. Never more rows than asked, gaps included; a line never crosses a gap.
"""

from typing import Any, Literal

from contracts.profiles import Profile, Property
from platform_api import pieces, thinning
from platform_api.queries import packed
from platform_api.queries import series as query
from platform_api.queries.alarms import Filters
from platform_api.queries.alarms import alarms as alarms_of
from platform_api.queries.database import Reader

Answer = dict[str, Any]  # as models.Series says
Resolution = Literal["raw", "minute", "hour", "day"]
GAP_PERIODS, GAP_BUCKETS = 3, 1.5
HOUR_MS, DAY_MS, DAY_S = 3_600_000, 86_400_000, 86_400
MAX_ALARMS = 200


class Question:
    """What is asked of one device, and what of it follows from its profile."""

    def __init__(
        self, device: query.Charted, profile: Profile, items: list[Property], from_at: int, to_at: int, points: int
    ) -> None:
        self.device, self.profile, self.items = device, profile, items
        self.from_at, self.to_at, self.points = from_at, to_at, points
        self.changes = device.attributes.get("reports") == "changes" and device.agent_id is not None
        own = device.attributes.get("report_period_s")
        self.own_period_s = (
            float(own) if isinstance(own, int | float) and not isinstance(own, bool) and own > 0 else None
        )
        self.period_s = self.own_period_s or float(profile.report_period_s)


async def answer(database: Reader, asked: Question, permitted: list[str] | None, raw_span_h: int) -> Answer:
    """The series, with the alarms of its span: a `models.Series`, ready to be written as JSON."""
    gap_s = await _gap_s(database, asked)
    found = await _raw(database, asked, gap_s, raw_span_h) or await _rolled(database, asked, gap_s)
    alarms = await alarms_of(
        database,
        permitted,
        Filters(device_id=asked.device.device_id, folded=True),
        everything=True,
        span=(asked.from_at, asked.to_at),
        page=MAX_ALARMS,
    )
    return {**found, "alarms": [alarm.model_dump(mode="json") for alarm in alarms]}


async def _gap_s(database: Reader, asked: Question) -> float:
    """How long a break must be to count as one, before buckets are considered."""
    gap_s = GAP_PERIODS * asked.period_s
    if asked.changes and asked.own_period_s is None and asked.device.agent_id is not None:
        begin = max(asked.from_at - DAY_MS // 2, asked.to_at - 3 * DAY_MS)  # both night and day, not all of a year
        usual = await query.agent_interval(
            database, asked.profile.kind, asked.device.agent_id, begin, max(asked.to_at, begin) + DAY_MS // 2
        )
        gap_s = max(gap_s, GAP_PERIODS * (usual or 0.0))
    return gap_s


async def _raw(database: Reader, asked: Question, gap_s: float, raw_span_h: int) -> Answer | None:
    """From single observations; None when rollups serve better."""
    span_ms = asked.to_at - asked.from_at
    most = asked.points * thinning.RAW_EXCESS
    if span_ms > raw_span_h * 3_600_000 or (not asked.changes and span_ms / (asked.period_s * 1000) > most):
        return None
    device_id = asked.device.device_id
    raw = await query.series_raw(database, asked.profile, asked.items, device_id, asked.from_at, asked.to_at, most + 1)
    times = raw.observed_ms.tolist()
    if len(times) > most:
        return None
    begin = times[0] if times else asked.to_at
    if await _hours_begin_before(database, asked, begin):
        return None  # the observations of the beginning are gone, their rollups are not
    found = await _gaps(database, asked, times, gap_s, unit="hour", edge=asked.from_at)  # of the unit nothing is read
    if len(found) > asked.points // 4:
        return None
    levels = [packed.levels(column) for column in raw.values.values()]
    kept = thinning.thinned(raw.observed_ms, levels, asked.points - len(found)).tolist()
    merged = thinning.with_gaps(times, kept, found)
    place = {index: row for row, index in enumerate(kept)}
    properties = {}
    for item in asked.items:
        shown = pieces.written(item, raw.values[item.name][kept])
        properties[item.name] = _property(value=[None if index is None else shown[place[index]] for _, index in merged])
    return _series(asked, "raw", None, gap_s, [at for at, _ in merged], properties)


async def _rolled(database: Reader, asked: Question, gap_s: float) -> Answer:
    """From the rollups, in buckets."""
    unit: Literal["minute", "hour", "day"] = "hour"
    width = thinning.width_s(asked.from_at, asked.to_at, asked.points, 3600)
    if "minute" in asked.profile.rollups:
        narrow = thinning.width_s(asked.from_at, asked.to_at, asked.points, 60)
        if narrow < 3600 and not await _minutes_are_gone(database, asked):
            unit, width = "minute", narrow
    if unit == "hour" and "day" in asked.profile.rollups and width % DAY_S == 0:
        unit = "day"
    begin = thinning.floor(asked.from_at, width)
    device_id = asked.device.device_id
    known = await query.series_edge(database, asked.profile.kind, unit, device_id, begin, asked.to_at)
    edge = begin
    if known.closed_until is not None:
        edge = max(begin, thinning.floor(known.closed_until, DAY_S if unit == "day" else 3600))
    rolled = await (query.series_rollup_late if known.late else query.series_rollup)(
        database, asked.profile, asked.items, query.Buckets(device_id, unit, width, begin, asked.to_at, edge)
    )
    gap_s = max(gap_s, GAP_BUCKETS * width)
    times = rolled.observed_ms
    found = await _gaps(database, asked, times, gap_s, unit=unit, edge=edge, width_s=width)
    merged = thinning.with_gaps(times, range(len(times)), found)
    order = [index for _, index in merged] if found else None
    properties = {item.name: _bucketed(item, rolled.columns, order) for item in asked.items}
    return _series(asked, unit, width, gap_s, [at for at, _ in merged], properties)


async def _hours_begin_before(database: Reader, asked: Question, begin: int) -> bool:
    """Whether the device has hour rollups in the span that are older than `begin`, by an hour at least."""
    end = thinning.floor(begin, 3600) - HOUR_MS
    kind, device_id = asked.profile.kind, asked.device.device_id
    if end <= asked.from_at:
        return False
    return await query.series_first_bucket(database, kind, "hour", device_id, asked.from_at, end) is not None


async def _minutes_are_gone(database: Reader, asked: Question) -> bool:
    """Whether the span begins with hour rollups whose minutes are not kept any more."""
    first = await query.series_first_bucket(
        database, asked.profile.kind, "minute", asked.device.device_id, asked.from_at, asked.to_at
    )
    return await _hours_begin_before(database, asked, asked.to_at if first is None else first)


async def _gaps(
    database: Reader, asked: Question, times: list[int], gap_s: float, *, unit: str, edge: int, width_s: int = 0
) -> dict[int, int]:
    silences = None
    if asked.changes and asked.device.agent_id is not None and len(times) > 1:
        silences = await query.agent_silences(
            database, asked.profile.kind, asked.device.agent_id,
            unit=unit, from_at=times[0], to_at=asked.to_at, edge=max(edge, times[0]), gap_s=gap_s,
        )  # fmt: skip
    return thinning.gaps(times, gap_s * 1000, silences, slack_ms=width_s * 1000)


def _value(item: Property, stored: Any) -> Any:
    """A stored value as JSON shows it; an enum's number that the profile does not know is a null."""
    if item.type != "enum" or stored is None:
        return stored
    return item.values[stored] if 0 <= stored < len(item.values) else None


def _bucketed(item: Property, columns: dict[str, list[Any]], order: list[int | None] | None) -> dict[str, Any]:
    """A property's columns; order: which row stands where, None for a gap, where there are gaps."""

    def column(end: str) -> list[Any]:
        found = columns[f"{item.name}_{end}"]
        return found if order is None else [None if index is None else found[index] for index in order]

    if item.numeric:
        return _property(mean=column("mean"), min=column("min"), max=column("max"))
    return _property(value=[_value(item, stored) for stored in column("last")])


def _property(**columns: list[Any]) -> dict[str, Any]:
    """A `models.PropertySeries`."""
    return {"value": None, "mean": None, "min": None, "max": None, **columns}


def _series(
    asked: Question,
    resolution: Resolution,
    bucket_s: int | None,
    gap_s: float,
    times: list[int],
    properties: dict[str, dict[str, Any]],
) -> Answer:
    return {
        "device_id": asked.device.device_id,
        "kind": asked.profile.kind,
        "resolution": resolution,
        "bucket_s": bucket_s,
        "reports": "changes" if asked.changes else "period",
        "from": asked.from_at,
        "to": asked.to_at,
        "as_of": asked.device.observed_at,
        "gap_after_s": gap_s,
        "observed_at": times,
        "properties": properties,
    }
