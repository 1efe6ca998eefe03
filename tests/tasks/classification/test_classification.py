import io
import math

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from task_toys import ENCODER, write_png

from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError, DataError
from codistill.tasks.classification import fit as fitting
from codistill.tasks.classification.bank import ImageVectors, build_bank
from codistill.tasks.classification.data import open_image_folder
from codistill.tasks.classification.evaluate import evaluate_classifier
from codistill.tasks.classification.fit import ClassificationFit, fit_classifier
from codistill.tasks.classification.knn import knn_votes
from codistill.tasks.classification.logistic import choose_logistic, fit_logistic, split_per_class
from codistill.tasks.classification.predict import load_classifier
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import read_record


def blobs(count: int = 90, classes: int = 4, width: int = 6, seed: int = 0, spread: float = 1.2):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99)) * 1.5
    labels = torch.randint(0, classes, (count,), generator=generator)
    return centres[labels] + spread * torch.randn(count, width, generator=generator), labels


def slow_votes(
    query: list[float], bank: torch.Tensor, labels: torch.Tensor, k: int, classes: int
) -> list[float]:
    """DINOv2's rule written out for one query, without its common factor."""

    def unit(values):
        length = math.sqrt(sum(v * v for v in values))
        return [v / length for v in values]

    q = unit(query)
    similarities = [sum(a * b for a, b in zip(q, unit(row), strict=True)) for row in bank.tolist()]
    order = sorted(range(len(similarities)), key=lambda i: -similarities[i])[:k]
    votes = [0.0] * classes
    for i in order:
        votes[int(labels[i])] += math.exp(similarities[i] / 0.07)
    return votes


def test_votes_are_the_rule_written_out():
    bank, labels = blobs()
    queries, _ = blobs(7, seed=1)
    found = knn_votes(queries, bank, labels, 4, (1, 5, 30), chunk=3)
    for k, votes in found.items():
        for row, query in zip(votes, queries, strict=True):
            expected = np.array(slow_votes(query.tolist(), bank, labels, k, 4))
            np.testing.assert_allclose(row / row.sum(), expected / expected.sum(), rtol=1e-3, atol=1e-6)


def test_one_neighbour_is_scikit_learn_s():
    bank, labels = blobs()
    queries, _ = blobs(40, seed=2)
    reference = KNeighborsClassifier(1, metric="cosine").fit(bank.numpy(), labels.numpy())
    found = knn_votes(queries, bank, labels, 4, (1,))[1].argmax(1)
    assert found.tolist() == reference.predict(queries.numpy()).tolist()


def test_more_neighbours_than_images_are_refused():
    bank, labels = blobs(8)
    with pytest.raises(ConfigError, match=r"\[10\] neighbours were asked for; the training images are 8"):
        knn_votes(bank, bank, labels, 4, (10,))


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_logistic_regression_is_scikit_learn_s(strength):
    vectors, labels = blobs()
    reference = LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(vectors.numpy(), labels.numpy())
    found = fit_logistic(vectors, labels, 4, strength)
    expected = torch.from_numpy(reference.decision_function(vectors.numpy())).float()
    scores = found(vectors)
    torch.testing.assert_close(scores.softmax(1), expected.softmax(1), rtol=1e-2, atol=2e-3)
    np.testing.assert_allclose(
        found.weight.numpy(), reference.coef_, atol=0.02 * np.abs(reference.coef_).max()
    )


