import json

import numpy as np
import pytest
import torch
from dense_tools import difference, every_pixel, fitted, loaded, open_depth, scored
from task_toys import DEPTHS, ENCODER, toy_scene, write_png
from torch.nn.functional import interpolate

from codistill.errors import ConfigError, DataError
from codistill.heads.linear.depth import DepthHeadConfig
from codistill.heads.linear.losses import sig_loss
from codistill.metrics.depth import DEPTH_METRICS
from codistill.tasks.dense.depth.fit import OPTIM, CachedDepth, DepthFit, starting_steps
from codistill.tasks.dense.depth.model import DepthTest
from codistill.tasks.dense.depth.sight import DepthAnswer
from codistill.tasks.dense.depth.task import TASK
from codistill.tasks.dense.segmentation.task import TASK as SEGMENTATION
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.groups import alone
from codistill.tasks.shared.head_files import read_record
from codistill.tasks.shared.score_table import ScoreTable

CACHED = {"views": 2, "pixels": 48, "learning_rates": (1e-4, 1e-2, 3e-2)}


def test_the_schedule_is_the_protocol_s():
    rates = OPTIM.learning_rates(38_400, 16)
    assert rates[0] == pytest.approx(1e-4 * 1e-3)
    cosine = 0.5 * (1 + np.cos(np.pi * 12_799 / 38_400))
    assert rates[12_799] == pytest.approx(1e-4 * cosine * (1 - (1 / 12_800) * (1 - 1e-3)))
    assert rates[12_800] == pytest.approx(1e-4 * 0.75)  # cos(pi / 3) = 0.5
    assert rates[-1] < 1e-11
    assert (OPTIM.clip, OPTIM.clip_norm, OPTIM.weight_decay) == ("global", 35.0, 0.01)
    assert starting_steps(38_400) == 100 and starting_steps(50) == 5


@pytest.mark.parametrize(("levels", "has_cls"), [(1, True), (2, True), (1, False)])
def test_the_cached_loss_over_all_pixels_is_the_published_one(levels, has_cls):
    """Every pixel sampled: the loss of heads side by side equals SigLoss on the head's own resized map."""
    torch.manual_seed(0)
    width = 5
    channels = width * levels * (2 if has_cls else 1)
    config = DepthHeadConfig(channels=channels, bins=8)
    task = CachedDepth(levels, config, starting=1)
    heads = task.build(channels, 2)
    with torch.no_grad():
        for p in heads.parameters():
            p.add_(0.3 * torch.randn_like(p))
    tokens = torch.randn(2, 12, width * levels)
    cls = torch.randn(2, width * levels) if has_cls else None
    truth = torch.rand(2, 10, 9) * 5
    truth[0, :3] = 0.0
    sampled = every_pixel(tokens, truth, cls)
    parts = []
    for level in range(levels):
        of_level = slice(level * width, (level + 1) * width)
        parts.append(tokens[..., of_level].transpose(1, 2).reshape(2, width, 3, 4))
        if cls is not None:
            parts.append(cls[:, of_level, None, None].expand(-1, -1, 3, 4))
    features = torch.cat(parts, dim=1)
    for step in (0, 1):
        found = task.losses(heads, sampled, step)
        for index in range(2):
            depth = interpolate(heads.pick(index)(features), size=(10, 9), mode="bilinear")
            expected = sig_loss(depth[:, 0], truth, starting=step < 1)
            assert found[index].item() == pytest.approx(expected.item(), rel=1e-4)
    with torch.no_grad():
        tally = task.tally(heads, sampled)
    depth = interpolate(heads.pick(1)(features), size=(10, 9), mode="bilinear")[:, 0]
    errors = [((depth[i] - truth[i])[truth[i] > 0]).square().mean().sqrt().item() for i in range(2)]
    assert task.score(tally)[1] == pytest.approx(np.mean(errors), rel=1e-4)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("depth")
    for split, first, count in (("train", 0, 24), ("val", 500, 6)):
        for index in range(first, first + count):
            image, labels = toy_scene(index)
            depth = (DEPTHS[labels] * 1000).astype(np.uint16)
            depth[:3] = 0
            write_png(root / "images" / split / f"{index}.png", image)
            write_png(root / "depth" / split / f"{index}.png", depth)
    return root


