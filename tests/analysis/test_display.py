"""What notebooks show of tokens (principal components, as computed here by SVD) and of batches (their pictures)."""

import base64
import io
import re

import numpy as np
import torch
from PIL import Image

from codistill.types import BadImage, Batch, Tokens


def pictures(text: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/(?:png|jpeg);base64,([^\"]+)", text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_pictures_are_principal_components() -> None:
    patches = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(8, 0, -1)
    drawn = pictures(Tokens(patches=patches, grid=(3, 4))._repr_html_())
    assert [picture.shape for picture in drawn] == [(3, 4, 3)] * 2
    flat = (patches - patches.mean((0, 1))).reshape(-1, 8).double()
    scores = flat @ torch.linalg.svd(flat, full_matrices=False)[2][:3].T
    seen = np.concatenate([picture.reshape(-1, 3) for picture in drawn]).astype(float)
    inside = (seen > 0) & (seen < 255)
    for component in range(3):
        keep = inside[:, component]
        together = np.corrcoef(seen[keep, component], scores[keep, component].numpy())[0, 1]
        assert abs(together) > 0.999  # but for rounding; the sign is free


def test_only_some_of_a_large_batch_are_drawn() -> None:
    text = Tokens(patches=torch.randn(11, 4, 5), grid=(2, 2))._repr_html_()
    assert len(pictures(text)) == 8 and "the first 8 of 11" in text and "grid=(2, 2)" in text


def test_what_cannot_be_drawn_is_said() -> None:
    broken = torch.full((1, 4, 5), torch.nan)
    assert "not finite" in Tokens(patches=broken, grid=(2, 2))._repr_html_()
    assert not pictures(Tokens(patches=torch.randn(1, 4, 2), grid=(2, 2))._repr_html_())


def batch(images: torch.Tensor) -> Batch:
    count = len(images)
    names = tuple(f"<{number}>.jpg" for number in range(count))
    return Batch(
        images, ("generic",) * count, ("photos",) * count, names, bad=(BadImage("photos", "x", "cut"),)
    )


def test_a_batch_shows_its_pictures_as_they_were_before_normalization() -> None:
    grey = torch.full((10, 3, 28, 42), 0.5)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    text = batch((grey - mean) / std)._repr_html_()
    drawn = pictures(text)
    assert len(drawn) == 8 and drawn[0].shape == (28, 42, 3)
    assert np.abs(drawn[0].astype(int) - 127.5).max() <= 2  # but for JPEG
    assert "photos: &lt;0&gt;.jpg (generic)" in text and "<0>" not in text
    assert "(10, 3, 28, 42)" in text and "the first 8 of 10" in text and "1 images could not be used" in text


def test_values_of_a_batch_that_are_not_finite_are_black() -> None:
    images = torch.ones(1, 3, 32, 32)
    images[0, :, :16] = torch.nan
    text = batch(images)._repr_html_()
    assert "not finite: black" in text
    drawn = pictures(text)[0]
    assert drawn[:8].max() < 20 and drawn[24:].min() > 100


def test_large_pictures_are_shrunk() -> None:
    assert pictures(batch(torch.zeros(1, 3, 1000, 500))._repr_html_())[0].shape == (320, 160, 3)
