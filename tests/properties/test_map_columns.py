"""The map's text says exactly what the arrays hold, in few digits, and its pieces are one gzip file."""

import gzip
import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from contracts import profiles
from platform_api import earth, pieces
from platform_api.queries.packed import NOTHING
from tests.services.geodesic import metres

LIGHT = profiles.load(environ={})["streetlight"]
FLOATS = st.one_of(st.floats(width=32), st.decimals(-5000, 5000, places=2).map(float))


@given(st.lists(FLOATS, max_size=50), st.integers(0, 4))
def test_a_float4_is_written_so_that_it_is_read_as_the_same_float4(values, decimals):
    column = np.array(values, np.float32)
    found = pieces.shortest(column, decimals)
    assert np.array_equal(found.astype(np.float32), column, equal_nan=True)
    for one, stored in zip(found.tolist(), column, strict=True):
        if math.isfinite(one) and abs(one) < 1e6:
            assert len(repr(one)) <= max(len(str(stored)), len(f"{one:.{decimals}f}"))


@given(st.lists(st.one_of(st.just(NOTHING), st.integers(0, 9)), max_size=20))
def test_enums_are_written_by_name_and_unknown_numbers_as_null(numbers):
    item = LIGHT.properties["power_state"]
    written = pieces.written(item, np.array(numbers, np.int32))
    assert written == [item.values[number] if 0 <= number < len(item.values) else None for number in numbers]
    json.dumps(written)


@given(st.lists(st.binary(max_size=3000), max_size=8))
def test_pieces_laid_together_are_one_gzip_file(texts):
    made = [pieces.piece(text) for text in texts]
    assert gzip.decompress(pieces.compressed(made)) == pieces.plain(made) == b"".join(texts)


@given(
    st.floats(-90, 90), st.floats(-180, 180), st.floats(1, 500_000), st.floats(0, 0.999), st.floats(0, 2 * math.pi)
)  # fmt: skip
def test_whatever_lies_within_the_radius_lies_in_a_box(latitude, longitude, radius_m, share, bearing):
    """A point at a bearing, on a sphere; whether it lies within is then measured on the ellipsoid."""
    angle = share * radius_m / 6_400_000
    phi = math.radians(latitude)
    sine = math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(bearing)
    north = math.asin(max(-1.0, min(1.0, sine)))
    aside = math.sin(bearing) * math.sin(angle) * math.cos(phi)
    turn = math.atan2(aside, math.cos(angle) - math.sin(phi) * math.sin(north))
    other = (math.degrees(north), (longitude + math.degrees(turn) + 540) % 360 - 180)
    if metres(latitude, longitude, *other) > radius_m:
        return
    inside = [w <= other[1] <= e and s <= other[0] <= n for w, s, e, n in earth.boxes(latitude, longitude, radius_m)]
    assert any(inside)
