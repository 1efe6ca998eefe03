import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from dense_tools import difference, every_pixel, fitted, loaded, open_segmentation, scored
from rich.console import Console
from stopping import stopping_after
from task_toys import ENCODER, segmentation_folder
from torch.nn.functional import interpolate

from codistill.engine.optim import OptimConfig
from codistill.errors import CheckpointError, ConfigError
from codistill.heads.linear.losses import pixel_cross_entropy
from codistill.metrics.segmentation import PREDICTED
from codistill.tasks.dense.cached_fit import split_held_out
from codistill.tasks.dense.objective import feature_maps
from codistill.tasks.dense.segmentation.data import PROTOCOLS, SegmentationData
from codistill.tasks.dense.segmentation.fit import (
    OPTIM,
    CachedSegmentation,
    SegmentationFit,
)
from codistill.tasks.dense.segmentation.model import SegmentationTest
from codistill.tasks.dense.segmentation.sight import shares_text
from codistill.tasks.dense.segmentation.task import TASK
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.groups import alone
from codistill.tasks.shared.head_files import read_record
from codistill.tasks.shared.score_table import ScoreTable

QUIET = Console(quiet=True)

CACHED = {"views": 2, "pixels": 64, "learning_rates": (1e-4, 1e-2, 3e-2)}


def test_the_learning_rate_is_the_protocol_s():
    rates = OPTIM.learning_rates(40_000, 16)
    assert len(rates) == 40_000
    assert rates[0] == pytest.approx(1e-9)  # 1e-3 times the ratio 1e-6
    assert rates[1499] == pytest.approx(1e-3 * (1 - 1499 / 40_000) * (1 - (1 / 1500) * (1 - 1e-6)))
    assert rates[1500] == pytest.approx(1e-3 * (1 - 1500 / 40_000))
    assert rates[-1] == pytest.approx(1e-3 / 40_000)
    assert (OPTIM.weight_decay, OPTIM.betas, OPTIM.clip, OPTIM.decay) == (1e-4, (0.9, 0.999), "none", "all")
    with pytest.raises(ConfigError, match="Did you mean 'ramped_linear'"):
        OptimConfig(schedule="ramped_linea")  # type: ignore[arg-type]


@pytest.mark.parametrize("ignored_count", [True, False])
def test_the_cached_loss_over_all_pixels_is_the_published_one(ignored_count):
    torch.manual_seed(0)
    task = CachedSegmentation(4, ignored_count)
    heads = task.build(6, 2)
    with torch.no_grad():
        for p in heads.parameters():
            p.add_(torch.randn_like(p))
    singles = [heads.pick(index).train() for index in range(2)]
    tokens, labels = torch.randn(2, 12, 6), torch.randint(0, 4, (2, 10, 9))
    labels[0, :3] = 255
    sampled = every_pixel(tokens, labels)
    found = task.losses(heads, sampled, 0)
    maps = tokens.transpose(1, 2).reshape(2, 6, 3, 4)
    expected = [pixel_cross_entropy(one(maps), labels, ignored_count=ignored_count).item() for one in singles]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    counts = task.tally(heads, sampled)
    assert counts.shape == (2, 3, 4) and counts[0, 2].sum() == (labels != 255).sum()


def fit(root, out, protocol="cached", **options) -> SegmentationFit:
    fields = {
        "data": f"folder:{root}",
        "features": FeatureConfig(encoder=ENCODER),
        "protocol": protocol,
        "steps": 60,
        "batch_size": 4,
        "size": 42,
        **(CACHED if protocol == "cached" else {"learning_rates": (3e-2,)}),
        **options,
    }
    config = SegmentationFit(**fields)
    fitted(TASK, config, out)
    return config


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return segmentation_folder(tmp_path_factory.mktemp("toys") / "own", train=24, val=8)


