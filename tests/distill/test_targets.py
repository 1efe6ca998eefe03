"""Target statistics against a direct computation over the concatenated batch; what travels between ranks."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from codistill.distill.targets import (
    TargetConfig,
    TargetStandardizer,
    local_directions,
    local_moments,
    mean_and_spread,
    mean_and_std,
)
from codistill.errors import ConfigError
from codistill.student.statistics import TargetStatistics, denormalize, standardize
from codistill.types import Tokens


def statistics(**dims: int) -> torch.nn.ModuleDict:
    return torch.nn.ModuleDict({"t": TargetStatistics(dims)})  # type: ignore[arg-type]


def tokens(images: int = 3, dim: int = 5) -> Tokens:
    return Tokens(patches=torch.randn(images, 4, dim) * 3 + 2, grid=(2, 2), cls=torch.randn(images, dim))


def standardized(
    standardizer: TargetStandardizer,
    raw: Mapping[str, Tokens],
    counts: Mapping[str, int],
    momentum: float,
    all_reduce_sum: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
) -> Mapping[str, Tokens]:
    """A training step's targets, as `DistillationObjective` makes them."""
    packed = all_reduce_sum(standardizer.measure(raw, counts))
    return standardizer.standardize(raw, standardizer.follow(packed, raw, momentum))


def test_moments_of_two_ranks_are_those_of_all_tokens_even_with_a_large_mean() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(1e4, 0.5, (2, 300, 4))
    second += 1
    count, mean, std = mean_and_std(
        local_moments(torch.tensor(first, dtype=torch.float32), True)
        + local_moments(torch.tensor(second, dtype=torch.float32), True)
    )
    everything = np.concatenate([first, second])
    assert count == 600
    np.testing.assert_allclose(mean, everything.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, everything.std(0, ddof=1), rtol=1e-3)


def test_training_standardizes_by_the_batch_and_moves_the_buffers() -> None:
    buffers, given = statistics(cls=5, patch=5), tokens()
    standardizer = TargetStandardizer(TargetConfig(), buffers)
    out = standardized(standardizer, {"t": given}, {"t": 3}, 0.25)["t"]
    flat = given.patches.reshape(-1, 5)
    torch.testing.assert_close(out.patches, (given.patches - flat.mean(0)) / flat.std(0))
    torch.testing.assert_close(out.cls, (given.cls - given.cls.mean(0)) / given.cls.std(0))  # type: ignore[union-attr]
    patch = buffers["t"]["patch"]  # type: ignore[index]
    torch.testing.assert_close(patch.mean, 0.25 * flat.mean(0))  # type: ignore[union-attr]
    torch.testing.assert_close(patch.std, 0.75 + 0.25 * flat.std(0))  # type: ignore[union-attr]
    evaluated = standardizer.running({"t": given})["t"]
    torch.testing.assert_close(evaluated.patches, (given.patches - patch.mean) / patch.std)  # type: ignore[union-attr]


def test_constant_channel_is_clamped_for_the_division_only() -> None:
    buffers = statistics(patch=2)
    x = torch.stack([torch.full((6,), 7.0), torch.arange(6.0)], dim=1).view(2, 3, 2)
    out = standardized(
        TargetStandardizer(TargetConfig(), buffers),
        {"t": Tokens(patches=x, grid=(1, 3))},
        {"t": 2},
        1.0,
        lambda x: x,
    )["t"]
    assert (out.patches[..., 0] == 0).all()
    assert buffers["t"]["patch"].std[0] == 0  # type: ignore[index,union-attr]


def test_rows_that_stand_in_change_nothing() -> None:
    buffers = statistics(patch=5)
    standardizer = TargetStandardizer(TargetConfig(), buffers)
    standardized(standardizer, {"t": tokens()}, {"t": 0}, 0.5)
    assert (buffers["t"]["patch"].mean == 0).all()  # type: ignore[index,union-attr]
    assert (buffers["t"]["patch"].std == 1).all()  # type: ignore[index,union-attr]


