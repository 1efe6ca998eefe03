import json

import numpy as np
import pytest

from codistill.cli import main
from shared_files import golden


def _words(task, data, out):
    model = ["--model", str(golden("dunemast3r_nano_released_layout.pth")), "--long-edge", "56"]
    model += ["--encoder", str(golden("dunemast3r_nano_encoder.safetensors"))]
    return ["evaluate", task, "--data", data, "--out", str(out), *model]


def test_depth_of_pairs_writes_scores_and_pictures(tiny_world, tmp_path, capsys):
    words = [*_words("multiview-depth", f"world:{tiny_world}", tmp_path), "--split", "train"]
    assert main([*words, "--limit", "2", "--sources", "nearest"]) == 0
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["task"] == "multiview-depth" and numbers["images"] == 2
    assert numbers["test"]["sources"] == "nearest" and numbers["long_edge"] == 56
    score = numbers["scores"]["relative"]
    assert 0 < score["low"] <= score["mean"] <= score["high"]
    assert score == numbers["scores"]["relative_all"]  # there is one source
    with np.load(tmp_path / "per_image.npz") as file:
        assert file["scores"].mean(0)[0] == pytest.approx(score["mean"], abs=1e-5)
    assert (tmp_path / "pictures.png").is_file() and "2 samples" in capsys.readouterr().out
    again = [*_words("multiview-depth", f"world:{tiny_world}", tmp_path / "again"), "--split", "train"]
    assert main([*again, "--limit", "2", "--against", str(tmp_path), "--margin", "1"]) == 0
    found = json.loads((tmp_path / "again" / "metrics.json").read_text())["comparison"]
    assert found["score"] == "relative" and found["difference"]["mean"] == 0.0
    assert found["equal_within_margin"]


@pytest.mark.parametrize("estimator", ["matches", "pnp", "alignment"])
def test_poses_of_pairs_write_scores(estimator, tiny_world, tmp_path):
    words = [*_words("multiview-pose", f"world:{tiny_world}", tmp_path), "--split", "train", "--limit", "2"]
    if estimator == "alignment":
        words += ["--iterations", "3"]
    assert main([*words, "--estimator", estimator]) == 0
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["pairs"] == 2 and numbers["test"]["estimator"] == estimator
    assert set(numbers["scores"]) == {*(f"r{k}a_{t}" for k in "rt" for t in (5, 15, 30)), "maa_30"}
    with np.load(tmp_path / "per_image.npz") as file:
        assert file["rows.rotation"].shape == file["rows.translation"].shape == (2,)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["multiview-depth", "--model", "m"], "where from, where to? add --data LAYOUT:FOLDER"),
        (["multiview-depth", "--head", "h"], "h: no such folder. Fit a head first"),
        (["multiview-depth", "--data", "multiview:none", "--model", "m"], "no such folder. Expected layout"),
        (["multiview-depth", "--data", "world:w"], "add --head HEAD of `codistill fit two-view`, or --model"),
        (
            ["multiview-depth", "--data", "multiview:x", "--head", "h", "--max-sources", "0"],
            "sources must be 1 or more; got 0",
        ),
        (
            ["multiview-pose", "--data", "world:w", "--head", "h", "--frames", "1"],
            "2 views of a sequence at least; got 1",
        ),
        (
            ["multiview-pose", "--data", "world:w", "--model", "m", "--pnp", "p3p"],
            "--pnp would change nothing: matches give an essential matrix",
        ),
        (
            ["multiview-pose", "--data", "world:w", "--model", "m", "--iterations", "3"],
            "--iterations would change nothing: --estimator matches aligns nothing",
        ),
        (["multiview-pose", "--data", "mapfree:w"], "Unknown layout 'mapfree'"),
    ],
)
def test_what_is_missing_is_said_in_a_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words, "--out", "o"]) == 2
    assert said in capsys.readouterr().err