@pytest.fixture(scope="module")
def heads(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("heads")
    for protocol in ("cached", "published"):
        fit(root, folder / protocol, protocol)
    return folder


def result_of(head, root):
    return scored(TASK, head, open_segmentation(f"folder:{root}", "val"))


def load_segmenter(head, **options):
    return loaded(TASK, head, **options)


def test_both_protocols_learn_and_agree(heads, root):
    cached, published = (result_of(heads / name, root) for name in ("cached", "published"))
    for result in (cached, published):
        assert result.scores["miou"].mean > 45.0  # everything of one class: below 20
    assert difference(TASK, cached, published, "miou").within(15.0)
    assert len(cached.pictures) == 2 and len(cached.pictures[0]) == 3
    assert set(cached.summary.facts["class_iou"]) == {"red", "green", "blue"}


def test_classes_without_pixels_are_marked_in_the_result():
    counts = np.zeros((2, 3, 4), dtype=int)
    counts[:, :, 0], counts[:, :, 1] = 10, 5
    counts[0, PREDICTED, 2] = 3  # never labelled, predicted somewhere; the fourth is neither
    table = ScoreTable(names=("a", "b"), groups=alone("ab"), values={"counts": counts})
    classes = ("sky", "sea", "boat", "bird")
    data = SegmentationData(spec="x", split="val", samples=[], classes=classes, protocol=PROTOCOLS["folder"])
    summary = TASK.summarize(table, data, TASK.test()).facts
    assert summary["absent_classes"] == {"boat": "predicted, counts as 0", "bird": "left out"}
    assert summary["class_iou"] == {"sky": 100.0, "sea": 100.0, "boat": 0.0, "bird": None}
    assert TASK.columns["miou"].statistic.interval(table).mean == pytest.approx(200 / 3)


def test_the_record_says_how_it_was_made(heads, root):
    record = read_record(heads / "cached", "segmentation")
    assert record.data.classes == ("red", "green", "blue") and record.fit["absent_classes"] == []
    assert record.fit["protocol"] == "cached" and record.fit["chosen_lr"] in (1e-2, 3e-2)
    clocks = [f"{clock}_{part}" for clock in ("seconds", "processor_seconds") for part in ("features", "fit")]
    assert all(record.fit[name] > 0 for name in clocks)
    assert [head["lr"] for head in record.fit["heads"]] == [1e-4, 1e-2, 3e-2]
    assert record.encoder.licence == "none (random weights)"
    assert record.test["crop"] == [42, 42] and record.provenance["command"].startswith("codistill")
    published = read_record(heads / "published")
    assert published.fit["protocol"] == "published" and published.fit["seconds_per_step"] > 0


def test_an_interrupted_published_fit_resumes_and_other_settings_are_refused(tmp_path, root, heads):
    with stopping_after(25):
        fit(root, tmp_path, "published")
    assert not (tmp_path / "head.json").exists()
    with pytest.raises(CheckpointError, match="has not finished"):
        load_segmenter(tmp_path)
    with pytest.raises(ConfigError, match=r"batch_size: 4 → 8"):
        fit(root, tmp_path, "published", batch_size=8)
    fit(root, tmp_path, "published")
    one, two = (load_segmenter(folder).head for folder in (tmp_path, heads / "published"))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name]), name


def test_stored_features_serve_other_learning_rates(tmp_path, root, monkeypatch):
    fit(root, tmp_path, steps=5, limit=12)
    monkeypatch.setattr(
        "codistill.tasks.dense.cache.view_batches", lambda *a, **k: pytest.fail("encoded again")
    )
    fit(root, tmp_path, steps=5, limit=12, learning_rates=(1e-2,))
    assert read_record(tmp_path).fit["chosen_lr"] == 1e-2


def test_sliding_over_an_image_of_one_window_is_the_whole_image(heads):
    segmenter = load_segmenter(heads / "cached")
    image = np.random.default_rng(0).integers(0, 256, size=(42, 42, 3), dtype=np.uint8)
    slid = segmenter.probabilities(image)
    segmenter.protocol = replace(segmenter.protocol, mode="whole")
    torch.testing.assert_close(slid, segmenter.probabilities(image))
    torch.testing.assert_close(slid.sum(0), torch.ones(42, 42))