def test_non_finite_targets_do_not_poison_the_buffers() -> None:
    buffers, given = statistics(patch=5), tokens()
    given.patches[0, 0, 1] = torch.nan
    standardized(TargetStandardizer(TargetConfig(), buffers), {"t": given}, {"t": 3}, 1.0)
    mean = buffers["t"]["patch"].mean  # type: ignore[index,union-attr]
    assert torch.isfinite(mean).all()  # type: ignore[arg-type]
    assert mean[0] != 0  # type: ignore[index]
    assert mean[1] == 0  # type: ignore[index]


def test_momentum_zero_and_running_mode() -> None:
    given = tokens()
    still = statistics(patch=5)
    out = TargetStandardizer(TargetConfig(), still).running({"t": given})["t"]
    torch.testing.assert_close(out.patches, given.patches)
    moved = statistics(patch=5)
    out = standardized(
        TargetStandardizer(TargetConfig(statistics="running"), moved),
        {"t": given},
        {"t": 3},
        0.5,
        lambda x: x,
    )["t"]
    patch = moved["t"]["patch"]  # type: ignore[index]
    torch.testing.assert_close(out.patches, (given.patches - patch.mean) / patch.std)  # type: ignore[union-attr]


def test_one_small_collective_for_all_teachers() -> None:
    travelled: list[int] = []

    def count(x: torch.Tensor) -> torch.Tensor:
        travelled.append(x.numel() * x.element_size())
        return x

    names = ("a", "b", "c")
    buffers = torch.nn.ModuleDict({n: TargetStatistics({"cls": 1024, "patch": 1024}) for n in names})
    raw = {n: Tokens(patches=torch.randn(2, 9, 1024), grid=(3, 3), cls=torch.randn(2, 1024)) for n in names}
    standardized(TargetStandardizer(TargetConfig(), buffers), raw, dict.fromkeys(names, 2), 1.0, count)
    assert len(travelled) == 1
    assert travelled[0] < 3 * 64 * 1024


def test_spread_of_a_narrow_cone_is_its_root_mean_square_angle() -> None:
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    cone = axis + 0.02 * torch.randn(500, 16, generator=generator)
    cosine = torch.nn.functional.cosine_similarity(cone, cone.mean(0, keepdim=True))
    angles = torch.arccos(cosine.clamp(max=1))
    # Two ranks: what travels adds up.
    moments = local_directions(7 * cone[:200], True) + local_directions(cone[200:], True)
    count, mean, spread = mean_and_spread(moments + local_directions(cone, False))
    assert count == 500
    assert (mean == 0).all()
    torch.testing.assert_close(spread, angles.square().mean().sqrt().expand(16), rtol=1e-3, atol=0)


def test_directions_follow_in_the_buffers_and_give_the_dispersion() -> None:
    buffers, given = statistics(cls=5, patch=5), tokens(images=40)
    standardizer = TargetStandardizer(TargetConfig(), buffers, directions=True)
    out = standardized(standardizer, {"t": given}, {"t": 40}, 1.0)["t"]
    units = torch.nn.functional.normalize(given.cls, dim=-1)  # type: ignore[arg-type]
    dispersion = 2 * (1 - units.mean(0).norm())
    torch.testing.assert_close(standardizer.dispersion("t"), dispersion, rtol=1e-4, atol=0)
    torch.testing.assert_close(out.cls, given.cls / dispersion.sqrt(), rtol=1e-4, atol=1e-4)  # type: ignore[operator]
    flat = given.patches.reshape(-1, 5)
    torch.testing.assert_close(out.patches, (given.patches - flat.mean(0)) / flat.std(0))
    assert TargetStandardizer(TargetConfig(), buffers).dispersion("t") is None


def test_denormalize_inverts_and_configs_refuse() -> None:
    x, mean, std = torch.randn(4, 6), torch.randn(6), torch.rand(6) + 0.1
    torch.testing.assert_close(denormalize(standardize(x, mean, std), mean, std), x)
    with pytest.raises(ConfigError, match="batch, running or fixed"):
        TargetConfig(statistics="ema")  # type: ignore[arg-type]
