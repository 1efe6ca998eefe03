"""Joint bilateral upsampling against its formula by loops."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from codistill.nn.jbu import RADIUS, SIGMA_COLOUR, SIGMA_SPACE, bilateral_mean, prime_factors, upsample_jbu


def mirrored(place: int, length: int) -> int:
    """A place beyond the border, mirrored at the outermost sample."""
    place = abs(place)
    return place if place < length else 2 * (length - 1) - place


def by_loops(values: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    channels, rows, columns = values.shape
    out = torch.zeros(channels, rows, columns, dtype=torch.float64)
    for r in range(rows):
        for c in range(columns):
            total, norm = torch.zeros(channels, dtype=torch.float64), 0.0
            for down in range(-RADIUS, RADIUS + 1):
                for right in range(-RADIUS, RADIUS + 1):
                    y, x = mirrored(r + down, rows), mirrored(c + right, columns)
                    far = ((down / RADIUS) ** 2 + (right / RADIUS) ** 2) / (2 * SIGMA_SPACE**2)
                    other = ((colours[:, y, x] - colours[:, r, c]) ** 2).sum().item() / (2 * SIGMA_COLOUR**2)
                    weight = math.exp(-far) * math.exp(-other)
                    total += weight * values[:, y, x].double()
                    norm += weight
            out[:, r, c] = total / norm
    return out


def test_the_mean_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    values, colours = torch.randn(1, 2, 6, 9), torch.randn(1, 3, 6, 9)
    found = bilateral_mean(values, colours)
    torch.testing.assert_close(found[0].double(), by_loops(values[0], colours[0]), atol=1e-5, rtol=1e-5)


def test_levels_are_prime_factors() -> None:
    assert [prime_factors(n) for n in (1, 14, 16, 9, 7)] == [[], [2, 7], [2, 2, 2, 2], [3, 3], [7]]
    torch.manual_seed(0)
    coarse, guide = torch.randn(1, 2, 4, 5), torch.randn(1, 3, 24, 30)
    half = bilateral_mean(
        interpolate(coarse, scale_factor=2, mode="bilinear"),
        guide.unfold(2, 3, 3).unfold(3, 3, 3).mean((4, 5)),
    )
    whole = bilateral_mean(interpolate(half, scale_factor=3, mode="bilinear"), guide)
    torch.testing.assert_close(upsample_jbu(coarse, guide, 6), whole)
    assert torch.equal(upsample_jbu(coarse, guide, 1), coarse)


def test_constants_stay_and_linear_maps_commute() -> None:
    torch.manual_seed(0)
    guide = torch.randn(2, 3, 28, 42)
    ones = torch.full((2, 1, 4, 6), 3.5)
    torch.testing.assert_close(upsample_jbu(ones, guide, 7), torch.full((2, 1, 28, 42), 3.5))
    coarse, head = torch.randn(2, 5, 4, 6), torch.nn.Conv2d(5, 3, 1)
    with torch.no_grad():
        torch.testing.assert_close(
            head(upsample_jbu(coarse, guide, 7)), upsample_jbu(head(coarse), guide, 7), atol=1e-4, rtol=1e-4
        )


def test_edges_follow_the_image() -> None:
    """A step of the map, off by less than a cell from that of the image, becomes one where the image has it."""
    guide = torch.zeros(1, 3, 28, 28)
    guide[..., 16:] = 4.0  # an edge within the third of four cells, whose centre lies to its right
    coarse = torch.zeros(1, 1, 4, 4)
    coarse[..., 2:] = 1.0
    fine, smooth = upsample_jbu(coarse, guide, 7), interpolate(coarse, size=(28, 28), mode="bilinear")
    truth = (guide[:, :1] > 0).float()
    assert (fine - truth).abs().mean() < (smooth - truth).abs().mean()
    steps = [(x[..., 16] - x[..., 15]).mean() for x in (fine, smooth)]
    assert steps[0] > 2 * steps[1] > 0


@pytest.mark.parametrize("shape", [(1, 1), (2, 5)])
def test_small_maps_are_taken(shape: tuple[int, int]) -> None:
    guide = torch.randn(1, 3, 2 * shape[0], 2 * shape[1])
    assert upsample_jbu(torch.randn(1, 2, *shape), guide, 2).isfinite().all()
