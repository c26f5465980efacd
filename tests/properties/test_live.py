"""What the live channel carries reads as the API spells the same columns, agent by agent."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.profiles import Display, Profile, Property
from ingest_service import live
from ingest_service.columns import NULL_INTEGER, to_json
from ingest_service.newest import Rows

LABEL = {"en": "x", "ko": "x"}
PROFILE = Profile(
    kind="sample",
    ngsi_type="Sample",
    label=LABEL,
    display=Display(headline="amount"),
    report_period_s=60,
    properties={
        "amount": Property(type="number", label=LABEL, ngsi="a", name="amount", decimals=2),
        "round": Property(type="number", label=LABEL, ngsi="r", name="round", decimals=0),
        "pieces": Property(type="integer", label=LABEL, ngsi="p", name="pieces"),
        "state": Property(type="enum", label=LABEL, ngsi="s", name="state", values=("a", '"', "날씨")),
        "open": Property(type="boolean", label=LABEL, ngsi="o", name="open"),
    },
)
numbers = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 0.005, -0.004, 9.995, 1e-30, 1e12, 1e13, 3e38, float("inf"), -float("inf")]),
    st.floats(-1e6, 1e6, width=32),
    st.floats(width=32, allow_nan=False),
)
rows = st.lists(
    st.tuples(
        st.integers(0, 3),  # agent
        st.integers(1, 2**31 - 1),
        st.integers(0, 4_102_444_799_999),
        numbers,
        numbers,
        st.none() | st.integers(-(2**31) + 1, 2**31 - 1),
        st.integers(-1, 3),
        st.integers(-1, 1),
    ),
    max_size=12,
)
alarms = st.lists(st.tuples(st.none() | st.integers(-1, 4), st.fixed_dictionaries({"alarm_id": st.integers(1, 99)})))


@settings(max_examples=200, deadline=None)
@given(rows, alarms)
def test_every_agents_message_holds_its_rows_and_its_alarms_as_the_api_spells_them(found, raised):
    agent, device, at, amount, whole, pieces, state, opened = map(list, zip(*found, strict=True)) if found else [[]] * 8
    nan = float("nan")
    columns = {
        "amount": np.array([nan if value is None else value for value in amount], np.float32),
        "round": np.array([nan if value is None else value for value in whole], np.float32),
        "pieces": np.array([NULL_INTEGER if value is None else value for value in pieces], np.int32),
        "state": np.array(state, np.int16),
        "open": np.array(opened, np.int8),
    }
    changed = Rows(
        "sample", np.arange(len(found)), np.array(device, np.int32), np.array(at, np.int64), columns,
        np.array(agent, np.int32),
    )  # fmt: skip
    sent = live.messages([changed], [alarm for _, alarm in raised], [to for to, _ in raised], {"sample": PROFILE})
    finite = {
        name: np.where(np.isfinite(column), column, np.nan) if column.dtype == np.float32 else column
        for name, column in columns.items()
    }
    expected: dict = {}
    for number in sorted(set(agent)):
        mine = np.array(agent) == number
        group = {"device_id": changed.device_id[mine].tolist(), "observed_at": changed.observed_ms[mine].tolist()}
        group |= {name: to_json(item, finite[name][mine]) for name, item in PROFILE.properties.items()}
        expected[number] = {"observations": {"sample": group}, "alarms": []}
    for to, alarm in raised:
        if to is not None and to >= 0:
            expected.setdefault(to, {"observations": {}, "alarms": []})["alarms"].append(alarm)
    assert len(sent) == len(dict(sent))
    assert {index: json.loads(payload) for index, payload in sent} == expected
