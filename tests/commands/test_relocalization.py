import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codistill.cli import main
from codistill.commands.bench_matching import made_descriptors

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "mapfree_mini"


def test_a_submission_is_scored_to_the_recorded_digits(tmp_path, capsys):
    if not GOLDEN.is_dir():
        pytest.skip("needs the recorded Map-free folder")
    words = [
        "--data",
        f"mapfree:{GOLDEN}",
        "--submission",
        str(GOLDEN / "submission.zip"),
        "--out",
        str(tmp_path),
    ]
    assert main(["evaluate", "relocalization", *words]) == 0
    published = json.loads((tmp_path / "metrics.json").read_text())["published_names"]
    expected = json.loads((GOLDEN / "expected.json").read_text())
    for pixels in ("90px", "45px"):
        for name, value in expected[f"vcre_threshold_{pixels}"].items():
            assert published[name] == pytest.approx(value, abs=1e-8)
    assert "84 frames" in capsys.readouterr().out


def test_baselines_write_what_a_table_needs(tiny_world, tmp_path):
    words = ["--data", f"world:{tiny_world}", "--split", "train", "--out", str(tmp_path)]
    assert main(["evaluate", "relocalization", "--baseline", "median", *words]) == 0
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["images"] == 4 and numbers["training_motion"]["pairs"] == 4
    score = numbers["scores"]["vcre_precision_90"]
    assert 0 <= score["low"] <= score["mean"] <= score["high"] <= 1
    with np.load(tmp_path / "per_image.npz") as file:
        assert file["poses"].shape == (4, 4, 4) and np.isfinite(file["vcre"]).all()


def test_an_encoder_trained_with_its_head_is_found_by_itself(tiny_world, tmp_path, capsys):
    """Fitted, moved, evaluated and used for a reconstruction, without naming an encoder again."""
    data = f"world:{tiny_world}"
    encoder = "random:vit_tiny,dim=48,depth=2,num_heads=3,patch_size=14,image_size=56"
    fit = ["fit", "relocalization", "--encoder", encoder, "--data", data, "--size", "56", "--steps", "2"]
    fit += ["--batch-size", "2", "--matches", "32", "--workers", "0", "--device", "cpu", "--unfreeze"]
    assert main([*fit, "--out", str(tmp_path / "head")]) == 2 and "add --online" in capsys.readouterr().err
    assert main([*fit, "--online", "--out", str(tmp_path / "head")]) == 0
    head = (tmp_path / "head").rename(tmp_path / "moved")
    words = ["--data", data, "--split", "train", "--out", str(tmp_path / "o"), "--pictures", "0"]
    assert main(["evaluate", "relocalization", "--head", str(head), *words, "--solver", "pointmap"]) == 0
    numbers = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert str(head / "encoder") in json.dumps(numbers)
    pictures = []
    for seed in range(2):
        pictures.append(str(tmp_path / f"{seed}.png"))
        noise = np.random.default_rng(seed).integers(0, 255, (56, 56, 3))
        Image.fromarray(noise.astype(np.uint8)).save(pictures[-1])
    scene = ["reconstruct", *pictures, "--head", str(head), "--out", str(tmp_path / "scene.ply")]
    assert main([*scene, "--min-matches", "0", "--iterations", "2", "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "relocalization", "--data", "world:x", "--out", "o"], "name one of --head, --model"),
        (
            ["evaluate", "relocalization", "--data", "world:x", "--out", "o", "--submission", "z"],
            "--submission belongs to Map-free data",
        ),
        (["fit", "relocalization", "--out", "o"], "which encoder? add --encoder"),
        (["fit", "relocalization", "--out", "o", "--encoder", "e"], "which data set? add --data"),
        (
            ["fit", "relocalization", "--out", "o", "--encoder", "e", "--data", "folder:x", "--size", "big"],
            "write rows and columns in pixels",
        ),
        (["reconstruct", "none.jpg", "other.jpg", "--out", "s.glb", "--head", "h"], "none.jpg"),
        (["bench", "matching", "--channels", "0"], "must be positive"),
    ],
)
def test_what_is_missing_is_said_in_a_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_made_descriptors_are_of_one_place():
    first, second, truth, seen = made_descriptors((48, 64), 24, 0.0)
    assert 0.5 < seen.float().mean() < 1
    y, x = torch.nonzero(seen, as_tuple=True)
    there = truth[y, x].round().long()
    likeness = (first[y, x] * second[there[:, 1].clamp(max=47), there[:, 0].clamp(max=63)]).sum(-1)
    assert likeness.median() > 0.95  # half a pixel apart at most


def test_bench_matching_prefers_precision_of_reciprocal_matches(tmp_path, capsys):
    out = tmp_path / "m.json"
    assert main(["bench", "matching", "--size", "48x64", "--device", "cpu", "--json", str(out)]) == 0
    rows = {row["matcher"]: row for row in json.loads(out.read_text())["matchers"]}
    assert rows["full mutual"]["matches"] > rows["fast reciprocal, seeds every 8"]["matches"] > 0
    assert "full mutual" in capsys.readouterr().out
