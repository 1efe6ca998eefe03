"""Losses against hand-written formulas, and terms of a user's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from codistill.distill.losses import DistillationLoss, LossConfig, TokenLoss, image_loss
from codistill.distill.terms import Term, TermContext, find_term, squared_angle
from codistill.distill.validation import ValidationTable
from codistill.errors import ConfigError
from codistill.types import Tokens

PUBLISHED = DistillationLoss(LossConfig())
PATCH = TermContext(kind="patch")
OWN = """\
from codistill.distill.terms import Term
def fourth_power(prediction, target, context):
    return (prediction - target).pow(4).flatten(1).mean(1)
def nothing(prediction, target, context):
    return prediction.mean()
STRAIGHT = Term(function=fourth_power, directions=True)
NUMBER = 3
"""


def loss_of(prediction: Tensor, target: Tensor, config: LossConfig | None = None) -> TokenLoss:
    return DistillationLoss(config or LossConfig()).of_tokens(prediction, target, PATCH)


def tokens(seed: int) -> Tokens:
    torch.manual_seed(seed)
    return Tokens(patches=torch.randn(3, 4, 8), grid=(2, 2), cls=torch.randn(3, 8))


def test_terms_by_hand() -> None:
    prediction = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    target = torch.tensor([[4.0, 3.0], [0.0, 2.0]])
    loss = loss_of(prediction, target)
    torch.testing.assert_close(loss.terms["cosine"], torch.tensor([1 - 24 / 25, 1.0]))
    torch.testing.assert_close(loss.terms["smooth_l1"], torch.tensor([0.5, (0.5 + 1.5) / 2]))
    torch.testing.assert_close(loss.total, torch.tensor([0.27, 1.0]))
    weighted = loss_of(prediction, target, LossConfig(weights={"cosine": 0.9, "smooth_l1": 0.1}))
    torch.testing.assert_close(weighted.total, torch.tensor([0.086, 1.0]))
    watched = loss_of(prediction, target, LossConfig(weights={"cosine": 2.0, "smooth_l1": 0.0}))
    torch.testing.assert_close(watched.total, 2.0 * loss.terms["cosine"])
    assert torch.equal(watched.terms["smooth_l1"], loss.terms["smooth_l1"])


def test_patch_loss_is_the_mean_over_tokens_in_numpy() -> None:
    rng = np.random.default_rng(0)
    p, t = rng.normal(size=(2, 3, 5, 7))
    cosine = 1 - (p * t).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(t, axis=-1)
    d = np.abs(p - t)
    l1 = np.where(d < 1, d**2 / 2, d - 0.5).mean(-1)
    loss = loss_of(torch.tensor(p), torch.tensor(t))
    np.testing.assert_allclose(loss.terms["cosine"], cosine.mean(1), rtol=1e-5)
    np.testing.assert_allclose(loss.terms["smooth_l1"], l1.mean(1), rtol=1e-5)


def test_token_kinds_are_averaged_and_bf16_is_computed_in_fp32() -> None:
    p, t = tokens(0), tokens(1)
    losses = PUBLISHED.of_teacher(p, t, ("cls", "patch"))
    torch.testing.assert_close(image_loss(losses), (losses["cls"].total + losses["patch"].total) / 2)
    half = loss_of(p.patches.bfloat16(), t.patches)
    assert {value.dtype for value in (half.total, *half.terms.values())} == {torch.float32}


def test_zero_target_and_gradients() -> None:
    prediction = torch.randn(2, 3, dtype=torch.float32, requires_grad=True)
    loss_of(prediction, torch.zeros(2, 3)).total.sum().backward()
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


def test_class_tokens_have_terms_of_their_own() -> None:
    p, t = tokens(2), tokens(3)
    plain = PUBLISHED.of_teacher(p, t, ("cls", "patch"))
    losses = DistillationLoss(LossConfig(summary={"cosine": 1.0})).of_teacher(p, t, ("cls", "patch"))
    assert torch.equal(losses["cls"].total, plain["cls"].terms["cosine"])
    assert torch.equal(losses["patch"].total, plain["patch"].total)
    by_angle = DistillationLoss(LossConfig(summary={"angular": 1.0, "cosine": 0.5}))
    assert by_angle.directions and not PUBLISHED.directions
    losses = by_angle.of_teacher(p, t, ("cls", "patch"), torch.tensor(0.25))
    cosine = torch.nn.functional.cosine_similarity(p.cls, t.cls)  # type: ignore[arg-type]
    torch.testing.assert_close(losses["cls"].terms["angular"], 4.0 * torch.arccos(cosine) ** 2)
    torch.testing.assert_close(losses["cls"].total, 4.0 * torch.arccos(cosine) ** 2 + 0.5 * (1 - cosine))


def test_a_term_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    loss = DistillationLoss(LossConfig(weights={"cosine": 0.5, f"{path}:fourth_power": 2.0}))
    p, t = tokens(4), tokens(5)
    losses = loss.of_teacher(p, t, ("cls", "patch"))
    wanted = ((p.patches - t.patches) ** 4).mean((1, 2))
    torch.testing.assert_close(losses["patch"].terms["fourth_power"], wanted)
    torch.testing.assert_close(losses["patch"].total, 0.5 * losses["patch"].terms["cosine"] + 2.0 * wanted)
    table = ValidationTable({"a": ("patch",)}, ("s",), loss, torch.device("cpu"))
    table.add({"a": {"patch": losses["patch"]}}, ["s", "s", "s"])
    numbers = table.result(lambda sums: sums)
    assert numbers["all/a/patch/fourth_power"] == pytest.approx(wanted.mean().item())
    similarity = torch.nn.functional.cosine_similarity(p.patches, t.patches, dim=-1)
    assert numbers["all/a/patch/cosine_similarity"] == pytest.approx(similarity.mean().item(), abs=1e-6)
    assert isinstance(find_term(f"{path}:STRAIGHT"), Term)
    for name, text in (
        ("fourth", "Did you mean 'fourth_power'"),
        ("NUMBER", "NUMBER is no loss term; its type is int"),
        ("STRAIGHT", "STRAIGHT compares class tokens, and weights are those of patches"),
    ):
        with pytest.raises(ConfigError, match=text):
            DistillationLoss(LossConfig(weights={f"{path}:{name}": 1.0}))
    scalar = DistillationLoss(LossConfig(weights={f"{path}:nothing": 1.0}))
    with pytest.raises(
        ValueError, match=r"nothing gave the shape \(\); it must give one value per image, \(3,\)"
    ):
        scalar.of_tokens(p.patches, t.patches, PATCH)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"cosin": 1.0}, "Did you mean 'cosine'"),
        ({"cosine": -1.0}, "weight of cosine is -1.0; it must be finite, and not negative"),
        ({"cosine": float("nan")}, "must be finite"),
        ({"cosine": 0.0, "smooth_l1": 0.0}, "all weights are 0"),
        ({}, "all weights are 0"),
        ({"cosine": 1.0, "mine.py:cosine": 1.0}, "two terms would be logged as cosine"),
    ],
)
def test_weights_that_mean_nothing(weights: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        LossConfig(weights=weights)
    with pytest.raises(ConfigError, match=text):
        LossConfig(summary=weights)


def test_errors() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        loss_of(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="Name it in summary"):
        LossConfig(weights={"angular": 1.0})
    without = Tokens(patches=torch.zeros(1, 1, 3), grid=(1, 1))
    with pytest.raises(ValueError, match="cls tokens are missing"):
        PUBLISHED.of_teacher(without, without, ("cls",))
