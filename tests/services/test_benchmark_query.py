"""What `./run bench query` holds its answers against: the month's values, in SQL and in numpy, are the same."""

import numpy as np
import psycopg
import pytest

from tests.benchmarks import month
from tests.benchmarks.month import FORMULAS, KINDS

SLOTS = np.array([0, 1, 107, 108, 251, 252, 4321, 8639])


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_value_of_the_month_is_the_same_in_sql_and_in_numpy(postgres_url: str, kind: str) -> None:
    ids = np.arange(1, 11_600, 37)
    with psycopg.connect(postgres_url) as connection:
        formulas = ", ".join(f"({formula})::float8" for formula in FORMULAS[kind].values()).replace("%", "%%")
        rows = connection.execute(
            f"SELECT device_id, s, {formulas}"
            " FROM unnest(%s::int[]) device_id, unnest(%s::int[]) s ORDER BY 1, 2".encode(),
            (ids.tolist(), SLOTS.tolist()),
        ).fetchall()
    found = np.array(rows, dtype=float)
    device_id, slot = found[:, 0].astype(np.int64), found[:, 1].astype(np.int64)
    checked = 0
    for place, name in enumerate(FORMULAS[kind], start=2):
        if name in ("status", "power_state", "occupied_spot_number"):
            continue
        checked += 1
        assert np.allclose(found[:, place], month.value(name, device_id, slot), atol=1e-12, equal_nan=True), name
    if kind == "parking_spot":
        assert np.array_equal(found[:, 2] == 0, month.value("free", device_id, slot) == 1)
    else:
        assert checked


def test_every_kind_stands_in_every_municipality() -> None:
    ids = np.arange(1, 401)
    pairs = set(zip(month.kind_of(ids).tolist(), month.town_of(ids).tolist(), strict=True))
    assert len(pairs) == len(KINDS) * len(month.TOWNS)
