"""People as a user types it: fit, evaluate with its baseline and a comparison, predict; and what is typed wrongly."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codistill.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks" / "people"))
from people_scenes import ENCODER, write_folder

FIT = ["--size", "56", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("scenes"), train=8, val=4)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A head of a few steps that finds somebody nearly everywhere."""
    out = tmp_path_factory.mktemp("head")
    argv = [
        "fit",
        "people",
        "--encoder",
        ENCODER,
        "--data",
        f"folder:{root}",
        "--steps",
        "4",
        "--batch-size",
        "4",
    ]
    assert main([*argv, *FIT, "--lr", "1e-3", "--out", str(out)]) == 0
    return out


def test_fitting_again_says_that_it_is_done(
    head: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (head / "head.safetensors").read_bytes()
    argv = [
        "fit",
        "people",
        "--encoder",
        ENCODER,
        "--data",
        f"folder:{root}",
        "--steps",
        "4",
        "--batch-size",
        "4",
    ]
    assert main([*argv, *FIT, "--lr", "1e-3", "--out", str(head)]) == 0
    assert (head / "head.safetensors").read_bytes() == before
    assert "is finished" in capsys.readouterr().err


def test_an_evaluation_leaves_numbers_and_pictures(
    head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    own, mean = tmp_path / "own", tmp_path / "mean"
    argv = [
        "evaluate",
        "people",
        "--head",
        str(head),
        "--threshold",
        "0.01",
        "--pictures",
        "2",
        "--device",
        "cpu",
    ]
    assert main([*argv, "--out", str(own)]) == 0
    metrics = json.loads((own / "metrics.json").read_text())
    assert metrics["task"] == "people" and metrics["images"] == 4 and metrics["people"] == 6
    assert metrics["matches"] + metrics["misses"] == 6
    assert metrics["provenance"]["command"].startswith("codistill evaluate people --head")
    assert Image.open(own / "pictures.png").width > 600
    assert main([*argv, "--mean-body", "--out", str(mean), "--against", str(own), "--score", "f1"]) == 0
    baseline = json.loads((mean / "metrics.json").read_text())
    assert baseline["test"]["mean_body"] and baseline["comparison"]["difference"]["count"] == 4
    assert "f1: this minus" in capsys.readouterr().out
    with np.load(own / "per_person.npz") as rows:
        assert len(rows["pve"]) == 6


def test_images_of_any_kind_become_pictures_json_and_glb(head: Path, tmp_path: Path) -> None:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    pytest.importorskip("trimesh", reason="needs the extra `people`")
    rng = np.random.default_rng(0)
    for name, size in (("portrait", (90, 31)), ("landscape", (31, 90)), ("grey", (40, 40))):
        shape = size if name == "grey" else (*size, 3)
        Image.fromarray(rng.integers(0, 255, shape).astype(np.uint8)).save(tmp_path / f"{name}.png")
    images = sorted(map(str, tmp_path.glob("*.png")))
    argv = ["people", *images, "--head", str(head), "--device", "cpu"]
    for threshold, few in (("0.99", True), ("0.0002", False)):
        out = tmp_path / threshold
        assert main([*argv, "--out", str(out), "--threshold", threshold, "--kernel", "1"]) == 0
        counts = [len(json.loads(path.read_text())["people"]) for path in sorted(out.glob("*.json"))]
        assert counts == [0, 0, 0] if few else [16, 16, 16]
        assert len(list(out.glob("*.png"))) == len(list(out.glob("*.glb"))) == 3


def test_what_is_typed_wrongly_is_said(
    head: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(root / "images" / "0000.png")
    people = ["people", image, "--out", str(tmp_path), "--device", "cpu"]
    cases = (
        ([*people, "--head", str(tmp_path / "none")], "Fit a head first: codistill fit people"),
        ([*people, "--head", str(head), "--focal", "3", "--fov", "60"], "not both"),
        ([*people, "--head", str(head), "--encoder", "random:vit_tiny"], "takes tokens of 48 channels"),
        (["evaluate", "people"], "which head? add --head HEAD"),
        (["fit", "people", "--encoder", ENCODER, "--out", str(tmp_path)], "which data set?"),
        (
            [
                "fit",
                "people",
                "--encoder",
                ENCODER,
                "--data",
                f"folder:{root}",
                "--recipe",
                "smal",
                "--out",
                "x",
            ],
            "Did you mean 'small'",
        ),
    )
    for argv, text in cases:
        assert main(argv) == 2
        assert text in capsys.readouterr().err
