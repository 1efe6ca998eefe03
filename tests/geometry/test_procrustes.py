"""Procrustes against scipy and synthetic truth; reflections; weights; gradients."""

import pytest
import torch
from scipy.spatial.transform import Rotation

from codistill.geometry.procrustes import procrustes


def test_recovers_a_similarity_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(6, 30, 3, generator=generator, dtype=torch.float64)
    rotation = torch.from_numpy(Rotation.random(6, random_state=1).as_matrix())
    scale = torch.rand(6, generator=generator, dtype=torch.float64) + 0.5
    shift = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    target = scale[:, None, None] * source @ rotation.transpose(1, 2) + shift[:, None]
    found = procrustes(source, target, scale=True)
    torch.testing.assert_close(found.rotation, rotation)
    torch.testing.assert_close(found.scale, scale)
    torch.testing.assert_close(found.translation, shift)
    torch.testing.assert_close(found.apply(source), target)


def test_rigid_rotation_agrees_with_scipy_on_noisy_weighted_points() -> None:
    generator = torch.Generator().manual_seed(2)
    source, noise = torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(40, generator=generator, dtype=torch.float64)
    target = source @ torch.from_numpy(Rotation.random(random_state=3).as_matrix()).T + 0.3 * noise + 5
    found = procrustes(source, target, weights)
    centred = [points - (weights[:, None] * points).sum(0) / weights.sum() for points in (source, target)]
    expected, _ = Rotation.align_vectors(centred[1].numpy(), centred[0].numpy(), weights=weights.numpy())
    torch.testing.assert_close(found.rotation, torch.from_numpy(expected.as_matrix()))
    assert float(found.scale) == 1.0


def test_similarity_is_a_minimum_of_its_objective() -> None:
    generator = torch.Generator().manual_seed(4)
    source, target = torch.randn(2, 20, 3, generator=generator, dtype=torch.float64)
    found = procrustes(source, target, scale=True)

    def cost(scale: torch.Tensor, turn: torch.Tensor, shift: torch.Tensor) -> float:
        return float(((scale * source @ turn.T + shift - target) ** 2).sum())

    best = cost(found.scale, found.rotation, found.translation)
    for seed in range(50):
        small = torch.from_numpy(
            Rotation.from_rotvec(Rotation.random(random_state=seed).as_rotvec() * 0.01).as_matrix()
        )
        nudge = 1 + 0.01 * torch.randn(1, generator=generator, dtype=torch.float64)
        assert cost(found.scale * nudge, small @ found.rotation, found.translation) >= best


def test_mirrored_points_still_get_a_proper_rotation() -> None:
    source = torch.randn(10, 3, dtype=torch.float64)
    found = procrustes(source, source * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64), scale=True)
    assert float(torch.det(found.rotation)) == pytest.approx(1.0)
    assert float(found.scale) > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_in_its_own_type(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(30, 3, generator=generator)
    turn = torch.from_numpy(Rotation.random(random_state=1).as_matrix()).float()
    for scale in (False, True):
        found = procrustes(source.to(dtype), (source @ turn.T).to(dtype), scale=scale)
        assert {found.rotation.dtype, found.scale.dtype, found.translation.dtype} == {dtype}
        torch.testing.assert_close(found.rotation.float(), turn, atol=0.05, rtol=0)


def test_zero_weights_ignore_points() -> None:
    source = torch.randn(12, 3, dtype=torch.float64)
    target = source + 1.0
    target[6:] = 100 * torch.randn(6, 3, dtype=torch.float64)
    weights = torch.tensor([1.0] * 6 + [0.0] * 6, dtype=torch.float64)
    torch.testing.assert_close(procrustes(source, target, weights).apply(source)[:6], target[:6])


def test_gradient() -> None:
    source, target = torch.randn(2, 2, 8, 3, dtype=torch.float64)

    def aligned(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return procrustes(x, y, scale=True).apply(x)

    assert torch.autograd.gradcheck(aligned, (source.requires_grad_(), target.requires_grad_()))
