"""A model is bundled, found by name, used without naming a head and verified; parts of others are refused."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import codistill
from codistill.cli import main
from codistill.commands.parsers.reconstruct import parse as parse_reconstruct
from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError
from codistill.tasks.bundle import LARGEST_FILE
from codistill.weights import shipped
from codistill.weights.contents import EncoderWeights
from codistill.weights.export import write_export
from codistill.weights.shipped import model_folders, shipped_head, shipped_models

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))
from task_toys import segmentation_folder

COMPUTING = ["--workers", "0", "--device", "cpu"]
TOY = "random:vit_tiny,depth=2,dim=48,num_heads=2,image_size=56"


def export(folder: Path, seed: int = 0, scale: float = 1.0) -> Path:
    encoder = load_encoder(f"{TOY},seed={seed}")
    tensors = {name: tensor * scale for name, tensor in encoder.state_dict().items()}
    return write_export(
        folder,
        EncoderWeights(
            config=encoder.config, tensors=tensors, layout="test", name="toy", licence="Apache-2.0"
        ),
    )


def fit(encoder: str, data: Path, out: Path) -> Path:
    argv = ["fit", "segmentation", "--encoder", encoder, "--data", f"folder:{data}", "--out", str(out)]
    assert (
        main([*argv, *["--steps", "20", "--batch-size", "4", "--views", "1", "--size", "56"], *COMPUTING])
        == 0
    )
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    exported = export(place / "export")
    toy = place / "models" / "toy"
    assert main(["bundle", str(exported), "--out", str(toy), "--about", "A toy.", "--size", "56"]) == 0
    data = segmentation_folder(place / "data", train=8, val=3)
    head = fit(str(toy), data, place / "head")
    assert main(["evaluate", "segmentation", "--head", str(head), *COMPUTING]) == 0
    assert main(["bundle", str(toy), "--head", str(head)]) == 0
    return toy


@pytest.fixture
def moved(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model at another place, found by its name."""
    folder = tmp_path / "elsewhere" / "toy"
    shutil.copytree(model, folder)
    monkeypatch.setenv("CODISTILL_MODELS", str(folder.parent))
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_encoder_is_the_given_one_rounded(model: Path, moved: Path) -> None:
    given = load_encoder(f"{TOY},seed=0")
    found = codistill.load_encoder("toy")
    for name, tensor in given.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor.half().float())
    assert found.spec.licence == "Apache-2.0" and found.spec.name == "toy"


def test_a_head_needs_no_name(moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(photo)
    for number, head in enumerate(([], ["--head", "toy"], ["--head", str(moved / "heads" / "segmentation")])):
        argv = [
            "segment",
            str(photo),
            *head,
            "--out",
            str(tmp_path / str(number)),
            "--json",
            "--device",
            "cpu",
        ]
        assert main(argv) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answers[0]["classes"] == answers[1]["classes"] == answers[2]["classes"]
    assert main(["predict", "knn", str(photo), "--out", str(tmp_path / "d")]) == 2
    assert "no model that ships has one" in capsys.readouterr().err


def test_a_model_is_bundled_and_converted_by_its_name(
    moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "toy", "--out", str(tmp_path / "again"), "--about", "Again.", "--size", "56"]) == 0
    assert main(["convert", "toy", "--out", str(tmp_path / "export")]) == 0
    weights = load_encoder(str(moved)).state_dict()
    for folder in ("again", "export"):
        found = load_encoder(str(tmp_path / folder)).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
    assert main(["bundle", "toy", "--head", str(moved / "heads" / "segmentation")]) == 2
    assert f"toy is a name, of the one in {moved}" in capsys.readouterr().err


