import cv2
import numpy as np
import pytest
from task_toys import toy_scene

from codistill.tasks.dense.segmentation.data import PROTOCOLS, SegmentationProtocol
from codistill.tasks.dense.segmentation.views import SegmentationViews, keep_ratio, recolour
from codistill.tasks.shared.data import DenseSample

SMALL = SegmentationProtocol(scale=(84, 42), crop=(42, 42), stride=(28, 28))


@pytest.mark.parametrize(
    ("shape", "scale", "size"),
    [
        ((512, 683), (2048, 512), (512, 683)),
        ((1024, 2048), (2048, 1024), (1024, 2048)),
        ((300, 1500), (2048, 512), (410, 2048)),  # the long side decides: 2048 / 1500 * 300 = 409.6
        ((768, 512), (2048, 512), (768, 512)),
        ((427, 640), (2048, 512), (512, 767)),  # 512 / 427 * 640 = 767.4
        ((480, 640), (640, 480), (480, 640)),
        ((1, 5000), (2048, 512), (1, 2048)),  # a strip keeps a line
    ],
)
def test_sizes_of_the_test_pipeline(shape, scale, size):
    assert keep_ratio(shape, scale) == size


def sample(seed: int, size: tuple[int, int] = (60, 90)) -> DenseSample:
    image, labels = toy_scene(seed, size)
    return DenseSample(image, labels, str(seed))


def test_views_have_one_size_and_labels_follow_the_image():
    """Colours tell classes, so that a view in which they part is found, whatever was cropped, resized or mirrored."""
    maker = SegmentationViews(SMALL)
    agreements = []
    for seed in range(30):
        view = maker(sample(seed % 5), np.random.default_rng(seed))
        assert view.pixels.shape == (42, 42, 3) and view.target.shape == (42, 42)
        rows, columns = view.inside
        hsv = cv2.cvtColor(view.pixels, cv2.COLOR_RGB2HSV)[:rows, :columns, 0].astype(int)
        truth = view.target[:rows, :columns]
        hues = np.array([3, 62, 114])  # of the toy's colours; the hue step moves them by 18 at most
        found = np.abs((hsv[..., None] - hues + 90) % 180 - 90).argmin(-1)
        agreements.append((found == truth).mean())
        assert (view.target[rows:] == 255).all() and (view.target[:, columns:] == 255).all()
    assert np.median(agreements) > 0.9


def test_padding_appears_where_an_image_became_smaller_than_the_crop():
    maker = SegmentationViews(
        SegmentationProtocol(scale=(84, 42), crop=(42, 42), stride=(42, 42), zoom=(0.5, 0.5))
    )
    view = maker(sample(0, (60, 80)), np.random.default_rng(0))
    assert view.inside == (21, 28)  # 60x80 into (42, 21)


def test_crops_avoid_one_class_over_three_quarters_where_they_can():
    labels = np.zeros((60, 400), dtype=np.uint8)
    labels[:, 380:] = 1
    image = np.zeros((60, 400, 3), dtype=np.uint8)
    protocol = SegmentationProtocol(scale=(400, 60), crop=(60, 40), stride=(60, 40), zoom=(1.0, 1.0))
    maker = SegmentationViews(protocol)
    mixed = [
        (maker(DenseSample(image, labels, ""), np.random.default_rng(seed)).target == 1).mean()
        for seed in range(200)
    ]
    # A single draw has more than a quarter of class 1 in 11 of 361 places; ten draws in 1 - (350/361)^10 = 27 %.
    assert 0.17 < np.mean(np.array(mixed) > 0.25) < 0.37


def test_views_follow_from_their_generator():
    maker = SegmentationViews(SMALL)
    one, two, three = (maker(sample(0), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.pixels, two.pixels) and not np.array_equal(one.pixels, three.pixels)


def test_the_plain_view_is_the_middle_at_test_scale():
    view = SegmentationViews(SMALL).plain(sample(3))
    resized = cv2.resize(sample(3).target, (63, 42), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(view.target, resized[:, 10:52]) and view.inside == (42, 42)


def test_colours_change_as_often_and_as_far_as_they_should():
    grey = np.full((8, 8, 3), 100, dtype=np.uint8)
    results = np.array([recolour(grey, np.random.default_rng(seed)).mean() for seed in range(600)])
    # On grey only brightness (within 32) and contrast (0.5 to 1.5), each half of the time, show.
    assert 0.19 < np.mean(results == 100) < 0.31
    assert results.min() >= (100 - 32) * 0.5 - 1 and results.max() <= (100 + 32) * 1.5
    assert results.min() < 50 and results.max() > 150


def test_the_hue_turns_by_18_of_180_at_most_and_wraps():
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 250
    hues = []
    for seed in range(400):
        out = cv2.cvtColor(recolour(red, np.random.default_rng(seed)), cv2.COLOR_RGB2HSV)
        hues.append((int(out[0, 0, 0]) + 90) % 180 - 90)
    turned = np.array(hues)
    assert 0.42 < np.mean(turned == 0) < 0.65  # half of the time it stays
    assert np.mean(np.abs(turned) <= 18) > 0.97  # clipping after it moves a few farther
    assert turned.min() < -12 and turned.max() > 12


def test_published_settings_are_the_published_ones():
    ade = PROTOCOLS["ade20k"]
    assert (ade.scale, ade.crop, ade.stride, ade.zoom, ade.steps) == (
        (2048, 512),
        (512, 512),
        (341, 341),
        (0.5, 2.0),
        40_000,
    )
