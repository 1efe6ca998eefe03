"""A released file with its own encoder, its head on another one, what is named wrongly; with a generated body file."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from codistill.encoders.load import load_encoder
from codistill.errors import CheckpointError, ConfigError
from codistill.tasks.people.load import load_people
from codistill.tasks.people.model import PeopleSearch
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.task import Subject
from codistill.weights.shipped import shipped_head

sys.path += [str(Path(__file__).parents[2] / folder) for folder in ("bodies", "heads/human_mesh")]
from people_toys import RELEASED, released
from test_smplx import arrays

BACKBONE = "random:vit_tiny,depth=2,dim=64,num_heads=1,image_size=84"
ALL = PeopleSearch(threshold=1e-4, kernel=1)
CAMERA = torch.tensor([[60.0, 0, 41.5], [0, 60, 41.5], [0, 0, 1]])


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A released model of encoder and head."""
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **arrays())
    monkeypatch.setenv("CODISTILL_SMPLX", str(tmp_path / "SMPLX_NEUTRAL.npz"))
    checkpoint = released(replace(RELEASED, encoder_dim=64))
    model = checkpoint["model_state_dict"]
    del model["backbone.encoder.patch_embed.proj.weight"]
    model |= {f"backbone.encoder.{name}": t for name, t in load_encoder(BACKBONE).state_dict().items()}
    path = tmp_path / "multihmr_nano.pt"
    torch.save(checkpoint, path)
    return path


def test_a_released_file_is_encoder_and_head(file: Path) -> None:
    """Its head on an encoder of equal weights finds the same people."""
    model = load_people(Subject(model=file), ALL)
    assert model.describe() | {"encoder": 0} == {"encoder": 0, "body": "smplx", "size": 84}
    assert model.features.config.norm  # a released head has no norm of its own
    image = np.random.default_rng(0).integers(0, 255, (84, 84, 3)).astype(np.uint8)
    other = load_people(Subject(head=file, features=FeatureConfig(encoder=BACKBONE, norm=False)), ALL)
    one, two = (estimator(image, CAMERA) for estimator in (model, other))
    assert len(one) > 3 and torch.equal(one.vertices, two.vertices)


def test_what_is_meant_must_be_said(file: Path) -> None:
    own = FeatureConfig(encoder=BACKBONE)
    cases = (
        (Subject(), "which head"),
        (Subject(head=file), f"--model {file}. Its head on an encoder of your own: add --encoder E"),
        (Subject(model=file, features=own), f"would have no effect.*--head {file} --encoder E"),
        (
            Subject(head=file, features=FeatureConfig(encoder="random:vit_tiny")),
            "takes tokens of 64 channels",
        ),
    )
    for subject, text in cases:
        with pytest.raises(ConfigError, match=text):
            load_people(subject, ALL)


def test_a_fitted_head_whose_tensors_do_not_fit_says_which(tmp_path: Path) -> None:
    shutil.copytree(shipped_head("people"), tmp_path / "head")
    file = tmp_path / "head" / "head.safetensors"
    save_file(load_file(file) | {"tables.value_rows": torch.zeros(2, 3)}, file)
    with pytest.raises(
        CheckpointError, match=r"head\.safetensors: 'tables\.value_rows' has shape \(2, 3\), expected"
    ):
        load_people(Subject(head=tmp_path / "head"), ALL)
