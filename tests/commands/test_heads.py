"""Heads as users type them: fitted, scored, compared, used, and what is said where that cannot be."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from codistill.cli import main
from codistill.heads.linear.depth import DepthHead, DepthHeadConfig
from codistill.heads.linear.released import released_tensors
from codistill.heads.linear.segmentation import SegmentationHead, SegmentationHeadConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))
from task_toys import ENCODER, class_folder, depth_lists, segmentation_folder, toy_scene, write_png

COMPUTING = ["--workers", "0", "--device", "cpu"]
FIT = {"steps": "30", "batch-size": "4", "views": "2", "size": "42"}


def fields(prefix: str = "", **more: str) -> list[str]:
    """Fields of a fit as they are typed for `fit`, or with "fit." for `evaluate`."""
    return [word for name, value in (FIT | more).items() for word in (f"--{prefix}{name}", *value.split())]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return segmentation_folder(tmp_path_factory.mktemp("toys"), train=12, val=4)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, root):
    """`evaluate` that fits first, as a user types it."""
    out = tmp_path_factory.mktemp("out") / "random"
    argv = ["evaluate", "segmentation", "--encoder", ENCODER, "--data", f"folder:{root}", "--out", str(out)]
    assert main([*argv, *fields("fit.", **{"learning-rates": "0.01 0.03"}), *COMPUTING]) == 0
    return out


def test_an_evaluation_leaves_numbers_pictures_and_a_head(evaluation, root):
    metrics = json.loads((evaluation / "metrics.json").read_text())
    assert metrics["task"] == "segmentation" and metrics["images"] == 4
    assert metrics["encoder"]["licence"] == "none (random weights)"
    assert metrics["fit"]["protocol"] == "cached" and metrics["fit"]["chosen_lr"] in (0.01, 0.03)
    miou = metrics["scores"]["miou"]
    assert 0 <= miou["low"] <= miou["mean"] <= miou["high"] <= 100 and miou["count"] == 4
    command = metrics["provenance"]["command"]
    assert command.startswith("codistill evaluate segmentation --encoder random:vit_tiny")
    assert {"commit", "time", "torch"} <= set(metrics["provenance"])
    assert set(metrics["class_iou"]) == {"red", "green", "blue"}
    assert Image.open(evaluation / "pictures.png").width > 600
    with np.load(evaluation / "per_image.npz") as file:
        assert file["counts"].shape == (4, 3, 3) and len(file["names"]) == 4


def test_a_head_is_scored_again_and_compared_pairwise(evaluation, tmp_path, capsys):
    argv = ["evaluate", "segmentation", "--head", str(evaluation / "head"), "--out", str(tmp_path / "again")]
    assert main([*argv, "--against", str(evaluation), "--margin", "0.5", *COMPUTING]) == 0
    assert "equal within ±0.5" in capsys.readouterr().out
    comparison = json.loads((tmp_path / "again" / "metrics.json").read_text())["comparison"]
    assert comparison["difference"]["mean"] == 0.0 and comparison["equal_within_margin"] is True


def test_scores_of_a_head_that_was_fitted_again_are_refused(evaluation, tmp_path, capsys):
    """A fit with other settings replaces the head; the evaluation of the earlier one stays in its folder."""
    head = shutil.copytree(evaluation / "head", tmp_path / "head")
    again = ["evaluate", "segmentation", "--head", str(head), *COMPUTING]
    compared = [*again, "--out", str(tmp_path / "out"), "--against", str(head / "evaluation")]
    assert main(again) == main(["report", str(head)]) == main(compared) == 0
    weights = head / "head.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)
    capsys.readouterr()
    for argv in (["report", str(head)], compared):
        assert main(argv) == 2
        assert f"has scores of another head than the one in {head}" in capsys.readouterr().err
    assert main(again) == main(["report", str(head)]) == main(compared) == 0


def test_results_never_replace_those_they_are_compared_with(evaluation, capsys):
    """Without --out, results go to HEAD/evaluation, with which a head's other settings are compared."""
    before = (evaluation / "metrics.json").read_bytes()
    argv = ["evaluate", "segmentation", "--head", str(evaluation / "head"), "--upsample", "jbu", *COMPUTING]
    assert main([*argv, "--against", str(evaluation), "--out", f"{evaluation}/head/.."]) == 2
    assert f"would replace those in {evaluation}" in capsys.readouterr().err
    assert (evaluation / "metrics.json").read_bytes() == before


