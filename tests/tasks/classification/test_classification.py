import io
import math
import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from task_toys import ENCODER, class_folder, write_png
from torch.nn.functional import normalize

from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError, DataError
from codistill.imaging import read_rgb
from codistill.tasks.classification import fit as fitting
from codistill.tasks.classification.bank import ImageVectors, build_bank
from codistill.tasks.classification.config import KnnFit, LinearFit
from codistill.tasks.classification.data import LAYOUTS
from codistill.tasks.classification.knn import knn_votes
from codistill.tasks.classification.logistic import choose_logistic, fit_logistic, split_per_class
from codistill.tasks.classification.model import class_shares
from codistill.tasks.classification.released import class_names
from codistill.tasks.classification.task import KNN, LINEAR
from codistill.tasks.evaluation import evaluate
from codistill.tasks.opening import fit_task, open_data, open_split
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.head_files import read_record, read_tensors
from codistill.tasks.shared.pictures import FilePicture
from codistill.tasks.task import Subject
from codistill.weights.shipped import find_shipped


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
    found = knn_votes(queries, normalize(bank), labels, 4, (1, 5, 30))
    for k, votes in found.items():
        for row, query in zip(votes, queries, strict=True):
            expected = np.array(slow_votes(query.tolist(), bank, labels, k, 4))
            np.testing.assert_allclose(row / row.sum(), expected / expected.sum(), rtol=1e-3, atol=1e-6)


def test_one_neighbour_is_scikit_learn_s():
    bank, labels = blobs()
    queries, _ = blobs(40, seed=2)
    reference = KNeighborsClassifier(1, metric="cosine").fit(bank.numpy(), labels.numpy())
    found = knn_votes(queries, normalize(bank), labels, 4, (1,))[1].argmax(1)
    assert found.tolist() == reference.predict(queries.numpy()).tolist()


def test_more_neighbours_than_images_are_refused():
    bank, labels = blobs(8)
    with pytest.raises(ConfigError, match=r"\[10\] neighbours are requested; the training images are 8"):
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
    return class_folder(tmp_path_factory.mktemp("images"))


def paths_of(root):
    return [image.path for image in open_split(LAYOUTS, f"folder:{root}", "train").images()]


def pictures(paths):
    return [FilePicture(path) for path in paths]


VECTORS = ImageVectors(resize=64, crop=56)


def test_vectors_are_class_tokens_mean_patches_or_both(root, tmp_path):
    encoder = load_encoder(ENCODER)
    paths = paths_of(root)[:3]
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    images = torch.cat([encoder.preprocess(VECTORS.prepared(read_rgb(path))) for path in paths])
    with torch.no_grad():
        tokens = encoder(images)
    assert images.shape == (3, 3, 56, 56) and tokens.cls is not None
    vectors = ImageVectors(kind="cls+mean", resize=64, crop=56)
    both = build_bank(tmp_path / "b", pictures(paths), vectors, features, option="--out", workers=0)
    expected = torch.cat((tokens.cls, tokens.patches.mean(1)), dim=1)
    np.testing.assert_allclose(both, expected.numpy(), rtol=1e-4, atol=1e-5)
    options = {"option": "--cache", "workers": 0}
    alone = build_bank(tmp_path / "c", pictures(paths), VECTORS, features, **options, batch_size=2)
    np.testing.assert_allclose(alone, both[:, : features.channels], rtol=1e-4, atol=1e-5)
    other = FrozenFeatures(FeatureConfig(encoder=f"{ENCODER},seed=3"))
    with pytest.raises(ConfigError, match=r"vectors of something else \(different: features\).*\(--cache\)"):
        build_bank(tmp_path / "c", pictures(paths), VECTORS, other, **options)


def test_an_interrupted_bank_goes_on(root, tmp_path):
    paths = paths_of(root)
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    options = {"option": "--out", "workers": 0}
    whole = np.array(build_bank(tmp_path / "a", pictures(paths), VECTORS, features, **options))
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(paths[-1].read_bytes()[:40])
    with pytest.raises(DataError, match=r"damaged\.png"):
        build_bank(
            tmp_path / "b", pictures([*paths[:-1], damaged]), VECTORS, features, **options, batch_size=4
        )
    damaged.write_bytes(paths[-1].read_bytes())
    np.testing.assert_array_equal(
        build_bank(tmp_path / "b", pictures([*paths[:-1], damaged]), VECTORS, features, **options), whole
    )


