import pytest
import torch

from codistill.tasks.dense.sliding import slide, window_starts


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        (512, [0]),
        (300, [0]),
        (513, [0, 1]),
        (853, [0, 341]),
        (854, [0, 341, 342]),
        (2048, [0, 341, 682, 1023, 1364, 1536]),
    ],
)
def test_windows_of_the_protocol(length, starts):
    assert window_starts(length, 512, 341) == starts


@pytest.mark.parametrize("size", [(5, 5), (4, 9), (13, 7), (3, 11), (17, 19)])
def test_every_pixel_is_covered_and_overlaps_are_averaged(size):
    """Windows that return their pixels give the image back; counts come from a slow sum."""
    images = torch.randn(2, 3, *size)
    seen = []

    def predict(part: torch.Tensor) -> torch.Tensor:
        seen.append(part.shape)
        return part

    found = slide(images, predict, (5, 5), (3, 2), at_once=4)
    torch.testing.assert_close(found, images)
    assert all(shape[2:] == (min(5, size[0]), min(5, size[1])) and shape[0] <= 4 for shape in seen)


def test_one_window_is_the_whole_image():
    images = torch.randn(1, 3, 16, 16)
    weight = torch.randn(4, 3, 3, 3)

    def predict(part: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(part, weight, padding=1)

    torch.testing.assert_close(slide(images, predict, (16, 16), (10, 10)), predict(images))


def test_where_windows_disagree_their_mean_counts():
    calls = iter(range(10))
    found = slide(
        torch.zeros(1, 3, 1, 5),
        lambda part: torch.full((1, 1, 1, 3), float(next(calls))),
        (1, 3),
        (1, 2),
        at_once=1,
    )
    assert found.flatten().tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
