"""Pseudo-random numbers that depend on ids alone, not on their order in a file: ties, samples and shuffles use them."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_ADD, _ONE, _TWO = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def id_keys(ids: Iterable[str]) -> Keys:
    """(n,) uint64: a number for each id, evenly spread (BLAKE2b)."""
    return np.array([int.from_bytes(blake2b(id.encode(), digest_size=8).digest()) for id in ids], dtype=np.uint64)


def mixed(seed: int, *keys: Keys) -> Keys:
    """One evenly spread number for each combination of keys and `seed`, broadcast (splitmix64; Steele et al., 2014)."""
    state: Keys = np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)  # an array: scalars would warn of overflow
    for key in (*keys, np.zeros(1, dtype=np.uint64)):
        state = (state ^ key) + _ADD
        state = (state ^ (state >> np.uint64(30))) * _ONE
        state = (state ^ (state >> np.uint64(27))) * _TWO
        state = state ^ (state >> np.uint64(31))
    return state
