"""Exported files in their runtimes."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codistill.errors import CheckpointError, ConfigError
from codistill.programs.opening import open_program
from codistill.programs.program import Program
from codistill.programs.torch_files import TorchProgram, add_record

onnx_toys = pytest.importorskip("onnx_toys", reason="needs the extra `onnx`")
pytest.importorskip("onnx", reason="needs the extra `onnx`")
pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
from onnx_toys import RECORD, toy_convolution, write_toy  # noqa: E402

IMAGES = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def check(program: Program) -> None:
    """The toy's numbers, by PyTorch."""
    found = program(images=IMAGES)
    wanted = toy_convolution()(IMAGES).detach()
    assert list(found) == ["features", "cls"]
    torch.testing.assert_close(found["features"], wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["cls"], wanted.mean((2, 3)), atol=1e-5, rtol=1e-5)


def test_onnxruntime_runs_a_file_that_describes_itself(tmp_path: Path) -> None:
    program = open_program(write_toy(tmp_path / "toy.onnx"))
    assert program.record == RECORD and program.runtime.startswith("onnxruntime ")
    check(program)


def test_openvino_runs_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra `openvino`")
    from codistill.programs.openvino_file import OpenvinoProgram

    program = OpenvinoProgram(write_toy(tmp_path / "toy.onnx"))
    assert program.runtime.startswith("OpenVINO ")
    check(program)


def test_pytorchs_programs_hold_their_record(tmp_path: Path) -> None:
    class Toy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = toy_convolution()

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.conv(images)
            return features, features.mean((2, 3))

    path = tmp_path / "toy.pt2"
    torch.export.save(torch.export.export(Toy(), (IMAGES,), strict=False), str(path))
    with pytest.raises(CheckpointError, match="was not written by `codistill export`"):
        open_program(path)
    fixed = (replace(RECORD.inputs[0], axes=(2, 3, 6, 8)),)
    record = replace(RECORD, format="torch-export", inputs=fixed)
    add_record(path, record)
    program = open_program(path)
    assert isinstance(program, TorchProgram) and program.record == record
    check(program)
    with pytest.raises(
        ConfigError, match=r"images must be float32 \(2, 3, 6, 8\); got float32 \(1, 3, 6, 8\)"
    ):
        program(images=IMAGES[:1])


def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    program = open_program(write_toy(tmp_path / "toy.onnx"))
    with pytest.raises(ConfigError, match="wants the inputs images; got pixels"):
        program(pixels=IMAGES)
    with pytest.raises(ConfigError, match="got uint8"):
        program(images=IMAGES.to(torch.uint8))
    with pytest.raises(ConfigError, match=r"got float32 \(2, 3, 5, 8\)"):
        program(images=IMAGES[:, :, :5])


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"end in \.onnx, \.pt2"):
        open_program(tmp_path / "model.engine")
    for suffix in (".onnx", ".pt2"):
        with pytest.raises(CheckpointError, match="no such file"):
            open_program(tmp_path / f"model{suffix}")
        (tmp_path / f"bad{suffix}").write_bytes(os.urandom(200))
        with pytest.raises(CheckpointError, match=r"cannot run it|is no \.pt2 file"):
            open_program(tmp_path / f"bad{suffix}")
    with pytest.raises(CheckpointError, match="was not written by `codistill export`"):
        open_program(write_toy(tmp_path / "foreign.onnx", record=None))
    with zipfile.ZipFile(tmp_path / "text.pt2", "w") as archive:
        archive.writestr("text/extra/codistill.json", RECORD.to_json())
    with pytest.raises(CheckpointError, match="PyTorch cannot open it"):
        open_program(tmp_path / "text.pt2")
