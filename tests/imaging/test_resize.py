"""Resizing against Pillow, and the choice of a JPEG's reduction."""

import numpy as np
import pytest
from PIL import Image

from codistill.imaging import covering_reduction, resize_rgb


@pytest.mark.parametrize("size", [(20, 31), (90, 50), (160, 200)])
def test_matches_pillow_bicubic(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (96, 72, 3), dtype=np.uint8)
    wanted = Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)
    found = resize_rgb(image, size)
    assert found.shape == (*size, 3)
    error = np.abs(found.astype(int) - np.asarray(wanted))
    assert error.max() <= 3 and error.mean() < 0.3  # both round between their two passes


def test_same_size_is_the_same_array_and_views_are_taken() -> None:
    image = np.random.default_rng(2).integers(0, 256, (32, 24, 3), dtype=np.uint8)
    assert resize_rgb(image, (32, 24)) is image
    mirrored = image[::-1, ::-1]
    np.testing.assert_array_equal(
        resize_rgb(mirrored, (16, 12)), resize_rgb(np.ascontiguousarray(mirrored), (16, 12))
    )
    frozen = image.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(resize_rgb(frozen, (16, 12)), resize_rgb(image, (16, 12)))


@pytest.mark.parametrize(
    ("available", "wanted", "reduction"),
    [
        ((336, 336), (336, 336), 1),
        ((671, 2000), (336, 336), 1),
        ((672, 672), (336, 336), 2),
        ((5000, 1400), (336, 336), 4),
        ((5000, 5000), (336, 336), 8),
        ((10, 10), (336, 336), 1),
    ],
)
def test_reduction_covers_the_wanted_size(available, wanted, reduction) -> None:
    assert covering_reduction(available, wanted) == reduction
