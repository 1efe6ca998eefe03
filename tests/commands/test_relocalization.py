import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from codistill.cli import main
from codistill.geometry.estimate import PoseEstimate
from codistill.tasks.two_view.predict import TwoViewPredictor
from shared_files import golden


def test_a_submission_is_scored_to_the_recorded_digits(tmp_path, capsys):
    recorded = golden("mapfree_mini")
    words = ["--data", str(recorded), "--submission", str(recorded / "submission.zip")]
    assert main(["evaluate", "mapfree", *words, "--out", str(tmp_path)]) == 0
    published = json.loads((tmp_path / "metrics.json").read_text())["published_names"]
    expected = json.loads((recorded / "expected.json").read_text())
    for pixels in ("90px", "45px"):
        for name, value in expected[f"vcre_threshold_{pixels}"].items():
            assert published[name] == pytest.approx(value, abs=1e-8)
    assert "84 frames" in capsys.readouterr().out


@pytest.fixture
def mapfree(tmp_path):
    """Two portrait scenes in the published layout, frame 7 missing; query n is 0.2 n metres to the right."""
    rng = np.random.default_rng(0)
    for scene in ("s00460", "s00461"):
        folder = tmp_path / "mapfree" / "val" / scene
        names = ["seq0/frame_00000.jpg", *(f"seq1/frame_{n:05d}.jpg" for n in range(12) if n != 7)]
        for sequence in ("seq0", "seq1"):
            (folder / sequence).mkdir(parents=True)
        coarse = rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)
        place = Image.fromarray(coarse).resize((120, 90), Image.Resampling.BICUBIC)
        for number, name in enumerate(names):
            place.crop((3 * number, 0, 3 * number + 54, 72)).save(folder / name, quality=95)
        shifts = [0.0 if name.startswith("seq0") else 0.2 * int(name[-9:-4]) for name in names]
        (folder / "intrinsics.txt").write_text(
            "# path fx fy cx cy W H\n" + "".join(f"{name} 59 59 26.5 35.5 54 72\n" for name in names)
        )
        (folder / "poses.txt").write_text(
            "".join(f"{name} 1 0 0 0 {-x} 0 0\n" for name, x in zip(names, shifts, strict=True))
        )
    return tmp_path / "mapfree"


def test_a_released_model_runs_on_a_mapfree_folder_and_its_submission_scores_the_same(
    mapfree, tmp_path, monkeypatch
):
    solved = TwoViewPredictor.pose

    def posed(self, *arguments, **options):
        """The matches of a random network leave every pose open: something stands in for what a trained one gives."""
        found = solved(self, *arguments, **options)
        return found or PoseEstimate(np.eye(3), np.array([0.3, 0.0, 0.0]), np.ones(9, dtype=bool), 9.0)

    monkeypatch.setattr(TwoViewPredictor, "pose", posed)
    data, one, two = ["--data", str(mapfree)], tmp_path / "one", tmp_path / "two"
    model = ["--model", str(golden("dunemast3r_nano_released_layout.pth")), "--long-edge", "70"]
    model += ["--encoder", str(golden("dunemast3r_nano_encoder.safetensors"))]
    model += ["--threshold", "500"]  # pixels: a random network's matches agree with nothing less
    assert main(["evaluate", "mapfree", *data, *model, "--out", str(one)]) == 0
    with zipfile.ZipFile(one / "submission.zip") as file:
        assert file.namelist() == ["pose_s00460.txt", "pose_s00461.txt"]
        located = [
            line.split()[0] for name in file.namelist() for line in file.read(name).decode().splitlines()
        ]
    queries = {f"seq1/frame_{number:05d}.jpg" for number in (0, 5, 11)}  # every fifth by place
    assert located and set(located) <= queries
    submission = str(one / "submission.zip")
    assert main(["evaluate", "mapfree", *data, "--submission", submission, "--out", str(two)]) == 0
    numbers, again = (json.loads((out / "metrics.json").read_text()) for out in (one, two))
    assert numbers["scores"] == again["scores"] and numbers["images"] == 6
    assert numbers["scores"]["estimated"] == pytest.approx(len(located) / 6)
    assert numbers["test"]["solver"] == "pnp" and numbers["long_edge"] == 70 and "test" not in again


def test_no_motion_on_a_mapfree_folder_is_as_wrong_as_the_cameras_moved(mapfree, tmp_path):
    words = ["--data", str(mapfree), "--baseline", "none", "--out", str(tmp_path)]
    assert main(["evaluate", "mapfree", *words]) == 0
    scores = json.loads((tmp_path / "metrics.json").read_text())["scores"]
    assert scores["median_translation"] == pytest.approx(1.0)  # of 0, 1.0 and 2.2 m
    assert scores["pose_precision"] == pytest.approx(1 / 3) and scores["median_rotation"] == 0.0


def test_withheld_poses_are_not_scored(mapfree, tmp_path, capsys):
    """Of a test scene the reference's pose is known alone, which no query, not even seq1/frame_00000, has."""
    for path in mapfree.glob("val/*/poses.txt"):
        path.write_text(
            path.read_text().splitlines()[0] + "\nseq1/frame_00000.jpg nan nan nan nan nan nan nan\n"
        )
    words = ["evaluate", "mapfree", "--data", str(mapfree), "--out", str(tmp_path / "out")]
    assert main([*words, "--baseline", "none"]) == 0
    assert "not scored" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["submission.zip"]
    assert main([*words, "--submission", str(tmp_path / "out" / "submission.zip")]) == 2
    assert "the poses of all queries are withheld" in capsys.readouterr().err


