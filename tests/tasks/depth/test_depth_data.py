import cv2
import numpy as np
import pytest
from task_toys import depth_lists, write_png

from codistill.errors import DataError
from codistill.tasks.depth.data import PROTOCOLS, DepthProtocol, open_depth
from codistill.tasks.depth.views import DepthViews, recolour, turned
from codistill.tasks.frozen.data import DenseSample, check_data


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
        check_data(open_depth(f"nyud:{root}", "train").samples, "nyu")


def test_resized_frames_are_refused(tmp_path):
    root = depth_lists(tmp_path, train=1, test=1, size=(240, 320))
    with pytest.raises(DataError, match="240x320 pixels; this data set has 480x640"):
        check_data(open_depth(f"nyud:{root}", "train").samples, "nyu")


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
