"""Random blocks and arrays with nulls go through a real PostgreSQL in binary form and come back equal."""

from datetime import UTC, datetime

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.profiles import Display, Profile, Property
from ingest_service import columns
from ingest_service.store import arrays, copy_rows, schema

LABEL = {"en": "x", "ko": "x"}
PROFILE = Profile(
    kind="sample",
    ngsi_type="Sample",
    label=LABEL,
    display=Display(headline="amount"),
    report_period_s=60,
    properties={
        "amount": Property(type="number", label=LABEL, ngsi="a", name="amount"),
        "pieces": Property(type="integer", label=LABEL, ngsi="p", name="pieces"),
        "state": Property(type="enum", label=LABEL, ngsi="s", name="state", values=("a", "b", "c")),
        "open": Property(type="boolean", label=LABEL, ngsi="o", name="open"),
    },
)
rows = st.lists(
    st.tuples(
        st.integers(1, 2**31 - 1),
        st.integers(0, 4_102_444_799_999),  # 1970 to 2100, in ms
        st.none() | st.floats(width=32, allow_nan=False),
        st.none() | st.integers(-(2**31) + 1, 2**31 - 1),
        st.none() | st.integers(0, 2),
        st.none() | st.booleans(),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def connection(postgres_url):
    with psycopg.connect(postgres_url) as found:
        found.execute("SET timezone TO 'Asia/Seoul'")  # what is stored does not depend on the session
        found.execute("CREATE TEMPORARY TABLE observation_sample (device_id int, observed_at timestamptz)")
        for name, item in PROFILE.properties.items():
            found.execute(f"ALTER TABLE observation_sample ADD COLUMN {name} {schema.column_type(item)}".encode())
        yield found
        found.rollback()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
def test_a_block_comes_back_as_it_went_in(connection, block):
    device, at, amount, pieces, state, opened = (list(part) for part in zip(*block, strict=True)) if block else [[]] * 6
    filled = {
        "amount": np.array([np.nan if value is None else value for value in amount], np.float32),
        "pieces": np.array([columns.NULL_INTEGER if value is None else value for value in pieces], np.int32),
        "state": np.array([-1 if value is None else value for value in state], np.int16),
        "open": np.array([-1 if value is None else int(value) for value in opened], np.int8),
    }
    connection.execute("DELETE FROM observation_sample")
    copy_rows.copy(connection, PROFILE, np.array(device, np.int32), np.array(at, np.int64), filled)
    exact = (
        "device_id, observed_at, amount::float8, pieces, state, open"  # float4 as text is the shortest, not the value
    )
    found = connection.execute(f"SELECT {exact} FROM observation_sample".encode()).fetchall()
    milliseconds = [
        (row[0], round((row[1] - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000), *row[2:]) for row in found
    ]
    assert milliseconds == block


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
def test_arrays_come_back_as_they_went_in(connection, block):
    device, at, amount, pieces, state, opened = (list(part) for part in zip(*block, strict=True)) if block else [[]] * 6
    arrays.register(connection)
    given_arrays = {
        "device": arrays.array(arrays.Ints, device),
        "big": arrays.array(arrays.BigInts, at),
        "at": arrays.times(at),
        "at_or_null": arrays.times(at, np.array(state, object) == 1) if block else arrays.times([]),
        "amount": arrays.column(
            PROFILE.properties["amount"], np.array([np.nan if value is None else value for value in amount], np.float32)
        ),
        "pieces": arrays.column(
            PROFILE.properties["pieces"],
            np.array([columns.NULL_INTEGER if value is None else value for value in pieces], np.int32),
        ),
        "state": arrays.column(
            PROFILE.properties["state"], np.array([-1 if value is None else value for value in state], np.int16)
        ),
        "open": arrays.column(
            PROFILE.properties["open"], np.array([-1 if value is None else int(value) for value in opened], np.int8)
        ),
    }
    found = connection.execute(
        "SELECT device, big, (extract(epoch FROM at) * 1000)::bigint, at_or_null IS NULL, amount::float8, pieces, "
        "state, open FROM unnest(%(device)s::int[], %(big)s::bigint[], %(at)s::timestamptz[], "
        "%(at_or_null)s::timestamptz[], "
        "%(amount)s::float4[], %(pieces)s::int[], %(state)s::smallint[], %(open)s::boolean[]) "
        "AS k (device, big, at, at_or_null, amount, pieces, state, open)",
        given_arrays,
    ).fetchall()
    assert found == [(row[0], row[1], row[1], row[4] == 1, *row[2:]) for row in block]


def test_a_stream_that_postgres_would_take_for_another_shape_is_refused(connection):
    nothing = columns.empty_columns(PROFILE, 1)
    stream = copy_rows.encode(PROFILE, np.array([1], np.int32), np.array([0], np.int64), nothing)
    with (
        pytest.raises(psycopg.DataError),
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy("COPY observation_sample FROM STDIN (FORMAT BINARY)") as sink,
    ):
        sink.write(stream[:-9])
