import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from dense_tools import open_depth
from task_toys import depth_lists, write_png

from codistill.errors import DataError
from codistill.tasks.dense.depth.data import PROTOCOLS, DepthProtocol
from codistill.tasks.dense.depth.fit import check_range
from codistill.tasks.dense.depth.task import TASK
from codistill.tasks.dense.depth.views import DepthViews, resize_depth, resize_pair, turned
from codistill.tasks.dense.views import recolour
from codistill.tasks.opening import open_data
from codistill.tasks.shared.data import DenseSample, check_samples


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return depth_lists(tmp_path_factory.mktemp("nyu"), train=3, test=2)


def test_nyu_s_lists_are_read(root):
    train = open_depth(f"nyud:{root}", "train").samples
    assert len(train) == 3
    sample = train[0]
    assert sample.image.shape == (480, 640, 3) and sample.target.dtype == np.float32
    assert set(np.unique(sample.target)) <= {np.float32(x) for x in (0.0, 1.0, 3.0, 6.0)}
    assert len(open_depth(f"nyud:{root}", "val", partial=True).samples) == 2
    with pytest.raises(DataError, match=r"nyu_test\.txt: 2 images found, 654 expected"):
        open_depth(f"nyud:{root}", "val")


def test_frames_without_depth_are_left_out_and_missing_files_named(tmp_path):
    root = depth_lists(tmp_path, train=2, test=1)
    listing = root / "nyu_train.txt"
    listing.write_text(listing.read_text() + "/den_0001a/rgb_00009.jpg None 518.8579\n")
    assert len(open_depth(f"nyud:{root}", "train").samples) == 2
    listing.write_text(listing.read_text() + "/den_0001a/rgb_00077.jpg /den_0001a/sync_depth_00077.png 518\n")
    with pytest.raises(DataError, match=r"1 of its 3 images are missing; .*rgb_00077\.jpg"):
        open_depth(f"nyud:{root}", "train")
    listing.write_text("/den_0001a/rgb_00000.jpg\n")
    with pytest.raises(DataError, match=r"line 1: .*Expected: image, depth, focal length"):
        open_depth(f"nyud:{root}", "train")


def test_published_copies_keep_splits_in_folders_of_their_own(tmp_path):
    root = depth_lists(tmp_path, train=1, test=1)
    (root / "sync").mkdir()
    (root / "den_0001a").rename(root / "sync" / "den_0001a")
    assert len(open_depth(f"nyud:{root}", "train").samples) == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.ones((480, 640), np.uint8), "no 16-bit depth map"),
        (np.zeros((480, 640), np.uint16), "no known depth"),
        (np.ones((240, 320), np.uint16), "they must agree"),
    ],
)
def test_depth_files_that_make_no_sense_are_named(tmp_path, values, text):
    root = depth_lists(tmp_path, train=1, test=1)
    write_png(root / "den_0001a" / "sync_depth_00000.png", values)
    with pytest.raises(DataError, match=rf"sync_depth_00000\.png.*{text}"):
        check_samples(open_depth(f"nyud:{root}", "train"))


def test_resized_frames_are_refused(tmp_path):
    root = depth_lists(tmp_path, train=1, test=1, size=(240, 320))
    with pytest.raises(DataError, match="240x320 pixels; this data set has 480x640"):
        check_samples(open_depth(f"nyud:{root}", "train"))


def test_training_views_keep_the_border_away(root):
    maker = DepthViews(PROTOCOLS["nyud"])
    assert maker.size == (416, 544)
    image = np.full((480, 640, 3), 50, dtype=np.uint8)
    depth = np.full((480, 640), 2.0, dtype=np.float32)
    depth[:45], depth[472:], depth[:, :43], depth[:, 608:] = 9.0, 9.0, 9.0, 9.0
    for seed in range(20):
        view = maker(DenseSample(image, depth, ""), np.random.default_rng(seed))
        assert view.inside == (416, 544)
        assert set(np.unique(view.target)) <= {0.0, 2.0}  # 0 in corners after turning
        assert (view.target == 2.0).mean() > 0.95


