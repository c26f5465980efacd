"""The tables of a kind on TimescaleDB, made from its profile: a hypertable, and continuous aggregates for rollups.

Names and columns are those of `schema`. What differs: the columnstore instead of partitions and indexes; rollups that
TimescaleDB works out from what its invalidation log says has changed, when the roller asks it to (`timescale_rollups`).
Rollups show closed hours only (`materialized_only`), like the native ones.

A table that was made when its numbers were plain float4 keeps them, as TimescaleDB changes no type below compressed
chunks; whoever reads and writes sees no difference. Columns that come to it, and a restored backup's, are READING.

All of it may stand in one transaction, and may run again. TimescaleDB cannot add a column to a continuous aggregate:
one that lacks a column is made anew and filled with the rows it had, because their observations may be gone.
"""

from collections.abc import Iterable

from contracts.profiles import Profile, Property
from ingest_service.store import schema
from ingest_service.store.connection import Connection
from ingest_service.store.engine import Engine
from ingest_service.store.timescale_rollups import stored_in

# TimescaleDB compresses a float4 by the bits that neighbours share (Gorilla), and 221.3 shares few with 221.4: 3 bytes.
# A domain has float4's bits, operators and wire format, and is compressed like any type that TimescaleDB knows nothing
# of: each value of a batch once, and a few bits a row that say which. Values with a sensor's decimals repeat: 1 byte.
READING, NUMBER = "reading", schema.COLUMN_TYPES["number"]
CHUNKS = {"minute": "1 day", "hour": "7 days", "day": "84 days", "municipality_hour": "84 days"}  # of rollups
JOB_PERIOD = "12 hours"
KEYS = ("bucket", "device_id", "municipality")
Aggregate = tuple[str, str, schema.Columns]  # tier, its SELECT, its columns


def observation_columns(profile: Profile) -> schema.Columns:
    """Columns of observation_<kind>: those of `schema`, numbers as READING."""
    columns = schema.observation_columns(profile)
    return {name: READING if type_ == NUMBER else type_ for name, type_ in columns.items()}


def observation_statements(profile: Profile, engine: Engine, chunk_hours: int) -> list[str]:
    """DDL of the hypertable. No index and no unique key: either would keep COPY out of the columnstore.

    Rows of a flush are batches of up to 1000, sorted by (device, time); a closed chunk is sorted as a whole
    (`timescale_chunks`). Segments by device would need a batch for each device of each flush: 327 bytes a row.
    """
    table, functions = f"observation_{profile.kind}", engine.functions
    return [
        f"CREATE TABLE IF NOT EXISTS {table} ({schema.ddl(observation_columns(profile))})",
        f"SELECT {functions}.create_hypertable('{table}', {functions}.by_range('observed_at', interval "
        f"'{chunk_hours} hours'), create_default_indexes => false, if_not_exists => true)",
    ]


def columnstore_statements(profile: Profile, engine: Engine, chunk_hours: int) -> list[str]:
    """The columnstore of a new hypertable, and the job that sorts chunks which were written to after they closed."""
    table = f"observation_{profile.kind}"
    return [
        f"ALTER TABLE {table} SET (timescaledb.enable_columnstore, timescaledb.segmentby = '', "
        "timescaledb.orderby = 'device_id, observed_at')",
        f"CALL {engine.functions}.add_columnstore_policy('{table}', after => interval '{24 + chunk_hours} hours', "
        f"if_not_exists => true, schedule_interval => interval '{JOB_PERIOD}', "
        f"initial_start => now() + interval '{JOB_PERIOD}')",
    ]


def aggregate_statements(profile: Profile, engine: Engine, aggregate: Aggregate) -> list[str]:
    """DDL of one continuous aggregate, empty. The roller compresses its chunks (`timescale_chunks.compress_rollup`):
    before 2.27 a columnstore policy is refused where no refresh policy runs.
    """
    tier, select, columns = aggregate
    view = name_of(profile, tier)
    by = "municipality" if "municipality" in columns else "device_id"
    return [
        f"CREATE MATERIALIZED VIEW {view} WITH (timescaledb.continuous, timescaledb.materialized_only = true, "
        f"timescaledb.chunk_interval = '{CHUNKS[tier]}') AS {select} WITH NO DATA",
        f"ALTER MATERIALIZED VIEW {view} SET (timescaledb.enable_columnstore = true, timescaledb.segmentby = '', "
        f"timescaledb.orderby = '{by}, bucket')",
    ]


