"""Training the encoder with the head: it changes, is kept beside the head, comes back with it, and a fit resumes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people_scenes import ENCODER, fit_people, load_head, open_people
from safetensors.torch import load_file
from stopping import stopping_after

from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError
from codistill.heads.human_mesh.losses import HumanMeshLossConfig
from codistill.heads.human_mesh.model import HumanMeshModel
from codistill.nn.blocks import Block
from codistill.tasks.people.config import PeopleFit, PeopleHeadConfig
from codistill.tasks.people.model import PeopleSearch
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import read_record

FEATURES = FeatureConfig(encoder=ENCODER, norm=False)


def config(scenes: Path, **changes: object) -> PeopleFit:
    made = PeopleFit(
        data=f"folder:{scenes}",
        features=FEATURES,
        size=56,
        unfreeze=True,
        steps=2,
        batch_size=4,
        cached=False,
        head=PeopleHeadConfig(dim=32, depth=1, num_heads=2, head_dim=16, hidden=32),
        loss=HumanMeshLossConfig(projections_from=6),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def runtime(out: Path) -> Runtime:
    return Runtime(out=out, workers=0)


def checkpoint(head: Path) -> dict[str, torch.Tensor]:
    """Tensors of a fit's last checkpoint."""
    return load_file(max((head / "run" / "checkpoints").glob("step_*")) / "model.safetensors")


def test_the_trained_encoder_is_kept_beside_its_head_and_loads_with_it(scenes: Path, tmp_path: Path) -> None:
    assert fit_people(config(scenes), runtime(tmp_path / "first"))
    trained = checkpoint(tmp_path / "first")
    before = load_encoder(ENCODER).state_dict()
    changed = {n for n, t in before.items() if not torch.equal(trained[f"encoder.{n}"], t)}
    assert set(before) - changed == {"mask_token", "norm.weight", "norm.bias"}  # these take no part

    folder = Path(shutil.move(tmp_path / "first", tmp_path / "moved"))
    estimator = load_head(folder, PeopleSearch(threshold=0.001, kernel=1))
    own = estimator.features.encoder
    assert all(torch.equal(trained[f"encoder.{n}"], t) for n, t in own.state_dict().items())
    assert own.spec.name.endswith("trained for people") and own.spec.licence == "none (random weights)"
    record = read_record(folder, "people")
    assert record.encoder.trained_from == ENCODER and record.fit["unfrozen"] is True
    assert record.features.encoder == str(folder / "encoder")

    model = HumanMeshModel(load_encoder(ENCODER), load_head(folder).head)
    model.load_state_dict(trained)
    sample = open_people(f"folder:{scenes}", "val").samples[0]
    found = estimator(sample.image, sample.intrinsics)
    estimator.features.encoder, estimator.head = model.encoder, model.head
    again = estimator(sample.image, sample.intrinsics)
    assert len(found) == 16 and torch.equal(found.vertices, again.vertices)


def test_a_stopped_fit_goes_on_as_if_it_had_not_stopped(scenes: Path, tmp_path: Path) -> None:
    """With stochastic depth, which acts in training mode alone."""
    wild = tmp_path / "wild"
    assert fit_people(config(scenes), runtime(tmp_path / "any"))
    shutil.copytree(tmp_path / "any" / "encoder", wild)
    said = (wild / "config.json").read_text()
    (wild / "config.json").write_text(said.replace('"drop_path": 0.0', '"drop_path": 0.5'))
    four = config(
        scenes,
        features=replace(FEATURES, encoder=str(wild)),
        steps=4,
        encoder_lr_scale=0.1,
        accumulate=2,
    )
    assert load_encoder(wild).config.drop_path == 0.5  # type: ignore[attr-defined]
    assert fit_people(four, runtime(tmp_path / "whole"))
    with stopping_after(2):
        assert not fit_people(four, runtime(tmp_path / "parts"))
    assert not (tmp_path / "parts" / "encoder").exists()
    assert fit_people(four, runtime(tmp_path / "parts"))
    for name in ("head.safetensors", "encoder/encoder.safetensors"):
        one, other = (load_file(tmp_path / part / name) for part in ("whole", "parts"))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_recomputing_saves_activations_and_changes_nothing(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, forward = [], Block.forward

    def counted(self: Block, *inputs: object, **options: object) -> torch.Tensor:
        runs[-1] += torch.is_grad_enabled()
        return forward(self, *inputs, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Block, "forward", counted)
    for recompute in (False, True):
        runs.append(0)
        assert fit_people(config(scenes), replace(runtime(tmp_path / str(recompute)), recompute=recompute))
    assert runs == [4, 8]  # two blocks in two steps; once more for the backward pass
    one, other = (checkpoint(tmp_path / str(recompute)) for recompute in (False, True))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_encoder_can_learn_slower_than_its_head(scenes: Path, tmp_path: Path) -> None:
    """AdamW's first step is the learning rate, whatever the gradient: a tenth of it moves weights by a tenth."""
    plain = replace(PeopleFit().optim, weight_decay=0.0, warmup_fraction=0.0)
    moved = {}
    for scale in (1.0, 0.1):
        out = tmp_path / str(scale)
        assert fit_people(config(scenes, steps=1, optim=plain, encoder_lr_scale=scale), runtime(out))
        trained, before = checkpoint(out), load_encoder(ENCODER).state_dict()
        name = "blocks.0.mlp.fc1.weight"
        moved[scale] = np.abs((trained[f"encoder.{name}"] - before[name]).numpy()).max()
    assert moved[0.1] == pytest.approx(0.1 * moved[1.0], rel=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cached": True}, "add --no-cached --head.window None, or take the recipe `published`"),
        ({"unfreeze": False, "encoder_lr_scale": 0.1}, "encoder_lr_scale = 0.1 would have no effect"),
        ({"encoder_lr_scale": 0.0}, r"must be above 0; got 0\.0"),
        ({"features": replace(FEATURES, blocks=(0,))}, "leave out --projector and --blocks"),
    ],
)
def test_what_cannot_be_unfrozen_says_why(scenes: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(scenes, **changes)


def test_an_encoder_that_cannot_be_saved_cannot_be_unfrozen(scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="needs the extra `timm`")
    timm = FeatureConfig(encoder="timm:vit_tiny_patch16_224,pretrained=false", norm=False)
    with pytest.raises(ConfigError, match="a TimmViT cannot be saved as an export"):
        fit_people(config(scenes, features=timm), runtime(tmp_path))
