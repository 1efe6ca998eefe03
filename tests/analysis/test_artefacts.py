"""Artefacts that are planted, and noise that has none."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from codistill.analysis.artefacts import artefacts_of, measure
from codistill.encoders.base import Encoder
from codistill.errors import ConfigError
from codistill.types import EncoderSpec, Tokens


def noise(images: int, dim: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(images, 36, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_a_planted_pattern_is_found_with_its_share_of_the_variance(strength: float) -> None:
    pattern = noise(1, seed=1)[0]
    pattern = strength * (pattern - pattern.mean(0)) / (pattern - pattern.mean(0)).square().mean().sqrt()
    found = measure(noise(40) + 3.0 + pattern, (6, 6))
    assert found.fixed_pattern == pytest.approx(strength**2 / (1 + strength**2), abs=0.02)
    shared = 5.0 * torch.randn(40, 1, 16, generator=torch.Generator().manual_seed(3))  # an image's own mean
    with_images = measure(noise(40) + pattern + shared, (6, 6)).fixed_pattern
    assert with_images == pytest.approx(strength**2 / (26 + strength**2), abs=0.02)
    if strength == 2.0:
        wanted = pattern.norm(dim=-1).view(6, 6)
        assert np.corrcoef(found.pattern.ravel(), wanted.ravel())[0, 1] > 0.95


def test_planted_long_tokens_are_counted() -> None:
    x = noise(20)
    plain = measure(x, (6, 6))
    assert plain.long_share < 0.002
    x[3:8, 7] *= 20
    found = measure(x, (6, 6))
    assert found.long_share == pytest.approx(5 / 720, abs=0.002)
    assert found.quantiles[0] == pytest.approx(x.norm(dim=-1).median().item(), rel=0.02)
    assert found.quantiles[-1] == pytest.approx(x.norm(dim=-1).max().item())
    assert found.lengths[3, 1, 1] > found.threshold > found.lengths[0, 1, 1]


def test_one_image_has_no_pattern() -> None:
    assert math.isnan(measure(noise(1), (6, 6)).fixed_pattern)
    assert "fixed_pattern" not in measure(noise(1), (6, 6)).numbers()


class Normed(Encoder):
    """Tokens from pixels; one is long before the norm."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = EncoderSpec(name="normed", dim=3, patch_size=4, has_cls=False)

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        x = torch.nn.functional.avg_pool2d(images, 4).flatten(2).transpose(1, 2).clone()
        x[:, 5] *= 100
        return Tokens(
            patches=torch.nn.functional.normalize(x, dim=-1) if norm else x, grid=(6, 6), normed=norm
        )


class Pooled(Normed):
    """As an encoder with a pooled summary: nothing before the norm."""

    def encode(self, images: Tensor, norm: bool = True) -> Tokens:
        if not norm:
            raise ConfigError("only after the norm")
        return super().encode(images, norm)


def test_an_encoder_without_tokens_before_its_norm_is_measured_after_it() -> None:
    assert list(artefacts_of(Pooled(), [torch.randn(2, 3, 24, 24)])) == ["after it"]


def test_the_norm_hides_lengths() -> None:
    batches = [torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    found = artefacts_of(Normed(), batches)
    assert found["before the final norm"].long_share == pytest.approx(1 / 36, abs=0.01)
    assert found["after it"].long_share == 0
    assert found["after it"].lengths.shape == (8, 6, 6)
