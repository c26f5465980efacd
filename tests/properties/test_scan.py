"""What the kernel takes of a body, msgspec reads the same; and what agents write, the kernel takes."""

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import profiles, wire
from ingest_service.bodies import Bodies
from ingest_service.registry import Registry
from ingest_service.rows import Slow, scanned
from ingest_service.scan import Scanner
from tests.city_of_tests import DEVICES, NOW_MS, registry

KINDS = profiles.load(environ={})
NAMES = [*DEVICES, "nobody", "sl-11"]
BODIES, SCANNER = Bodies(KINDS), Scanner(KINDS)


def tables(bodies: list[bytes], counts: list[int], known: Registry):
    """By body and kind: what the kernel made of it, or None; and what msgspec makes of it, or None."""
    towns = [known.town_number("41280")] * len(bodies)
    scan = SCANNER.scan(bodies, counts, towns, known.index())
    numbers = np.arange(len(bodies))
    mine = {kind: scanned(profile, place, scan, numbers) for place, (kind, profile) in enumerate(KINDS.items())}
    for number, body in enumerate(bodies):
        try:
            groups, refusals = BODIES.read(body, counts[number])
        except wire.WireError:
            groups, refusals = None, []
        expected = None
        if groups is not None and not refusals:
            lists = {kind: Slow(profile) for kind, profile in KINDS.items()}
            for kind, group in groups:
                lists[kind].add(group, number, known.codes["41280"])
            expected = {kind: lists[kind].table() for kind in KINDS}
        found = {kind: table.take(table.source == number) for kind, table in mine.items()}
        yield bool(scan.taken[number]), found, expected


def same(found, expected) -> None:
    for kind in KINDS:
        assert found[kind].code.tolist() == expected[kind].code.tolist()
        assert found[kind].observed_ms.tolist() == expected[kind].observed_ms.tolist()
        assert found[kind].place.tolist() == list(range(len(found[kind].code)))
        for name, column in expected[kind].columns.items():
            assert found[kind].columns[name].tobytes() == column.tobytes(), (kind, name)


def values_of(item):
    if item.type == "number":
        plain = st.floats(-1e6, 1e6).map(lambda value: round(value, item.decimals))
        return st.none() | plain | st.integers(-(10**9), 10**9)
    if item.type == "integer":
        return st.none() | st.integers(-(10**15) + 1, 10**15 - 1)
    return st.none() | (st.booleans() if item.type == "boolean" else st.sampled_from(item.values))


@st.composite
def groups(draw, most=5):
    """Groups as an agent writes them."""
    made = {}
    for kind, profile in KINDS.items():
        n = draw(st.integers(0, most))
        if n == 0:
            continue
        listed = st.lists(st.sampled_from(NAMES), min_size=n, max_size=n)
        group = {"device": draw(listed), "observed_at": [NOW_MS + row for row in range(n)]}
        for name, item in profile.properties.items():
            if draw(st.booleans()):
                group[name] = draw(st.lists(values_of(item), min_size=n, max_size=n))
        made[kind] = group
    return made


@settings(max_examples=150, deadline=None)
@given(st.lists(groups(), min_size=1, max_size=4))
def test_what_agents_write_is_taken_and_reads_as_msgspec_reads_it(written):
    known = registry()
    bodies = [wire.decompress(wire.encode_body(found)) for found in written]
    for taken, found, expected in tables(bodies, [wire.count_of(found) for found in written], known):
        assert taken
        same(found, expected)


PIECES = [
    b'"', b"\\", b",", b",,", b"[", b"]", b"{", b"}", b":", b" ", b"null", b"nul", b"true", b"1", b"-", b"-0", b"-0.0",
    b"01", b"0", b"1.", b".5", b"1e3", b"1E400", b"1234567890123456", b"9007199254740993", b"0.1", b"NaN", b'"on"',
    b'"dim"', b'"device":["sl-1"],', b"[]", b'"streetlight":', b'"voltage":[220.5],', b"\x00", b"\xff", "날".encode(),
    b"\xed\xa0\x80", b"",
]  # fmt: skip


TOKEN = re.compile(rb'"[^"]*"|[-0-9.]+|null|true|false|.', re.DOTALL)
changes = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(["replace", "drop", "double", "cut"]),
        st.sampled_from(PIECES),
        st.integers(0, 20),
    ),
    min_size=1,
    max_size=2,
)