def test_a_submission_without_poses_has_no_medians(mapfree, tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as file:
        for scene in ("s00460", "s00461"):
            file.writestr(f"pose_{scene}.txt", "")
    words = ["--data", str(mapfree), "--submission", str(tmp_path / "empty.zip")]
    assert main(["evaluate", "mapfree", *words, "--out", str(tmp_path)]) == 0

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    numbers = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert numbers["scores"]["median_translation"] is None and numbers["scores"]["estimated"] == 0.0


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
    """Fitted, moved, evaluated and used for a reconstruction, without naming encoder or data again."""
    data = f"world:{tiny_world}"
    encoder = "random:vit_tiny,dim=48,depth=2,num_heads=3,patch_size=14,image_size=56"
    fit = ["fit", "two-view", "--encoder", encoder, "--data", data, "--steps", "2"]
    fit += ["--batch-size", "2", "--matches", "32", "--workers", "0", "--device", "cpu", "--unfreeze"]
    assert main([*fit, "--out", str(tmp_path / "head")]) == 2 and "add --no-cached" in capsys.readouterr().err
    assert main([*fit, "--no-cached", "--out", str(tmp_path / "head")]) == 0
    head = (tmp_path / "head").rename(tmp_path / "moved")
    words = ["--split", "train", "--out", str(tmp_path / "o"), "--pictures", "0"]
    assert main(["evaluate", "relocalization", "--head", str(head), *words, "--solver", "pointmap"]) == 0
    numbers = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert numbers["data"] == data and numbers["fit"]["steps"] == 2  # those of the fit
    assert str(head / "encoder") in json.dumps(numbers)
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main(["evaluate", "two-view", "--head", str(head), *words, "--solver", "pointmap"]) == 0
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert (again["task"], again["scores"]) == ("two-view", numbers["scores"])
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
        (
            ["--baseline", "sift", "--solver", "emat"],
            "--solver would change nothing: --baseline sift",
        ),
        (["--baseline", "none", "--samples", "5"], "--samples would change nothing: --baseline none"),
        (["--baseline", "none", "--encoder", "e"], "--baseline none needs no head"),
        (["--head", "pictures.png"], "name it by --model"),
    ],
)
def test_what_would_have_no_effect_is_refused(words, said, tiny_world, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures.png").touch()
    data = ["--data", f"world:{tiny_world}", "--split", "train", "--out", "o"]
    assert main(["evaluate", "relocalization", *data, *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["evaluate", "relocalization", "--data", "world:x", "--out", "o"],
            "or --baseline none|median|sift|loftr",
        ),
        *(
            (["evaluate", "relocalization", "--data", "world:x", "--out", "o", *words], said)
            for words, said in (
                (
                    ["--head", "h", "--solver", "emat", "--pnp", "p3p"],
                    "--pnp would change nothing: --solver emat",
                ),
                (["--head", "h", "--samples", "0"], "number of samples must be 1 or more; got 0"),
                (["--head", "h", "--threshold", "0"], "--threshold must be above 0; got 0"),
                (["--baseline", "orb"], "Unknown baseline 'orb'"),
            )
        ),
        *(
            (["evaluate", "mapfree", "--data", "x", "--out", "o", *words], said)
            for words, said in (
                ([], "name one of --head, --model, --baseline and --submission; got none"),
                (
                    ["--submission", "z", "--solver", "emat"],
                    "--solver would change nothing: a submission has",
                ),
                (["--baseline", "none"], "x/val: no such folder"),
            )
        ),
        (["fit", "two-view", "--out", "o"], "which features? add --encoder"),
        (["fit", "two-view", "--out", "o", "--encoder", "e"], "which data set? add --data"),
        (["fit", "relocalization", "--out", "o"], "scores heads of `codistill fit two-view`"),
        (
            ["fit", "two-view", "--out", "o", "--encoder", "e", "--data", "folder:x", "--blocks", "3"],
            "--blocks is not for two-view: its features are chosen by --encoder and --norm alone",
        ),
        (
            ["fit", "two-view", "--out", "o", "--encoder", "e", "--data", "folder:x", "--norm"],
            "a head with its own norm (shape.fresh_norm) takes tokens without the encoder's (--no-norm)",
        ),
        (["reconstruct", "none.jpg", "other.jpg", "--out", "s.glb", "--head", "h"], "none.jpg"),
        (["bench", "matching", "--channels", "0"], "must be positive"),
    ],
)
def test_what_is_missing_is_said_in_a_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_bench_matching_prefers_precision_of_reciprocal_matches(tmp_path, capsys):
    out = tmp_path / "m.json"
    assert main(["bench", "matching", "--size", "48x64", "--device", "cpu", "--json", str(out)]) == 0
    rows = {row["matcher"]: row for row in json.loads(out.read_text())["matchers"]}
    assert rows["full mutual"]["matches"] > rows["fast reciprocal, seeds every 8"]["matches"] > 0
    assert "full mutual" in capsys.readouterr().out
