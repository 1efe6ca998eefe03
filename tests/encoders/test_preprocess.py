"""Any kind of image to one normalized batch."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from codistill.encoders.load import load_encoder
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
    with pytest.raises(DataError, match=r"\[0, 1\]; got float64 of shape \(60, 80, 3\), from 0 to 2"):
        preprocess_images(np.linspace(0, 2, 60 * 80 * 3).reshape(60, 80, 3), 14)
    for file in ([io.BytesIO()], io.BytesIO(b"two\nlines")):
        with pytest.raises(DataError, match=r"its read\(\)\).* got BytesIO"):
            preprocess_images(file, 14)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no images"):
        preprocess_images([], 14)
    with pytest.raises(DataError, match="no such file"):
        preprocess_images(tmp_path / "gone.png", 14)
    with pytest.raises(DataError, match="got int"):
        preprocess_images(5, 14)  # type: ignore[arg-type]
    for size in (224.0, float("nan"), (224.0, 224.0), (224,), (0, 28)):
        with pytest.raises(ValueError, match="got size "):
            preprocess_images(pixels, 14, size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got size 0"):
        preprocess_images(pixels, 14, 0)


def test_every_layout_of_an_array_gives_the_same(pixels: np.ndarray) -> None:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "png")
    tensor = torch.from_numpy(pixels.copy())
    expected = preprocess_images(pixels, 14)
    same = [
        tensor.permute(2, 0, 1),
        pixels.transpose(2, 0, 1),
        encoded.getvalue(),
        bytearray(encoded.getvalue()),
    ]
    same += [memoryview(encoded.getvalue()), tensor[None], tensor.permute(2, 0, 1)[None]]
    for image in same:
        torch.testing.assert_close(preprocess_images(image, 14), expected)
    floats = [tensor / 255, (tensor / 255).permute(2, 0, 1).double(), pixels / np.float32(255)]
    for image in floats:  # bicubic on floats instead of 8 bits, which round after each axis
        found = preprocess_images(image, 14)
        assert float((found - expected).abs().max()) < 1.5 / 255 / 0.224
    whole = preprocess_images(tensor[:56, :70] / 255, 14)  # nothing to resize: exact
    torch.testing.assert_close(whole, preprocess_images(tensor[:56, :70], 14))


@given(rows=st.integers(5, 40), columns=st.integers(5, 40), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_grey_and_transparent_arrays_are_as_pillow_sees_them(rows: int, columns: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, 256, (rows, columns, 4), dtype=np.uint8)
    grey = preprocess_images(Image.fromarray(drawn[..., 0]), 7)
    for image in (drawn[..., 0], drawn[..., :1], drawn[None, ..., 0], torch.from_numpy(drawn[..., 0].copy())):
        torch.testing.assert_close(preprocess_images(image, 7), grey)
    clear = preprocess_images(Image.fromarray(drawn), 7)
    for image in (drawn, drawn.transpose(2, 0, 1)):
        assert float((preprocess_images(image, 7) - clear).abs().max()) < 2.01 / 255 / 0.224


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((3, 60, 3), np.uint8), "first or its last axis"),
        (np.zeros((4, 60, 3), np.float32), "first or its last axis"),
        (np.zeros((10, 60, 80), np.uint8), "no outer axis"),
        (np.zeros((60, 80, 2), np.uint8), "no outer axis"),
        (np.zeros((2, 2, 3, 60, 80), np.uint8), r"must be \(row, column\)"),
        (np.zeros((60, 80, 3), np.uint16), "uint8 values or floats"),
        (np.zeros((60, 80, 3), bool), "uint8 values or floats"),
        (np.zeros((60, 80, 3), np.int64), "uint8 values or floats"),
        (np.zeros((0, 80, 3), np.uint8), "uint8 values or floats"),
        (np.full((60, 80, 3), 255.0), r"from 255 to 255.*by 255"),
        (np.full((3, 60, 80), -0.2), r"go to the encoder"),
        (np.full((60, 80), np.nan), r"\[0, 1\]"),
        (b"no image", "not an image|known format"),
        (b"", "empty"),
    ],
)
def test_what_is_ambiguous_is_refused(image: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        preprocess_images(image, 14)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_batch_has_the_encoder_s_dtype(pixels: np.ndarray, dtype: torch.dtype) -> None:
    encoder = load_encoder("random:vit_tiny,dim=8,depth=1,num_heads=1").to(dtype)
    batch = encoder.preprocess(pixels, 28)
    assert batch.dtype == dtype
    assert encoder(batch).patches.dtype == dtype
    meta = encoder.to("meta").preprocess(pixels, 28)
    assert meta.device.type == "meta"
