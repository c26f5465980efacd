"""Silence of devices, by the clock of the agent that speaks for them: a timer sweep, not a wait for the next report.

A device is silent when its agent's clock has gone `limit_ms` past the device's newest observation. While the agent
says nothing its clock stands still, so a dead agent is one alarm and not two hundred; when it is back after longer than
`limit_ms`, its devices get that long again to report. Devices that report changes only are never silent.
"""

from typing import NamedTuple

import numba
import numpy as np

from ingest_service.columns import Array

NEVER = np.iinfo(np.int64).min


class State(NamedTuple):
    """State of n devices of one kind; 13 bytes each."""

    heard_ms: Array  # (n,) int64: newest observation, or since when its agent is back
    agent: Array  # (n,) int32: index of the agent last heard from; -1 before
    silent: Array  # (n,) uint8


def new_state(n: int) -> State:
    return State(np.full(n, NEVER, np.int64), np.full(n, -1, np.int32), np.zeros(n, np.uint8))


def distinct(slot: Array, place: Array) -> Array:
    """Each slot once, in the order of its first appearance. place: (slots,) int32 scratch, 0 before and after."""
    once = np.empty(len(slot), np.int64)
    return once[: _distinct(slot, place, once)]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _distinct(slot: Array, place: Array, once: Array) -> int:
    n = 0
    for i in slot:
        if place[i] == 0:
            place[i] = 1
            once[n] = i
            n += 1
    for k in range(n):
        place[once[k]] = 0
    return n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def hear(heard_ms: Array, agent_of: Array, silent: Array, slot: Array, at_ms: Array, agent: Array, back: Array) -> int:
    """Take observations; `back` gets the rows that ended a silence; how many."""
    n = 0
    for row in range(len(slot)):
        i = slot[row]
        if at_ms[row] > heard_ms[i]:
            heard_ms[i] = at_ms[row]
            agent_of[i] = agent[row]
            if silent[i]:
                silent[i] = 0
                back[n] = row
                n += 1
    return n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sweep(
    heard_ms: Array, agent_of: Array, silent: Array, excused: Array, clock_ms: Array, limit_ms: int, fell: Array
) -> int:
    """Judge every device by its agent's clock ((agents,) int64, NEVER where unknown), but for the excused ((n,) uint8);
    `fell` gets who fell silent; how many.
    """
    n = 0
    for i in range(len(heard_ms)):
        if agent_of[i] >= 0 and not silent[i] and not excused[i]:
            clock = clock_ms[agent_of[i]]
            if clock != NEVER and clock - heard_ms[i] > limit_ms:
                silent[i] = 1
                fell[n] = i
                n += 1
    return n
