import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from dense_tools import every_pixel
from PIL import Image
from rich.console import Console
from task_toys import ENCODER, normals_folder, toy_scene
from torch.nn.functional import interpolate, normalize

from codistill.errors import ConfigError
from codistill.heads.linear.normals import normals_loss, normals_of_scores
from codistill.metrics.normals import angles, normal_scores
from codistill.tasks.dense.cached_task import Sampled
from codistill.tasks.dense.normals.fit import OPTIM, RECIPES, CachedNormals, NormalsFit
from codistill.tasks.dense.normals.model import NormalsTest
from codistill.tasks.dense.normals.task import NormalsOutput
from codistill.tasks.evaluation import evaluate, write_evaluation
from codistill.tasks.opening import fit_task, open_data
from codistill.tasks.registry import find_task
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig
from codistill.tasks.shared.head_files import read_record
from codistill.tasks.task import ImageFile, Subject

TASK = find_task("normals")


def test_the_recipes_are_probe3d_s_optimizer():
    rates = OPTIM.learning_rates(1000, 8)
    assert max(rates) == pytest.approx(5e-4) and rates[0] == 0.0 and rates[150] == pytest.approx(5e-4)
    assert (OPTIM.weight_decay, OPTIM.clip, OPTIM.decay) == (0.01, "none", "all")
    assert RECIPES["published"].learning_rates == (5e-4,) and RECIPES["published"].batch_size == 8
    assert next(iter(RECIPES)) == "cached"


@pytest.mark.parametrize("levels", [1, 2])
def test_the_cached_loss_over_all_pixels_is_the_published_one(levels):
    torch.manual_seed(0)
    width = 5 * levels
    task = CachedNormals()
    heads = task.build(width, 2)
    with torch.no_grad():
        for p in heads.parameters():
            p.add_(0.3 * torch.randn_like(p))
    tokens, truth = torch.randn(2, 12, width), normalize(torch.randn(2, 10, 9, 3), dim=-1)
    truth[0, :3] = 0.0
    sampled = every_pixel(tokens, truth)
    found = task.losses(heads, sampled, 0)
    with torch.no_grad():
        scores = task.score(task.tally(heads, sampled))
    for index in range(2):
        maps = heads.pick(index)(tokens.transpose(1, 2).reshape(2, width, 3, 4))
        maps = interpolate(maps, size=(10, 9), mode="bilinear").movedim(1, -1)
        assert found[index].item() == pytest.approx(normals_loss(maps, truth).item(), rel=1e-4)
        errors = torch.rad2deg(angles(normals_of_scores(maps)[0], truth))
        expected = [errors[view][truth[view].any(-1)].mean().item() for view in range(2)]
        assert scores[index] == pytest.approx(np.mean(expected), rel=1e-4)
    unknown = Sampled(**{**vars(sampled), "truth": torch.zeros_like(sampled.truth)})
    assert task.losses(heads, unknown, 0).tolist() == [0.0, 0.0]
    with torch.no_grad(), np.errstate(invalid="ignore"):
        assert np.isnan(task.score(task.tally(heads, unknown))).all()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return normals_folder(tmp_path_factory.mktemp("normals"))


