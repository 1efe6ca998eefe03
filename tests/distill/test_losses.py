"""Losses against hand-written formulas."""

import numpy as np
import pytest
import torch

from codistill.distill.losses import LossConfig, image_loss, teacher_losses, token_loss
from codistill.errors import ConfigError
from codistill.types import Tokens


def test_token_loss_by_hand() -> None:
    prediction = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    target = torch.tensor([[4.0, 3.0], [0.0, 2.0]])
    loss = token_loss(prediction, target)
    torch.testing.assert_close(loss.cosine, torch.tensor([1 - 24 / 25, 1.0]))
    torch.testing.assert_close(loss.smooth_l1, torch.tensor([0.5, (0.5 + 1.5) / 2]))
    torch.testing.assert_close(loss.total(LossConfig()), torch.tensor([0.27, 1.0]))
    torch.testing.assert_close(
        loss.total(LossConfig(cosine_weight=0.9, smooth_l1_weight=0.1)), torch.tensor([0.086, 1.0])
    )


def test_patch_loss_is_the_mean_over_tokens_in_numpy() -> None:
    rng = np.random.default_rng(0)
    p, t = rng.normal(size=(2, 3, 5, 7))
    cosine = 1 - (p * t).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(t, axis=-1)
    d = np.abs(p - t)
    l1 = np.where(d < 1, d**2 / 2, d - 0.5).mean(-1)
    loss = token_loss(torch.tensor(p), torch.tensor(t))
    np.testing.assert_allclose(loss.cosine, cosine.mean(1), rtol=1e-5)
    np.testing.assert_allclose(loss.smooth_l1, l1.mean(1), rtol=1e-5)


def test_token_kinds_are_averaged_and_bf16_is_computed_in_fp32() -> None:
    p = Tokens(patches=torch.randn(2, 4, 8), grid=(2, 2), cls=torch.randn(2, 8))
    t = Tokens(patches=torch.randn(2, 4, 8), grid=(2, 2), cls=torch.randn(2, 8))
    losses = teacher_losses(p, t, ("cls", "patch"))
    wanted = sum(loss.total(LossConfig()) for loss in losses.values()) / 2
    torch.testing.assert_close(image_loss(losses, LossConfig()), wanted)
    assert token_loss(p.patches.bfloat16(), t.patches).cosine.dtype == torch.float32


def test_zero_target_and_gradients() -> None:
    prediction = torch.randn(2, 3, dtype=torch.float32, requires_grad=True)
    loss = token_loss(prediction, torch.zeros(2, 3))
    loss.total(LossConfig()).sum().backward()
    assert torch.isfinite(prediction.grad).all()  # type: ignore[arg-type]


def test_errors() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        token_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="not be negative"):
        LossConfig(cosine_weight=-1)
    tokens = Tokens(patches=torch.zeros(1, 1, 3), grid=(1, 1))
    with pytest.raises(ValueError, match="cls tokens are missing"):
        teacher_losses(tokens, tokens, ("cls",))
