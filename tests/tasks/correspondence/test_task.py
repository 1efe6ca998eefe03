"""Geometric correspondence on a plane whose truth is known in closed form."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pair_toys import ENCODER, ToyPairs, look, plane_pair, plane_view
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from codistill.errors import ConfigError, DataError
from codistill.tasks.correspondence.matching import CorrespondenceTest, known_grid, match_pair
from codistill.tasks.correspondence.task import TASK
from codistill.tasks.encoder_alone import DenseFeatures, load_features
from codistill.tasks.evaluation import evaluate, write_evaluation
from codistill.tasks.layout import TaskData
from codistill.tasks.opening import open_data
from codistill.tasks.registry import find_task
from codistill.tasks.shared.config import Runtime
from codistill.tasks.shared.features import FeatureConfig, FrozenFeatures
from codistill.tasks.shared.groups import Groups
from codistill.tasks.task import Subject
from codistill.tasks.two_view.pairs import Pair, PosedImage


class Oracle(DenseFeatures):
    """Features that are waves of the 3-D point of a pixel, alike only for points close to each other."""

    def __init__(self, *views: PosedImage) -> None:
        self.device, self.views = torch.device("cpu"), {view.image.tobytes(): view for view in views}
        self.waves = np.random.default_rng(3).normal(size=(3, 64)) * 4

    def at_pixels(self, image: np.ndarray, size: tuple[int, int], pixels: Tensor) -> Tensor:
        view = self.views[image.tobytes()]
        points = []
        for x, y in pixels.tolist():  # by the formula, and not by the library
            k, z = view.intrinsics, view.depth[y, x]
            ray = np.array([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], 1.0]) * z
            points.append(view.camera_to_world[:3, :3] @ ray + view.camera_to_world[:3, 3])
        angles = np.array(points).reshape(-1, 3) @ self.waves
        return torch.from_numpy(np.concatenate((np.sin(angles), np.cos(angles)), axis=1))


FINE = CorrespondenceTest(size=56, stride=1, matches=300)


def oracle_of(pair: Pair) -> Oracle:
    return Oracle(pair.first, pair.second)


def test_features_that_know_their_point_match_it() -> None:
    """The second view's nearest pixel is half a pixel off at most, which is 3 cm at 3 m and 70 pixels of focal."""
    pair = plane_pair()
    found = match_pair(oracle_of(pair), pair, FINE)
    assert len(found.pixels1) == 300
    assert found.errors["px"].max() < 0.75 and found.errors["cm"].max() < 4.0
    assert found.visible.float().mean() > 0.95
    np.testing.assert_allclose(found.errors["diagonal"], found.errors["px"] * 100 / np.hypot(56, 84))


def test_errors_in_pixels_are_of_the_size_that_images_are_seen_in() -> None:
    pair = plane_pair()
    once = match_pair(oracle_of(pair), pair, FINE)
    twice = match_pair(oracle_of(pair), pair, replace(FINE, size=112, stride=2))
    assert torch.equal(once.pixels2, twice.pixels2)
    torch.testing.assert_close(twice.errors["px"], 2 * once.errors["px"])
    torch.testing.assert_close(twice.errors["diagonal"], once.errors["diagonal"])


def test_pixels_of_unknown_depth_are_not_matched() -> None:
    pair = plane_pair()
    holes = []
    for view in (pair.first, pair.second):
        depth = view.depth.copy()
        depth[:30], depth[30:34] = 0.0, np.inf
        holes.append(replace(view, depth=depth))
    found = match_pair(Oracle(*holes), replace(pair, first=holes[0], second=holes[1]), FINE)
    assert len(found.pixels1) and found.pixels1[:, 1].min() >= 34 and found.pixels2[:, 1].min() >= 34


def test_matches_of_points_that_the_second_view_does_not_see_count_as_they_are() -> None:
    """The second camera stands far to the side: most of its nearest pixels are others, and wrong."""
    first, second = plane_view(look(0, 0, 0), "first"), plane_view(look(1.6, 0, 0), "second")
    pair = Pair(first, second, 0.5, "apart")
    found = match_pair(oracle_of(pair), pair, replace(FINE, matches=10_000))
    assert len(found.visible) == 56 * 84
    seen = found.errors["cm"] < 5
    assert 0.3 < found.visible.float().mean() < 0.7
    assert (seen == found.visible).float().mean() > 0.95


def test_the_grid_has_cells_of_the_stride_and_no_pixel_twice() -> None:
    depth = np.ones((8, 12), dtype=np.float32)
    assert known_grid(depth, (8, 12), 4).tolist() == [[x, y] for y in (2, 6) for x in (2, 6, 10)]
    finest = known_grid(depth, (80, 120), 1)
    assert len(finest) == len({tuple(pixel) for pixel in finest.tolist()}) == 96


@pytest.mark.parametrize("size", [(56, 84), (70, 91)])  # whole patches; patches with padding
def test_features_are_read_where_the_pixel_is(size: tuple[int, int]) -> None:
    model = DenseFeatures(FrozenFeatures(FeatureConfig(encoder=ENCODER)))
    image = plane_pair().first.image
    pixels = torch.tensor([[x, y] for y in range(56) for x in range(84)])
    found = model.at_pixels(image, (56, 84), pixels)
    expected = interpolate(model.map_of(image)[None], size=(56, 84), mode="bicubic")[0]
    torch.testing.assert_close(found, expected.flatten(1).T, atol=1e-4, rtol=1e-4)


