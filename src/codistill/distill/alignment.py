"""Predicted and wanted patches of one teacher brought to one grid, and cut to what both see.

Projections are made on the student's own grid and resampled afterwards. On unequal grids the one with fewer tokens is
resampled bicubically to the other's, along each axis (EUPE, arXiv 2603.22387; align_corners was not published: False).
Under a shift (C-RADIOv4, arXiv 2601.17237) target token u has its centre at j = k + (u + 1/2) n / m - 1/2 in student
tokens (k the shift, n and m tokens per side); it counts if 0 <= j <= n - 1 along both axes. All images of a step share
k, so what counts is a rectangle: on equal grids a slice of both, else the same bicubic resampling at these places.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from codistill.teachers.views import Shift
from codistill.types import Tokens


def align(prediction: Tokens, target: Tokens, shift: Shift = (0, 0)) -> tuple[Tokens, Tokens]:
    """Both with patches at the same places of the image; class tokens stay.

    Args:
        prediction: of the student; gradients pass through.
        target: of a teacher whose window lies `shift` student tokens below and right of the student's.

    Returns:
        Prediction and target on one grid; the same objects where the grids agree and nothing is shifted.

    Raises:
        ValueError: if nothing is seen by both.
    """
    if not target.patches.shape[1] or (prediction.grid == target.grid and shift == (0, 0)):
        return prediction, target  # no patch targets, or nothing to do
    student, wanted = prediction.grid, target.grid
    common = (max(student[0], wanted[0]), max(student[1], wanted[1]))
    target = _on_grid(target, common)
    if shift == (0, 0):
        return _on_grid(prediction, common), target
    seen = [_seen(n, m, k) for n, m, k in zip(student, common, shift, strict=True)]
    if any(first > last for first, last in seen):
        raise ValueError(f"a shift of {shift} tokens leaves nothing in common on a grid of {student}")
    return _sampled(prediction, common, shift, seen), _cut(target, seen)


def _on_grid(tokens: Tokens, grid: tuple[int, int]) -> Tokens:
    """Tokens on a grid that is nowhere coarser, bicubically, in fp32."""
    if tokens.grid == grid:
        return tokens
    maps = interpolate(tokens.feature_map().float(), size=grid, mode="bicubic", align_corners=False)
    return replace(tokens, patches=maps.flatten(2).transpose(1, 2), grid=grid)


def _seen(n: int, m: int, k: int) -> tuple[int, int]:
    """First and last of m target tokens whose centre lies between the centres of the n student tokens, on one axis."""
    first = math.ceil((0.5 - k) * m / n - 0.5 - 1e-9)
    last = math.floor((n - 0.5 - k) * m / n - 0.5 + 1e-9)
    return max(0, first), min(m - 1, last)


def _cut(tokens: Tokens, seen: Sequence[tuple[int, int]], moved: Shift = (0, 0)) -> Tokens:
    """The rectangle of tokens from first to last along both axes, moved."""
    (top, bottom), (left, right) = seen
    rows = slice(top + moved[0], bottom + 1 + moved[0])
    columns = slice(left + moved[1], right + 1 + moved[1])
    part = tokens.patches.unflatten(1, tokens.grid)[:, rows, columns]  # (batch, row, column, channel)
    return replace(tokens, patches=part.flatten(1, 2), grid=(bottom - top + 1, right - left + 1))


def _sampled(
    prediction: Tokens, common: tuple[int, int], shift: Shift, seen: Sequence[tuple[int, int]]
) -> Tokens:
    """The prediction at the places of the target's seen tokens."""
    if prediction.grid == common:
        return _cut(prediction, seen, shift)
    places = [
        _places(n, m, k, span, prediction.patches.device)
        for n, m, k, span in zip(prediction.grid, common, shift, seen, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*places, indexing="ij"), dim=-1).flip(-1)  # (row, column, (x, y))
    maps = grid_sample(
        prediction.feature_map().float(),
        grid.expand(len(prediction), *grid.shape),
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )
    return replace(prediction, patches=maps.flatten(2).transpose(1, 2), grid=(len(places[0]), len(places[1])))


def _places(n: int, m: int, k: int, seen: tuple[int, int], device: torch.device) -> Tensor:
    """Centres of target tokens along one axis, from -1 to 1 over the student's window."""
    u = torch.arange(seen[0], seen[1] + 1, device=device, dtype=torch.float32)
    return 2.0 * (k + (u + 0.5) * (n / m)) / n - 1.0  # 2 (j + 1/2) / n - 1