def changed(body: bytes, wanted) -> bytes:
    """The body with some of its tokens replaced, dropped, doubled or cut through."""
    for at, what, piece, offset in wanted:
        tokens = TOKEN.findall(body)
        place = at % len(tokens)
        token = tokens[place]
        tokens[place] = {
            "replace": piece,
            "drop": b"",
            "double": token * 2 if offset % 2 else token + b"," + token,
            "cut": token[:offset] + piece + token[offset:],
        }[what]
        body = b"".join(tokens)
    return body


@settings(max_examples=500, deadline=None)
@given(groups(2), changes, st.integers(-1, 1))
def test_of_any_other_body_the_kernel_takes_nothing_that_msgspec_reads_otherwise(written, wanted, more):
    known = registry()
    whole = wire.decompress(wire.encode_body(written))
    body = changed(whole, wanted)
    count = max(0, wire.count_of(written) + more)
    results = list(tables([whole, body, whole], [wire.count_of(written), count, wire.count_of(written)], known))
    for taken, found, expected in (results[0], results[2]):  # the neighbours are not touched
        assert taken
        same(found, expected)
    taken, found, expected = results[1]
    if taken:
        assert expected is not None, body
        same(found, expected)
    else:
        assert all(len(table.code) == 0 for table in found.values())


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 15))
def test_a_decimal_number_is_the_nearest_double(digits, point):
    text = f"{digits:+017d}"[1:].lstrip("0").rjust(point + 1, "0")
    text = ("-" if digits < 0 else "") + (text[:-point] + "." + text[-point:] if point else text)
    body = f'{{"streetlight":{{"device":["sl-1"],"observed_at":[{NOW_MS}],"voltage":[{text}]}}}}'.encode()
    known = registry()
    scan = SCANNER.scan([body], [1], [known.town_number("41280")], known.index())
    if scan.taken[0]:
        place = list(KINDS["streetlight"].properties).index("voltage")
        assert scan.values[place, 0] == msgspec.json.decode(text.encode(), type=float)
    else:
        assert sum(letter.isdigit() for letter in text) > 15


def test_names_of_one_hundred_thousand_devices_are_found_and_no_others():
    known = registry(more_lights=100_000)
    names = [f"light-{number}" for number in range(0, 100_000, 7)] + ["light-100000", "paju-1", "sl-1x", "sl-", ""]
    columns = ",".join(f'"{name}"' for name in names)
    times = ",".join(str(NOW_MS) for _ in names)
    body = f'{{"streetlight":{{"device":[{columns}],"observed_at":[{times}]}}}}'.encode()
    scan = SCANNER.scan([body], [len(names)], [known.town_number("41280")], known.index())
    assert scan.taken[0]
    assert scan.code.tolist() == known.find("41280", names).tolist()
    assert (scan.code[-5:] == -1).all()


LIGHT = f'"streetlight":{{"device":["sl-1"],"observed_at":[{NOW_MS}]'
LEFT = {
    "a column twice": f'{{{LIGHT},"voltage":[1.0],"voltage":[2.0]}}}}',
    "a kind twice": f"{{{LIGHT}}},{LIGHT}}}}}",
    "something behind": f"{{{LIGHT}}}}}x",
    "no time": '{"streetlight":{"device":["sl-1"]}}',
    "no device": f'{{"streetlight":{{"observed_at":[{NOW_MS}]}}}}',
    "a blank": f'{{{LIGHT},"voltage": [1.0]}}}}',
    "an escape": f'{{"streetlight":{{"device":["sl\\u002d1"],"observed_at":[{NOW_MS}]}}}}',
    "an exponent": f'{{{LIGHT},"voltage":[1e2]}}}}',
    "sixteen digits": f'{{{LIGHT},"voltage":[1.234567890123456]}}}}',
    "a point in an integer": f'{{"off_street_parking":{{"device":["g"],"observed_at":[{NOW_MS}],'
    '"available_spot_number":[1.0]}}',
    "an unknown word": f'{{{LIGHT},"power_state":["dim"]}}}}',
    "an unknown property": f'{{{LIGHT},"colour":[1]}}}}',
    "an unknown kind": '{"toaster":{"device":["t"],"observed_at":[1]}}',
    "cut short": f"{{{LIGHT}}}",
    "nothing": "",
}


@pytest.mark.parametrize("body", LEFT.values(), ids=LEFT)
def test_what_is_not_plain_is_left_alone(body):
    known = registry()
    town = known.town_number("41280")
    count = 2 if body.count(LIGHT) == 2 else 1
    scan = SCANNER.scan([body.encode(), f"{{{LIGHT}}}}}".encode()], [count, 1], [town, town], known.index())
    assert scan.taken.tolist() == [False, True]
    assert scan.body.tolist() == [1]
