"""6-D rotations and rotation vectors: against scipy, at and near what is degenerate, with gradients."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from codistill.geometry.rotations import (
    rotation_from_6d,
    rotation_from_vector,
    rotation_to_6d,
    rotation_vector,
)


def test_identity_and_round_trip() -> None:
    identity = rotation_from_6d(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
    assert torch.equal(identity, torch.eye(3))
    rotations = torch.from_numpy(Rotation.random(50, random_state=0).as_matrix())
    torch.testing.assert_close(rotation_from_6d(rotation_to_6d(rotations)), rotations)


def test_gram_schmidt_against_qr() -> None:
    """The first two columns of a QR factorization with positive diagonal are Gram-Schmidt's."""
    six = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    columns = six.unflatten(-1, (2, 3)).mT
    q, r = torch.linalg.qr(columns)
    q = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    torch.testing.assert_close(rotation_from_6d(six)[..., :2], q)
    assert torch.allclose(torch.linalg.det(rotation_from_6d(six)), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize(
    "six",
    [[1.0, 0, 0, 1, 0, 0], [0.0] * 6, [0, 0, 0, 0, 1, 0], [0, 2, 0, 0, 0, 0], [1, 1, 1, -2, -2, -2]],
)
def test_degenerate_columns_are_rotations_with_finite_gradients(six: list[float]) -> None:
    """[1, 0, 0, 1, 0, 0] is what released files start hands and jaw from."""
    given = torch.tensor(six, dtype=torch.float32, requires_grad=True)
    found = rotation_from_6d(given)
    torch.testing.assert_close(found @ found.T, torch.eye(3))
    assert torch.linalg.det(found.detach()) == pytest.approx(1.0, abs=1e-5)
    (found * torch.randn(3, 3)).sum().backward()
    assert given.grad is not None and given.grad.isfinite().all()


def test_gram_schmidt_gradient() -> None:
    six = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation_from_6d, (six,))


def test_half_precision_gives_rotations_in_full_precision() -> None:
    found = rotation_from_6d(torch.randn(10, 6).bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found @ found.mT, torch.eye(3).expand(10, 3, 3))


def test_vectors_against_scipy() -> None:
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(200, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.concatenate([np.linspace(0, np.pi - 1e-3, 197), [1e-9, 1e-5, 0.0]])
    vectors = axes * angles[:, None]
    matrices = Rotation.from_rotvec(vectors).as_matrix()
    ours = rotation_from_vector(torch.from_numpy(vectors))
    np.testing.assert_allclose(ours.numpy(), matrices, atol=1e-14)
    np.testing.assert_allclose(rotation_vector(torch.from_numpy(matrices)).numpy(), vectors, atol=1e-9)


def test_a_half_turn_and_more() -> None:
    half = rotation_vector(torch.diag(torch.tensor([1.0, -1.0, -1.0])))
    torch.testing.assert_close(half.abs(), torch.tensor([torch.pi, 0.0, 0.0]))
    more = rotation_vector(rotation_from_vector(torch.tensor([0.0, 4.0, 0.0])))
    torch.testing.assert_close(more, torch.tensor([0.0, 4.0 - 2 * torch.pi, 0.0]))


def test_vector_gradient_at_zero() -> None:
    vector = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (rotation_from_vector(vector) * torch.arange(9.0).reshape(3, 3)).sum().backward()
    # d/dv of the sum of weights * [v]_x: antisymmetric differences of the weights.
    assert vector.grad is not None and vector.grad.tolist() == [2.0, -4.0, 2.0]
