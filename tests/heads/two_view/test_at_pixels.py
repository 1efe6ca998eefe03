"""Descriptors at chosen pixels against the map of all pixels: values and gradients, both ways of computing them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from codistill.heads.two_view import at_pixels
from codistill.heads.two_view.at_pixels import values_at
from codistill.heads.two_view.losses import TwoViewLossConfig, ViewTruth, two_view_loss
from codistill.heads.two_view.network import TwoViewHead
from codistill.types import Tokens
from two_view_toys import CONFIG

GRID, PATCH, CHANNELS, HIDDEN = (3, 4), 5, 3, 7


def case(matches: int) -> tuple[Tensor, nn.Linear, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(2, GRID[0] * GRID[1], HIDDEN, dtype=torch.float64, requires_grad=True)
    last = nn.Linear(HIDDEN, CHANNELS * PATCH**2).double()
    pixels = torch.stack(
        [torch.randint(PATCH * side, (2, matches)) for side in reversed(GRID)], dim=-1
    )  # (x, y)
    return hidden, last, pixels


@pytest.mark.parametrize(
    "matches", [0, 1, 40, 700]
)  # 700: as many pixels of a place as tokens, so all are computed
@pytest.mark.parametrize("way", ["by place", "of all"])
def test_values_and_gradients_are_those_of_the_map(
    matches: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "of all":
        monkeypatch.setattr(at_pixels, "_by_place", lambda h, last, *rest: at_pixels._of_all(last(h), *rest))
    hidden, last, pixels = case(matches)
    weights = torch.randn(2, matches, CHANNELS, dtype=torch.float64)
    results = []
    for one in ("map", "pixels"):
        hidden.grad = None
        last.zero_grad()
        if one == "map":
            maps = pixel_shuffle(last(hidden).transpose(1, 2).unflatten(2, GRID), PATCH)
            values = torch.stack([maps[b][:, xy[:, 1], xy[:, 0]].T for b, xy in enumerate(pixels)])
        else:
            values = values_at(hidden, last, pixels, GRID[1], PATCH)
        (values * weights).sum().backward()
        assert hidden.grad is not None and last.weight.grad is not None and last.bias.grad is not None
        results.append((values.detach(), hidden.grad, last.weight.grad.clone(), last.bias.grad.clone()))
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("own", [True, False])
def test_a_head_asked_for_pixels_has_the_loss_of_one_that_gives_maps(own: bool) -> None:
    torch.manual_seed(0)
    head = TwoViewHead(replace(CONFIG, own_descriptor_confidence=own))
    grids, views, truths = ((2, 3), (3, 2)), [], []
    for grid in grids:
        rows, columns = (14 * side for side in grid)
        views.append(Tokens(torch.randn(2, 6, 24), grid, normed=False))
        truths.append(
            ViewTruth(
                points=torch.randn(2, rows, columns, 3),
                valid=torch.rand(2, rows, columns) < 0.8,
                sky=torch.zeros(2, rows, columns, dtype=torch.bool),
                camera_to_world=torch.eye(4).repeat(2, 1, 1),
                is_metric=torch.ones(2, dtype=torch.bool),
                matches=torch.stack((torch.randint(columns, (2, 30)), torch.randint(rows, (2, 30))), dim=-1),
                matches_valid=torch.arange(30).expand(2, 30) < 20,
            )
        )
    found = []
    for pixels in (None, (truths[0].matches, truths[1].matches)):
        head.zero_grad()
        predictions = head(*views, pixels)
        result = two_view_loss(*predictions, *truths, TwoViewLossConfig())
        result.loss.backward()
        gradients = {name: p.grad.clone() for name, p in head.named_parameters() if p.grad is not None}
        found.append((result.loss.detach(), result.details, gradients))
    assert predictions[0].descriptors is not None and predictions[0].descriptors.shape == (2, 30, 5)
    torch.testing.assert_close(found[1], found[0], rtol=2e-5, atol=2e-6)