def fit(root, out, protocol="cached", **options):
    fields = {
        "data": f"folder:{root}",
        "features": FeatureConfig(encoder=ENCODER, norm=False),
        "protocol": protocol,
        "steps": 80,
        "batch_size": 4,
        "size": 56,
        "bins": 32,
        **(CACHED if protocol == "cached" else {"learning_rates": (3e-2,)}),
        **options,
    }
    fitted(TASK, DepthFit(**fields), out)


@pytest.fixture(scope="module")
def heads(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("heads")
    for protocol in ("cached", "published"):
        fit(root, folder / protocol, protocol)
    return folder


def test_both_protocols_learn_and_agree(heads, root):
    data = open_depth(f"folder:{root}", "val")
    results = {name: scored(TASK, heads / name, data, pictures=1) for name in ("cached", "published")}
    truth = np.concatenate([data.samples[i].target.ravel() for i in range(len(data.samples))])
    constant = truth[truth > 0].std()
    for result in results.values():
        assert result.scores["rmse"].mean < 0.8 * constant
        assert len(result.pictures) == 1
    assert difference(TASK, results["cached"], results["published"], "rmse").within(0.4)
    assert results["cached"].summary.facts["images_without_truth"] == 0
    record = read_record(heads / "cached", "depth")
    assert record.fit["heads"][0].keys() == {"lr", "rmse"} and record.head["farthest"] == 10.0


def test_predictions_are_averaged_with_the_mirror_image(heads):
    image, _ = toy_scene(3)
    both = loaded(TASK, heads / "cached")(image)
    alone = loaded(TASK, heads / "cached", DepthTest(mirror=False))
    mirrored = alone(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
    np.testing.assert_allclose(both, (alone(image) + mirrored) / 2, rtol=1e-4)
    assert both.shape == image.shape[:2] and both.dtype == np.float32
    assert both.min() >= 1e-3 and both.max() <= 10.0


def test_a_flat_depth_is_reported_as_it_is():
    answer = DepthAnswer(np.full((2, 3), 2.0, np.float32))
    assert answer.facts() == {"nearest": 2.0, "farthest": 2.0, "median": 2.0}
    assert answer.text() == "2.00 m to 2.00 m"


def test_images_without_truth_are_counted_not_scored(root):
    scores = np.full((3, len(DEPTH_METRICS)), 0.5)
    scores[1] = np.nan
    rmse = TASK.columns["rmse"].statistic

    def table(numbers, names="abc"):
        return ScoreTable(names=tuple(names), groups=alone(names), values={"scores": numbers})

    assert rmse.interval(table(scores)).count == 2
    assert rmse.interval(table(scores[1:2], "b")) is None
    summary = TASK.summarize(table(scores), open_depth(f"folder:{root}", "val"), TASK.test())
    assert summary.facts["images_without_truth"] == 1
    json.dumps(summary.facts, allow_nan=False)
    with pytest.raises(DataError, match="no sample has this score in both"):
        rmse.difference(table(scores[1:2], "b"), table(scores[:1], "b"))


def test_heads_of_another_width_or_task_say_so(heads):
    with pytest.raises(ConfigError, match=r"takes features of 96 channels.*gives 11"):
        loaded(TASK, heads / "cached", features=FeatureConfig(encoder="baseline:colour"))
    with pytest.raises(ConfigError, match="blocks 0,1 gives 192"):
        loaded(TASK, heads / "cached", features=FeatureConfig(encoder=ENCODER, blocks=(0, 1)))
    with pytest.raises(ConfigError, match="is a head for depth, not for segmentation"):
        loaded(SEGMENTATION, heads / "cached")
