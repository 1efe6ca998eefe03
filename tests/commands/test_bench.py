"""`codistill bench step` and `bench encoder` on something small: numbers that hang together, JSON, wrong words."""

import json
from pathlib import Path

import pytest
import torch

from codistill.cli import main


def test_step_prints_and_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "step.json"
    small = ["--threads=1", "--rounds=2", "--loader.batch-size=6", f"--json={path}"]
    assert main(["bench", "step", "debug", *small]) == 0
    text = capsys.readouterr().out
    for line in ("time / floor", "rate of its own products", "teachers", "optimizer", "sharing none"):
        assert line in text
    numbers = json.loads(path.read_text())
    assert numbers["flops"] > numbers["product_flops"] > 0
    assert numbers["floor"] == pytest.approx(numbers["flops"] / numbers["rate"])
    assert numbers["time_over_floor"] == pytest.approx(numbers["step"]["wall"] / numbers["floor"])
    assert sum(numbers["step"]["phases"].values()) <= numbers["step"]["wall"]
    assert set(numbers["step"]["phases"]) == {"teachers", "student", "backward", "optimizer"}
    assert numbers["compared"]["sharing"] == "none"
    assert numbers["recipe"]["loader"]["batch_size"] == 6
    assert numbers["provenance"]["command"].startswith("codistill bench step debug")


def test_int8_teachers_are_measured_beside_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchao", reason="torchao is not installed")
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda _, **__: None
    )  # half a minute, and not what is looked at
    path = tmp_path / "step.json"
    small = ["--threads=1", "--rounds=1", "--loader.batch-size=6", f"--json={path}"]
    assert main(["bench", "step", "debug", *small, "--compare=int8"]) == 0
    said = capsys.readouterr().out
    assert "int8 teachers" in said and "its teachers" in said
    numbers = json.loads(path.read_text())
    assert numbers["compared"]["teachers"] == "int8" and numbers["compared"]["floor"] is None
    assert numbers["compared"]["time_over_step"] == pytest.approx(
        numbers["compared"]["wall"] / numbers["step"]["wall"]
    )
    assert main(["bench", "step", "debug", *small, "--teachers.0.precision=int8"]) == 2
    assert "--compare int8" in capsys.readouterr().err


def test_linear_layers_by_the_blas_are_measured_beside_the_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "step.json"
    small = ["--threads=1", "--rounds=1", "--loader.batch-size=6", f"--json={path}", "--compare=blas"]
    assert main(["bench", "step", "debug", *small]) == 0
    assert "linear layers by BLAS" in capsys.readouterr().out
    numbers = json.loads(path.read_text())
    assert numbers["compared"]["products"] == "blas" and numbers["compared"]["wall"] > 0
    assert numbers["floor_fastest"] <= numbers["floor"] * 1.0001


def test_operations_of_the_default_step() -> None:
    # Per token and block 24 d² (linear) + 4 n d (attention); teachers once, the student three times.
    from codistill.recipes.registry import find_recipe

    recipe = find_recipe("bench")
    assert (recipe.image_size, recipe.loader.batch_size, recipe.student.patch_size) == (112, 12, 14)
    assert [teacher.encoder.partition(",")[0] for teacher in recipe.teachers] == ["random:vit_small"] * 3
    assert any("patch_size=16" in teacher.encoder for teacher in recipe.teachers)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["step", "debgu"], "Did you mean 'debug'"),
        (["step", "debug", "--rounds=0"], "must be positive"),
        (["step", "--student.size", "vit_tony", "--rounds", "1"], "Did you mean 'vit_tiny'"),
        (["encoder", "random:vit_tiny", "--batch=0"], "must be positive"),
        (["encoder", "dinov2_vits15"], "Did you mean 'dinov2_vits14'"),
        (["stpe"], "Did you mean 'step'"),
    ],
)
def test_errors(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_encoder_speed_is_that_of_its_operations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "encoder.json"
    name = "random:vit_tiny,dim=64,num_heads=2,depth=2"
    options = [
        "--size=30",
        "--size=56",
        "--batch=2",
        "--rounds=1",
        "--threads=1",
        "--precision=exact",
        f"--json={path}",
    ]
    assert main(["bench", "encoder", name, *options]) == 0
    text = capsys.readouterr().out
    assert "28 px, 4 tokens" in text and "56 px, 16 tokens" in text
    small, large = json.loads(path.read_text())["encoders"]
    assert (small["size"], large["size"]) == (28, 56)
    for speed, patches in ((small, 4), (large, 16)):
        tokens = patches + 1
        blocks = 2 * (2 * 12 * tokens * 64**2 + 2 * 2 * tokens * tokens * 64)
        assert speed["flops"] == 2 * (blocks + 2 * patches * 3 * 14 * 14 * 64)
        assert speed["images_per_second"] == pytest.approx(2 / speed["seconds"])
