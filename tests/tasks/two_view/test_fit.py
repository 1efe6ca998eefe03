import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pair_toys import ENCODER, SHAPE, ToyPairs
from rich.console import Console

from codistill.encoders.load import load_encoder
from codistill.engine.objective import StepContext
from codistill.engine.optim import OptimConfig
from codistill.errors import CheckpointError, ConfigError
from codistill.heads.two_view.losses import TwoViewLossConfig, two_view_loss
from codistill.heads.two_view.network import TwoViewHead, TwoViewShape
from codistill.tasks.opening import fit_task, open_split
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.inputs import inputs_of
from codistill.tasks.shared.loading import Request
from codistill.tasks.task import Subject
from codistill.tasks.two_view.batches import pair_batches, truth_to
from codistill.tasks.two_view.config import RECIPES, TwoViewFit
from codistill.tasks.two_view.head import open_two_view
from codistill.tasks.two_view.layouts import LAYOUTS
from codistill.tasks.two_view.objective import TwoViewObjective
from codistill.tasks.two_view.start import fresh_head
from codistill.tasks.two_view.task import TASK
from codistill.tasks.two_view.views import PairViews


def _head(encoder):
    torch.manual_seed(0)
    return TwoViewHead(SHAPE.on(encoder.spec.dim, encoder.spec.patch_size))


def _objective(symmetrize):
    encoder = load_encoder(ENCODER)
    loss = TwoViewLossConfig()
    return TwoViewObjective(encoder, _head(encoder), loss, symmetrize=symmetrize, description={})


def _batch():
    requests = [Request(0, (0, 1), (0, 3))]
    return next(pair_batches(ToyPairs(), PairViews(size=(28, 42)), requests, seed=0, matches=40, workers=0))


def test_the_symmetrized_loss_is_that_of_both_orders_with_every_image_encoded_once():
    objective, batch, context = _objective(True), _batch(), StepContext(step=0, total_steps=1)
    seen = []
    objective.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    result = objective.step(objective.trainable, batch, context)
    assert sum(seen) == 4  # two pairs of two images

    tokens = objective.encoder(batch.images, norm=False)
    first, second = (replace(tokens, patches=part, cls=None) for part in tokens.patches.chunk(2))
    truths = truth_to(batch.truth1, "cpu"), truth_to(batch.truth2, "cpu")
    head, loss = objective.trainable, objective.loss
    forth = two_view_loss(*head(first, second), *truths, loss)
    back = two_view_loss(*head(second, first), *reversed(truths), loss)
    counts = [t.valid.sum() for t in truths]
    assert counts[0] == counts[1]  # all pixels of a plane are known: means of halves are the mean of all
    torch.testing.assert_close(result.loss, (forth.loss + back.loss) / 2, atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_whole_head_and_nothing_of_the_encoder():
    objective = _objective(False)
    objective.step(objective.trainable, _batch(), StepContext(step=0, total_steps=1)).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in objective.encoder.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.trainable.parameters())


def test_validation_averages_over_batches():
    objective, context = _objective(True), StepContext(step=0, total_steps=1)
    one = objective.evaluate(objective.trainable, [_batch()], context)
    two = objective.evaluate(objective.trainable, [_batch(), _batch()], context)
    assert one["loss"] == pytest.approx(two["loss"]) and np.isfinite(list(one.values())).all()
    assert objective.evaluate(objective.trainable, [], context) == {}


@pytest.fixture
def fit(tiny_world):
    return TwoViewFit(
        data=f"world:{tiny_world}",
        features=FeatureConfig(encoder=ENCODER, norm=False),
        size=(56, 56),
        shape=SHAPE,
        optim=OptimConfig(lr=1e-3, reference_batch=None, eps=1e-8, clip="global"),
        steps=6,
        batch_size=2,
        views=2,
        matches=32,
    )


def _runtime(out):
    return Runtime(out=out, workers=0, console=Console(quiet=True))


def test_a_fitted_head_loads_back_as_it_was(fit, tmp_path):
    assert fit_task(TASK, fit, _runtime(tmp_path / "head"))
    opened = open_two_view(Subject(head=tmp_path / "head"))
    assert opened.long_edge == 56 and opened.about["encoder"]["encoder"] == ENCODER
    run = load_run(tmp_path / "head")
    for name, tensor in opened.model.head.state_dict().items():
        assert torch.equal(tensor, run[name])
    # The same call does not train again.
    assert fit_task(TASK, fit, _runtime(tmp_path / "head"))
    with pytest.raises(ConfigError, match="other settings"):
        fit_task(TASK, replace(fit, matches=33), _runtime(tmp_path / "head"))


def load_run(folder):
    """Tensors of a fit's last checkpoint."""
    from safetensors.torch import load_file

    newest = max((folder / "run" / "checkpoints").glob("step_*"))
    return load_file(newest / "model.safetensors")


def test_fresh_views_train_as_well(fit, tmp_path):
    assert fit_task(
        TASK, replace(fit, cached=False, views=TwoViewFit.views, steps=2, accumulate=2), _runtime(tmp_path)
    )
    assert not (tmp_path / "cache").exists()


