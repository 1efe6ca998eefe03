"""Hadamard matrices: an order in, a square matrix of ±1 with orthogonal rows out.

Sylvester's construction doubles an order; Paley's two constructions give q + 1 (prime q = 3 mod 4) and 2 (q + 1)
(prime q = 1 mod 4) from the quadratic residues modulo q. Between them they cover the widths of vision transformers:
192 = 12 · 16, 384 = 12 · 32, 768 = 12 · 64, 1024, 1280 = 20 · 64, 1408 = 44 · 32, 1536 = 12 · 128.
Sources: Sylvester 1867; Paley, On orthogonal matrices, 1933.
"""

import math
from functools import lru_cache

import numpy as np

from codistill.errors import ConfigError


@lru_cache(maxsize=8)
def hadamard(order: int) -> np.ndarray:
    """A Hadamard matrix (order, order), int8, by Sylvester's and Paley's constructions.

    Raises:
        ConfigError: if these constructions have no matrix of this order; the message names the nearest orders.
    """
    made = _construct(order)
    if made is not None:
        return made
    near = [n for n in range(max(1, order - 64), order + 65) if _construct(n) is not None]
    below, above = (
        max((n for n in near if n < order), default=1),
        min((n for n in near if n > order), default=2 * order),
    )
    raise ConfigError(
        f"no Hadamard matrix of order {order} by the constructions of Sylvester and Paley (orders are 1, 2 and some "
        f"multiples of 4; the nearest: {below} and {above}). Use transform = channels for teachers of this width."
    )


def _construct(order: int) -> np.ndarray | None:
    rest, doublings = order, 0
    while rest >= 1:
        core = _core(rest)
        if core is not None:
            for _ in range(doublings):
                core = np.block([[core, core], [core, -core]])  # Sylvester
            return core
        if rest % 2:
            return None
        rest, doublings = rest // 2, doublings + 1
    return None


def _core(order: int) -> np.ndarray | None:
    """A matrix for Sylvester's doubling to start from: order 1 or a construction of Paley's; None if there is none."""
    if order == 1:
        return np.ones((1, 1), dtype=np.int8)
    if order % 4 == 0 and _is_prime(order - 1):
        return paley_one(order - 1)
    if order % 4 == 0 and _is_prime(order // 2 - 1) and (order // 2 - 1) % 4 == 1:
        return paley_two(order // 2 - 1)
    return None


def paley_one(q: int) -> np.ndarray:
    """Order q + 1, for a prime q = 3 mod 4: the identity plus a skew matrix of residues with a border."""
    skew = np.zeros((q + 1, q + 1), dtype=np.int8)
    skew[0, 1:], skew[1:, 0] = 1, -1  # border
    skew[1:, 1:] = _residues(q)  # skew, since -1 is no square modulo q = 3 mod 4
    return skew + np.eye(q + 1, dtype=np.int8)


def paley_two(q: int) -> np.ndarray:
    """Order 2 (q + 1), for a prime q = 1 mod 4: symmetric residues with a border, each entry a 2 x 2 block."""
    symmetric = np.zeros((q + 1, q + 1), dtype=np.int8)
    symmetric[0, 1:] = symmetric[1:, 0] = 1
    symmetric[1:, 1:] = _residues(q)  # symmetric, since -1 is a square modulo q = 1 mod 4
    entry = np.array([[1, 1], [1, -1]], dtype=np.int8)
    diagonal = np.array([[1, -1], [-1, -1]], dtype=np.int8)
    return np.kron(symmetric, entry) + np.kron(np.eye(q + 1, dtype=np.int8), diagonal)


def _residues(q: int) -> np.ndarray:
    """Jacobsthal's matrix: the quadratic character of row - column modulo q: 0, 1 for squares, -1 for others."""
    character = np.full(q, -1, dtype=np.int8)
    character[[i * i % q for i in range(1, q)]] = 1  # squares
    character[0] = 0
    index = np.arange(q)
    return character[(index[:, None] - index[None, :]) % q]  # (q, q)


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))
