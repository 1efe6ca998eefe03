"""What notebooks show of tokens: pictures whose pixels are principal components, as computed here by SVD."""

import base64
import io
import re

import numpy as np
import torch
from PIL import Image

from codistill.types import Tokens


def pictures(text: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/png;base64,([^\"]+)", text)
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
