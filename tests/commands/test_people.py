"""People as a user types it: fit, evaluate with its baseline and a comparison, predict; and what is typed wrongly."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from codistill.bodies.tiny import TinyBody
from codistill.cli import main
from codistill.commands import predict
from codistill.geometry.projection import project
from codistill.geometry.rotations import rotation_from_6d
from codistill.heads.human_mesh.place import place_bodies
from codistill.tasks.people.model import Bodies
from codistill.tasks.people.task import TASK

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks" / "people"))
from people_scenes import ENCODER, write_folder

FIT = ["--size", "56", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("scenes"), train=8, val=4)


def fit(root: Path, out: Path) -> None:
    """A head of a few steps that finds somebody nearly everywhere."""
    argv = ["fit", "people", "--encoder", ENCODER, "--data", f"folder:{root}", "--steps", "4"]
    assert main([*argv, *FIT, "--batch-size", "4", "--optim.lr", "1e-3", "--out", str(out)]) == 0


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    out = tmp_path_factory.mktemp("head")
    fit(root, out)
    return out


def test_fitting_again_says_that_it_is_done(
    head: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (head / "head.safetensors").read_bytes()
    fit(root, head)
    assert (head / "head.safetensors").read_bytes() == before
    assert "is finished" in capsys.readouterr().err


def test_an_evaluation_leaves_numbers_and_pictures(
    head: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
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
    assert "distance, 4 to 8 m" in capsys.readouterr().out
    argv += ["--baseline", "mean-body", "--out", str(mean), "--against", str(own)]
    assert main([*argv, "--score", "f1"]) == 0
    baseline = json.loads((mean / "metrics.json").read_text())
    assert baseline["baseline"] == "mean-body" and baseline["comparison"]["difference"]["count"] == 4
    assert "f1: this minus" in capsys.readouterr().out
    assert baseline["mean_body_of"].startswith("folder:")
    with np.load(own / "per_image.npz") as arrays:
        assert len(arrays["rows.pve"]) == len(arrays["rows.sample"]) == 6
    # Other people as the truth cannot be compared.
    assert main([*argv, "--cells", "1"]) == 2
    assert "counts 6 things as the truth, this evaluation 4" in capsys.readouterr().err
    # A head whose own data lies elsewhere: the mean body is that of the scored data.
    moved = tmp_path / "moved"
    shutil.copytree(head, moved)
    record = json.loads((moved / "head.json").read_text())
    record["data"]["spec"] = "folder:elsewhere"
    (moved / "head.json").write_text(json.dumps(record))
    argv[argv.index(str(head))] = str(moved)
    assert main([*argv, "--data", baseline["data"], "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["scores"] == baseline["scores"] and again["mean_body_of"] == baseline["data"]
    assert "elsewhere" in caplog.text


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


def scene_of(out: Path, name: str):
    """What the command wrote of an image: pixels, JSON, meshes."""
    trimesh = pytest.importorskip("trimesh", reason="needs the extra `people`")
    said = json.loads((out / f"{name}.people.json").read_text())
    scene = trimesh.load(out / f"{name}.people.glb", process=False)
    assert len(scene.geometry) == len(said["people"])
    return np.asarray(Image.open(out / f"{name}.people.png")), said, scene


def people_of(head: Path, images: list[Path], out: Path, *options: str) -> None:
    pytest.importorskip("embreex", reason="needs the extra `world`")
    argv = ["people", *map(str, images), "--head", str(head), "--device", "cpu", "--out", str(out)]
    assert main([*argv, *options]) == 0


def plain_image(path: Path, rows: int, columns: int, **options: object) -> Path:
    noise = np.random.default_rng(rows).integers(0, 255, (rows, columns, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path, **options)  # type: ignore[arg-type]
    return path


def test_fifty_people_and_nobody(head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = plain_image(tmp_path / "crowd.png", 112, 112)  # no margin: every cell is inside the image
    people_of(head, [image], tmp_path / "all", "--threshold", "0.0002", "--kernel", "1", "--size", "112")
    crowd, said, scene = scene_of(tmp_path / "all", "crowd")
    assert len(said["people"]) == 64 and "64 people, the nearest" in capsys.readouterr().out
    heads = [person["head"][2] for person in said["people"]]
    assert heads == sorted(heads)  # the nearest first
    colours = {tuple(mesh.visual.material.baseColorFactor) for mesh in scene.geometry.values()}
    assert len(colours) == 64  # told apart
    people_of(head, [image], tmp_path / "none", "--threshold", "0.9999")
    empty, nobody, _ = scene_of(tmp_path / "none", "crowd")
    assert nobody["people"] == [] and nobody["camera"] == said["camera"]
    assert "crowd.people.png: nobody" in capsys.readouterr().out
    assert empty.shape[0] == crowd.shape[0] and not np.array_equal(empty[:, :640], crowd[:, :640])


class SomebodyAt:
    """Stands where an estimator would, and finds one body at a place."""

    def __init__(self, place: tuple[float, float, float]) -> None:
        self.body, self.place = TinyBody(), place

    def to(self, device: object) -> "SomebodyAt":
        return self

    def __call__(self, image: np.ndarray, intrinsics: torch.Tensor) -> Bodies:
        rotmat = rotation_from_6d(self.body.init_6d)[None]
        placed = place_bodies(self.body, rotmat, torch.zeros(1, 2), pelvis=torch.tensor([self.place]))
        pixels = project(placed.joints, intrinsics[None])
        score = torch.full((1,), 0.9)
        none = torch.zeros(1, 0)
        return Bodies(
            score,
            placed.vertices,
            placed.joints,
            pixels,
            rotmat,
            torch.zeros(1, 2),
            none,
            placed.head,
            placed.pelvis,
        )


def test_a_person_half_outside_the_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pelvis lies on the left border: half of the body is drawn, all of it is written."""
    image = tmp_path / "border.png"
    Image.new("RGB", (640, 480)).save(image)
    edge = SomebodyAt((-4.0 * 320 / 554.256, 0.0, 4.0))  # a field of view of 60 degrees: 640 px at 554 px
    monkeypatch.setattr(predict, "find_task", lambda _: replace(TASK, load=lambda *_: edge))
    people_of(tmp_path, [image], tmp_path)
    drawn, said, scene = scene_of(tmp_path, "border")
    pelvis = said["people"][0]["joints"][edge.body.joint_names[edge.body.pelvis_idx]]["xy"]
    assert pelvis[0] == pytest.approx(-0.5, abs=0.01)
    seen = drawn[:480, :640].any(-1)
    assert seen[:, 0].any() and not seen[:, 200:].any()
    x = np.array(scene.geometry["person_0"].vertices)[:, 0]
    assert x.min() < edge.place[0] - 0.05 and len(x) == len(edge.body.template)