def test_other_images_of_the_same_names_are_not_compared_pairwise(evaluation, root, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(root, other)
    argv = ["evaluate", "segmentation", "--head", str(evaluation / "head"), "--out", str(tmp_path / "out")]
    argv += ["--against", str(evaluation), *COMPUTING, "--data"]
    assert main([*argv, f"folder:{other}"]) == 2
    assert f"scored folder:{root} (val), this is folder:{other} (val)" in capsys.readouterr().err
    (tmp_path / "link").symlink_to(root)
    assert main([*argv, f"folder:{tmp_path / 'link'}"]) == 0
    assert main([*argv, f"folder:{root}", "--split", "train"]) == 2
    assert f"this is folder:{root} (train)" in capsys.readouterr().err


def test_an_evaluation_that_cannot_be_compared_is_kept(evaluation, tmp_path, capsys):
    argv = ["evaluate", "segmentation", "--head", str(evaluation / "head"), "--out", str(tmp_path / "out")]
    argv += ["--against", str(evaluation), *COMPUTING]
    for more, text in ((["--score", "mio"], "Did you mean 'miou'"), (["--limit", "2"], "the same samples")):
        assert main([*argv, *more]) == 2
        said = capsys.readouterr().err
        assert text in said and f". The evaluation itself is in {tmp_path / 'out'}" in said
        found = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert found["scores"] and "comparison" not in found


def test_results_lie_in_the_head_whatever_its_name(evaluation, root, tmp_path):
    """`v1.2` is a folder's name and has no suffix; a released file gives its folder its own without."""
    (evaluation / "head").rename(tmp_path / "v1.2")
    assert main(["evaluate", "segmentation", "--head", str(tmp_path / "v1.2"), *COMPUTING]) == 0
    assert (tmp_path / "v1.2" / "evaluation" / "metrics.json").is_file()
    (tmp_path / "v1.2").rename(evaluation / "head")
    released = SegmentationHead(SegmentationHeadConfig(channels=48, num_classes=3))
    torch.save({"state_dict": dict(released_tensors(released))}, tmp_path / "linear.pth")
    argv = ["--head", str(tmp_path / "linear.pth"), "--encoder", ENCODER, "--data", f"folder:{root}"]
    assert main(["evaluate", "segmentation", *argv, *COMPUTING]) == 0
    assert (tmp_path / "linear" / "evaluation" / "metrics.json").is_file()


def test_segment_writes_an_overlay_and_an_array(evaluation, tmp_path, capsys):
    image, _ = toy_scene(77)
    write_png(tmp_path / "photo.png", image)
    argv = [
        "segment",
        str(tmp_path / "photo.png"),
        "--head",
        str(evaluation / "head"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(argv) == 0
    labels = np.load(tmp_path / "out" / "photo.segmentation.npy")
    assert (
        labels.shape == image.shape[:2] and labels.dtype == np.uint8 and set(np.unique(labels)) <= {0, 1, 2}
    )
    shown = np.asarray(Image.open(tmp_path / "out" / "photo.segmentation.png"))
    assert shown.shape[0] > 70 and shown.shape[1] == 240  # the image, and below it a legend that has room
    assert (shown[:70, 84:] == 255).all()
    assert "photo.segmentation.png: " in capsys.readouterr().out


def test_the_baseline_goes_through_the_same_commands(root, tmp_path):
    out = tmp_path / "head"
    argv = ["fit", "segmentation", "--encoder", "baseline:colour", "--data", f"folder:{root}"]
    assert main([*argv, "--out", str(out), *fields(), *COMPUTING]) == 0
    record = json.loads((out / "head.json").read_text())
    assert record["features"]["encoder"] == "baseline:colour" and len(record["fit"]["heads"]) in (8, 11, 14)


def test_depth_from_lists_to_pictures(tmp_path):
    root = depth_lists(tmp_path / "nyu", train=4, test=2)
    out = tmp_path / "out"
    argv = ["evaluate", "depth", "--encoder", "baseline:colour", "--data", f"nyud:{root}", "--out", str(out)]
    argv += ["--partial", "--fit.partial", "--fit.steps", "4", "--fit.batch-size", "2", "--fit.views", "1"]
    assert main([*argv, "--fit.learning-rates", "0.01", *COMPUTING]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["scored_crop"] == [45, 471, 41, 601] and metrics["test"]["mirror"] is True
    assert metrics["scores"]["rmse"]["count"] == 2 and metrics["encoder"]["norm"] is False
    image = root / "den" / "rgb_01000.jpg"
    assert main(["depth", str(image), "--head", str(out / "head"), "--out", str(tmp_path / "pictures")]) == 0
    depth = np.load(tmp_path / "pictures" / "rgb_01000.depth.npy")
    assert depth.shape == (480, 640) and depth.dtype == np.float32 and 0 < depth.min() < depth.max() <= 10


def test_released_heads_are_used_with_their_encoder(tmp_path):
    write_png(tmp_path / "photo.png", toy_scene(5)[0])
    heads = {
        "segment": (SegmentationHead(SegmentationHeadConfig(channels=48, num_classes=150)), "ade20k"),
        "depth": (DepthHead(DepthHeadConfig(channels=96)), "nyud"),
    }
    for command, (head, kind) in heads.items():
        path = tmp_path / f"{command}_linear_head.pth"
        torch.save({"state_dict": dict(released_tensors(head))}, path)
        argv = [command, str(tmp_path / "photo.png"), "--head", str(path), "--out", str(tmp_path / "out")]
        assert main([*argv, "--encoder", ENCODER, "--kind", kind]) == 0
        assert main(argv) == 2
    written = {path.name: path for path in (tmp_path / "out").iterdir()}  # several tasks share a folder
    assert sorted(written) == [
        f"photo.{task}.{kind}" for task in ("depth", "segmentation") for kind in ("npy", "png")
    ]
    assert {np.load(path).shape for name, path in written.items() if name.endswith("npy")} == {(70, 84)}


def test_knn_and_linear_from_folder_to_metrics_and_names(tmp_path):
    root = class_folder(tmp_path / "data")
    small = ["--fit.vectors.resize", "40", "--fit.vectors.crop", "28"]
    for task, options in (
        ("knn", ["--fit.neighbours", "1", "3"]),
        ("linear", ["--fit.strengths", "1", "100"]),
    ):
        out = tmp_path / task
        argv = [
            "evaluate",
            task,
            "--encoder",
            "baseline:colour",
            "--data",
            f"folder:{root}",
            "--out",
            str(out),
        ]
        assert main([*argv, *options, *small, *COMPUTING]) == 0
        metrics = json.loads((out / "metrics.json").read_text())
        assert all(score["mean"] == 100.0 for score in metrics["scores"].values())
        assert set(metrics["mean_per_class_top_1"].values()) == {100.0}
        assert main(["evaluate", task, "--head", str(out / "head"), *COMPUTING]) == 0
        photos = [str(root / "val" / name) for name in ("blue/1.png", "red/2.png")]
        argv = ["predict", task, *photos, "--head", str(out / "head"), "--out", str(out / "named")]
        assert main([*argv, "--device", "cpu"]) == 0
        for name, number in (("blue", 1), ("red", 2)):
            named = json.loads((out / "named" / f"{number}.{task}.json").read_text())
            assert set(named) == ({"k=1", "k=3"} if task == "knn" else {"linear"})
            for shares in named.values():
                assert next(iter(shares)) == name and sum(shares.values()) == pytest.approx(1.0, abs=1e-5)


def test_neighbours_of_an_unfinished_fit_do_not_vote(tmp_path, capsys, monkeypatch):
    """A fit on more images moves the vectors at once, and their classes at its end."""
    root, head = class_folder(tmp_path / "data"), tmp_path / "knn"
    fit = ["fit", "knn", "--encoder", "baseline:colour", "--data", f"folder:{root}", "--out", str(head)]
    fit += ["--vectors.resize", "40", "--vectors.crop", "28", "--neighbours", "1", *COMPUTING]
    score = ["evaluate", "knn", "--head", str(head), *COMPUTING]
    assert main(fit) == main(score) == 0
    more = root / "train" / "blue" / "00.png"
    shutil.copy(root / "train" / "blue" / "0.png", more)
    with monkeypatch.context() as patch:
        patch.setattr("codistill.tasks.classification.bank.encode_pictures", lambda *_, **__: sys.exit(9))
        with pytest.raises(SystemExit):
            main(fit)
    capsys.readouterr()
    assert main(score) == 2
    assert "a fit of this head on other images was not finished" in capsys.readouterr().err
    more.unlink()
    assert main(fit) == main(score) == 0


DATA = ["--encoder", "e", "--data", "folder:/x", "--out", "o"]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["fit", "segmentation", *DATA, "--held-out", "2"], "held_out must lie between 0 and 1"),
        (
            ["fit", "linear", "published", *DATA, "--blocks", "0", "1"],
            "the published protocol chooses its blocks",
        ),
        (
            ["fit", "segmentation", *DATA, "--no-norm", "--projector", "a"],
            "--no-norm would have no effect: projectors take un-normed tokens",
        ),
        (
            ["fit", "depth", *DATA, "--blocks", "1", "--projector", "a"],
            "blocks (1,) belong to an encoder alone",
        ),
        (["evaluate", "knn", "--head", "h", "--batch-size", "0"], "batch_size must be 1 or more; got 0"),
        (
            ["evaluate", "segmentation", "--head", "/nowhere"],
            "/nowhere: no such folder. Fit a head first: codistill fit segm",
        ),
        (
            ["segment", "/nowhere/*.jpg", "--head", "h", "--out", "o"],
            "/nowhere/*.jpg: no file fits this pattern",
        ),
        (
            ["depth", "x.png", "--head", "dune-tinny", "--out", "o"],
            "dune-tinny: no such file or folder. Unknown model 'dune-tinny'. Did you mean 'dune-tiny'",
        ),
        (
            ["depth", "x.png", "--heads", "h", "--out", "o"],
            "Unknown option --heads. Did you mean --head",
        ),
        (
            ["depth", "x.png", "--head", "/nowhere", "--out", "o"],
            "/nowhere: no such folder. Fit a head first: codistill fit depth",
        ),
    ],
)
def test_wrong_commands_say_what_to_do(argv, text, capsys):
    assert main(argv) == 2
    assert f": {text}" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["segmentation", "depth", "knn", "linear"])
