"""Counter-based randomness: the value at (seed, device, time) is computed, never drawn in sequence.

Every function is a pure function of unsigned 64-bit keys and counters, so any instant can be generated without its
past and two processes agree on it. Normals are bounded (Irwin-Hall of four, +-3.46 sd): a fault-free device never
leaves its range by luck. Source of the mixing function: Steele, Lea, Flood (2014), "Fast splittable pseudorandom
number generators" (splitmix64).
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint64]
I8 = NDArray[np.int64]
F8 = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LOW_16 = np.uint64(0xFFFF)


def key_of(*words: object) -> int:
    """A 64-bit key of a few words (seed, municipality, device, stream)."""
    text = "\x1f".join(str(word) for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def keys_of(seed: int, names: list[str]) -> U8:
    """One key per name, all depending on the seed."""
    return np.array([key_of(seed, name) for name in names], dtype=np.uint64)


def bits(keys: U8, stream: int, counter: I8 | int = 0) -> U8:
    """64 random bits for each (key, stream, counter); shapes broadcast."""
    mixed = np.atleast_1d(np.asarray(counter, dtype=np.int64)).view(np.uint64) * _GOLDEN
    mixed = mixed + np.uint64(((stream + 1) * 0xD1342543DE82EF95) & 0xFFFFFFFFFFFFFFFF)
    mixed = _mix(mixed) ^ keys
    return _mix(mixed + _GOLDEN)


def uniform(keys: U8, stream: int, counter: I8 | int = 0) -> F8:
    """Uniform in [0, 1)."""
    return (bits(keys, stream, counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(keys: U8, stream: int, counter: I8 | int = 0) -> F8:
    """Nearly normal, mean 0, sd 1, never beyond 3.47."""
    word = bits(keys, stream, counter)
    total = (
        (word & _LOW_16)
        + ((word >> np.uint64(16)) & _LOW_16)
        + ((word >> np.uint64(32)) & _LOW_16)
        + (word >> np.uint64(48))
    )
    found: F8 = (total.astype(np.float64) - 2 * 65535) * (1 / 37837.2)
    return found


def exponential(keys: U8, stream: int, counter: I8 | int = 0) -> F8:
    """Exponential with mean 1."""
    return -np.log1p(-uniform(keys, stream, counter))


def smooth(keys: U8, stream: int, at_ms: I8, period_ms: int) -> F8:
    """Value noise that wanders with about this period: mean 0, sd near 0.8, never beyond 3.47."""
    knot = at_ms // period_ms
    part = (at_ms - knot * period_ms) / period_ms
    blend = part * part * (3 - 2 * part)
    before, after = normal(keys, stream, knot), normal(keys, stream, knot + 1)
    return before + (after - before) * blend


def _mix(word: U8) -> U8:
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    mixed: U8 = word ^ (word >> np.uint64(31))
    return mixed