def test_vectors_need_room_and_must_be_numbers(root, tmp_path, monkeypatch):
    features, said = FrozenFeatures(FeatureConfig(encoder=ENCODER)), []
    options = {"option": "--out", "workers": 0, "say": said.append}
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(2**30))
        with pytest.raises(ConfigError, match=r"need 3\.8 KiB; .* too little .* a larger disk \(--out\)"):
            build_bank(tmp_path / "a", pictures(paths_of(root)), VECTORS, features, **options)
    assert not (tmp_path / "a").exists()
    with torch.no_grad():
        next(features.parameters()).fill_(math.nan)
    with pytest.raises(DataError, match=r"features of .*0\.png and others are not finite"):
        build_bank(tmp_path / "a", pictures(paths_of(root)), VECTORS, features, **options)
    assert "vectors of 20 images need 3.8 KiB" in said[0]


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
        said.clear()
        options = {"progress": lambda done: left.append(len(chosen) - done), "say": said.append}
        return np.array(
            build_bank(folder, pictures(chosen), VECTORS, features, option="--out", workers=0, **options)
        )

    built(tmp_path / "bank", paths)
    write_png(paths[1], picture())
    write_png(tmp_path / "images" / "2b.png", picture())
    now = [*paths[:3], tmp_path / "images" / "2b.png", paths[4]]
    found = built(tmp_path / "bank", now)
    assert left[0] == 2 and f"changed: {paths[1]}" in said[1] and "2b.png" in said[1] and "gone" in said[1]
    np.testing.assert_allclose(found, built(tmp_path / "fresh", now), rtol=1e-4, atol=1e-5)


MEANS = ImageVectors(kind="mean", resize=64, crop=56)


@pytest.mark.parametrize("task", [KNN, LINEAR])
def test_classifiers_tell_the_toys_apart(root, tmp_path, task):
    common = {"data": f"folder:{root}", "features": FeatureConfig(encoder=ENCODER), "vectors": MEANS}
    config = (
        KnnFit(**common, neighbours=(3, 5)) if task is KNN else LinearFit(**common, strengths=(0.1, 10.0))
    )
    runtime = Runtime(out=tmp_path, workers=0, console=Console(quiet=True))
    assert fit_task(task, config, runtime)
    data, test = open_data(task, config.data, "val"), task.test(batch_size=3)
    classifier = task.load(Subject(head=tmp_path), test, data)
    found = evaluate(task, task.score(classifier, data, test, runtime), data, test)
    assert set(found.scores) == ({"k=3 top-1", "k=5 top-1"} if task is KNN else {"linear top-1"})
    assert all(interval.mean == 100.0 and interval.count == 8 for interval in found.scores.values())
    assert set(found.summary.facts["mean_per_class_top_1"].values()) == {100.0}
    other = LINEAR if task is KNN else KNN
    with pytest.raises(ConfigError, match=f"is a head for {task.name}, not for {other.name}"):
        other.load(Subject(head=tmp_path), test, None)
    with pytest.raises(ConfigError, match="has 3 classes, the head 2"):
        task.load(Subject(head=tmp_path), test, replace(data, classes=("a", "b", "c")))


@pytest.mark.parametrize(
    ("task", "config"),
    [
        (KNN, KnnFit()),
        (LINEAR, LinearFit(protocol="published")),
    ],
)
def test_a_folder_for_features_is_refused_where_none_are_kept(root, tmp_path, task, config):
    runtime = Runtime(out=tmp_path / "head", cache=tmp_path / "cache", workers=0, console=Console(quiet=True))
    with pytest.raises(ConfigError, match=r"^cache = .* would have no effect"):
        fit_task(task, replace(config, data=f"folder:{root}"), runtime)


def test_wider_class_tokens_are_counted():
    """Summaries of some models are wider than their patch tokens."""
    features = FrozenFeatures(FeatureConfig(encoder=ENCODER))
    features.cls_channels = 64
    sizes = {kind: ImageVectors(kind=kind).channels(2, features) for kind in ("cls", "mean", "cls+mean")}
    assert sizes == {"cls": 128, "mean": 96, "cls+mean": 176}


