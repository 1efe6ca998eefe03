"""Hadamard matrices: orthogonal rows of ±1 at the widths of vision transformers; orders that there are none of."""

import numpy as np
import pytest
from scipy.linalg import hadamard as sylvester

from codistill.distill.hadamard import hadamard, paley_one, paley_two
from codistill.errors import ConfigError


@pytest.mark.parametrize(
    "order", [1, 2, 4, 12, 20, 28, 36, 44, 60, 192, 384, 768, 1024, 1152, 1280, 1408, 1536]
)
def test_rows_are_orthogonal_signs(order: int) -> None:
    matrix = hadamard(order).astype(np.float32)  # integers up to 2²⁴ are exact, and products fast
    assert set(np.unique(matrix)) <= {-1, 1}
    np.testing.assert_array_equal(matrix @ matrix.T, order * np.eye(order, dtype=np.float32))


def test_doubling_is_sylvesters() -> None:
    # 64 is no Paley order (63, and 31 = 3 mod 4): it is doubled from 32 = 31 + 1, as the Kronecker product says.
    np.testing.assert_array_equal(hadamard(64), np.kron(sylvester(2), hadamard(32)))
    np.testing.assert_array_equal(hadamard(2), sylvester(2))


def test_paley_by_hand() -> None:
    # q = 3: squares modulo 3 are {1}; the residue matrix is [[0, -1, 1], [1, 0, -1], [-1, 1, 0]].
    expected = [[1, 1, 1, 1], [-1, 1, -1, 1], [-1, 1, 1, -1], [-1, -1, 1, 1]]
    np.testing.assert_array_equal(paley_one(3), expected)
    second = paley_two(5).astype(np.int64)
    np.testing.assert_array_equal(second, second.T)
    np.testing.assert_array_equal(second @ second.T, 12 * np.eye(12))


@pytest.mark.parametrize(("order", "near"), [(92, "88 and 96"), (30, "28 and 32"), (3, "2 and 4")])
def test_orders_without_a_construction(order: int, near: str) -> None:
    with pytest.raises(ConfigError, match=near):
        hadamard(order)
