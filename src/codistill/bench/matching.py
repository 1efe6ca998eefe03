"""Benchmark of dense descriptor matching: synthetic maps with known correspondences in, speed and quality out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from codistill.bench.timing import measured
from codistill.geometry.projection import pixel_grid
from codistill.heads.two_view.matching import (
    Matches,
    fast_reciprocal_matches,
    mutual_matches,
    symmetric_matches,
)
from codistill.metrics.matching import coverage, match_errors, shares_below

FULL = "full mutual"
MATCHERS: dict[str, Callable[[Tensor, Tensor], Matches]] = {
    "fast reciprocal, seeds every 16": lambda a, b: fast_reciprocal_matches(a, b, subsample=16),
    "fast reciprocal, seeds every 8": fast_reciprocal_matches,
    "both directions, seeds every 8": symmetric_matches,
    "fast reciprocal, seeds every 4": lambda a, b: fast_reciprocal_matches(a, b, subsample=4),
    FULL: mutual_matches,
}
"""Every matcher, by the name of its row in the table."""
_TILT = ((0.92, -0.12, 24.0), (0.10, 0.95, -8.0), (1.5e-4, 1.0e-4, 1.0))
"""Map from pixels of the first map (at 512 columns) to pixels of the second."""


@dataclass(frozen=True, kw_only=True)
class MatcherSpeed:
    """One matcher's result: seconds, matches, shares within 1, 3 and 5 pixels, covered share of the common view."""

    matcher: str
    seconds: float
    matches: int
    within_1: float
    within_3: float
    within_5: float
    coverage: float


def made_descriptors(
    size: tuple[int, int], channels: int, noise: float, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two descriptor maps (row, column, channel), and the true match of each pixel of the first with its visibility."""
    draw = torch.Generator().manual_seed(seed)
    rows, columns = size
    waves = torch.randn(2, channels, generator=draw) * 0.25
    phases = torch.rand(channels, generator=draw) * 6.283
    grid = pixel_grid(rows, columns)
    scale = torch.tensor([columns / 512, columns / 512, 1.0])
    matrix = torch.diag(scale) @ torch.tensor(_TILT) @ torch.diag(1 / scale)

    def warped(pixels: Tensor, by: Tensor) -> Tensor:
        moved = torch.cat((pixels, torch.ones_like(pixels[..., :1])), dim=-1) @ by.T
        return moved[..., :2] / moved[..., 2:]

    def described(places: Tensor) -> Tensor:
        clean = normalize(torch.cos(places @ waves + phases), dim=-1)
        added = torch.randn(clean.shape, generator=draw) * noise / channels**0.5
        return normalize(clean + added, dim=-1)

    first, second = described(grid), described(warped(grid, torch.linalg.inv(matrix)))
    truth = warped(grid, matrix)
    inside = (truth >= 0) & (truth <= torch.tensor([columns - 1.0, rows - 1.0]))
    return first, second, truth, inside.all(-1)


def bench_matcher(
    name: str,
    matcher: Callable[[Tensor, Tensor], Matches],
    first: Tensor,
    second: Tensor,
    truth: Tensor,
    seen: Tensor,
) -> MatcherSpeed:
    """Match two maps (row, column, channel) once, and score the matches by the true pixels `truth` where `seen`."""
    found: list[Matches] = []
    seconds, _ = measured(lambda: found.append(matcher(first, second)), first.device)
    matches = found[0]
    errors = match_errors(matches.pixels1, matches.pixels2, truth, seen)
    shares = shares_below(errors, (1.0, 3.0, 5.0))
    return MatcherSpeed(
        matcher=name,
        seconds=round(seconds, 3),
        matches=len(matches),
        within_1=shares[1.0],
        within_3=shares[3.0],
        within_5=shares[5.0],
        coverage=coverage(matches.pixels1, errors, seen),
    )
