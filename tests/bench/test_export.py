"""Exported files beside eager PyTorch: the same inputs for all, and memory of a process of its own."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from codistill.bench.export import peak_of
from codistill.cli import main
from codistill.deploy.config import ExportConfig
from codistill.deploy.export import export_program

ENCODER = "random:vit_tiny,dim=24,depth=1,num_heads=2,image_size=28"


def test_every_way_has_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("codistill.bench.export.peak_of", lambda load: len(load.args))
    file, told = tmp_path / "e.pt2", tmp_path / "e.json"
    export_program(ENCODER, file, ExportConfig(format="torch-export", size=(28, 28), batch=2), check=False)
    other = "random:vit_tiny,dim=24,depth=2,num_heads=2"
    words = [str(file), "--batch", "2", "--rounds", "2", "--against", other, "--json", str(told)]
    assert main(["bench", "export", *words]) == 0
    assert "torch.export" in capsys.readouterr().out
    numbers = json.loads(told.read_text())
    runtimes = [program["runtime"] for program in numbers["programs"]]
    assert runtimes == [f"eager PyTorch, {other}", "eager PyTorch", "torch.export"]
    assert all(program["cpu_seconds"] > 0 for program in numbers["programs"])
    assert [program["peak_bytes"] for program in numbers["programs"]] == [3, 4, 3]
    assert main(["bench", "export", *words, "--no-memory"]) == 0
    assert json.loads(told.read_text())["programs"][0]["peak_bytes"] == 0
    assert numbers["programs"][2]["file_bytes"] == file.stat().st_size


def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "export", str(tmp_path / "none.onnx"), "--threads", "0"]) == 2
    assert "must be positive" in capsys.readouterr().err
    assert main(["bench", "export", str(tmp_path / "none.onnx")]) == 2
    assert "no such file" in capsys.readouterr().err


def _call_with(megabytes: int) -> partial:
    return partial(torch.ones(megabytes, 2**18).sum)


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own() -> None:
    held = torch.ones(1000, 2**18)  # by this process, whose memory is not the other's
    small, large = (peak_of(partial(_call_with, megabytes)) for megabytes in (1, 300))
    assert 250e6 < large - small < 400e6 and small < held.nbytes