def test_depth_is_never_mixed_and_far_things_are_unknown():
    protocol = DepthProtocol(crop=(40, 40), farthest=5.0, degrees=20.0)
    depth = np.where(np.arange(50) % 2, 1.0, 7.0).astype(np.float32)[None].repeat(50, 0)
    image = np.zeros((50, 50, 3), dtype=np.uint8)
    maker = DepthViews(protocol)
    for seed in range(20):
        view = maker(DenseSample(image, depth, ""), np.random.default_rng(seed))
        assert set(np.unique(view.target)) <= {0.0, 1.0}


def test_turning_is_about_the_centre():
    depth = np.zeros((41, 61), dtype=np.float32)
    depth[20, 50] = 3.0
    image = np.repeat((depth * 80).astype(np.uint8)[..., None], 3, axis=2)
    quarter, quarter_depth = turned(image, depth, 90.0)
    assert (
        quarter_depth[0, 30] == 3.0 and quarter[0, 30, 0] == 240
    )  # anticlockwise: from the right to the top
    same, same_depth = turned(image, depth, 0.0)
    assert np.array_equal(same, image) and np.array_equal(same_depth, depth)


def test_colours_change_half_of_the_time_within_their_ranges():
    grey = np.full((4, 4, 3), 100, dtype=np.uint8)
    results = [recolour(grey, np.random.default_rng(seed)) for seed in range(400)]
    changed = [r for r in results if r.dtype == np.float32]
    assert 0.4 < len(changed) / 400 < 0.6
    low, high = 100**0.9 * 0.75 * 0.9, min(255, 100**1.1 * 1.25 * 1.1)
    assert all(low - 1 <= r.min() and r.max() <= high + 1 for r in changed)
    assert max(np.ptp(r[0, 0]) for r in changed) > 10  # channels differ


def test_images_and_views_agree_after_resizing():
    protocol = DepthProtocol(crop=(30, 30), resized=(30, 30), degrees=1e-9)
    rng = np.random.default_rng(0)
    depth = cv2.resize(
        rng.uniform(1, 5, (4, 4)).astype(np.float32), (60, 60), interpolation=cv2.INTER_NEAREST
    )
    image = np.repeat((depth * 40).astype(np.uint8)[..., None], 3, axis=2)
    view = DepthViews(protocol).plain(DenseSample(image, depth, ""))
    assert np.median(np.abs(view.pixels[..., 0] / 40 - view.target)) < 0.03  # edges apart


@pytest.mark.parametrize("size", [28, 97, 112, 224, 336, 448])
def test_a_border_shrinks_with_its_image_and_nothing_is_padded(size):
    protocol = PROTOCOLS["nyud"].at_size(size)
    rng = np.random.default_rng(0)
    depth = np.full((480, 640), 2.0, np.float32)
    image = np.full((480, 640, 3), 90, np.uint8)
    image[:45] = image[472:] = image[:, :43] = image[:, 608:] = 255  # the frame that training must not see
    maker = DepthViews(replace(protocol, degrees=0.0))
    views = [maker.plain(DenseSample(image, depth, "x"))]
    views += [maker(DenseSample(image, depth, "x"), rng) for _ in range(6)]
    for view in views:
        assert view.inside == maker.size == view.target.shape and (view.target == 2.0).all()
        assert len(np.unique(view.pixels[..., 0])) == 1
    assert maker.size[0] == pytest.approx(416 * size / 480, abs=1) and maker.size[1] == pytest.approx(
        544 * size / 640, abs=1
    )