def aggregates(profile: Profile, engine: Engine) -> list[Aggregate]:
    """The continuous aggregates of a kind, each after what it is made of."""
    kind, rolled = profile.kind, schema.rollup_columns(profile)
    made: list[Aggregate] = []
    for tier in ("minute", "hour"):
        if tier in profile.rollups:
            bucket = f"{engine.functions}.time_bucket('{schema.TIERS[tier]}', observed_at)"
            chosen = {"device_id": "device_id", "bucket": bucket, "observations": "count(*)::int"}
            for item in profile.properties.values():
                chosen |= _from_observations(item, engine)
            made.append((tier, _select(chosen, rolled, f"observation_{kind}"), rolled))
    if "day" in profile.rollups:
        bucket = f"{engine.functions}.time_bucket('1 day', bucket)"
        chosen = {"device_id": "device_id", "bucket": bucket, "observations": "sum(observations)::int"}
        for item in profile.properties.values():
            chosen |= _from_hours(item, engine, "int")
        made.append(("day", _select(chosen, rolled, f"rollup_hour_{kind}"), rolled))
    bucket = f"{engine.functions}.time_bucket('1 hour', r.bucket)"
    chosen = {"municipality": "municipality", "bucket": bucket, "devices": "count(*)::int"}
    chosen["observations"] = "sum(observations)::bigint"
    for item in profile.numeric:
        chosen |= _from_hours(item, engine, "bigint")
    columns = schema.municipality_columns(profile)
    made.append(
        ("municipality_hour", _select(chosen, columns, f"rollup_hour_{kind} r JOIN device USING (device_id)"), columns)
    )
    return made


def name_of(profile: Profile, tier: str) -> str:
    return f"rollup_{tier}_{profile.kind}"


def bring_up(connection: Connection, profile: Profile, engine: Engine, *, chunk_hours: int) -> None:
    """Make or change the tables of a kind; within the caller's transaction."""
    table = f"observation_{profile.kind}"
    if connection.execute("SELECT to_regtype(%s)", (READING,)).fetchone() == (None,):
        _run(connection, [f"CREATE DOMAIN {READING} AS {NUMBER}"])
    _run(connection, observation_statements(profile, engine, chunk_hours))
    if not _has_columnstore(connection, table):
        _run(connection, columnstore_statements(profile, engine, chunk_hours))
    _run(connection, [f"SELECT {engine.functions}.set_chunk_time_interval('{table}', interval '{chunk_hours} hours')"])
    present = _columns(connection, table)
    _run(
        connection,
        (
            f"ALTER TABLE {table} ADD COLUMN {name} {type_}"
            for name, type_ in observation_columns(profile).items()
            if name not in present
        ),
    )
    _bring_up_aggregates(connection, profile, engine)


def _bring_up_aggregates(connection: Connection, profile: Profile, engine: Engine) -> None:
    """Make those that are missing; make those anew that lack a column, with all that is made of them."""
    wanted = aggregates(profile, engine)
    present = {tier: _columns(connection, name_of(profile, tier)) for tier in CHUNKS}
    stale = {tier for tier, _, columns in wanted if present[tier] and not columns.keys() <= present[tier]}
    if "hour" in stale:
        stale |= {tier for tier in ("day", "municipality_hour") if present[tier]}  # made of hours
    for tier in ("municipality_hour", "day", "hour", "minute"):
        if tier in stale:
            view = name_of(profile, tier)
            keep = f"CREATE TEMP TABLE kept_{tier} ON COMMIT DROP AS SELECT * FROM {view}"
            _run(connection, [keep, f"DROP MATERIALIZED VIEW {view}"])
    for tier, select, columns in wanted:
        if tier in stale or not present[tier]:
            _run(connection, aggregate_statements(profile, engine, (tier, select, columns)))
        if tier in stale:
            kept, stored = (
                ", ".join(sorted(present[tier] & columns.keys())),
                stored_in(connection, name_of(profile, tier)),
            )
            _run(
                connection, [f"INSERT INTO {stored} ({kept}) SELECT {kept} FROM kept_{tier}", f"DROP TABLE kept_{tier}"]
            )


def _select(chosen: dict[str, str], columns: schema.Columns, source: str) -> str:
    listed = ", ".join(f"{chosen[name]} AS {name}" for name in columns)
    places = [n for n, name in enumerate(columns, 1) if name in KEYS]  # a source may have a column `bucket`, too
    return f"SELECT {listed} FROM {source} GROUP BY {', '.join(map(str, places))}"


def _from_observations(item: Property, engine: Engine) -> dict[str, str]:
    name = item.name
    if item.numeric:
        return {
            f"{name}_mean": f"avg({name})::float8", f"{name}_min": f"min({name})::float4",
            f"{name}_max": f"max({name})::float4", f"{name}_count": f"count({name})::int",
        }  # fmt: skip
    return {f"{name}_last": f"{engine.functions}.last({name}, observed_at) FILTER (WHERE {name} IS NOT NULL)"}


def _from_hours(item: Property, engine: Engine, count: str) -> dict[str, str]:
    name = item.name
    if item.numeric:
        return {
            f"{name}_mean": f"sum({name}_mean * {name}_count) / nullif(sum({name}_count), 0)",
            f"{name}_min": f"min({name}_min)", f"{name}_max": f"max({name}_max)",
            f"{name}_count": f"sum({name}_count)::{count}",
        }  # fmt: skip
    last = f"{name}_last"
    return {last: f"{engine.functions}.last({last}, bucket) FILTER (WHERE {last} IS NOT NULL)"}


def _has_columnstore(connection: Connection, table: str) -> bool:
    row = connection.execute(
        "SELECT compression_enabled FROM timescaledb_information.hypertables "
        "WHERE hypertable_schema = current_schema() AND hypertable_name = %s",
        (table,),
    ).fetchone()
    return row is not None and bool(row[0])


def _columns(connection: Connection, table: str) -> set[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = %s",
        (table,),
    )
    return {str(row[0]) for row in rows}


def _run(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement.encode())
