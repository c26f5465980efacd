"""Rolling up: which hours are closed, their rollups, and what late observations change of them.

Promise: an hour is read once when it closes; late observations recompute their own devices and hours, those devices'
days and those municipalities' hours, to what the observations give. Everything is worked out first and then published
in slices, each a transaction; whatever is cut short is done again from its beginning, to the same result.
An hour whose observations retention has taken is never rolled up again.
On TimescaleDB the rollups of whole hours and days are refreshed instead (`timescale_rollups`): which, and when, is the
same.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from contracts.profiles import Profile
from ingest_service.store import (
    engine,
    partitions,
    rollup_partitions,
    rollup_statements,
    timescale_chunks,
    timescale_rollups,
)
from ingest_service.store.connection import Connection
from ingest_service.store.partitions import HOUR_MS, Range

DAY_MS = 24 * HOUR_MS
SLICE = 50_000  # rows of a rollup published in one transaction
MARKS = 20_000  # taken at a time
LATE_LONGEST_S = 60.0  # an hour that gets late observations without end is recomputed so often
BY_DEVICE = 5_000  # so many late devices are looked up in a closed partition; of more, it is read whole
APART_MS = 6 * HOUR_MS  # hours farther apart are read apart
CLOSING_LOCK = 0x44555249  # as in rollup_closing
NONE = -(2**31)
SESSION = (
    "work_mem = '64MB'",
    "max_parallel_workers_per_gather = 0",
    "jit = off",
    "synchronous_commit = off",
    "client_min_messages = warning",
)

Pause = Callable[[], None]  # between slices; may raise to stop


def prepare(connection: Connection) -> None:
    """Set up the roller's session: bounded memory, one core, no waiting for the disk (what is lost is rolled again)."""
    for setting in SESSION:
        connection.execute(f"SET {setting}".encode())


def passed_hour(connection: Connection, kind: str, known_ms: int | None, *, grace_ms: int) -> int | None:
    """The latest full hour, ms, that the kind's newest observation has passed by the grace; None without any.

    known_ms: an hour that it has passed before. Index: BRIN (observed_at) of the newest partition, summarized first.
    """
    for low, high, name in reversed(partitions.listed(connection, kind)):
        _summarize(connection, name)
        if not _any_since(connection, name, low):
            continue
        least = (low - grace_ms) // HOUR_MS
        if known_ms is not None and low <= known_ms < high:
            least = known_ms // HOUR_MS
        most = high // HOUR_MS - 1
        while least < most:  # the greatest hour with an observation at or after its beginning and the grace
            middle = (least + most + 1) // 2
            if _any_since(connection, name, middle * HOUR_MS + grace_ms):
                least = middle
            else:
                most = middle - 1
        return least * HOUR_MS
    return None


def last_hour(connection: Connection, kind: str) -> tuple[int, int] | None:
    """(end of the hour of the newest observation in ms, bytes of its partition); None without any."""
    for low, _, name in reversed(partitions.listed(connection, kind)):
        if _any_since(connection, name, low):
            end = passed_hour(connection, kind, None, grace_ms=0)
            return (low if end is None else max(low, end)) + HOUR_MS, _size(connection, kind, name)
    return None


def watermarks(connection: Connection, kind: str) -> tuple[int | None, int | None, int | None]:
    """(closed_until, closing_until, days_until) of a kind, ms."""
    row = connection.execute(
        "SELECT closed_until, closing_until, days_until FROM rollup_watermark WHERE kind = %s", (kind,)
    ).fetchone()
    closed, closing, days = row or (None, None, None)
    return _ms(closed), _ms(closing), _ms(days)


def begin_closing(connection: Connection, kind: str, until_ms: int) -> None:
    """From now on what lies before `until_ms` is late: waits for the flushes under way, which do not know it yet."""
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '5s'")
        connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(current_schema()))", (CLOSING_LOCK,))
        connection.execute(
            "INSERT INTO rollup_watermark AS w (kind, closing_until) VALUES (%s, %s) ON CONFLICT (kind) DO UPDATE "
            "SET closing_until = greatest(w.closing_until, excluded.closing_until)",
            (kind, at(until_ms)),
        )


