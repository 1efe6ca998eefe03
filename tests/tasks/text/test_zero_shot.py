"""Zero-shot classification: cosines by hand, the command on an encoder and on a student, files that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from task_toys import ENCODER, class_folder
from torch.nn.functional import normalize

from codistill.cli import main
from codistill.commands.evaluate_zero_shot import main as zero_shot
from codistill.encoders.load import load_encoder
from codistill.errors import CodistillError, ConfigError, DataError
from codistill.files.npz import write_npz
from codistill.student.load import load_student
from codistill.tasks.classification.bank import ImageVectors
from codistill.tasks.classification.data import LAYOUTS
from codistill.tasks.opening import open_split
from codistill.tasks.text.embeddings import read_class_embeddings

SIZES = ["--resize", "64", "--crop", "56", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folder(tmp_path_factory.mktemp("images"), train=1, val=4, classes=3)


def embeddings(path: Path, values: np.ndarray, classes: tuple[str, ...], tower: str = "t") -> Path:
    write_npz(path, {"embeddings": values, "classes": np.array(classes), "tower": np.array(tower)})
    return path


def seen(root: Path, split: str = "val") -> tuple[torch.Tensor, list[int], tuple[str, ...]]:
    """The images of a split as an encoder sees them, normalized by hand, their classes, and these classes' names."""
    data = open_split(LAYOUTS, f"folder:{root}", split)
    pixels = np.stack([ImageVectors(resize=64, crop=56).prepared(image.read()) for image in data.images()])
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = torch.tensor((pixels / 255 - mean) / std, dtype=torch.float32).permute(0, 3, 1, 2)
    return images, data.labels().tolist(), data.classes