@pytest.mark.parametrize("size", [(112, 98), (98, 112), (448, 300), (56, 17)])
def test_image_and_depth_are_read_at_the_same_places(size):
    rows, columns = np.meshgrid(np.arange(224.0), np.arange(160.0), indexing="ij")
    depth = (40.0 + 0.2 * rows + 0.1 * columns).astype(np.float32)
    _, found = resize_pair(np.zeros((224, 160, 3), np.uint8), depth, size)
    down, across = (
        (np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(size, depth.shape, strict=True)
    )
    np.testing.assert_allclose(
        found[2:-2, 2:-2], (40.0 + 0.2 * down[:, None] + 0.1 * across)[2:-2, 2:-2], rtol=1e-5
    )


def test_resized_depth_has_no_surface_that_was_not_there():
    depth = np.where(np.arange(60)[None] < 31, 2.0, 5.0).repeat(50, 0).astype(np.float32)
    depth[20:30] = 0.0
    for size in ((25, 30), (23, 41), (100, 120)):
        assert set(np.unique(resize_depth(depth, size))) == {0.0, 2.0, 5.0}


def test_a_list_with_two_depth_maps_of_an_image_is_refused(tmp_path):
    listing = depth_lists(tmp_path, train=2, test=0) / "nyu_train.txt"
    first, second = listing.read_text().splitlines()
    other = f"{first.split()[0]} {second.split()[1]} 518"
    listing.write_text("\n".join([first, second, other]))
    with pytest.raises(DataError, match=r"nyu_train\.txt: gives .*rgb_00000\.jpg two depth maps"):
        open_depth(f"nyud:{tmp_path}", "train")


def folder_of(root, metres, unit=0.001):
    for split in ("train", "val"):
        for index in range(3):
            write_png(root / "images" / split / f"{index}.png", np.zeros((20, 24, 3), np.uint8))
            values = np.full((20, 24), metres / unit, np.uint16)
            write_png(root / "depth" / split / f"{index}.png", values)
    return f"folder:{root}"


@pytest.mark.parametrize("training", [True, False])
def test_data_that_reach_farther_than_stated_are_neither_fitted_nor_scored(tmp_path, training):
    spec = folder_of(tmp_path / "far", 40.0)
    with pytest.raises(DataError, match=r"100.0% of the known depth lies outside .*\{\"farthest\": 40\}"):
        open_data(TASK, spec, "val", training=training)
    (tmp_path / "far" / "depth.json").write_text('{"farthest": 80}')
    assert len(open_data(TASK, spec, "val", training=training).samples) == 3
    (tmp_path / "none" / "images" / "val").mkdir(parents=True)
    (tmp_path / "none" / "depth" / "val").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"images/val: no images lie in it \(folders below it are not searched"
    ):
        open_data(TASK, f"folder:{tmp_path / 'none'}", "val", training=training)


def test_a_range_is_said_in_a_home_folder_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_of(tmp_path / "mine", 2.0)
    write_png(tmp_path / "mine" / "depth" / "train" / "0.png", np.full((20, 24), 24_000, np.uint16))
    (tmp_path / "mine" / "depth.json").write_text(json.dumps({"farthest": 10}))
    check_range(open_depth("folder:~/mine", "train"))


def test_depth_beyond_the_range_is_refused_until_somebody_says_it(tmp_path):
    spec = folder_of(tmp_path, 24.0)
    with pytest.raises(
        DataError, match=r"100\.0% of the known depth lies outside.*depth\.json.*\"farthest\": 24"
    ):
        check_range(open_depth(spec, "train"))
    (tmp_path / "depth.json").write_text(json.dumps({"farthest": 80}))
    data = open_depth(spec, "train")
    check_range(data)
    assert (data.protocol.nearest, data.protocol.farthest) == (1e-3, 80.0)
    (tmp_path / "depth.json").write_text(json.dumps({"farthest": 12}))
    with pytest.raises(DataError, match="would be left out"):
        check_range(open_depth(spec, "train"))  # nothing at all is left


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_folder_says_its_unit(tmp_path, encoding):
    """In a file that may begin with a byte-order mark, as Windows writes it."""
    spec = folder_of(tmp_path, 120.0, unit=1 / 256)
    (tmp_path / "depth.json").write_text(json.dumps({"farthest": 200, "metres_per_unit": 1 / 256}), encoding)
    data = open_depth(spec, "val")
    check_range(data)
    assert data.samples[0].target.max() == pytest.approx(120.0)


@pytest.mark.parametrize(
    "said",
    [
        {"farthest": 80.0, "unit": 1},
        {"farthest": "far"},
        {"farthest": 0.0},
        {"metres_per_unit": 0},
        {"nearest": 20.0},
        {"farthest": True},
    ],
)
def test_a_range_that_makes_no_sense_is_named(tmp_path, said):
    spec = folder_of(tmp_path, 2.0)
    (tmp_path / "depth.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"depth\.json: expected"):
        open_depth(spec, "train")
