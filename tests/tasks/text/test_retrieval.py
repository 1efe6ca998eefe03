"""Retrieval by a double loop, and the command on an encoder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from task_toys import ENCODER

from codistill.cli import main
from codistill.commands.evaluate_retrieval import main as retrieval
from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError, DataError
from codistill.files.npz import write_npz
from codistill.tasks.text.retrieval import found_at

SIZES = ["--resize", "56", "--crop", "56", "--workers", "0", "--device", "cpu"]


def by_loops(
    images: np.ndarray, texts: np.ndarray, owners: list[int], rank: int
) -> tuple[list[bool], list[bool]]:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    of_images, of_texts = [], []
    for i, image in enumerate(images):
        order = sorted(range(len(texts)), key=lambda t: -cosine(image, texts[t]))
        of_images.append(any(owners[t] == i for t in order[:rank]))
    for t, text in enumerate(texts):
        order = sorted(range(len(images)), key=lambda i: -cosine(images[i], text))
        of_texts.append(owners[t] in order[:rank])
    return of_images, of_texts


def test_recall_is_that_of_two_loops() -> None:
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(7, 5)), rng.normal(size=(12, 5))
    owners = [0, 1, 2, 3, 4, 5, 6, 0, 0, 3, 3, 6]
    found = found_at(torch.tensor(images), torch.tensor(texts), torch.tensor(owners), (1, 3, 5))
    for column, rank in enumerate((1, 3, 5)):
        wanted = by_loops(images, texts, owners, rank)
        assert found[0][:, column].tolist() == wanted[0]
        assert found[1][:, column].tolist() == wanted[1]
    swap = torch.randperm(12)  # the order of captions changes nothing
    turned = found_at(torch.tensor(images), torch.tensor(texts)[swap], torch.tensor(owners)[swap], (1, 3, 5))
    assert torch.equal(turned[0], found[0]) and torch.equal(turned[1], found[1][swap])


def test_equal_cosines_count_against() -> None:
    one = torch.ones(3, 4)
    of_images, of_texts = found_at(one, one, torch.arange(3), (1, 3))
    assert of_images.tolist() == of_texts.tolist() == [[False, True]] * 3


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (56, 56, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def captions(path: Path, values: np.ndarray, images: list[str], tower: str) -> Path:
    write_npz(path, {"embeddings": values, "images": np.array(images), "tower": np.array(tower)})
    return path


def test_the_command_scores_an_encoder(pictures: Path, tmp_path: Path) -> None:
    encoder = load_encoder(ENCODER)
    names = [f"{number}.png" for number in range(4)]
    vectors = encoder(encoder.preprocess([pictures / name for name in names])).cls
    values = (vectors - vectors.mean(0)).numpy()  # each nearest to its own image, once the mean is out
    values[3] = -values[3]
    file = captions(tmp_path / "c.npz", values, names, encoder.spec.name)
    argv = ["--encoder", ENCODER, "--captions", str(file), "--images", str(pictures), *SIZES]
    assert main(["evaluate", "retrieval", *argv, "--out", str(tmp_path / "r.json")]) == 0
    numbers = json.loads((tmp_path / "r.json").read_text())
    of_images, of_texts = by_loops(vectors.numpy(), values, [0, 1, 2, 3], 1)
    scores = numbers["scores"]
    assert scores["image to text, recall at 1"]["mean"] == pytest.approx(np.mean(of_images))
    assert scores["text to image, recall at 1"]["mean"] == pytest.approx(np.mean(of_texts))
    assert numbers["captions"] == 4 and len(scores) == 2  # of four captions, five are no rank


def test_what_does_not_fit_is_refused_before_loading(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codistill.tasks.text import space

    def load(*_: object) -> None:
        raise AssertionError("something was loaded")

    monkeypatch.setattr(space, "FrozenFeatures", load)
    file = captions(tmp_path / "c.npz", np.ones((1, 5), np.float32), ["0.png"], "t")
    argv = ["--encoder", "dinov3_vits16", "--captions", str(file), "--images", str(pictures)]
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match="embeddings have 5 channels, summaries of dinov3_vits16 384"):
        retrieval(argv)
    pe = "timm:vit_pe_core_large_patch14_336.fb"  # 1024 channels before its projection, and after it
    file = captions(tmp_path / "p.npz", np.ones((1, 1024), np.float32), ["0.png"], pe)
    with pytest.raises(ConfigError, match=r"ends in a projection .* even if the widths agree"):
        retrieval(["--encoder", f"{pe},summary=pooled", "--captions", str(file), "--images", str(pictures)])
    other = captions(tmp_path / "d.npz", np.ones((1, 5), np.float32), ["x.png"], "t")
    with pytest.raises(DataError, match="1 of 1 images are not in"):
        retrieval(["--encoder", ENCODER, "--captions", str(other), "--images", str(pictures)])


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"embeddings": np.ones((2, 3))}, "has no images, tower"),
        ({"embeddings": np.ones((2, 3)), "images": ["a"], "tower": "t"}, "do not go with 1 images"),
        ({"embeddings": np.zeros((1, 3)), "images": ["a"], "tower": "t"}, "zero or not finite"),
    ],
)
def test_files_that_do_not_fit(arrays: dict, error: str, pictures: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "bad.npz", {name: np.array(value) for name, value in arrays.items()})
    argv = ["--encoder", ENCODER, "--captions", str(tmp_path / "bad.npz"), "--images", str(pictures)]
    with pytest.raises(DataError, match=error):
        retrieval(argv)
