"""Training the encoder with a two-view head: gradients, what is kept, loading it back, resuming."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from pair_toys import ENCODER, SHAPE, ToyPairs, plane_pair
from rich.console import Console
from safetensors.torch import load_file
from stopping import stopping_after

from codistill.encoders.load import load_encoder
from codistill.engine.objective import StepContext
from codistill.engine.optim import OptimConfig
from codistill.errors import ConfigError
from codistill.heads.two_view.losses import TwoViewLossConfig
from codistill.heads.two_view.model import TwoViewModel
from codistill.heads.two_view.network import TwoViewHead
from codistill.tasks.opening import fit_task
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.loading import Request
from codistill.tasks.shared.unfrozen import write_unfrozen
from codistill.tasks.task import Subject
from codistill.tasks.two_view.batches import pair_batches
from codistill.tasks.two_view.config import RECIPES, TwoViewFit
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.objective import TwoViewObjective
from codistill.tasks.two_view.predict import TwoViewPredictor
from codistill.tasks.two_view.task import TASK
from codistill.tasks.two_view.views import PairViews

ROTATED = "random:vit_tiny,dim=48,depth=2,num_heads=3,patch_size=14,image_size=56,position=rope"


def _on(encoder):
    return FeatureConfig(encoder=encoder, norm=False)


def _opened(folder, encoder=None):
    if encoder is None:
        return open_two_view(Subject(head=folder))
    return open_two_view(Subject(head=folder, features=_on(encoder), other_encoder=True))


@pytest.fixture
def fit(tiny_world):
    return TwoViewFit(
        data=f"world:{tiny_world}",
        features=_on(ENCODER),
        size=(56, 56),
        shape=SHAPE,
        optim=OptimConfig(lr=1e-3, reference_batch=None, eps=1e-8, clip="global", warmup_fraction=0.0),
        steps=2,
        batch_size=2,
        matches=32,
        cached=False,
        unfreeze=True,
    )


def _runtime(out):
    return Runtime(out=out, workers=0, console=Console(quiet=True))


def _checkpoint(folder):
    return load_file(max((folder / "run" / "checkpoints").glob("step_*")) / "model.safetensors")


@pytest.mark.parametrize("symmetrize", [True, False])
def test_the_loss_is_that_of_a_frozen_encoder_and_its_gradient_reaches_the_encoder(symmetrize):
    requests = [Request(0, (0, 1), (0, 3))]
    batch = next(pair_batches(ToyPairs(), PairViews(size=(28, 42)), requests, seed=0, matches=40, workers=0))
    context, losses = StepContext(step=0, total_steps=1), []
    for unfreeze in (False, True):
        encoder = load_encoder(ENCODER)
        torch.manual_seed(0)
        head = TwoViewHead(SHAPE.on(encoder.spec.dim, encoder.spec.patch_size))
        objective = TwoViewObjective(
            encoder, head, TwoViewLossConfig(), symmetrize=symmetrize, description={}, unfreeze=unfreeze
        )
        losses.append(objective.step(objective.trainable, batch, context).loss)
        losses[-1].backward()
        reached = {n for n, p in encoder.named_parameters() if p.grad is not None and p.grad.any()}
        unused = {"mask_token", "norm.weight", "norm.bias"}
        assert reached == ({n for n, _ in encoder.named_parameters()} - unused if unfreeze else set())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("encoder", [ENCODER, ROTATED])
def test_the_trained_encoder_is_kept_beside_its_head_and_loads_with_it(fit, tmp_path, encoder):
    """Also with rotated positions, as MASt3R's encoder has."""
    assert fit_task(TASK, replace(fit, features=_on(encoder)), _runtime(tmp_path / "first"))
    trained, before = _checkpoint(tmp_path / "first"), load_encoder(encoder).state_dict()
    assert not torch.equal(trained["encoder.patch_embed.proj.weight"], before["patch_embed.proj.weight"])
    folder = shutil.move(tmp_path / "first", tmp_path / "moved")
    opened = _opened(folder)
    assert opened.about["encoder"]["encoder"] == str(folder / "encoder")
    assert opened.about["encoder"]["name"].endswith("trained for two-view")
    model = TwoViewModel(load_encoder(encoder), _opened(folder, encoder).model.head).eval()
    model.load_state_dict(trained)
    with pytest.raises(ConfigError, match=r"weights differ.*--other-encoder"):
        open_two_view(Subject(head=folder, features=_on(encoder)))
    with pytest.raises(ConfigError, match="takes tokens before the encoder's norm: leave out --norm"):
        open_two_view(Subject(head=folder, features=FeatureConfig(encoder=encoder)))
    pair = plane_pair()
    found, again = (
        TwoViewPredictor(one)(pair.first.image, pair.second.image)
        for one in (opened, replace(opened, model=model))
    )
    assert torch.equal(found.b_in_a.points, again.b_in_a.points)
    frozen = TwoViewPredictor(_opened(folder, encoder))(pair.first.image, pair.second.image)
    assert not torch.equal(found.b_in_a.points, frozen.b_in_a.points)  # --encoder puts another one under it


def test_a_stopped_fit_goes_on_as_if_it_had_not_stopped(fit, tmp_path):
    four = replace(fit, steps=4, encoder_lr_scale=0.1, accumulate=2)
    assert fit_task(TASK, four, _runtime(tmp_path / "whole"))
    with stopping_after(2):
        assert not fit_task(TASK, four, _runtime(tmp_path / "parts"))
    assert fit_task(TASK, four, _runtime(tmp_path / "parts"))
    for name in ("head.safetensors", "encoder/encoder.safetensors"):
        one, other = (load_file(tmp_path / part / name) for part in ("whole", "parts"))
        assert all(np.array_equal(one[key], other[key]) for key in one)


def test_what_cannot_be_unfrozen_says_why(fit, tmp_path):
    with pytest.raises(ConfigError, match="add --no-cached, or take the recipe `published`"):
        replace(fit, cached=True)
    with pytest.raises(ConfigError, match=r"encoder_lr_scale = 2\.0 would have no effect"):
        replace(fit, unfreeze=False, encoder_lr_scale=2.0)
    assert replace(RECIPES["published"], unfreeze=True).unfreeze


def test_stored_tokens_are_not_taken_for_those_of_an_encoder_that_was_trained_since(fit, tmp_path):
    """It lies at the same path and has as many parameters."""
    named, command = {"named": ENCODER, "task": "two-view"}, ["fit"]
    encoder = load_encoder(ENCODER)
    write_unfrozen(tmp_path, encoder, command=command, **named)
    cached = replace(
        fit, features=_on(str(tmp_path / "encoder")), cached=True, unfreeze=False, steps=1, views=1
    )
    runtime = replace(_runtime(tmp_path / "one"), cache=tmp_path / "cache")
    assert fit_task(TASK, cached, runtime)
    with torch.no_grad():
        encoder.cls_token.add_(1.0)
    write_unfrozen(tmp_path, encoder, command=command, **named)
    with pytest.raises(ConfigError, match=r"tokens of something else \(different: fingerprint\)"):
        fit_task(TASK, cached, replace(runtime, out=tmp_path / "two"))
