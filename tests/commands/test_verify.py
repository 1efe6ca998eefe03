"""`codistill verify`: recorded folders pass, other widths pass, a wrong number fails, damage is told apart."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from codistill.cli import main
from codistill.commands import verify
from codistill.encoders.vit import ViTEncoder
from codistill.nn.vit import ViTConfig
from codistill.student.projectors import ProjectorConfig
from codistill.student.student import Student
from codistill.types import TargetSpec
from codistill.verify.check import CheckResult
from codistill.weights.shipped import model_folders
from shared_files import GOLDEN, copied, needs_golden


def last_line(capsys: pytest.CaptureFixture) -> str:
    return capsys.readouterr().out.strip().splitlines()[-1]


@needs_golden
def test_recorded_numbers_of_the_published_implementation(capsys: pytest.CaptureFixture) -> None:
    code = main(["verify", str(GOLDEN)])
    output = capsys.readouterr().out
    assert code == 0, "\n".join(line for line in output.splitlines() if "FAILED" in line)
    passed = int(output.strip().splitlines()[-1].split()[0])
    assert passed > 200
    assert "0 absent" in output.strip().splitlines()[-1]


@pytest.fixture
def other_folder(tmp_path: Path) -> Path:
    """A student of other widths, depth, heads and teachers, in the released layout, with its own outputs."""
    torch.manual_seed(3)
    encoder = ViTEncoder(
        ViTConfig(dim=192, depth=3, num_heads=3, patch_size=16, image_size=48, num_registers=1)
    )
    targets = (TargetSpec(name="dino_small", dim=20), TargetSpec(name="dust3r", dim=12, kinds=("patch",)))
    student = Student(encoder, targets, ProjectorConfig(num_heads=6)).eval()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model = {}
    for key, value in student.state_dict().items():
        key = key.replace("encoder.blocks.", "encoder.blocks.0.")
        key = key.replace("target_statistics.", "teacher_norms.")
        if key.startswith("teacher_norms."):
            teacher, kind, name = key.split(".")[1:]
            key = f"teacher_norms.{teacher}.normalizers.{kind}.{name}"
        model[f"module._orig_mod.{key}"] = value
    arguments = argparse.Namespace(
        image_size=48,
        enc_args={"arch": "vit_odd"},
        proj_args={"num_heads": 6},
        teachers=[t.name for t in targets],
    )
    torch.save({"model": model, "args": arguments, "iter": 1}, tmp_path / "dune_nano_released_layout.pth")
    recorded: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for size in ((48, 48), (64, 32)):
            name = f"{size[0]}x{size[1]}"
            images = recorded[f"image_{name}"] = torch.randn(2, 3, *size)
            for teacher, tokens in student(images).items():
                recorded[f"projector_{name}_{teacher}_patch_chw"] = tokens.feature_map().contiguous()
            recorded[f"encoder_{name}_norm_patch"] = encoder(images).patches.contiguous()
    save_file(recorded, tmp_path / "dune_nano_forward.safetensors")
    return tmp_path


def test_other_widths_depths_and_names(other_folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["verify", str(other_folder), "--only", "student"]) == 0
    assert " 0 failed" in last_line(capsys)


def test_a_wrong_number_fails(other_folder: Path, capsys: pytest.CaptureFixture) -> None:
    path = other_folder / "dune_nano_forward.safetensors"
    recorded = load_file(path)
    recorded["encoder_48x48_norm_patch"] *= 1.0001
    save_file(recorded, path)
    assert main(["verify", str(other_folder), "--only", "student", "--quiet"]) == 1
    output = capsys.readouterr().out
    assert "FAILED  student: encoder_48x48_norm_patch" in output
    assert " 1 failed" in output
    assert main(["verify", str(other_folder), "--only", "student", "--quiet", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    (check,) = said["checks"]
    assert said["failed"] == 1 and said["passed"] >= 5 and check["difference"] > check["tolerance"]


@pytest.mark.parametrize("name", ["dune_nano_forward.safetensors", "dune_nano_released_layout.pth"])
def test_truncated_file_is_damage(name: str, other_folder: Path, capsys: pytest.CaptureFixture) -> None:
    path = other_folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main(["verify", str(other_folder), "--only", "student"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_missing_folder_empty_folder_and_absent_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["verify", str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["verify", str(tmp_path)]) == 2
    assert "none of the recorded numbers" in capsys.readouterr().err


def test_models_that_ship_are_named_where_there_is_no_such_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        verify, "run_suite", lambda *_: iter([CheckResult(name="one", difference=0.0, tolerance=0.0)])
    )
    assert main(["verify", "models", "--only", "models"]) == 0
    said = capsys.readouterr()
    assert f"no folder models here: checking the models that ship, in {model_folders()[-1]}" in said.err
    (tmp_path / "models").mkdir()
    assert main(["verify", "models", "--only", "models"]) == 0
    assert "that ship" not in capsys.readouterr().err


def test_other_training_schedule_and_teacher_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    copied(tmp_path, "dropping.json", "schedules.json")
    record = json.loads((tmp_path / "dropping.json").read_text())
    for field in ("losses_teacher_by_image",):
        record[field] = record[field][::-1]
    for field in ("uniform_draw_image_by_teacher", "kept_image_by_teacher"):
        record[field] = [row[::-1] for row in record[field]]
    record["teachers"] = record["teachers"][::-1]
    (tmp_path / "dropping.json").write_text(json.dumps(record))
    assert main(["verify", str(tmp_path), "--only", "training"]) == 0
    assert "8 passed, 0 failed, 1 absent" in last_line(capsys)