def test_scales_and_mirroring_average_probabilities(heads):
    image = np.random.default_rng(0).integers(0, 256, size=(42, 56, 3), dtype=np.uint8)
    options = {"test": SegmentationTest(scales=(1.0, 1.5), mirror=True)}
    found = load_segmenter(heads / "cached", **options).probabilities(image)
    parts = []
    for scale in (1.0, 1.5):
        one = load_segmenter(heads / "cached", test=SegmentationTest(scales=(scale,)))
        parts += [one.probabilities(image), one.probabilities(image[:, ::-1].copy()).flip(-1)]
    torch.testing.assert_close(found, torch.stack(parts).mean(0), rtol=1e-4, atol=1e-5)


def test_predictions_are_the_head_on_resized_features(heads):
    """A slow way to the same answer for an image at test scale: encode, head, resize, softmax."""
    segmenter = load_segmenter(heads / "cached")
    segmenter.protocol = replace(segmenter.protocol, mode="whole")
    image = np.random.default_rng(0).integers(0, 256, size=(42, 42, 3), dtype=np.uint8)
    tokens = segmenter.features.encoder(segmenter.features.encoder.preprocess(image))
    logits = interpolate(segmenter.head(feature_maps([tokens])), size=(42, 42), mode="bilinear")
    torch.testing.assert_close(segmenter.probabilities(image), logits[0].softmax(0), rtol=1e-4, atol=1e-5)


def test_heads_and_encoders_that_do_not_fit_say_so(heads, root, tmp_path):
    with pytest.raises(
        ConfigError, match=r"takes features of 48 channels; baseline:colour with blocks -1 gives 11"
    ):
        load_segmenter(heads / "cached", features=FeatureConfig(encoder="baseline:colour"))
    other = segmentation_folder(tmp_path / "other", train=1, val=1)
    (other / "classes.json").write_text(json.dumps(["a", "b", "c"]))
    with pytest.raises(ConfigError, match=r"knows 3 classes \(red, green, blue"):
        result_of(heads / "cached", other)
    with pytest.raises(CheckpointError, match=r"no such folder\. Fit a head first"):
        load_segmenter(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="add --encoder"):
        load_segmenter(heads / "cached" / "head.safetensors")


def test_held_out_images_train_nothing(root):
    data = open_segmentation(f"folder:{root}", "train").samples
    train, held = split_held_out(data, 0.05, seed=0)
    assert len(held) == 8 and not set(train.indices) & set(held.indices)
    assert len(train) + len(held) == 24
    assert split_held_out(data, 0.05, seed=1)[1].indices != held.indices


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"protocol": "fast"}, "cached or published"),
        ({"protocol": "published"}, "fits one head: give one"),
        ({"learning_rates": ()}, "must be positive"),
        ({"steps": 0}, "steps must be 1 or more"),
        ({"held_out": 1.0}, "between 0 and 1"),
    ],
)
def test_impossible_fits_say_so(options, text):
    with pytest.raises(ConfigError, match=text):
        SegmentationFit(data="folder:x", features=FeatureConfig(encoder="e"), **options)


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
def test_scales_are_positive_numbers(scale: float) -> None:
    with pytest.raises(ConfigError, match="scales must be positive numbers"):
        SegmentationTest(scales=(1.0, scale))


def test_a_line_of_classes_names_none_of_0_per_cent() -> None:
    shares = [("ground", 0.9), ("wall", 0.094), ("airplane", 0.004)]
    assert shares_text(shares, most=5) == "ground 90%, wall 9%"
    assert shares_text(shares, most=1) == "ground 90%"
    assert shares_text([("one of many", 0.001)] * 3, most=2) == "one of many 0%"
    assert shares_text([], most=2) == ""
