"""Dropping against recorded draws of the published implementation and a loop."""

import json

import numpy as np
import pytest
import torch

from codistill.distill.dropping import DroppingConfig, lowest_loss_dropping, uniform_draws
from codistill.errors import ConfigError
from shared_files import golden


def by_loop(losses: np.ndarray, allowed: np.ndarray, draws: np.ndarray, p: float) -> np.ndarray:
    kept = np.zeros_like(losses)
    for image in range(losses.shape[1]):
        teachers = [t for t in range(losses.shape[0]) if allowed[t, image]]
        if not teachers:
            continue
        worst = max(teachers, key=lambda t: losses[t, image])
        for t in teachers:
            kept[t, image] = t == worst or draws[t, image] >= p
    return kept


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_equals_a_loop(p: float) -> None:
    rng = np.random.default_rng(1)
    losses, draws = rng.random((2, 4, 200)).astype(np.float32)
    allowed = (rng.random((4, 200)) < 0.6).astype(np.float32)
    kept = lowest_loss_dropping(*map(torch.tensor, (losses, allowed, draws)), p)
    np.testing.assert_array_equal(kept, by_loop(losses, allowed, draws, p))
    assert ((kept.sum(0) >= 1) == (torch.tensor(allowed).sum(0) >= 1)).all()
    if p == 1.0:
        assert (kept.sum(0) <= 1).all()


def test_recorded_draws() -> None:
    record = json.loads(golden("dropping.json").read_text())
    losses = torch.tensor(record["losses_teacher_by_image"])
    draws = torch.tensor(
        [[1.0 if d is None else d for d in row] for row in record["uniform_draw_image_by_teacher"]]
    ).T
    kept = lowest_loss_dropping(losses, torch.ones_like(losses), draws, record["p"])
    assert kept.T.tolist() == record["kept_image_by_teacher"]
    loss = (kept * losses).sum() / kept.sum()
    assert loss.item() == pytest.approx(record["loss"], rel=1e-6)


def test_draws_depend_on_the_slot_alone() -> None:
    whole = uniform_draws(seed=3, step=7, slots=range(12), teachers=3)
    for rank in range(2):
        part = uniform_draws(seed=3, step=7, slots=range(rank, 12, 2), teachers=3)
        assert torch.equal(part, whole[:, rank::2])
    assert not torch.equal(whole, uniform_draws(seed=3, step=8, slots=range(12), teachers=3))
    many = uniform_draws(seed=0, step=0, slots=range(20000), teachers=2)
    assert abs(many.mean().item() - 0.5) < 0.01
    assert 0.0 <= many.min().item() <= many.max().item() < 1.0


def test_bad_config() -> None:
    with pytest.raises(ConfigError, match=r"\[0, 1\]"):
        DroppingConfig(probability=1.5)
