"""Observations as arrays: what a number becomes when it is rounded to float4."""

import numpy as np

from ingest_service.columns import rounded


def test_a_negative_zero_is_zero_and_all_else_is_the_nearest_float4():
    found = rounded(np.array([-0.0, 0.0, 221.3, -1e-60, 1e60, -1e60, np.nan]))
    wanted = np.array([0.0, 0.0, 221.3, 0.0, np.inf, -np.inf, np.nan], np.float32)
    assert found.dtype == np.float32
    assert found.tobytes() == wanted.tobytes()
