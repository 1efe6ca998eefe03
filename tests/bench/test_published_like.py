"""The plain step computes the loss and the update of the engine's own, with every teacher on every image."""

from dataclasses import replace

import pytest
import torch

from codistill.bench.published_like import PublishedLikeStep
from codistill.bench.step import BenchedStep
from codistill.errors import ConfigError
from codistill.recipes.recipe import Recipe
from codistill.recipes.registry import find_recipe

CPU = torch.device("cpu")


def small() -> Recipe:
    recipe = find_recipe("debug")
    return replace(recipe, loader=replace(recipe.loader, batch_size=5))


def test_its_loss_and_gradients_are_those_of_our_step() -> None:
    recipe = small()
    ours = BenchedStep(recipe, CPU)
    plain = PublishedLikeStep(recipe, ours.whole, CPU)
    start = {name: p.detach().clone() for name, p in plain.student.named_parameters()}
    expected = ours.run()
    loss = plain.loss()
    torch.testing.assert_close(loss.detach(), expected["loss"], rtol=1e-4, atol=0)
    loss.backward()
    gradients = {name: p.grad for name, p in plain.student.named_parameters() if p.grad is not None}
    for name, parameter in ours.objective.trainable.named_parameters():
        assert (name in gradients) == parameter.requires_grad
        assert torch.equal(plain.student.get_parameter(name), start[name])
    norms = torch.stack([g.norm() for g in gradients.values()])
    torch.testing.assert_close(norms.mean(), expected["gradient/mean"], rtol=1e-3, atol=0)
    for teacher in ("cosine", "smooth_l1"):
        assert any(name.endswith(teacher) for name in plain.logged)


def test_a_step_changes_every_trained_parameter() -> None:
    recipe = small()
    plain = PublishedLikeStep(recipe, BenchedStep(recipe, CPU).whole, CPU)
    start = [p.detach().clone() for p in plain.parameters]
    plain.measure()
    changed = [not torch.equal(p, s) for p, s in zip(plain.parameters, start, strict=True)]
    assert all(changed) and plain.best.wall > 0 and len(plain.best.walls) == 1


def test_other_losses_are_refused() -> None:
    recipe = small()
    batch = BenchedStep(recipe, CPU).whole
    other = replace(recipe, optim=replace(recipe.optim, clip="none"))
    with pytest.raises(ConfigError, match="Leave these fields"):
        PublishedLikeStep(other, batch, CPU)
