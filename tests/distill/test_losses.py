"""Losses against hand-written formulas."""

import numpy as np
import pytest
import torch

from codistill.distill.losses import LossConfig, image_loss, squared_angle, teacher_losses, token_loss
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
    losses = teacher_losses(p, t, ("cls", "patch"), LossConfig())
    wanted = sum(loss.total(LossConfig()) for loss in losses.values()) / 2
    torch.testing.assert_close(image_loss(losses, LossConfig()), wanted)
    assert token_loss(p.patches.bfloat16(), t.patches).cosine.dtype == torch.float32


def test_zero_target_and_gradients() -> None:
    prediction = torch.randn(2, 3, dtype=torch.float32, requires_grad=True)
    loss = token_loss(prediction, torch.zeros(2, 3))
    loss.total(LossConfig()).sum().backward()
    assert torch.isfinite(prediction.grad).all()  # type: ignore[arg-type]


def test_squared_angle_is_the_arc_cosine_squared_and_smooth_where_that_is_not() -> None:
    rng = np.random.default_rng(2)
    p, t = rng.normal(size=(2, 50, 6))
    cosine = (p * t).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(t, axis=-1)
    got = squared_angle(torch.tensor(p), torch.tensor(t))
    np.testing.assert_allclose(got, np.arccos(cosine) ** 2, rtol=1e-4)
    # One ten-thousandth of a radian: the cosine differs from 1 by less than fp32 can say.
    angle = 1e-4
    small = squared_angle(torch.tensor([[np.cos(angle), np.sin(angle)]]), torch.tensor([[2.0, 0.0]]))
    assert small.item() == pytest.approx(angle**2, rel=1e-3)
    for sign in (1.0, -1.0):
        vector = torch.tensor([[3.0, 4.0]], requires_grad=True)
        squared_angle(vector, sign * vector.detach()).sum().backward()
        assert torch.isfinite(vector.grad).all()  # type: ignore[arg-type]


def test_class_tokens_by_cosine_or_by_angle_over_dispersion() -> None:
    torch.manual_seed(1)
    p = Tokens(patches=torch.randn(3, 4, 8), grid=(2, 2), cls=torch.randn(3, 8))
    t = Tokens(patches=torch.randn(3, 4, 8), grid=(2, 2), cls=torch.randn(3, 8))
    plain = teacher_losses(p, t, ("cls", "patch"), LossConfig())
    by_cosine = LossConfig(summary="cosine")
    losses = teacher_losses(p, t, ("cls", "patch"), by_cosine)
    torch.testing.assert_close(losses["cls"].total(by_cosine), plain["cls"].cosine)
    torch.testing.assert_close(losses["patch"].total(by_cosine), plain["patch"].total(LossConfig()))
    by_angle = LossConfig(summary="angular")
    losses = teacher_losses(p, t, ("cls", "patch"), by_angle, torch.tensor(0.25))
    cosine = torch.nn.functional.cosine_similarity(p.cls, t.cls)  # type: ignore[arg-type]
    torch.testing.assert_close(losses["cls"].total(by_angle), 4.0 * torch.arccos(cosine) ** 2)
    with pytest.raises(ConfigError, match="Did you mean 'angular'"):
        LossConfig(summary="angle")  # type: ignore[arg-type]


def test_errors() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        token_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="not be negative"):
        LossConfig(cosine_weight=-1)
    tokens = Tokens(patches=torch.zeros(1, 1, 3), grid=(1, 1))
    with pytest.raises(ValueError, match="cls tokens are missing"):
        teacher_losses(tokens, tokens, ("cls",), LossConfig())
