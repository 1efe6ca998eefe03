"""Bring a student's predicted patches and a teacher's target patches to one grid, and keep the part that both cover.

Predictions are made on the student's own grid and resampled afterwards. If the grids differ, the one with fewer tokens
is resampled bicubically to the other's size, separately along each axis (EUPE, arXiv 2603.22387; align_corners was not
published, False is used here).

With a shift (C-RADIOv4, arXiv 2601.17237), the teacher's window lies k student tokens away from the student's. Along
one axis with n student tokens and m target tokens per side, the centre of target token u lies, in student tokens, at
j = k + (u + 1/2) n / m - 1/2. The token is compared if 0 <= j <= n - 1 along both axes. All images of a step share k,
so the compared tokens form a rectangle: a slice of both grids if they have the same size, otherwise the same bicubic
resampling at these positions.
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
    """Return prediction and target with patches at the same positions of the image. Class tokens are not changed.

    Args:
        prediction: the student's tokens; gradients pass through.
        target: the teacher's tokens; its window lies `shift` student tokens below and right of the student's window.
        shift: (rows, columns) in student tokens.

    Returns:
        Prediction and target on one grid. Where the grids agree and nothing is shifted: the same two objects.

    Raises:
        ValueError: if the two windows have no token in common.
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
    """Resample tokens bicubically, in fp32, to a grid that has at least as many tokens along each axis."""
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
    """Cut out the rectangle from the first to the last token along both axes, displaced by `moved`."""
    (top, bottom), (left, right) = seen
    rows = slice(top + moved[0], bottom + 1 + moved[0])
    columns = slice(left + moved[1], right + 1 + moved[1])
    part = tokens.patches.unflatten(1, tokens.grid)[:, rows, columns]  # (batch, row, column, channel)
    return replace(tokens, patches=part.flatten(1, 2), grid=(bottom - top + 1, right - left + 1))


def _sampled(
    prediction: Tokens, common: tuple[int, int], shift: Shift, seen: Sequence[tuple[int, int]]
) -> Tokens:
    """Resample the prediction at the centres of the compared target tokens."""
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
    """Centres of the compared target tokens along one axis, as -1 to 1 over the student's window."""
    u = torch.arange(seen[0], seen[1] + 1, device=device, dtype=torch.float32)
    return 2.0 * (k + (u + 0.5) * (n / m)) / n - 1.0  # 2 (j + 1/2) / n - 1
