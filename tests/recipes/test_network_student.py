"""A convolutional student as a user trains, resumes, exports, loads and scores it."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import codistill
from codistill.cli import main

pytest.importorskip("timm")
sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))
from task_toys import segmentation_folder

COMMAND = [
    *("distill", "debug", "--image-size=64", "--student.ema=0.9", "--student.damp=0.05"),
    *("--engine.total-steps=4", "--engine.checkpoint-every=2", "--engine.validate-every=4"),
    *("--teachers.0.image-size=56", "--distill.alignment=larger"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network with batch norm, in one go and in two."""
    straight, resumed = (tmp_path_factory.mktemp(name) / "run" for name in ("straight", "resumed"))
    command = [*COMMAND, "--student", "timm:test_resnet"]
    assert main([*command, "--out", str(straight)]) == 0
    assert main([*command, "--engine.stop-after=3", "--out", str(resumed)]) == 75
    assert main([*command, "--out", str(resumed)]) == 0
    return straight, resumed


def final(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "step_00000004" / "model.safetensors")


def test_it_resumes_bit_for_bit_with_its_running_statistics(runs: tuple[Path, Path]) -> None:
    one, two = map(final, runs)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    means = [name for name in one if name.startswith("encoder.") and name.endswith("running_mean")]
    assert means and all(one[name].any() for name in means)
    assert all(not torch.equal(one[name], one[f"average.{name}"]) for name in means)
    head = [name for name in one if name.startswith("encoder.model.fc")]
    assert not head  # no classifier


def test_run_and_export_load_with_the_average(runs: tuple[Path, Path]) -> None:
    saved, images = final(runs[0]), torch.randn(2, 3, 64, 96)
    encoder = codistill.load_encoder(runs[0])
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, saved[f"average.encoder.{name}"]), name
    exported = codistill.load_encoder(runs[0] / "export")
    assert torch.equal(encoder(images).patches, exported(images).patches)
    config = json.loads((runs[0] / "export" / "config.json").read_text())
    assert config["architecture"] == {
        "type": "timm",
        "model": "test_resnet",
        "dim": encoder.spec.dim,
        "patch_size": 32,
        "image_size": 64,
    }
    student = codistill.load_student(str(runs[0]))
    stereo = student.project(student.encoder(images, norm=False), "stereo", denormalize=True)
    assert stereo.patches.shape == (2, 6, 48)


def test_it_is_scored_and_started_from(runs: tuple[Path, Path], tmp_path: Path) -> None:
    data = segmentation_folder(tmp_path / "toys", train=6, val=2)
    encoder = str(runs[0] / "export")
    fit = [
        "--fit.steps=3",
        "--fit.batch-size=2",
        "--fit.views=1",
        "--fit.size=64",
        "--fit.learning-rates",
        "0.01",
    ]
    argv = ["evaluate", "segmentation", "--encoder", encoder, "--data", f"folder:{data}", *fit]
    assert main([*argv, "--out", str(tmp_path / "scores"), "--workers", "0", "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["scores"]["miou"]["count"] == 2
    scores = ["evaluate", "distillation", "--encoder", str(runs[0]), "--ridge-steps", "0"]
    assert main([*scores, "--out", str(tmp_path / "distillation.json")]) == 0
    again = [*COMMAND, "--student", "timm:test_resnet", f"--student.init={encoder}", "--engine.total-steps=2"]
    assert (
        main(
            [
                *again,
                "--engine.checkpoint-every=2",
                "--engine.validate-every=2",
                "--out",
                str(tmp_path / "on"),
            ]
        )
        == 0
    )
    other = [*COMMAND, "--student", "timm:test_convnext", f"--student.init={encoder}"]
    assert main([*other, "--out", str(tmp_path / "other")]) == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ["--student", "timm:test_convnext"],
            "image size 56 is not a multiple of the student's patch size 32",
        ),
        (["--student", "resnet"], "Unknown student 'resnet'.* timm:NAME"),
        (
            ["--student.network=timm:test_convnext", "--image-size=64", "--student.patch-size=32"],
            "student.size = vit_tiny would have no effect: student.network timm:test_convnext has its own",
        ),
        (
            ["--student", "timm:test_convnext", "--image-size=64", "--student.patch-size=16"],
            "has 32 pixels per token; student.patch_size says 16. Add --student.patch-size 32",
        ),
        (
            ["--student", "timm:test_convnext", "--image-size=64", "--engine.activation-checkpointing"],
            "activation_checkpointing = True would have no effect",
        ),
    ],
)
def test_bad_input_is_refused(
    options: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["distill", "debug", *options, "--out", str(tmp_path / "run")])
    except SystemExit as stop:  # tyro's own way to refuse a field
        code = stop.code
    assert code == 2
    assert re.search(error, " ".join(capsys.readouterr().err.replace("│", "").split()))
