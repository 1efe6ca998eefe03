"""A random order of 0..N-1 that is not stored: any position of it in O(1) time and memory.

It is an unbalanced Feistel network on pairs (a, b) with a < A, b < B and A * B at or just above N, whose round function
is a keyed 64-bit hash. Results of N or above are permuted again (cycle walking). Source: Black and Rogaway, "Ciphers
with arbitrary finite domains", CT-RSA 2002; the hash is the finalizer of SplitMix64 (Steele et al. 2014).
"""

import math

import numpy as np

_ROUNDS = 16  # fewer leave a measurable bias between neighbours for small N
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _hash(values: np.ndarray) -> np.ndarray:
    """Well-mixed 64-bit hash of uint64 values."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def keys_of(*parts: np.ndarray | int) -> np.ndarray:
    """Make one uint64 key per element from integers (broadcast); different integers give unrelated keys."""
    key = np.zeros(1, dtype=np.uint64)
    for part in parts:
        value = np.asarray(part & _MASK if isinstance(part, int) else part).astype(np.uint64)
        key = _hash(key * np.uint64(3) + value + np.uint64(_GOLDEN))
    return key


def permute(positions: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """Return the numbers at given positions of a random order of 0..size-1.

    Args:
        positions: integers in 0..size-1.
        size: from 1 to 2^40.
        keys: uint64, one per position or one for all; each key selects another order.

    Returns:
        int64, in the shape of `positions`. For one key, different positions give different numbers.
    """
    if not 1 <= size <= 1 << 40:
        raise ValueError(f"size must be from 1 to 2^40; got {size}")
    values = np.asarray(positions, dtype=np.uint64)
    keys = np.broadcast_to(keys, values.shape)
    values = _feistel(values, keys, size)
    while (outside := values >= size).any():  # still a permutation: cycles lead back below N
        values[outside] = _feistel(values[outside], keys[outside], size)
    return values.astype(np.int64)


def _feistel(values: np.ndarray, keys: np.ndarray, size: int) -> np.ndarray:
    columns = math.isqrt(size - 1) + 1  # B: the square root of N, rounded up
    rows = -(-size // columns)  # A
    a, b = values // np.uint64(columns), values % np.uint64(columns)
    for number in range(_ROUNDS):
        salt = keys + np.uint64((number + 1) * _GOLDEN & _MASK)
        if number % 2:  # each round adds a hash of one half to the other, which can be undone
            b = (b + _hash(salt ^ (a * np.uint64(_GOLDEN)))) % np.uint64(columns)
        else:
            a = (a + _hash(salt ^ (b * np.uint64(_GOLDEN)))) % np.uint64(rows)
    return a * np.uint64(columns) + b
