"""Compiles the kernels (or reads them from numba's cache) before the first observation needs them."""

from collections.abc import Mapping

import numpy as np

from contracts.profiles import Profile
from ingest_service import live
from ingest_service.columns import Block, empty_columns
from ingest_service.detection import saving
from ingest_service.detection.fleet import Fleet
from ingest_service.detection.places import Places
from ingest_service.names import NameIndex
from ingest_service.newest import Newest
from ingest_service.scan import Scanner
from ingest_service.store import copy_rows

A_LONG_WHILE_MS = 40 * 86_400_000  # that an agent was away


def compile_kernels(profiles: Mapping[str, Profile]) -> None:
    """Run every kernel once, on one observation of nothing."""
    index = NameIndex()
    index.add(["nobody"], [0])
    Scanner(profiles).scan([b"{}"], [0], [0], index)
    fleet = Fleet(profiles)
    for kind, profile in profiles.items():
        columns = empty_columns(profile, 1)
        block = Block(
            kind, np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int32), columns
        )
        fleet.place(kind, Places())
        fleet.examine([block], {0: 0})
        fleet.examine([block], {0: A_LONG_WHILE_MS})
        live.messages(Newest(profiles).take([block]), [], [], profiles)
        copy_rows.encode(profile, block.device_id, block.observed_ms, columns)
    nobody = {kind: np.zeros(fleet.kinds[kind].size, np.int32) for kind in profiles}
    saving.take(fleet, 0, np.zeros(1, np.int64), np.zeros(1, np.int64), nobody)