def test_padding_around_the_image_is_counted() -> None:
    """60x90 pixels are seen in 70x98, with 5 rows above and 4 columns at the left."""
    model = DenseFeatures(FrozenFeatures(FeatureConfig(encoder=ENCODER)))
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    pixels = torch.tensor([[x, y] for y in range(60) for x in range(90)])
    found = model.at_pixels(image, (60, 90), pixels)
    whole = interpolate(model.map_of(image)[None], size=(70, 98), mode="bicubic")[0]
    torch.testing.assert_close(found, whole[:, 5:65, 4:94].flatten(1).T, atol=1e-4, rtol=1e-4)


def test_no_pixel_has_no_feature() -> None:
    model = DenseFeatures(FrozenFeatures(FeatureConfig(encoder="baseline:colour")))
    nothing = torch.zeros(0, 2, dtype=torch.int64)
    assert model.at_pixels(plane_pair().first.image, (56, 84), nothing).shape == (0, 11)


def test_blocks_are_joined_and_the_norm_is_a_choice() -> None:
    image = plane_pair().first.image
    choices: list[dict[str, Any]] = [{}, {"blocks": (0, 1)}, {"norm": False}]
    one, two, raw = (
        DenseFeatures(FrozenFeatures(FeatureConfig(encoder=ENCODER, **choice))).map_of(image)
        for choice in choices
    )
    assert one.shape == (48, 4, 6) and two.shape == (96, 4, 6)
    torch.testing.assert_close(two[48:], one)
    assert not torch.allclose(raw, one)


@dataclass(frozen=True)
class Rooms(ToyPairs):
    """Toy pairs in two rooms; the last has no depth in its second view."""

    @property
    def groups(self) -> Groups:
        return Groups(tuple(f"room {index % 2}" for index in range(self.count)), "rooms")

    def __getitem__(self, index: int) -> Pair:
        pair = super().__getitem__(index)
        if index == self.count - 1:
            pair = replace(pair, second=replace(pair.second, depth=np.zeros_like(pair.second.depth)))
        return pair


def scored(data: TaskData, test: CorrespondenceTest, out: Path) -> dict[str, Any]:
    pairs = [data.samples[index] for index in range(len(data.samples))]
    model = Oracle(*(view for pair in pairs for view in (pair.first, pair.second)))
    found = evaluate(TASK, TASK.score(model, data, test, Runtime(out=out)), data, test)
    write_evaluation(out, TASK, found, data, test, {}, [])
    return json.loads((out / "metrics.json").read_text())


def test_scores_are_means_over_pairs_with_bins_apart(tmp_path: Path) -> None:
    """Turns of 2, 3, 4, 5 and 6 degrees; the last pair cannot be scored."""
    data = TaskData(spec="toy:here", split="test", samples=Rooms(5))
    test = replace(FINE, matches=3000, bins=(0.0, 2.5, 4.5))
    numbers = scored(data, test, tmp_path)
    scores = numbers["scores"]
    assert numbers["pairs_without_depth"] == 1 and numbers["pairs_outside_bins"] == 2
    recall = [scores[f"recall_{limit}_cm"]["mean"] for limit in (1, 2, 5)]
    assert 0 < recall[0] < recall[1] < recall[2] <= 100
    assert scores["recall_5_diagonal"]["count"] == 4 and scores["recall_5_diagonal"]["groups"] == 2
    bins = numbers["degrees"]
    assert list(bins) == ["0-2.5", "2.5-4.5"] and [bins[name]["pairs"] for name in bins] == [1, 2]
    per_pair = np.load(tmp_path / "per_image.npz")
    np.testing.assert_allclose(per_pair["degrees"], [2, 3, 4, 5, 6], atol=1e-6)
    assert bins["2.5-4.5"]["recall_1_cm"]["mean"] == pytest.approx(per_pair["cm"][1:3, 2].mean())
    assert Image.open(tmp_path / "pictures.png").size[0] > 300


def test_data_without_depth_is_refused_before_anything_is_computed() -> None:
    @dataclass(frozen=True)
    class Flat(ToyPairs):
        def __getitem__(self, index: int) -> Pair:
            pair = super().__getitem__(index)
            return replace(pair, first=replace(pair.first, depth=np.zeros_like(pair.first.depth)))

    with pytest.raises(DataError, match="no depth is known"):
        TASK.check(TaskData(spec="toy:here", split="test", samples=Flat()), False)
    with pytest.raises(DataError, match="there are no pairs"):
        TASK.check(TaskData(spec="toy:here", split="test", samples=Flat(0)), False)


def test_a_head_is_refused_and_an_encoder_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"takes no head.*--encoder"):
        load_features(Subject(head=Path("heads/mine")), FINE, None)
    with pytest.raises(ConfigError, match="which encoder"):
        load_features(Subject(), FINE, None)
    assert find_task("correspondence") is TASK and TASK.fit is None and TASK.config is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"stride": 0},
        {"matches": 0},
        {"bins": (0.0,)},
        {"bins": (3.0, 1.0)},
        {"bins": (0.0, np.nan, 9.0)},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CorrespondenceTest(**wrong)


def test_the_world_s_rooms_are_matched(tiny_world: Path, tmp_path: Path) -> None:
    data = open_data(TASK, f"world:{tiny_world}", "train")
    test = CorrespondenceTest(size=112, stride=14, matches=20)
    subject = Subject(features=FeatureConfig(encoder="baseline:colour"))
    found = evaluate(
        TASK, TASK.score(TASK.load(subject, test, data), data, test, Runtime(out=tmp_path)), data, test
    )
    assert found.table.groups.kind == "rooms"
    assert 0 <= found.scores["recall_5_diagonal"].mean <= found.scores["recall_80_px"].mean <= 100
    assert (found.table.values["matches"] == 20).all()