@pytest.fixture(scope="module")
def heads(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("heads")
    for protocol in ("cached", "published"):
        cached = {"views": 2, "pixels": 48, "learning_rates": (1e-3, 1e-2, 3e-2)}
        config = NormalsFit(
            data=f"folder:{root}",
            features=FeatureConfig(encoder="baseline:colour"),
            protocol=protocol,
            steps=150,
            batch_size=4,
            size=56,
            **(cached if protocol == "cached" else {"learning_rates": (1e-2,)}),
        )
        runtime = Runtime(out=folder / protocol, workers=0, console=Console(quiet=True))
        assert fit_task(TASK, config, runtime)
    return folder


def evaluated(head, data, test=None, pictures=1):
    test = test or TASK.test()
    model = TASK.load(Subject(head=head), test, data)
    outcomes = TASK.score(model, data, test, Runtime(out=head, workers=0))
    return evaluate(TASK, outcomes, data, test, pictures=pictures)


def test_both_protocols_beat_the_mean_normal_and_agree(heads, root, tmp_path):
    data = open_data(TASK, f"folder:{root}", "val")
    truths = [data.samples[index].target for index in range(len(data.samples))]
    mean = sum(truth.sum((0, 1)) for truth in truths)
    constant = torch.from_numpy(np.broadcast_to(mean / np.linalg.norm(mean), truths[0].shape).copy())
    baseline = np.mean([normal_scores(constant, torch.from_numpy(truth))[0] for truth in truths])
    found = {name: evaluated(heads / name, data) for name in ("cached", "published")}
    for one in found.values():
        assert one.scores["mean"].mean < 0.85 * baseline
        assert one.scores["a11"].mean > 50 and len(one.pictures[0]) == 3
        assert one.summary.facts == {"images_without_truth": 0}
    statistic = TASK.columns["mean"].statistic
    assert statistic.difference(found["cached"].table, found["published"].table).within(8.0)
    record = read_record(heads / "cached", "normals")
    assert record.fit["heads"][0].keys() == {"lr", "degrees"} and record.head == {"channels": 11}
    files = write_evaluation(tmp_path, TASK, found["cached"], data, TASK.test(), {}, ["x"])
    assert files == ["metrics.json", "per_image.npz", "pictures.png"]
    scores = json.loads((tmp_path / "metrics.json").read_text())["scores"]
    assert list(scores) == ["mean", "median", "rmse", "a11", "a22", "a30"]


def test_images_without_truth_are_counted_not_scored(heads, root):
    data = open_data(TASK, f"folder:{root}", "val")

    class Part:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            sample = data.samples[index]
            if index:
                sample.target[:] = 0.0
            return sample

    found = evaluated(heads / "cached", replace(data, samples=Part()))
    assert found.scores["mean"].count == 1 and found.summary.facts["images_without_truth"] == 1
    assert "1 images" in found.summary.lines[0]


def test_predictions_are_unit_vectors_averaged_with_the_mirror_image(heads):
    image, _ = toy_scene(3)
    alone = TASK.load(Subject(head=heads / "cached"), NormalsTest(), None)
    both = TASK.load(Subject(head=heads / "cached"), NormalsTest(mirror=True), None)(image)
    mirrored = alone(np.ascontiguousarray(image[:, ::-1]))[:, ::-1] * (-1, 1, 1)
    expected = alone(image) + mirrored
    np.testing.assert_allclose(
        both, expected / np.linalg.norm(expected, axis=-1, keepdims=True), rtol=1e-3, atol=1e-4
    )
    assert both.shape == image.shape and both.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(both, axis=-1), 1.0, atol=1e-5)


def test_what_is_written_of_an_image(heads, tmp_path):
    image, labels = toy_scene(501)
    model = TASK.load(Subject(head=heads / "cached"), NormalsTest(), None)
    assert TASK.predict is not None
    for name, options in (("plain", NormalsOutput()), ("over", NormalsOutput(overlay=True))):
        file = ImageFile(tmp_path / "a.png", name)
        made = TASK.predict.run(model, image, file, options, tmp_path)
        assert [path.name for path in made.files] == [f"{name}.png", f"{name}.npy"]
        assert 0 < made.facts["tilt"] < 90 and f"{made.facts['tilt']:.0f}°" in made.text
    values = np.load(tmp_path / "plain.npy")
    np.testing.assert_array_equal(values, model(image))
    shown = np.asarray(Image.open(tmp_path / "plain.png"))
    np.testing.assert_allclose(shown / 127.5 - 1, values * (1, -1, -1), atol=0.01)
    assert shown[..., 1][labels == 0].mean() > shown[..., 1][labels != 0].mean()  # the floor is greener
    assert (np.asarray(Image.open(tmp_path / "over.png")) != shown).any()


def test_heads_of_another_width_or_task_say_so(heads, root):
    features = FeatureConfig(encoder=ENCODER, blocks=(0, 1))
    with pytest.raises(ConfigError, match=r"takes features of 11 channels.*gives 96"):
        TASK.load(Subject(head=heads / "cached", features=features), TASK.test(), None)
    depth = find_task("depth")
    with pytest.raises(ConfigError, match="is a head for normals, not for depth"):
        depth.load(Subject(head=heads / "cached"), depth.test(), None)
    data = open_data(TASK, f"folder:{root}", "val")
    with pytest.raises(ConfigError, match="a released head says neither"):
        TASK.load(Subject(head=heads / "cached" / "head.safetensors"), TASK.test(), data)
