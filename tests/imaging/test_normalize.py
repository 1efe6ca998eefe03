"""Normalization against torchvision, in place and back."""

import torch
from torchvision.transforms import v2

from codistill.imaging.normalize import (
    imagenet_normalize_,
    normalized,
    normalized_in_one_pass,
    unit_range,
    unnormalized,
)

PIXELS = torch.randint(256, (2, 5, 7, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_equals_torchvision() -> None:
    reference = v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(
        PIXELS.permute(0, 3, 1, 2).float() / 255
    )
    assert torch.equal(normalized(PIXELS), reference)
    assert normalized(PIXELS).is_contiguous()
    torch.testing.assert_close(normalized_in_one_pass(PIXELS), reference, rtol=1e-6, atol=1e-6)


def test_in_place_and_back() -> None:
    images = unit_range(PIXELS)
    given = images.clone()
    assert imagenet_normalize_(images) is images
    torch.testing.assert_close(unnormalized(images), given)
    assert unnormalized(images + 9).max() == 1.0
