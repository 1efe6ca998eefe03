import numpy as np
import pytest
import torch
from dense_tools import open_segmentation
from task_toys import segmentation_folder

from codistill.errors import ConfigError, DataError
from codistill.tasks.dense.segmentation.views import SegmentationViews
from codistill.tasks.shared.data import DenseSample
from codistill.tasks.shared.loading import View, normalized_inside, train_batches, training_requests
from codistill.types import IMAGENET_MEAN, IMAGENET_STD


def test_every_pass_sees_every_sample_once_in_another_order():
    requests = training_requests(12, 4, seed=3, steps=range(9))
    items = [item for request in requests for item in request.items]
    passes = [items[start : start + 12] for start in (0, 12, 24)]
    assert all(sorted(one) == list(range(12)) for one in passes)
    assert passes[0] != passes[1] != passes[2]


def test_ranks_share_a_step_and_any_step_can_be_made_at_once():
    whole = list(training_requests(10, 4, seed=0, steps=range(6)))
    parts = [list(training_requests(10, 4, seed=0, steps=range(6), rank=r, world_size=2)) for r in (0, 1)]
    for step, request in enumerate(whole):
        both = dict(
            zip(
                parts[0][step].slots + parts[1][step].slots,
                parts[0][step].items + parts[1][step].items,
                strict=True,
            )
        )
        assert both == dict(zip(request.slots, request.items, strict=True))
    assert next(training_requests(10, 4, seed=0, steps=range(5, 6))) == whole[5]


def test_padding_is_zero_after_normalization():
    pixels = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)
    images = normalized_inside(pixels, ((3, 2),))
    expected = torch.tensor([(1 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)])
    torch.testing.assert_close(images[0, :, 2, 1], expected)
    assert not images[0, :, 3:].any() and not images[0, :, :, 2:].any()
    assert images[0, :, :3, :2].all()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    root = segmentation_folder(tmp_path_factory.mktemp("loading"), train=6, val=1)
    data = open_segmentation(f"folder:{root}", "train")
    return data.samples, SegmentationViews(data.protocol.at_size(28))


def test_a_resumed_loader_gives_the_same_views(toy):
    data, maker = toy
    batches = train_batches(data, maker, batch_size=3, total_steps=5, seed=1, workers=0)
    whole = list(batches(0))
    rest = list(batches(3))
    assert len(whole) == 5 and len(rest) == 2
    assert torch.equal(whole[3].images, rest[0].images) and torch.equal(whole[4].target, rest[1].target)
    assert whole[3].names == rest[0].names
    assert not torch.equal(whole[0].images, whole[2].images)
    assert whole[0].images.shape == (3, 3, 28, 28) and whole[0].target.shape == (3, 28, 28)


def test_workers_change_nothing(toy):
    data, maker = toy
    make = {n: train_batches(data, maker, batch_size=2, total_steps=3, seed=1, workers=n) for n in (0, 1)}
    for one, other in zip(make[0](0), make[1](0), strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.target, other.target)


class Broken:
    size = (2, 2)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 1:
            raise DataError("1.png: damaged")
        return DenseSample(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8), str(index))

    def __call__(self, sample, rng):
        return View(sample.image, sample.target, (2, 2))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_cannot_be_read_stops_the_fit_and_is_named(workers):
    batches = train_batches(Broken(), Broken(), batch_size=3, total_steps=1, seed=0, workers=workers)
    with pytest.raises(DataError, match=r"^1\.png: damaged$"):
        list(batches(0))


def test_a_batch_that_does_not_divide_is_refused(toy):
    with pytest.raises(ConfigError, match="multiple of the 2 processes"):
        train_batches(*toy, batch_size=3, total_steps=1, seed=0, world_size=2)