def test_a_turned_photograph_is_seen_upright_with_the_lens_that_it_names(head: Path, tmp_path: Path) -> None:
    """Stored on its side with an EXIF tag, it gives the same people as the upright picture with that lens."""
    upright = plain_image(tmp_path / "upright.png", 96, 60)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    exif.get_ifd(0x8769)[0xA405] = 28
    sideways = Image.open(upright).transpose(Image.Transpose.ROTATE_90)
    sideways.save(tmp_path / "turned.png", exif=exif)
    focal = 28 * np.hypot(96, 60) / np.hypot(36, 24)
    options = ("--threshold", "0.0002", "--kernel", "1")
    people_of(head, [upright], tmp_path / "out", *options, "--focal", str(focal))
    people_of(head, [tmp_path / "turned.png"], tmp_path / "out", *options)
    one, other = (scene_of(tmp_path / "out", name) for name in ("upright", "turned"))
    assert (other[1]["rows"], other[1]["columns"]) == (96, 60)
    assert other[1]["camera"]["focal_from"] == "exif" and one[1]["camera"]["focal_from"] == "given"
    assert other[1]["people"] == one[1]["people"] and len(one[1]["people"]) > 9
    assert np.array_equal(one[0], other[0])


def test_pixels_of_a_large_photograph_are_its_own(head: Path, tmp_path: Path) -> None:
    """4000 pixels wide: the picture is made smaller, numbers and camera are of the file."""
    image = tmp_path / "large.jpg"
    Image.new("RGB", (4000, 3000), (90, 120, 60)).save(image)
    people_of(head, [image], tmp_path, "--threshold", "0.0002", "--kernel", "1", "--fov", "90")
    drawn, said, _ = scene_of(tmp_path, "large")
    assert drawn.shape[1] == 1280 + 8 + 720 and (said["rows"], said["columns"]) == (3000, 4000)
    k = np.array(said["camera"]["intrinsics"])
    assert k[0, 0] == pytest.approx(2000.0) and k[0, 2] == 1999.5
    for person in said["people"]:
        for joint in person["joints"].values():
            if joint["xyz"][2] > 0.1:
                x, y, _ = k @ np.array(joint["xyz"]) / joint["xyz"][2]
                assert joint["xy"] == pytest.approx([x, y], abs=1.0)