def test_a_head_starts_from_a_fitted_one_and_says_what_is_new(fit, tmp_path):
    fit_task(TASK, replace(fit, steps=2), _runtime(tmp_path / "first"))
    first = open_two_view(Subject(head=tmp_path / "first")).model.head.state_dict()
    # Other sizes in the config: the file's count.
    config = replace(fit, init=str(tmp_path / "first"), shape=replace(SHAPE, depth=4))
    same = fresh_head(config, load_encoder(ENCODER), _runtime(tmp_path)).state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in first.items()) and len(same) == len(first)
    with io.StringIO() as text:
        runtime = replace(_runtime(tmp_path), console=Console(file=text, width=200))
        wider = load_encoder(ENCODER.replace("dim=48", "dim=96"))
        other = fresh_head(config, wider, runtime).state_dict()
        said = text.getvalue()
    assert torch.equal(other["blocks1.0.mlp.fc1.weight"], first["blocks1.0.mlp.fc1.weight"])
    assert "new: embed.weight ((48, 48) in the file, (48, 96) here)" in said
    with pytest.raises(CheckpointError, match="no such file"):
        fresh_head(replace(fit, init=str(tmp_path / "none.pth")), wider, runtime)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": (50, 56)}, "no multiples of the patch size 14 .* take --size 56 56"),
        ({"accumulate": 2}, "cached tokens are read by one process"),
    ],
)
def test_what_cannot_be_fitted_says_why(fit, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        fit_task(TASK, replace(fit, **changes), _runtime(tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps must be 1 or more"),
        ({"batch_size": 3, "accumulate": 2}, "cannot be cut into 2 equal parts"),
        ({"shape": TwoViewShape(descriptor_dim=0)}, "needs descriptors"),
        ({"shape": TwoViewShape(fresh_norm=False)}, "takes tokens without the encoder's"),
        ({"features": FeatureConfig(norm=False, blocks=(0, 1))}, "leave out --projector"),
        ({"shapes": ((28, 56),)}, "cached views have one size"),
        ({"zoom": 0.0}, "0 < zoom"),
    ],
)
def test_wrong_settings_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        TwoViewFit(**changes)


def test_the_published_recipe_has_the_published_numbers():
    config = RECIPES["published"]
    assert config.batch_size == 64 and config.matches == 8192 and config.loss.matching_weight == 0.075
    rates = config.optim.learning_rates(5000, 64)
    assert max(rates) == pytest.approx(1e-4, rel=1e-2) and rates[-1] == pytest.approx(1e-6, rel=0.1)
    assert rates.index(max(rates)) == pytest.approx(800, abs=2)
    # norm, decoder and heads of DUNE-MASt3R Small: the specification's 323,479,888 counts a patch embedding, an
    # encoder norm, a mask token and the unused residual unit of the deepest fusion of both heads as well.
    with torch.device("meta"):
        count = sum(p.numel() for p in TwoViewHead(config.shape.on(384, 14)).parameters())
    unused = (384 * 3 * 14 * 14 + 384) + 2 * 384 + 768 + 2 * 2 * (256 * 256 * 9 + 256)
    assert count + unused == 323_479_888


def test_the_published_recipe_sees_upright_pictures_too():
    config = RECIPES["published"]
    maker = config.pair_views((112, 112))
    sizes = {maker.of_step(0, step).size for step in range(200)}
    assert len(sizes) == 10 and {(rows, columns) for columns, rows in sizes} == sizes
    assert all(max(size) == 518 and size[0] % 14 == size[1] % 14 == 0 for size in sizes)
    typed = replace(config, size=(518, 392)).pair_views((112, 112))
    assert (typed.size, typed.shapes) == ((518, 392), ())


def test_views_are_as_large_as_the_data_where_nothing_says_another_size(tiny_world):
    assert open_split(LAYOUTS, f"world:{tiny_world}", "val").size == (112, 112)
    assert RECIPES["small"].pair_views((112, 96)).size == (112, 96)
    assert RECIPES["small"].pair_views(None).size == (224, 224)
    assert replace(RECIPES["small"], size=(28, 28)).pair_views((112, 112)).size == (28, 28)


def test_opening_wants_one_of_head_and_model():
    for given in (Subject(), Subject(head=Path("a"), model=Path("b"))):
        with pytest.raises(ConfigError, match="one of --head HEAD"):
            open_two_view(given)


def test_descriptors_of_both_views_begin_alike(fit, tmp_path):
    """Else the matching loss starts where it is flat: directions of the two views have nothing in common."""
    encoder = load_encoder(ENCODER)
    head = fresh_head(fit, encoder, _runtime(tmp_path))
    images = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    tokens = encoder(images, norm=False)
    with torch.no_grad():
        first, second = (view.descriptors[0].flatten(0, 1) for view in head(tokens, tokens))
    assert torch.equal(first, second)
    patch = first.view(4, 14, 4, 14, -1)[0, :, 0].flatten(0, 1)
    assert (patch @ patch.T).min() > 0.9  # pixels of a patch
    assert (patch @ patch.T).min() < 1 - 1e-4  # that can still be told apart


def test_a_worlds_pairs_are_told_by_their_shard_and_their_name(tiny_world):
    data = open_split(LAYOUTS, f"world:{tiny_world}", "train").samples
    rows = inputs_of(data).rows
    assert len(set(rows)) == len(data) > 1
    assert all(row[0][0].endswith(".tar") and row[0][1] != "missing" for row in rows)
