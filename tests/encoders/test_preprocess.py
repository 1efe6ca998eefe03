"""Any kind of image to one normalized batch."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from codistill.encoders.preprocess import preprocess_images, target_size
from codistill.errors import DataError


@pytest.fixture
def pixels() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC))


def test_equals_torchvision(pixels: np.ndarray) -> None:
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((42, 56), interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    torch.testing.assert_close(
        preprocess_images(pixels, 14, (42, 56))[0], transform(Image.fromarray(pixels)), atol=1e-5, rtol=1e-5
    )


def test_every_kind_of_input_gives_the_same(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    kinds = [path, str(path), Image.fromarray(pixels), pixels, torch.from_numpy(pixels.copy())]
    batch = preprocess_images(kinds, 14, 28)
    assert batch.shape == (5, 3, 28, 42) and batch.dtype == torch.float32
    for image in batch[1:]:
        torch.testing.assert_close(image, batch[0])
    torch.testing.assert_close(preprocess_images(np.stack([pixels, pixels]), 14, 28), batch[:2])
    assert preprocess_images(path, 14).shape == (1, 3, 56, 84)


@pytest.mark.parametrize(
    ("shape", "size", "wanted"),
    [
        ((60, 80), None, (56, 84)),
        ((5, 3), None, (14, 14)),
        ((60, 80), 224, (224, 294)),
        ((80, 60), 224, (294, 224)),
        ((60, 80), (100, 30), (98, 28)),
        ((63, 63), None, (70, 70)),
    ],
)
def test_sides_are_rounded_to_the_nearest_multiple(shape, size, wanted) -> None:
    assert target_size(shape, 14, size) == wanted


def test_alpha_is_composited() -> None:
    clear = Image.new("RGBA", (14, 14), (255, 0, 0, 0))
    white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(preprocess_images(clear, 14)[0, :, 3, 3], white)


def test_errors_say_what_was_given(pixels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"different shapes .*\(56, 84\).* size="):
        preprocess_images([pixels, pixels[:30]], 14)
    with pytest.raises(DataError, match=r"got float64 of shape \(60, 80, 3\)"):
        preprocess_images(pixels / 255, 14)
    with pytest.raises(DataError, match=r"uint8 of shape \(60, 80\)"):
        preprocess_images(pixels[..., 0], 14)
    with pytest.raises(DataError, match="got BytesIO"):
        preprocess_images([io.BytesIO()], 14)  # type: ignore[list-item]
    with pytest.raises(DataError, match="no images"):
        preprocess_images([], 14)
    with pytest.raises(DataError, match="no such file"):
        preprocess_images(tmp_path / "gone.png", 14)
    with pytest.raises(ValueError, match="got size 0"):
        preprocess_images(pixels, 14, 0)