def test_the_window_can_have_another_size(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["fit", "people", "--encoder", ENCODER, "--data", f"folder:{root}", "--steps", "1", *FIT]
    argv += ["--head.window", "0", "2", "1", "--out", str(tmp_path)]
    assert main([*argv, "--no-cached"]) == 2 and "no meaning with --no-cached" in capsys.readouterr().err
    assert main(argv) == 0
    assert json.loads((tmp_path / "head.json").read_text())["head"]["window"] == [0, 2, 1]


def test_an_encoder_trained_with_its_head_is_found_by_itself(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, argv = tmp_path / "head", ["fit", "people", "--data", f"folder:{root}", "--encoder", ENCODER]
    argv += [*FIT, "--steps", "2", "--batch-size", "4", "--unfreeze", "--out", str(out)]
    assert main(argv) == 2 and "add --no-cached --head.window None" in capsys.readouterr().err
    assert main([*argv, "--no-cached", "--head.window", "None", "--validate-every", "2"]) == 0
    moved = out.rename(tmp_path / "moved")
    options = ["--head", str(moved), "--device", "cpu", "--pictures", "0"]
    assert main(["evaluate", "people", *options]) == 0
    encoder = json.loads((moved / "evaluation" / "metrics.json").read_text())["encoder"]
    assert encoder["encoder"] == str(moved / "encoder") and "trained for people" in encoder["name"]
    people_of(moved, [root / "images" / "0000.png"], tmp_path / "seen")
    capsys.readouterr()
    assert main(["inspect", str(moved), "--json"]) == 0
    head = json.loads(capsys.readouterr().out)
    assert head["task"] == "people" and head["encoder"].endswith(f"(trained with the head, from {ENCODER})")
    assert head["fit"]["steps"] == 2 and head["test"]["body"] == "tiny" and head["parameters"] > 10_000
    assert head["features"] == {"denormalize": False, "norm": False, "blocks": [-1]}
    (moved / "head.json").rename(tmp_path / "head.json")
    assert main(["inspect", str(moved)]) == 2
    assert "the fit has not finished" in capsys.readouterr().err
    (tmp_path / "head.json").rename(moved / "head.json")
    (moved / "encoder" / "encoder.safetensors").unlink()
    assert main(["evaluate", "people", *options]) == 2
    assert "encoder.safetensors" in capsys.readouterr().err


def test_what_is_typed_wrongly_is_said(
    head: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(root / "images" / "0000.png")
    people = ["people", image, "--out", str(tmp_path), "--device", "cpu"]
    fit_argv = ["fit", "people", "--encoder", ENCODER, "--out", str(tmp_path)]
    scored = ["evaluate", "people", "--data", f"folder:{root}", "--out", str(tmp_path)]
    weights = tmp_path / "weights.pth"
    weights.touch()
    cases = (
        ([*people, "--head", str(tmp_path / "none")], "Fit a head first: codistill fit people"),
        ([*people, "--head", str(head), "--focal", "3", "--fov", "60"], "not both"),
        ([*people, "--head", str(head), "--cells", "3"], "Unknown option --cells"),
        ([*people, "--head", str(head), "--encoder", "random:vit_tiny"], "takes tokens of 48 channels"),
        ([*people, "--head", str(weights)], f"Its own encoder with its head: --model {weights}"),
        ([*people, "--model", str(weights), "--encoder", ENCODER], f"--head {weights} --encoder E"),
        (["evaluate", "people"], "add --head HEAD"),
        ([*scored, "--encoder", ENCODER, "--baseline", "mean-body"], "mean-body stands on a head"),
        ([*scored, "--head", str(head), "--baseline", "mean"], "Did you mean 'mean-body'"),
        (fit_argv, "which data set?"),
        ([*fit_argv[:2], "smal", *fit_argv[2:], "--data", f"folder:{root}"], "Did you mean 'small'"),
        ([*fit_argv, "--data", f"folder:{root}", "--optim.lrr", "1"], "Did you mean --optim.lr"),
    )
    for argv, text in cases:
        assert main(argv) == 2
        assert text in capsys.readouterr().err


def test_the_scored_split_is_opened_before_a_fit(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["evaluate", "people", "--encoder", ENCODER, "--data", f"folder:{root}", "--split", "test"]
    assert main([*argv, "--device", "cpu", "--out", str(tmp_path / "out")]) == 2
    assert "test.jsonl" in capsys.readouterr().err and not (tmp_path / "out").exists()
    shutil.copytree(root, tmp_path / "cut")
    (tmp_path / "cut" / "val.jsonl").unlink()
    argv = ["fit", "people", "--encoder", ENCODER, "--data", f"folder:{tmp_path / 'cut'}", *FIT]
    assert main([*argv, "--steps", "4", "--validate-every", "2", "--out", str(tmp_path / "head")]) == 2
    assert "val.jsonl" in capsys.readouterr().err and not (tmp_path / "head").exists()


def test_labels_of_another_body_are_refused(
    head: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((head / "head.json").read_text())
    other = shutil.copytree(head, tmp_path / "other")
    record["test"]["body"] = "anny"
    (other / "head.json").write_text(json.dumps(record))
    assert (
        main(["evaluate", "people", "--head", str(other), "--data", f"folder:{root}", "--device", "cpu"]) == 2
    )
    assert "gives bodies of 'anny', " in (said := capsys.readouterr().err) and "labelled with 'tiny'" in said


def test_a_head_of_a_model_is_used_as_its_perception_says(
    head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`predict` and `see` must not disagree on who is there."""
    of_model = tmp_path / "model" / "heads" / "people"
    shutil.copytree(head, of_model)
    heads = "heads:\n  everybody: {path: heads/people, options: {threshold: 0.9999, kernel: 1}}\n"
    (tmp_path / "model" / "perception.yaml").write_text(heads)
    image = plain_image(tmp_path / "crowd.png", 112, 112)
    people_of(of_model, [image], tmp_path / "none")
    assert "crowd.people.png: nobody" in capsys.readouterr().out
    people_of(of_model, [image], tmp_path / "all", "--threshold", "0.0002", "--size", "112")
    assert "crowd.people.png: 64 people" in capsys.readouterr().out