def test_the_strength_is_chosen_on_what_was_held_out():
    """Noise with a weak signal: the strongest fit memorizes, and must not be chosen."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(80, 200, generator=generator)
    labels = (vectors[:, 0] + 0.1 * torch.randn(80, generator=generator) > 0).long()
    choice = choose_logistic(vectors, labels, 2, strengths=(1e-4, 1e-2, 1e6))
    assert set(choice.accuracies) == {1e-4, 1e-2, 1e6}
    assert choice.accuracies[choice.model.strength] == max(choice.accuracies.values())


def test_every_class_keeps_an_image():
    labels = np.array([0] * 10 + [1] * 2 + [2])
    kept, held = split_per_class(labels, 0.2, seed=0)
    assert sorted([*kept, *held]) == list(range(13))
    assert np.bincount(labels[held], minlength=3).tolist() == [2, 1, 0]
    with pytest.raises(DataError, match="no class has two training images"):
        choose_logistic(torch.randn(2, 3), torch.tensor([0, 1]), 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two classes told apart by colour, with images of several sizes."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 4)):
        for name, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
            for index in range(count):
                size = (60 + 4 * index, 90, 3)
                image = np.clip(np.array(colour) + rng.normal(0, 20, size), 0, 255).astype(np.uint8)
                write_png(root / split / name / f"{index}.png", image)
    return root


VECTORS = ImageVectors(resize=64, crop=56)


def test_vectors_are_class_tokens_mean_patches_or_both(root, tmp_path):
    encoder = load_encoder(ENCODER)
    data = open_image_folder(root, "train")
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    images = torch.cat([encoder.preprocess(VECTORS.image(path)) for path in data.paths[:3]])
    with torch.no_grad():
        tokens = encoder(images)
    assert images.shape == (3, 3, 56, 56) and tokens.cls is not None
    both = build_bank(
        tmp_path / "b", data.paths[:3], ImageVectors(kind="cls+mean", resize=64, crop=56), features, workers=0
    )
    expected = torch.cat((tokens.cls, tokens.patches.mean(1)), dim=1)
    np.testing.assert_allclose(both, expected.numpy(), rtol=1e-4, atol=1e-5)
    alone = build_bank(tmp_path / "c", data.paths[:3], VECTORS, features, workers=0, batch_size=2)
    np.testing.assert_allclose(alone, both[:, : features.channels], rtol=1e-4, atol=1e-5)
    other = FrozenFeatures(FeatureConfig(encoder=f"{ENCODER},seed=3"))
    with pytest.raises(ConfigError, match=r"vectors of something else \(different: features\).*\(--out\)"):
        build_bank(tmp_path / "c", data.paths[:3], VECTORS, other, workers=0)


def test_an_interrupted_bank_goes_on(root, tmp_path):
    data = open_image_folder(root, "train")
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    whole = np.array(build_bank(tmp_path / "a", data.paths, VECTORS, features, workers=0))
    paths = list(data.paths)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(paths[-1].read_bytes()[:40])
    with pytest.raises(DataError, match=r"damaged\.png"):
        build_bank(tmp_path / "b", [*paths[:-1], damaged], VECTORS, features, workers=0, batch_size=4)
    damaged.write_bytes(paths[-1].read_bytes())
    np.testing.assert_array_equal(
        build_bank(tmp_path / "b", [*paths[:-1], damaged], VECTORS, features, workers=0), whole
    )


def test_replaced_and_new_images_get_vectors_of_their_own(tmp_path):
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    rng = np.random.default_rng(1)
    paths = [tmp_path / "images" / f"{number}.png" for number in range(5)]

    def picture():
        return rng.integers(0, 255, (60, 60, 3), dtype=np.uint8)

    for path in paths:
        write_png(path, picture())
    said, left = [], []

    def built(folder, chosen):
        left.clear()
        progress = lambda done, total: left.append(total - done)  # noqa: E731
        return np.array(
            build_bank(folder, chosen, VECTORS, features, workers=0, progress=progress, say=said.append)
        )

    built(tmp_path / "bank", paths)
    write_png(paths[1], picture())
    write_png(tmp_path / "images" / "2b.png", picture())
    now = [*paths[:3], tmp_path / "images" / "2b.png", paths[4]]
    found = built(tmp_path / "bank", now)
    assert left[0] == 2 and f"changed: {paths[1]}" in said[0] and "2b.png" in said[0] and "gone" in said[0]
    np.testing.assert_allclose(found, built(tmp_path / "fresh", now), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["knn", "linear"])
def test_classifiers_tell_the_toys_apart(root, tmp_path, task):
    config = ClassificationFit(
        task=task,
        data=str(root),
        features=FeatureConfig(encoder=ENCODER),
        vectors=ImageVectors(kind="mean", resize=64, crop=56),
        neighbours=(3, 5),
        strengths=(0.1, 10.0),
    )
    fit_classifier(config, Runtime(out=tmp_path, workers=0, console=Console(quiet=True)))
    classifier = load_classifier(tmp_path, task)
    data = open_image_folder(root, "val")
    result = evaluate_classifier(classifier, data, classifier.encode(data.paths, torch.device("cpu")))
    scores = result.intervals()
    assert set(scores) == ({"k=3 top-1", "k=5 top-1"} if task == "knn" else {"linear top-1"})
    assert all(interval.mean == 100.0 and interval.count == 8 for interval in scores.values())
    assert set(result.summary()["mean_per_class_top_1"].values()) == {100.0}
    other = "linear" if task == "knn" else "knn"
    with pytest.raises(ConfigError, match=f"is a head for {task}, not for {other}"):
        load_classifier(tmp_path, other)


def fit_knn(root, out, neighbours, limit=None):
    said = io.StringIO()
    config = ClassificationFit(
        task="knn",
        data=str(root),
        features=FeatureConfig(encoder="baseline:colour"),
        vectors=ImageVectors(kind="mean", resize=64, crop=56),
        neighbours=neighbours,
        limit=limit,
    )
    fit_classifier(config, Runtime(out=out, workers=0, console=Console(file=said, width=200)))
    return read_record(out).fit["neighbours"], said.getvalue()


@pytest.mark.parametrize(
    ("neighbours", "text"),
    [
        ((3, 400), "--neighbours 3,400: there are 6 training images"),
        (None, r"fewer than the usual 10,20,100,200 neighbours: name how many vote, e.g. --neighbours 1,5"),
    ],
)
def test_more_neighbours_than_images_are_refused_before_anything_is_encoded(
    root, tmp_path, monkeypatch, neighbours, text
):
    monkeypatch.setattr(fitting, "FrozenFeatures", None)
    with pytest.raises(ConfigError, match=text):
        fit_knn(root, tmp_path, neighbours, limit=6)


def test_the_usual_neighbours_are_cut_to_the_images_and_that_is_said(root, tmp_path):
    used, said = fit_knn(root, tmp_path, None, limit=12)
    assert used == [10]
    assert "12 training images: no votes of 20,100,200 neighbours, only of 10" in said


def test_folders_that_are_no_image_folders_say_what_is_expected(root, tmp_path):
    with pytest.raises(DataError, match=r"no such folder\. Expected layout: ROOT/train/CLASS/IMAGE"):
        open_image_folder(tmp_path / "nothing", "train")
    write_png(tmp_path / "train" / "one" / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="1 classes found, two are needed"):
        open_image_folder(tmp_path, "train")
    (tmp_path / "train" / "two").mkdir()
    with pytest.raises(DataError, match=r"two: no images"):
        open_image_folder(tmp_path, "train")
    write_png(tmp_path / "train" / "two" / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="has no folder val or test"):
        open_image_folder(tmp_path, "val")
    write_png(tmp_path / "test" / "three" / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"1 classes that .*train lacks: three"):
        open_image_folder(tmp_path, "val")
    assert len(open_image_folder(root, "train").limited(5)) == 5