@pytest.mark.parametrize("fault", ["missing", "damaged", "against"])
def test_what_is_scored_is_opened_before_anything_is_fitted(tmp_path, capsys, task, fault):
    data, out = tmp_path / "data", tmp_path / "out"
    dense = task in ("segmentation", "depth")
    image, labels = toy_scene(0, (56, 56))
    for split in ("train", "val"):
        if split == "val" and fault == "missing":
            continue
        for number in range(4):
            folder = data / "images" / split if dense else data / split / f"class{number % 2}"
            write_png(folder / f"{number}.png", image)
            if dense:
                write_png(data / "labels" / split / f"{number}.png", labels)
                write_png(data / "depth" / split / f"{number}.png", (labels + 1).astype(np.uint16) * 1000)
    (data / "classes.json").write_text('["red", "green", "blue"]')
    if fault == "damaged":
        next((data / ("images/val" if dense else "val")).rglob("*.png")).write_bytes(b"no image")
    argv = ["evaluate", task, "--encoder", ENCODER, "--data", f"folder:{data}", "--out", str(out), *COMPUTING]
    if fault == "against":
        argv += ["--against", str(tmp_path / "nothing")]
    assert main(argv) == 2
    assert {"missing": "val", "damaged": ".png", "against": "nothing"}[fault] in capsys.readouterr().err
    assert not out.exists()


