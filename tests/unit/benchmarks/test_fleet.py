"""The scoring interface: anybody's arrays, the detectors of ingest."""

import numpy as np
import pytest

from contracts.profiles import DETECTOR_CODES, load
from tests.benchmarks.fleet import Faults


def test_a_value_that_leaves_its_range_is_named_where_it_does():
    faults = Faults(3, "waste_container.filling_level")
    t = np.arange(10).repeat(3) * 600
    index = np.tile(np.arange(3, dtype=np.int32), 10)
    value = np.full(30, 0.5) + np.arange(30) * 1e-3
    value[13] = 1.5  # the fifth reading of the second series
    scores, codes = faults.update(index, t, value)
    assert scores.dtype == np.float64
    assert codes.dtype == np.int16
    assert np.flatnonzero(codes).tolist() == [13]
    assert codes[13] == DETECTOR_CODES["out_of_range"]
    assert scores[13] == scores[16] == 1.0
    assert scores[14] == 0.0


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_series_of_any_type_are_taken(dtype):
    faults = Faults(1, "off_street_parking.available_spot_number")
    scores, codes = faults.update(np.zeros(4, np.int32), np.arange(4) * 300, np.array([5, 3, -2, -2], dtype))
    assert codes.tolist() == [0, 0, DETECTOR_CODES["out_of_range"], 0]
    assert scores.tolist() == [0, 0, 1, 1]


def test_gaps_and_infinities_of_a_counter_are_nulls():
    faults = Faults(1, "off_street_parking.available_spot_number")
    value = np.array([5, np.nan, np.inf, -np.inf, 1e300, 4])
    _, codes = faults.update(np.zeros(6, np.int32), np.arange(6) * 300, value)
    assert not codes.any()


def test_a_sweep_tells_once_who_fell_silent():
    faults = Faults(2, "waste_container.filling_level")
    t = np.arange(0, 86_400, 600)
    faults.update(np.zeros(len(t), np.int32), t, np.linspace(0.1, 0.6, len(t)))
    faults.update(np.ones(len(t) + 100, np.int32), np.arange(len(t) + 100) * 600, np.linspace(0.1, 0.6, len(t) + 100))
    slots, codes = faults.sweep(86_400 + 99 * 600)
    assert slots.tolist() == [0]
    assert codes.tolist() == [DETECTOR_CODES["silent"]]
    assert len(faults.sweep(86_400 + 100 * 600)[0]) == 0


def test_a_batch_cut_in_pieces_gives_the_same_codes():
    random = np.random.default_rng(3)
    index = random.integers(0, 5, 3000).astype(np.int32)
    t = np.arange(3000) * 60
    value = np.where(random.random(3000) < 0.01, 300.0, random.normal(220, 1, 3000))
    scores, codes = Faults(5, "streetlight.voltage").update(index, t, value)
    pieces = Faults(5, "streetlight.voltage")
    parts = [pieces.update(*part) for part in zip(*(np.array_split(a, 37) for a in (index, t, value)), strict=True)]
    assert codes.any()
    assert 0 < scores.mean() < 1
    assert np.array_equal(scores, np.concatenate([part for part, _ in parts]))
    assert np.array_equal(codes, np.concatenate([part for _, part in parts]))


def test_empty_batches_and_slices_of_other_arrays_are_taken():
    faults, none = Faults(2, "streetlight.voltage"), np.zeros(0)
    assert [len(part) for part in faults.update(none.astype(np.int32), none.astype(np.int64), none)] == [0, 0]
    table = np.array([[0, 1_772_409_600, 300], [1, 1_772_409_600, 220]])
    scores, codes = faults.update(table[:, 0], table[:, 1], table[:, 2])
    assert codes.tolist() == [DETECTOR_CODES["out_of_range"], 0]
    assert scores.tolist() == [1, 0]


def test_a_property_that_nobody_knows_is_refused_with_what_is_known():
    with pytest.raises(ValueError, match=r"cannot watch 'bin.level': no such property; known are .*voltage"):
        Faults(1, "bin.level")


def test_every_shipped_property_can_be_watched():
    for kind, profile in load(environ={}).items():
        for item in profile.properties.values():
            faults = Faults(4, f"{kind}.{item.name}", np.zeros(4, np.int32))
            scores, codes = faults.update(np.arange(4), np.full(4, 1_772_409_600), np.zeros(4))
            assert len(scores) == len(codes) == 4
            faults.sweep(1_772_409_600 + 86_400)


def test_a_bay_that_never_changes_while_its_neighbours_do_is_named():
    days, n = 60, 12
    t = np.arange(0, days * 86_400, 3600).repeat(n)
    index = np.tile(np.arange(n, dtype=np.int32), len(t) // n)
    value = np.where(index == 0, 1, (t // 14_400 + index) % 2)
    _, codes = Faults(n, "parking_spot.status", np.zeros(n, np.int32)).update(index, t + 1_772_409_600, value)
    assert set(index[codes == DETECTOR_CODES["unchanging"]].tolist()) == {0}