def fit_knn(root, out, neighbours, limit=None):
    said = io.StringIO()
    config = KnnFit(
        data=f"folder:{root}",
        features=FeatureConfig(encoder="baseline:colour"),
        vectors=MEANS,
        neighbours=neighbours,
        limit=limit,
    )
    fit_task(KNN, config, Runtime(out=out, workers=0, console=Console(file=said, width=200)))
    return read_record(out).head["neighbours"], said.getvalue()


def test_a_temperature_and_strengths_are_positive_numbers() -> None:
    with pytest.raises(ConfigError, match="temperature must be positive"):
        KnnFit(temperature=float("nan"))
    with pytest.raises(ConfigError, match="must be positive"):
        LinearFit(strengths=(1.0, float("nan")))


@pytest.mark.parametrize(
    ("neighbours", "text"),
    [
        ((3, 400), "--neighbours 3 400: there are 6 training images"),
        (None, r"fewer than the usual 10 20 100 200 neighbours: name how many vote, e.g. --neighbours 1 5"),
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
    assert "12 training images: no votes of 20 100 200 neighbours, only of 10" in said


def test_folders_that_are_no_image_folders_say_what_is_expected(root, tmp_path):
    def opened(folder, split):
        return open_split(LAYOUTS, f"folder:{folder}", split)

    with pytest.raises(DataError, match=r"no such folder\. Expected layout: ROOT/train/CLASS/IMAGE"):
        opened(tmp_path / "nothing", "train")
    write_png(tmp_path / "train" / "one" / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="1 classes found, two are needed"):
        opened(tmp_path, "train")
    (tmp_path / "train" / "two").mkdir()
    with pytest.raises(DataError, match=r"two: no images"):
        opened(tmp_path, "train")
    write_png(tmp_path / "train" / "two" / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"val: no such folder\. Expected layout"):
        opened(tmp_path, "val")
    write_png(tmp_path / "test" / "three" / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"1 classes that .*train lacks: three"):
        opened(tmp_path, "test")
    with pytest.raises(DataError, match="Unknown split 'vall'"):
        opened(tmp_path, "vall")


def test_images_outside_of_the_classes_folders_are_counted(tmp_path, caplog):
    """As ImageNet's val is downloaded: flat."""
    for name in ("train/one/a.png", "train/two/a.png", "val/one/a.png", "val/b.png", "val/c.png"):
        write_png(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    assert len(open_split(LAYOUTS, f"folder:{tmp_path}", "val").samples) == 1
    assert "val: passed over 2 images outside of the classes' folders (first: b.png)" in caplog.text
    shutil.rmtree(tmp_path / "val" / "one")
    with pytest.raises(
        DataError, match=r"val: no folders of classes \(2 images outside.*Expected: ROOT/train"
    ):
        open_split(LAYOUTS, f"folder:{tmp_path}", "val")


def test_a_split_that_is_not_there_is_not_another_one(root):
    assert LAYOUTS["folder"].scored[0] == "val"
    with pytest.raises(DataError, match=r"test: no such folder, but val is there: --split val scores it"):
        open_split(LAYOUTS, f"folder:{root}", "test")


def test_a_classifier_that_is_stored_in_fp16_computes_in_fp32() -> None:
    """Sums in fp16 differ between processors by more than a model's card allows."""
    folder = find_shipped("dune-tiny")
    if folder is None:
        pytest.skip("this copy has no models that ship")
    assert read_tensors(folder / "heads" / "linear")["weight"].dtype == torch.float16
    assert LINEAR.predict is not None
    model = LINEAR.load(Subject(head=folder / "heads" / "linear"), LINEAR.predict.options(), None)
    scores = model(np.full((112, 112, 3), 128, np.uint8))["linear"]
    assert scores.dtype == torch.float32


def test_two_classes_of_one_name_keep_their_own_shares(tmp_path) -> None:
    """Lists of ImageNet's classes have two cranes: the smaller share took the place of the larger one."""
    path = tmp_path / "classes.txt"
    path.write_text("crane\ntench\ncrane\n")
    names = class_names(str(path), 3, tmp_path / "head.pth")
    found = class_shares(torch.tensor([0.6, 0.3, 0.1]).log(), "linear", names, 3)
    assert found == pytest.approx({"crane (0)": 0.6, "tench": 0.3, "crane (2)": 0.1})