def roll_closed(connection: Connection, profile: Profile, pause: Pause) -> int:
    """Roll up every hour that is closing; how many had observations."""
    kind = profile.kind
    closed, closing, _ = watermarks(connection, kind)
    if closing is None:
        return 0
    ranges = partitions.listed(connection, kind)
    hour = ranges[0][0] // HOUR_MS * HOUR_MS if closed is None and ranges else closing if closed is None else closed
    done = 0
    while hour < closing:
        name = _holding(ranges, hour)
        if name is None:  # on to the next partition
            hour = min([low // HOUR_MS * HOUR_MS for low, _, _ in ranges if low > hour] + [closing])
        else:
            if _any_since(connection, name, hour, hour + HOUR_MS):
                _roll_hour(connection, profile, hour, pause)
                done += 1
            hour += HOUR_MS
        connection.execute(
            "UPDATE rollup_watermark SET closed_until = %s WHERE kind = %s", (at(min(hour, closing)), kind)
        )
    return done


def roll_days(connection: Connection, profile: Profile, pause: Pause) -> int:
    """Roll up every day whose hours are all closed; how many had any."""
    kind, table = profile.kind, f"rollup_hour_{profile.kind}"
    closed, _, day = watermarks(connection, kind)
    if "day" not in profile.rollups or closed is None:
        return 0
    if day is None:
        first = _ms(_one(connection, f"SELECT min(bucket) FROM {table}"))
        day = (closed if first is None else first) // DAY_MS * DAY_MS
    done = 0
    while day + DAY_MS <= closed:
        if engine.stored(connection).timescale:
            timescale_rollups.roll_days(connection, profile, day, day + DAY_MS)
            done += 1
        elif _any_since(connection, table, day, day + DAY_MS, column="bucket"):
            _work_out(connection, "day", rollup_statements.roll_days(profile), _span(day, day + DAY_MS))
            _publish(connection, profile, "day", pause)
            done += 1
        day += DAY_MS
        connection.execute("UPDATE rollup_watermark SET days_until = %s WHERE kind = %s", (at(day), kind))
    return done


def roll_late(connection: Connection, profile: Profile, pause: Pause, *, settle_s: float) -> int:
    """Recompute what late observations touched and nothing was said of for `settle_s`; how many (device, hour)."""
    kind = profile.kind
    closed, _, days = watermarks(connection, kind)
    if closed is None or not _any_marks(connection, kind, closed):
        return 0
    _drop(connection, "late_marks", "late_due")
    connection.execute(
        "CREATE TEMP TABLE late_marks AS WITH ripe AS (SELECT hour FROM rollup_due WHERE kind = %(kind)s AND "
        "hour < %(closed)s GROUP BY hour HAVING max(marked_at) <= now() - %(settle)s * interval '1 second' "
        "OR min(marked_at) <= now() - %(longest)s * interval '1 second') "
        "SELECT mark, hour, devices FROM rollup_due JOIN ripe USING (hour) WHERE kind = %(kind)s "
        "ORDER BY hour, mark LIMIT %(most)s",
        {"kind": kind, "closed": at(closed), "settle": settle_s, "longest": LATE_LONGEST_S, "most": MARKS},
        prepare=False,
    )
    if not _one(connection, "SELECT EXISTS (SELECT FROM late_marks)"):
        return 0
    connection.execute(
        "CREATE TEMP TABLE late_due AS SELECT DISTINCT unnest(devices) AS device_id, hour FROM late_marks "
        "UNION SELECT device_id, hour FROM late_marks, device WHERE devices IS NULL AND device.kind = %s",
        (kind,),
    )
    _leave_gone_hours(connection, kind)
    connection.execute("ANALYZE late_due")
    hours = [_ms(row[0]) or 0 for row in connection.execute("SELECT DISTINCT hour FROM late_due ORDER BY hour")]
    ranges = partitions.listed(connection, kind)
    closed_names = {
        str(row[0]) for row in connection.execute("SELECT name FROM closed_partition WHERE kind = %s", (kind,))
    }
    for name, begin, end in _spans(ranges, hours):
        _roll_late_span(connection, profile, begin, end, name in closed_names, days, pause)
    done = int(_one(connection, "SELECT count(*) FROM late_due"))
    connection.execute("DELETE FROM rollup_due WHERE mark IN (SELECT mark FROM late_marks)")
    _drop(connection, "late_marks", "late_due")
    return done


def _any_marks(connection: Connection, kind: str, closed: int) -> bool:
    text = "SELECT EXISTS (SELECT FROM rollup_due WHERE kind = %s AND hour < %s)"
    row = connection.execute(text, (kind, at(closed))).fetchone()
    return row is not None and bool(row[0])


def compress(connection: Connection, profile: Profile, now_ms: int) -> int:
    """Compress rollups that have settled, where the database can; how many chunks."""
    if not engine.stored(connection).timescale:
        return 0
    tiers = (*profile.rollups, "municipality_hour")
    return sum(timescale_chunks.compress_rollup(connection, f"rollup_{tier}_{profile.kind}", now_ms) for tier in tiers)


def _leave_gone_hours(connection: Connection, kind: str) -> None:
    """Take from late_due what retention has taken the observations of; retention will look there again."""
    connection.execute(
        "UPDATE observation_gone g SET deleted_until = least(deleted_until, first) FROM (SELECT municipality, "
        "min(hour) AS first FROM late_due JOIN device USING (device_id) GROUP BY 1) late "
        "WHERE g.kind = %s AND g.municipality = late.municipality AND first < gone_until AND deleted_until IS NOT NULL",
        (kind,),
    )
    connection.execute(
        "DELETE FROM late_due l USING observation_gone g, device d WHERE g.kind = %s AND d.device_id = l.device_id "
        "AND g.municipality IN ('', d.municipality) AND hour < g.gone_until",
        (kind,),
    )
    if engine.stored(connection).timescale:  # an hour is refreshed for all municipalities, or for none
        connection.execute(
            "DELETE FROM late_due WHERE hour < (SELECT max(gone_until) FROM observation_gone WHERE kind = %s)", (kind,)
        )


def _roll_hour(connection: Connection, profile: Profile, hour: int, pause: Pause) -> None:
    if engine.stored(connection).timescale:
        timescale_rollups.roll_hours(connection, profile, hour, hour + HOUR_MS)
        pause()
        return
    span = _span(hour, hour + HOUR_MS)
    for tier in _tiers(profile):
        whole = tier == "hour"
        text = rollup_statements.roll_hour(profile) if whole else rollup_statements.roll(profile, tier)
        _work_out(connection, tier, text, span)
        _publish(connection, profile, tier, pause)
    connection.execute(rollup_statements.roll_municipalities(profile).encode())
    _drop(connection, "rolled_hour")
    name = _holding(rollup_partitions.listed(connection, f"rollup_hour_{profile.kind}"), hour)
    if name is not None:
        _summarize(connection, name)


def _roll_late_span(
    connection: Connection, profile: Profile, begin: int, end: int, closed: bool, days: int | None, pause: Pause
) -> None:
    if engine.stored(connection).timescale:
        timescale_rollups.roll_hours(connection, profile, begin, end)
        if "day" in profile.rollups and days is not None and begin < days:
            last = min(days, -(-end // DAY_MS) * DAY_MS)
            timescale_rollups.roll_days(connection, profile, begin // DAY_MS * DAY_MS, last)
        pause()
        return
    span: dict[str, Any] = _span(begin, end)
    marked = connection.execute(
        "SELECT DISTINCT device_id FROM late_due WHERE hour >= %(from)s AND hour < %(to)s LIMIT %(most)s",
        {**span, "most": BY_DEVICE + 1},
    ).fetchall()
    by_device = closed and len(marked) <= BY_DEVICE
    if by_device:
        span["devices"] = [row[0] for row in marked]
    for tier in _tiers(profile):
        text = rollup_statements.roll(profile, tier, only_due=True, by_device=by_device)
        _work_out(connection, tier, text, span)
        _publish(connection, profile, tier, pause)
    connection.execute(rollup_statements.roll_due_municipalities(profile).encode(), span, prepare=False)
    if "day" in profile.rollups and days is not None and begin < days:
        of_days = _span(begin // DAY_MS * DAY_MS, min(days, -(-end // DAY_MS) * DAY_MS))
        _work_out(connection, "day", rollup_statements.roll_days(profile, only_due=True), of_days)
        _publish(connection, profile, "day", pause)


def _tiers(profile: Profile) -> list[str]:
    """Tiers made of observations, the hour last: municipalities are made of what it leaves."""
    return [tier for tier in ("minute", "hour") if tier in profile.rollups]


def _work_out(connection: Connection, tier: str, text: str, parameters: dict[str, Any]) -> None:
    _drop(connection, f"rolled_{tier}")
    connection.execute(text.encode(), parameters, prepare=False)


def _publish(connection: Connection, profile: Profile, tier: str, pause: Pause) -> None:
    """Bring rolled_<tier> into its rollup, at most about SLICE rows a transaction."""
    count, after = int(_one(connection, f"SELECT count(*) FROM rolled_{tier}")), NONE
    _make_partitions(connection, profile, tier)
    if count > SLICE:
        connection.execute(f"CREATE INDEX ON rolled_{tier} (device_id)".encode())
    while True:
        upto = _one(
            connection,
            f"SELECT max(device_id) FROM (SELECT device_id FROM rolled_{tier} WHERE device_id > {after} "
            f"ORDER BY device_id LIMIT {SLICE}) s",
        )
        if upto is None:
            return
        connection.execute(rollup_statements.publish(profile, tier).encode(), {"after": after, "upto": upto})
        after = int(upto)
        pause()


def _make_partitions(connection: Connection, profile: Profile, tier: str) -> None:
    """Those that the buckets of rolled_<tier> need."""
    rows = connection.execute(f"SELECT DISTINCT bucket FROM rolled_{tier}".encode(), prepare=False)
    begins = [_ms(row[0]) or 0 for row in rows]
    _, closing, _ = watermarks(connection, profile.kind)
    rollup_partitions.ensure(connection, profile, tier, begins, max([closing or 0, *begins]))


def _spans(ranges: list[Range], hours: list[int]) -> list[tuple[str, int, int]]:
    """(partition, begin, end) that cover the hours: each within a partition, without long gaps."""
    found: list[tuple[str, int, int]] = []
    for hour in hours:
        name = _holding(ranges, hour)
        if name is None:
            continue
        if found and found[-1][0] == name and hour - found[-1][2] <= APART_MS:
            found[-1] = (name, found[-1][1], hour + HOUR_MS)
        else:
            found.append((name, hour, hour + HOUR_MS))
    return found


def _holding(ranges: list[Range], at_ms: int) -> str | None:
    return next((name for low, high, name in ranges if low <= at_ms < high), None)


def _any_since(
    connection: Connection, table: str, from_ms: int, to_ms: int | None = None, *, column: str = "observed_at"
) -> bool:
    """Whether a table has a row since then, by its BRIN: the planner, who hopes to meet one soon, would read it all."""
    end = "" if to_ms is None else f" AND {column} < '{at(to_ms).isoformat()}'"
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        text = f"SELECT EXISTS (SELECT FROM {table} WHERE {column} >= '{at(from_ms).isoformat()}'{end})"
        return bool(_one(connection, text))


def _summarize(connection: Connection, table: str) -> None:
    """Bring a table's BRIN indexes up to date: ranges that were never summarized are read by every question."""
    connection.execute(
        "SELECT brin_summarize_new_values(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_am a ON a.oid = c.relam WHERE i.indrelid = to_regclass(%s) AND a.amname = 'brin'",
        (table,),
    )


def _size(connection: Connection, kind: str, table: str) -> int:
    if engine.stored(connection).timescale:
        return timescale_chunks.sizes(connection, kind).get(table, 0)
    return int(_one(connection, f"SELECT pg_relation_size('{table}')"))


def _drop(connection: Connection, *tables: str) -> None:
    listed = ", ".join(f"pg_temp.{table}" for table in tables)
    connection.execute(f"DROP TABLE IF EXISTS {listed}".encode())


def _one(connection: Connection, text: str) -> Any:
    row = connection.execute(text.encode(), prepare=False).fetchone()
    return row[0] if row else None


def _span(from_ms: int, to_ms: int) -> dict[str, Any]:
    return {"from": at(from_ms), "to": at(to_ms)}


def at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