def test_results_need_a_place_before_anything_is_scored(evaluation, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("codistill.commands.evaluate.evaluate", pytest.fail)
    (tmp_path / "file").touch()
    argv = ["evaluate", "segmentation", "--head", str(evaluation / "head"), "--out", str(tmp_path / "file")]
    assert main([*argv, *COMPUTING]) == 2
    assert "file cannot be a folder for output" in capsys.readouterr().err


def test_another_encoder_under_a_head_must_be_asked_for(evaluation, root, tmp_path, capsys):
    picture = next((root / "images" / "val").iterdir())
    again = ["--head", str(evaluation / "head"), "--out", str(tmp_path), "--device", "cpu"]
    other = ["--encoder", f"{ENCODER},seed=5"]
    assert main(["segment", str(picture), *again, *other]) == 2
    assert "weights differ" in " ".join(capsys.readouterr().err.split())
    assert main(["segment", str(picture), *again, "--no-norm"]) == 2
    assert "norm True against False" in " ".join(capsys.readouterr().err.split())
    assert main(["segment", str(picture), *again, "--encoder", ENCODER]) == 0
    assert main(["segment", str(picture), *again, *other, "--other-encoder"]) == 0
    scored = ["evaluate", "segmentation", *again, "--pictures", "0", "--workers", "0", "--limit", "1"]
    for more, said in ((["--encoder", ENCODER], None), ([*other, "--other-encoder"], True)):
        assert main([*scored, *more]) == 0
        assert json.loads((tmp_path / "metrics.json").read_text()).get("other_encoder") is said


def test_pictures_are_refused_where_a_task_draws_none(tmp_path, capsys):
    """Before anything is opened: an option without effect."""
    argv = [
        "evaluate",
        "knn",
        "--encoder",
        ENCODER,
        "--data",
        f"folder:{tmp_path}",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main([*argv, "--pictures", "3"]) == 2
    assert "--pictures would have no effect: knn draws none" in capsys.readouterr().err