def test_classes_are_mean_unit_vectors_and_the_best_cosine_wins(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values, vectors = rng.normal(size=(3, 4, 6)).astype(np.float32), rng.normal(size=(5, 6))
    found = read_class_embeddings(embeddings(tmp_path / "a.npz", values, ("x", "y", "z")))
    wanted = np.zeros((5, 3))
    for image in range(5):
        for one in range(3):
            mean = np.mean([v / np.linalg.norm(v) for v in values[one]], axis=0)
            v = vectors[image]
            wanted[image, one] = v @ mean / np.linalg.norm(v) / np.linalg.norm(mean)
    scores = found.scores(torch.tensor(vectors))
    np.testing.assert_allclose(scores, wanted, atol=1e-6)
    turned = found.ordered(("z", "x", "y"), "data")
    torch.testing.assert_close(turned.scores(torch.tensor(vectors)), scores[:, [2, 0, 1]])
    single = read_class_embeddings(embeddings(tmp_path / "b.npz", 7 * values[:, :1], ("x", "y", "z")))
    flat = read_class_embeddings(embeddings(tmp_path / "c.npz", values[:, 0], ("x", "y", "z")))
    torch.testing.assert_close(single.values, flat.values)  # one template is no average


def test_an_encoder_scores_as_by_hand(root: Path, tmp_path: Path) -> None:
    images, labels, classes = seen(root)
    encoder = load_encoder(ENCODER)
    vectors = normalize(encoder(images).cls, dim=-1)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    values = vectors[[0, 4, 8]].numpy() + 0.02 * rng.normal(size=(3, vectors.shape[1])).astype(np.float32)
    expected = float(
        np.mean((vectors @ normalize(torch.tensor(values), dim=-1).T).argmax(1).numpy() == np.array(labels))
    )
    file = embeddings(
        tmp_path / "e.npz", values[[2, 0, 1]], (classes[2], classes[0], classes[1]), encoder.spec.name
    )
    out = tmp_path / "out.json"
    command = [
        "evaluate",
        "zero-shot",
        "--encoder",
        ENCODER,
        "--classes",
        str(file),
        "--data",
        f"folder:{root}",
    ]
    assert main([*command, *SIZES, "--out", str(out)]) == 0
    numbers = json.loads(out.read_text())
    assert numbers["scores"]["top-1"]["mean"] == pytest.approx(expected)
    assert numbers["scores"]["top-1"]["count"] == 12 and numbers["templates"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ["zero-shot", "--encoder", ENCODER, "--classes", "e.npz", "--data", "folder:d"],
        ["retrieval", "--encoder", ENCODER, "--captions", "e.npz", "--images", "d"],
    ],
)
def test_results_need_a_place_before_anything_is_scored(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *words, "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder: name a file" in capsys.readouterr().err


def test_a_single_class_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = class_folder(tmp_path / "one", train=1, val=2, classes=1)
    command = ["evaluate", "zero-shot", "--encoder", ENCODER, "--classes", "e.npz", "--data", f"folder:{one}"]
    assert main([*command, *SIZES, "--out", str(tmp_path / "out.json")]) == 2
    assert "two are needed" in capsys.readouterr().err


def test_a_student_is_compared_in_its_teachers_space(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        main(["distill", "debug", "--engine.total-steps=1", "--engine.validate-every=0", "--out", str(run)])
        == 0
    )
    images, labels, classes = seen(root)
    student = load_student(str(run))
    tokens = student.encoder(images, norm=False)
    vectors = normalize(student.project(tokens, "generic", denormalize=True).cls, dim=-1)  # type: ignore[arg-type]
    values = normalize(
        vectors[[1, 5, 9]] - vectors.mean(0), dim=-1
    ).numpy()  # one step leaves all nearly alike
    expected = float(np.mean((vectors @ torch.tensor(values).T).argmax(1).numpy() == np.array(labels)))
    tower = json.loads((run / "describe.json").read_text())["teachers"][0]["encoder"]
    out, data = tmp_path / "out.json", f"folder:{root}"

    def score(file: Path, teacher: str = "generic") -> int:
        command = ["--encoder", str(run), "--projector", teacher, "--data", data]
        return zero_shot([*command, "--classes", str(file), *SIZES, "--out", str(out)])

    assert score(embeddings(tmp_path / "good.npz", values, classes, tower)) == 0
    assert json.loads(out.read_text())["scores"]["top-1"]["mean"] == pytest.approx(expected)
    for name, changed, text in (
        ("tower", {"tower": "clip"}, r"are of the tower 'clip', teacher 'generic' is 'random:vit_tiny"),
        ("width", {"values": values[:, :5]}, "embeddings have 5 channels, summaries of generic 64"),
        ("classes", {"classes": ("a", *classes[1:])}, r"the file lacks 1 .* and it has 1 more \(a\)"),
    ):
        given = {"values": values, "classes": classes, "tower": tower, **changed}
        with pytest.raises(CodistillError, match=text):
            score(embeddings(tmp_path / f"{name}.npz", **given))
    with pytest.raises(ConfigError, match="nothing says which encoder teacher 'other' is"):
        score(embeddings(tmp_path / "good2.npz", values, classes, tower), "other")


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"embeddings": np.ones((2, 3))}, "has no classes, tower"),
        ({"embeddings": np.ones((2, 3)), "classes": ["a", "b", "c"], "tower": "t"}, "do not go with 3"),
        ({"embeddings": np.ones((2, 3)), "classes": ["a", "a"], "tower": "t"}, "1 different classes of 2"),
        (
            {"embeddings": np.eye(2, 3) * [[1], [0]], "classes": ["a", "b"], "tower": "t"},
            "zero or not finite",
        ),
        (
            {"embeddings": np.array([[[1.0], [-1.0]], [[1.0], [1.0]]]), "classes": ["a", "b"], "tower": "t"},
            "cancel each other out",
        ),
        ({"embeddings": np.ones((2, 3)), "classes": ["a", "b"], "tower": ["t", "u"]}, "got 2 entries"),
    ],
)
def test_files_that_do_not_fit(arrays: dict, text: str, tmp_path: Path) -> None:
    write_npz(tmp_path / "bad.npz", {name: np.array(value) for name, value in arrays.items()})
    with pytest.raises(DataError, match=text):
        read_class_embeddings(tmp_path / "bad.npz")
