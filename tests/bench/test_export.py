"""Exported files beside eager PyTorch: the same inputs for all, and memory of a process of its own."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch

from codistill.bench.export import peak_of
from codistill.cli import main
from codistill.deploy.config import ExportConfig
from codistill.deploy.export import export_program
from codistill.programs.record import Port, ProgramRecord

ENCODER = "random:vit_tiny,dim=24,depth=1,num_heads=2,image_size=28"


def test_every_way_has_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("codistill.bench.export.peak_of", lambda load: len(load.args))
    file, told = tmp_path / "e.pt2", tmp_path / "e.json"
    config = ExportConfig(format="torch-export", size=(28, 28), batch=2, takes="pixels")
    export_program(ENCODER, file, config, check=False)
    other = "random:vit_tiny,dim=24,depth=2,num_heads=2"
    words = [str(file), "--batch", "2", "--rounds", "2", "--against", other, "--json", str(told)]
    assert main(["bench", "export", *words]) == 0
    shown = capsys.readouterr().out
    assert "torch.export" in shown and "batches of 2 at 28x28 px" in shown  # the file's own size
    numbers = json.loads(told.read_text())
    runtimes = [program["runtime"] for program in numbers["programs"]]
    assert runtimes == [f"eager PyTorch, {other}", "eager PyTorch", "torch.export"]
    assert all(program["cpu_seconds"] > 0 for program in numbers["programs"])
    assert [program["peak_bytes"] for program in numbers["programs"]] == [3, 4, 3]
    assert main(["bench", "export", *words, "--no-memory"]) == 0
    assert json.loads(told.read_text())["programs"][0]["peak_bytes"] == 0
    assert numbers["programs"][2]["file_bytes"] == file.stat().st_size and numbers["size"] == [28, 28]
    assert main(["bench", "export", *words, "--size", "42"]) == 2
    assert "--size 42 would have no effect: the size is fixed, 28x28" in capsys.readouterr().err


def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "export", str(tmp_path / "none.onnx"), "--threads", "0"]) == 2
    assert "must be positive" in capsys.readouterr().err
    assert main(["bench", "export", str(tmp_path / "none.onnx")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_files_of_several_networks_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another encoder, task or output; other precisions are what is compared."""
    port = Port(name="images", axes=("batch", 3, "rows*14", "columns*14"))
    about = {
        "kind": "encoder",
        "source": "e",
        "name": "e",
        "licence": "",
        "patch_size": 14,
        "fingerprint": "1",
    }
    one = ProgramRecord(**about, format="onnx", precision="fp32", inputs=(port,), outputs=(port,))
    records = {
        "one": replace(one, choices={"precision": "fp32", "norm": True}),
        "int8": replace(one, choices={"precision": "int8", "norm": True}),
        "other": replace(one, fingerprint="2", choices={"precision": "fp32", "norm": True}),
        "task": replace(one, kind="depth", choices={"precision": "fp32", "norm": True}),
        "raw": replace(one, choices={"precision": "fp32", "norm": False}),
    }
    monkeypatch.setattr("codistill.bench.export.open_program", lambda path: Opened(records[path.name]))
    for name in ("other", "task", "raw"):
        assert main(["bench", "export", "one", "int8", name]) == 2
        assert f"{name} is not of the network of one" in capsys.readouterr().err


@dataclass
class Opened:
    record: ProgramRecord


def _call_with(megabytes: int) -> partial:
    return partial(torch.ones(megabytes, 2**18).sum)


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own() -> None:
    held = torch.ones(1000, 2**18)  # by this process, whose memory is not the other's
    small, large = (peak_of(partial(_call_with, megabytes)) for megabytes in (1, 300))
    assert 250e6 < large - small < 400e6 and small < held.nbytes
