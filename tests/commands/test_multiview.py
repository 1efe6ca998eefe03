import json
from pathlib import Path

import numpy as np
import pytest

from codistill.cli import main

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
MODEL, ENCODER = (
    GOLDEN / "dunemast3r_nano_released_layout.pth",
    GOLDEN / "dunemast3r_nano_encoder.safetensors",
)


def _words(task, data, out):
    model = ["--model", str(MODEL), "--encoder", str(ENCODER), "--long-edge", "56"]
    return ["evaluate", task, "--data", data, "--out", str(out), *model]


@pytest.mark.skipif(not MODEL.is_file(), reason="needs the recorded nano DUNE-MASt3R file")
def test_depth_of_pairs_writes_scores_and_pictures(tiny_world, tmp_path, capsys):
    words = [*_words("multiview-depth", f"world:{tiny_world}", tmp_path), "--split", "train"]
    assert main([*words, "--limit", "2", "--sources", "nearest"]) == 0
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["task"] == "multiview-depth" and numbers["images"] == 2
    assert numbers["protocol"]["order"] == "nearest" and numbers["method"]["long_edge"] == 56
    score = numbers["scores"]["relative"]
    assert 0 < score["low"] <= score["mean"] <= score["high"]
    assert score == numbers["scores"]["relative_all"]  # there is one source
    with np.load(tmp_path / "per_image.npz") as file:
        assert file["scores"].mean(0)[0] == pytest.approx(score["mean"], abs=1e-5)
    assert (tmp_path / "pictures.png").is_file() and "2 samples" in capsys.readouterr().out


@pytest.mark.skipif(not MODEL.is_file(), reason="needs the recorded nano DUNE-MASt3R file")
@pytest.mark.parametrize("estimator", ["matches", "pnp", "alignment"])
def test_poses_of_pairs_write_scores(estimator, tiny_world, tmp_path):
    words = [*_words("multiview-pose", f"world:{tiny_world}", tmp_path), "--split", "train", "--limit", "2"]
    if estimator == "alignment":
        words += ["--iterations", "3"]
    assert main([*words, "--estimator", estimator]) == 0
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["protocol"]["pairs"] == 2 and numbers["protocol"]["estimator"] == estimator
    assert set(numbers["scores"]) == {*(f"r{k}a_{t}" for k in "rt" for t in (5, 15, 30)), "maa_30"}
    with np.load(tmp_path / "per_image.npz") as file:
        assert file["rotation"].shape == file["translation"].shape == (2,)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["multiview-depth", "--model", "m"], "which data set? add --data KIND:FOLDER"),
        (["multiview-depth", "--head", "h"], "h: no such folder. Fit a head first"),
        (["multiview-depth", "--data", "multiview:none", "--head", "h"], "no such folder. Expected layout"),
        (
            ["multiview-depth", "--data", "multiview:x", "--max-sources", "0"],
            "sources must be 1 or more; got 0",
        ),
        (["multiview-pose", "--data", "world:w", "--frames", "1"], "2 views of a sequence at least; got 1"),
        (["multiview-pose", "--data", "mapfree:w"], "Unknown kind of data set 'mapfree'"),
    ],
)
def test_what_is_missing_is_said_in_a_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words, "--out", "o"]) == 2
    assert said in capsys.readouterr().err


def test_a_model_is_asked_for(tiny_world, tmp_path, capsys):
    words = ["--data", f"world:{tiny_world}", "--split", "train", "--out", str(tmp_path)]
    assert main(["evaluate", "multiview-depth", *words]) == 2
    assert "name one of --head DIR" in capsys.readouterr().err
