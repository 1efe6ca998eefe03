"""Scores at another size: the values of plain bilinear interpolation, channels last in memory."""

import pytest
import torch
from torch.nn.functional import interpolate

from codistill.tasks.dense.resizing import resized


@pytest.mark.parametrize(("channels", "size"), [(36, (56, 84)), (4, (30, 21)), (1, (8, 8))])
def test_the_values_are_those_of_planes_in_memory(channels: int, size: tuple[int, int]) -> None:
    scores = torch.randn(2, channels, 8, 12, generator=torch.Generator().manual_seed(0))
    plain = interpolate(scores.contiguous(), size=size, mode="bilinear", align_corners=False)
    found = resized(scores, size)
    torch.testing.assert_close(found, plain, rtol=0, atol=2e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found.argmax(1), plain.argmax(1))