def test_two_views_need_no_name_of_a_head_either(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["a.jpg", "b.jpg", "--out", "o.glb"]
    assert parse_reconstruct(argv).head == shipped_head("two-view")
    assert parse_reconstruct([*argv, "--model", "m.pth"]).head is None
    monkeypatch.setattr(shipped, "shipped_models", dict)
    with pytest.raises(ConfigError, match=r"which head\? add --head HEAD of `codistill fit two-view`"):
        parse_reconstruct(argv)


def test_the_card_has_the_scores_and_no_folder_of_the_machine(model: Path) -> None:
    text = (model / "README.md").read_text()
    assert "A toy." in text and "mIoU" in text and "Apache-2.0" in text
    for file in (*model.rglob("*.json"), model / "README.md"):
        assert "/tmp" not in file.read_text() and str(Path.home()) not in file.read_text()


def test_verify_computes_the_checks_again(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(moved.parent), "--only", "models"]) == 0
    assert "0 failed" in capsys.readouterr().out


def test_verify_notices_another_encoder(
    moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = export(tmp_path / "other", seed=1)
    shutil.copy(other / "encoder.safetensors", moved / "encoder.safetensors")
    assert main(["verify", str(moved.parent), "--only", "models"]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert any("encoder.safetensors" in line for line in failed)
    assert any("computed picture" in line for line in failed)


def test_a_head_of_another_encoder_is_refused(
    moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = segmentation_folder(tmp_path / "data", train=8, val=3)
    head = fit(str(export(tmp_path / "other", seed=1)), data, tmp_path / "head")
    assert main(["bundle", str(moved), "--head", str(head)]) == 2
    assert "fitted on another encoder" in capsys.readouterr().err


def test_a_head_with_wrong_scores_leaves_the_model_as_it_was(
    moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = shutil.copytree(moved / "heads" / "segmentation", tmp_path / "head")
    weights = head / "head.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)
    facts = {"split": "val", "images": 1, "unit": "image", "interval": "", "scores": {}}
    earlier = {**facts, "task": "segmentation", "head_sha256": "of the head before"}
    files = {
        "earlier": earlier,
        "foreign": {**facts, "task": "segmentation", "other_encoder": True},
        "other": {**facts, "task": "depth"},
        "stray": {"a": 1},
        "few": {"task": "segmentation"},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    before = {path: path.read_bytes() for path in moved.rglob("*") if path.is_file()}
    for more, complaint in (
        ((f"{head}={tmp_path / 'none.json'}",), "no such metrics file"),
        ((f"{head}={tmp_path / 'other.json'}",), "has scores of depth"),
        ((f"{head}={tmp_path / 'earlier.json'}",), "has scores of another head than the one in"),
        ((f"{head}={tmp_path / 'foreign.json'}",), "has scores with another encoder"),
        ((f"{head}={tmp_path / 'stray.json'}",), "is not the metrics file"),
        ((f"{head}={tmp_path / 'few.json'}",), "is not the metrics file"),
        ((str(head), "--head", str(head)), "a second head for segmentation"),
    ):
        assert main(["bundle", str(moved), "--head", *more]) == 2
        assert complaint in capsys.readouterr().err
        assert {path: path.read_bytes() for path in moved.rglob("*") if path.is_file()} == before


def test_a_new_model_has_a_positive_size_and_a_text(
    moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["bundle", "toy", "--out", str(tmp_path / "again"), "--about", "x", "--size", "0"]
    assert main(again) == 2
    assert "--size must be 1 or more; got 0" in capsys.readouterr().err
    (tmp_path / "empty.md").write_text("\n")
    assert main([*again[:4], "--about", f"@{tmp_path / 'empty.md'}"]) == 2
    assert "a model needs --out DIR and --about TEXT" in capsys.readouterr().err
    assert main(["bundle", str(moved), "--head", "h", "--size", "56"]) == 2
    assert "--size would have no effect with --head" in capsys.readouterr().err


def test_what_fp16_cannot_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported = export(tmp_path / "export", scale=1e7)
    assert main(["bundle", str(exported), "--out", str(tmp_path / "m"), "--about", "x"]) == 2
    assert "fp16 ends at 65504" in capsys.readouterr().err and not (tmp_path / "m").exists()


def test_inspect_lists_it(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models that ship"]}
    assert rows["toy"]["heads"] == "segmentation"
    assert main(["inspect", "toy"]) == 0


def test_models_that_ship_are_small_and_pass_their_checks() -> None:
    assert model_folders()[-1].is_dir()
    own = {name: folder for name, folder in shipped_models().items() if folder.parent == model_folders()[-1]}
    sizes = [path.stat().st_size for folder in own.values() for path in folder.rglob("*.safetensors")]
    assert all(size <= LARGEST_FILE for size in sizes) and sum(sizes) <= 60_000_000
    if own:
        assert main(["verify", "models", "--only", "models"]) == 0


@pytest.mark.slow
def test_an_installed_wheel_has_them(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", str(root), "-w", str(tmp_path)]
    subprocess.run(build, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import codistill, sys; from codistill.weights.shipped import shipped_models; "
        "assert codistill.__file__.startswith(sys.argv[1]), codistill.__file__; "
        "[codistill.load_encoder(name) for name in shipped_models()]; print(sorted(shipped_models()))"
    )
    site = str(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", code, site],
        cwd=tmp_path,
        env={"PYTHONPATH": site, "PATH": "", "CODISTILL_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    own = [name for name, folder in shipped_models().items() if folder.parent == model_folders()[-1]]
    assert done.stdout.strip() == str(sorted(own))


def test_a_perception_of_the_model_has_its_heads(moved: Path) -> None:
    perception = codistill.Perception.from_pretrained("toy", device="cpu")
    assert set(perception.heads) == {"segmentation"} and perception.about == "A toy."
    scene = perception(np.zeros((70, 84, 3), np.uint8))
    assert scene.segmentation[0].classes.shape == (70, 84)


def test_a_students_projectors_are_left_out_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    teacher = f"generic,{export(tmp_path / 'teacher')},kinds=patch"
    options = ["--teacher", teacher, "--engine.total-steps", "1", "--device", "cpu"]
    assert main(["distill", "debug", "--out", str(run), *options]) == 0
    options = ["--about", "A student.", "--licence", "Apache-2.0", "--size", "56"]
    for name, more in (("whole", []), ("bare", ["--no-projectors"])):
        assert main(["bundle", str(run / "export"), "--out", str(tmp_path / name), *options, *more]) == 0
    assert (tmp_path / "whole" / "projectors.safetensors").is_file()
    assert not (tmp_path / "bare" / "projectors.safetensors").exists()
    for name in ("whole", "bare"):  # in config.json and in the tensors' header
        files = [path for path in (tmp_path / name).iterdir() if path.is_file()]
        assert all(str(tmp_path).encode() not in path.read_bytes() for path in files)
    whole, bare = (load_encoder(tmp_path / name).state_dict() for name in ("whole", "bare"))
    assert all(torch.equal(tensor, bare[name]) for name, tensor in whole.items())
    # There is nothing to leave out of an encoder alone, and an idle option is refused.
    again = ["bundle", str(export(tmp_path / "export")), "--out", str(tmp_path / "no"), *options]
    assert main([*again, "--no-projectors"]) == 2
    assert "no projectors to leave out" in capsys.readouterr().err
    assert main(["bundle", str(tmp_path / "bare"), "--head", "x", "--no-projectors"]) == 2
    assert "--no-projectors" in capsys.readouterr().err


def test_a_licence_that_forbids_commercial_use_is_not_replaced_by_a_free_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bound = tmp_path / "bound"
    assert (
        main(["convert", str(export(tmp_path / "free")), "--out", str(bound), "--licence", "CC-BY-NC-4.0"])
        == 0
    )
    free = ["--licence", "Apache-2.0", "--out", str(tmp_path / "freed")]
    assert main(["convert", str(bound), *free]) == 2
    assert "forbid commercial use (licence: CC-BY-NC-4.0)" in capsys.readouterr().err
    assert main(["bundle", str(bound), "--about", "A student.", *free]) == 2
    assert "forbid commercial use (licence: CC-BY-NC-4.0)" in capsys.readouterr().err
    assert not (tmp_path / "freed").exists()
