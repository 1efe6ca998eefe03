"""Runs, read from the folder layout that the engine writes."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from codistill.errors import CheckpointError
from codistill.nn.vit import ViTConfig
from codistill.weights.contents import StudentWeights
from codistill.weights.layouts import read_weights
from codistill.weights.run import checkpoints, latest_checkpoint
from codistill.weights.vit import expected_shapes

CONFIG = ViTConfig(dim=96, depth=2, num_heads=3, image_size=28, patch_size=14, drop_path=0.1)


def write_checkpoint(run: Path, step: int, fill: float, complete: bool = True) -> Path:
    folder = run / "checkpoints" / f"step_{step:08d}"
    folder.mkdir(parents=True)
    tensors = {f"encoder.{name}": torch.full(shape, fill) for name, shape in expected_shapes(CONFIG).items()}
    tensors |= {
        "projectors.alpha.linear.weight": torch.zeros(5, 96),
        "projectors.alpha.linear.bias": torch.zeros(5),
    }
    tensors |= {f"target_statistics.alpha.patch.{name}": torch.ones(5) for name in ("mean", "std")}
    save_file(tensors, folder / "model.safetensors")
    if complete:
        (folder / "state.json").write_text(json.dumps({"step": step}))
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "first"
    for step, fill in ((90, 1.0), (100, 2.0)):
        write_checkpoint(folder, step, fill)
    (folder / "describe.json").write_text(
        json.dumps(
            {
                "kind": "student",
                "encoder": asdict(CONFIG),
                "projector": {"kind": "transformer", "num_heads": 3},
                "teachers": [
                    {"name": "alpha", "dim": 5, "kinds": ["patch"], "licence": "MIT", "domain": "3d"}
                ],
                "normalization": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
                "recipe": "debug",
                "licence": "MIT",
            }
        )
    )
    return folder


def test_the_newest_complete_checkpoint_is_read(run) -> None:
    write_checkpoint(run, 110, 3.0, complete=False)
    (run / "checkpoints" / ".step_00000120.partial").mkdir()
    assert [folder.name for folder in checkpoints(run)] == ["step_00000090", "step_00000100"]
    assert latest_checkpoint(run).name == "step_00000100"
    weights = read_weights(run)
    assert isinstance(weights, StudentWeights)
    encoder = weights.encoder
    assert encoder.config == CONFIG and (encoder.name, encoder.licence) == ("first", "MIT")
    assert encoder.mean == (0.5, 0.5, 0.5) and encoder.tensors["cls_token"].unique().tolist() == [2.0]
    assert (weights.iteration, weights.recipe, weights.proj_args["num_heads"]) == (100, "debug", 3)
    assert weights.teachers[0]["domain"] == "3d" and weights.teachers[0]["licence"] == "MIT"
    assert weights.statistics["alpha"]["patch"][1].tolist() == [1.0] * 5


def test_the_floor_of_target_deviations_is_the_run_s_own(run) -> None:
    def floor() -> float:
        weights = read_weights(run)
        assert isinstance(weights, StudentWeights)
        return weights.std_floor

    assert floor() == 1e-3
    (run / "config.yaml").write_text("distill:\n  targets:\n    std_floor: 0.25\n")
    assert floor() == 0.25
    described = json.loads((run / "describe.json").read_text())
    (run / "describe.json").write_text(json.dumps(described | {"std_floor": 0.5}))
    assert floor() == 0.5
    (run / "describe.json").write_text(json.dumps(described | {"std_floor": -1}))
    with pytest.raises(CheckpointError, match="std_floor must be a positive number; found -1"):
        floor()


@pytest.mark.parametrize("place", ["step_00000090", "step_00000090/model.safetensors"])
def test_one_checkpoint_of_a_run(run, monkeypatch, place: str) -> None:
    """Its architecture is the run's, whether its folder or its file is named, and from where."""
    monkeypatch.chdir(run / "checkpoints")
    weights = read_weights(place)
    assert isinstance(weights, StudentWeights) and weights.encoder.config == CONFIG
    assert weights.iteration == 90 and weights.encoder.tensors["cls_token"].unique().tolist() == [1.0]


def test_runs_that_cannot_be_read_say_why(run, tmp_path) -> None:
    (tmp_path / "young" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"young: has no complete checkpoint yet.*it resumes"):
        read_weights(tmp_path / "young")
    describe = json.loads((run / "describe.json").read_text())
    (run / "describe.json").write_text(json.dumps(describe | {"kind": "two_view"}))
    with pytest.raises(CheckpointError, match=r"first: trained a 'two_view', not a student encoder"):
        read_weights(run)
    (run / "describe.json").unlink()
    with pytest.raises(CheckpointError, match=r"describe\.json: no such file"):
        read_weights(run)


def test_a_damaged_newest_checkpoint_names_the_one_before(run) -> None:
    model = run / "checkpoints" / "step_00000100" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-10])
    with pytest.raises(
        CheckpointError, match=r"00000100/model\.safetensors: damaged .* before it is .*step_00000090"
    ):
        read_weights(run)


def test_tensors_that_do_not_fit_the_description(run) -> None:
    describe = json.loads((run / "describe.json").read_text())
    describe["encoder"]["num_registers"] = 4
    (run / "describe.json").write_text(json.dumps(describe))
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: missing keys: encoder\.register_tokens \(1, 4, 96\)"
    ):
        read_weights(run)
