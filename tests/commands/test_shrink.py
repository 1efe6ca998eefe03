"""`codistill shrink`: an export that loads and starts a student; its complaints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codistill.cli import main
from codistill.encoders.load import load_encoder
from codistill.weights.export import write_export
from codistill.weights.layouts import read_weights
from codistill.weights.shipped import shipped_models

WIDE = "random:vit_tiny,dim=64,num_heads=4,depth=2,num_registers=2,image_size=56,seed=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty noise images and one that does not decode."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(50):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")
    (folder / "51.png").write_bytes(b"no image")
    return folder


def shrink(folder: Path, out: Path, *more: str) -> int:
    options = [
        "--images",
        str(folder),
        "--size",
        "56",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--out",
        str(out),
    ]
    return main(["shrink", WIDE, *options, *more])


def test_the_export_loads_and_starts_a_student(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "narrow"
    assert shrink(folder, out, "--num-heads", "2") == 0
    text = capsys.readouterr().out
    assert "1 of 51 images do not decode" in text and "64 to 32 channels, 4 to 2 heads, on 50 images" in text
    narrow = load_encoder(str(out))
    assert narrow.spec.dim == 32 and narrow.spec.num_registers == 2
    tokens = narrow(torch.zeros(1, 3, 56, 56), norm=False)
    assert tokens.patches.shape == (1, 16, 32) and bool(tokens.patches.isfinite().all())
    flags = text.split("--student.init")[1].split("--out")[0].replace("\n", " ").split()[1:]
    run = tmp_path / "run"
    options = ["--student.init", str(out), *flags, "--engine.total-steps", "1", "--out", str(run)]
    assert main(["distill", "debug", *options, "--device", "cpu"]) == 0
    assert (run / "export" / "encoder.safetensors").exists()


def test_complaints_say_what_to_do(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shrink(folder, tmp_path / "a", "--num-heads", "4") == 2
    assert "it can keep 1 to 3" in " ".join(capsys.readouterr().err.split())
    assert shrink(folder, tmp_path / "a", "--num-heads", "2", "--count", "2") == 2
    assert "too few to fit" in " ".join(capsys.readouterr().err.split())
    for wrong, complaint in (
        (("--count", "0"), "must be positive"),
        (("--batch-size", "-1"), "must be positive"),
        (("--teacher", "a.b"), "must not hold a dot"),
        (("--size", "-56"), "--size must be 1 or more"),
    ):
        assert shrink(folder, tmp_path / "a", "--num-heads", "2", *wrong) == 2
        assert complaint in " ".join(capsys.readouterr().err.split())
    exported = write_export(tmp_path / "export", read_weights(shipped_models()["generic-tiny"]))
    assert shrink(folder, exported, "--num-heads", "2") == 2
    assert "--overwrite" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert shrink(empty, tmp_path / "a", "--num-heads", "2") == 2
    assert str(empty) in capsys.readouterr().err.replace("\n", "")
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codistill.commands.shrink.load_encoder", pytest.fail)
    (tmp_path / "notes.txt").write_text("x")
    for out, complaint in (
        (tmp_path, "is no export (it holds notes.txt)"),
        (tmp_path / "notes.txt" / "narrow", "is a file"),
        (Path("/proc/codistill/narrow"), "cannot be written"),
    ):
        assert shrink(folder, out, "--num-heads", "2", "--overwrite") == 2
        assert complaint in " ".join(capsys.readouterr().err.split())
