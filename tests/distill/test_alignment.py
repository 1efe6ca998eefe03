"""Grids brought together: slow resampling, shifts that a convolution follows, patterns that only shifts tell apart."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from codistill.distill.alignment import align
from codistill.distill.losses import DistillationLoss, LossConfig
from codistill.distill.mesa import MesaConfig, mesa
from codistill.errors import ConfigError
from codistill.types import Tokens

LOSS = DistillationLoss(LossConfig(weights={"cosine": 0.9, "smooth_l1": 0.1}))


def tokens(rows: int, columns: int, dim: int = 3, seed: int = 0, batch: int = 2) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(batch, rows * columns, dim, generator=generator)
    return Tokens(patches=patches, grid=(rows, columns), cls=patches.mean(1))


def of_map(x: Tensor) -> Tokens:
    return Tokens(patches=x.flatten(2).transpose(1, 2), grid=tuple(x.shape[-2:]))


def cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def slow_bicubic(x: np.ndarray, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(row, column, channel) at fractional rows and columns, by a sum over the 4 x 4 neighbours, borders repeated."""
    out = np.zeros((len(places[0]), len(places[1]), x.shape[2]))
    for (r, row), (c, column) in itertools.product(enumerate(places[0]), enumerate(places[1])):
        for dr, dc in itertools.product(range(-1, 3), range(-1, 3)):
            i, j = int(np.floor(row)) + dr, int(np.floor(column)) + dc
            near = x[np.clip(i, 0, x.shape[0] - 1), np.clip(j, 0, x.shape[1] - 1)]
            out[r, c] += cubic(row - i) * cubic(column - j) * near
    return out


def test_equal_grids_are_left_alone() -> None:
    p, t = tokens(4, 4), tokens(4, 4, seed=1)
    assert align(p, t) == (p, t) and align(p, t)[0] is p


@pytest.mark.parametrize(("student", "teacher"), [((4, 4), (7, 7)), ((8, 8), (3, 3)), ((3, 6), (5, 4))])
def test_the_coarser_one_is_resampled_bicubically(student: tuple[int, int], teacher: tuple[int, int]) -> None:
    p, t = align(tokens(*student), tokens(*teacher, seed=1))
    assert p.grid == t.grid == tuple(map(max, student, teacher))
    for got, given in ((p, tokens(*student)), (t, tokens(*teacher, seed=1))):
        places = tuple((np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(given.grid, got.grid, strict=True))
        for image in range(2):
            slow = slow_bicubic(given.patches[image].view(*given.grid, 3).double().numpy(), places)  # type: ignore[arg-type]
            np.testing.assert_allclose(got.patches[image].view(*got.grid, 3), slow, atol=1e-5)
    assert torch.equal(p.cls, tokens(*student).cls)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "m"), list(itertools.product((16, 24, 32), (16, 24, 37))))
@pytest.mark.parametrize("shift", [(0, 0), (2, -1)])
def test_constant_maps_agree_at_every_pair_of_sizes(n: int, m: int, shift: tuple[int, int]) -> None:
    constant = torch.tensor([1.0, -2.0, 3.0])
    p, t = (Tokens(patches=constant.expand(1, k * k, 3), grid=(k, k)) for k in (n, m))
    assert LOSS.of_teacher(*align(p, t, shift), ("patch",))["patch"].total.item() < 1e-6


@pytest.mark.parametrize("shift", [(0, 1), (-2, 1), (2, 2), (-1, -2)])
def test_a_shifted_fine_grid_is_read_at_fractional_places(shift: tuple[int, int]) -> None:
    given, target = tokens(6, 6), tokens(9, 9, seed=1)
    p, t = align(given, target, shift)
    places, spans = [], []
    for k in shift:
        j = k + (np.arange(9) + 0.5) * 6 / 9 - 0.5
        seen = (j >= 0) & (j <= 5)
        places.append(j[seen])
        spans.append(np.flatnonzero(seen))
    slow = slow_bicubic(given.patches[0].view(6, 6, 3).double().numpy(), (places[0], places[1]))
    np.testing.assert_allclose(p.patches[0].view(*p.grid, 3), slow, atol=2e-5)
    wanted = target.patches.view(2, 9, 9, 3)[:, spans[0]][:, :, spans[1]]
    assert torch.equal(t.patches, wanted.flatten(1, 2))


@pytest.mark.parametrize("shift", list(itertools.product((-2, 0, 1), (-1, 0, 2))))
def test_a_strided_convolution_agrees_with_itself_under_every_shift(shift: tuple[int, int]) -> None:
    torch.manual_seed(0)
    patch, side, margin = 4, 6, 2
    kernel, canvas = torch.randn(5, 3, patch, patch), torch.randn(2, 3, 40, 40)

    def seen(k: tuple[int, int]) -> Tokens:
        top, left = ((margin + moved) * patch for moved in k)
        window = canvas[..., top : top + side * patch, left : left + side * patch]
        return of_map(conv2d(window, kernel, stride=patch))

    p, t = align(seen((0, 0)), seen(shift), shift)
    assert p.grid == (side - abs(shift[0]), side - abs(shift[1]))
    torch.testing.assert_close(p.patches, t.patches)


def test_no_gradient_outside_of_what_both_see() -> None:
    p = tokens(5, 5)
    patches = p.patches.clone().requires_grad_()
    LOSS.of_teacher(*align(Tokens(patches=patches, grid=(5, 5)), tokens(5, 5, seed=1), (1, -2)), ("patch",))[
        "patch"
    ].total.sum().backward()
    touched = patches.grad.abs().sum((0, 2)).view(5, 5) > 0  # type: ignore[union-attr]
    wanted = torch.zeros(5, 5, dtype=torch.bool)
    wanted[1:, :3] = True
    assert torch.equal(touched, wanted)


def test_only_shifts_tell_a_fixed_pattern_from_content() -> None:
    """A teacher adds a pattern of position to the content. Least squares over content and position, as the best student
    there can be, fits it exactly without shifts; with shifts, the pattern is noise that it cannot follow."""
    generator = torch.Generator().manual_seed(0)
    side, pattern = 6, torch.randn(36, 2, generator=generator)

    def residual(shifts: list[tuple[int, int]]) -> float:
        rows, values = [], []
        for shift in shifts:
            content = torch.randn(1, 10 * 10, 2, generator=generator).view(10, 10, 2)

            def window(k: tuple[int, int], content: Tensor = content) -> Tensor:
                part = content[2 + k[0] : 2 + k[0] + side, 2 + k[1] : 2 + k[1] + side]
                return part.reshape(1, 36, 2)

            position = torch.eye(36)[None]
            student = Tokens(patches=torch.cat((window((0, 0)), position), dim=-1), grid=(side, side))
            teacher = Tokens(patches=window(shift) + pattern, grid=(side, side))
            p, t = align(student, teacher, shift)
            rows.append(p.patches[0])
            values.append(t.patches[0])
        x, y = torch.cat(rows).double(), torch.cat(values).double()
        fit = torch.linalg.lstsq(x, y, driver="gelsd").solution
        return float((x @ fit - y).square().mean())

    shifts = list(itertools.product((-2, -1, 0, 1, 2), repeat=2)) * 3
    assert residual([(0, 0)] * len(shifts)) < 1e-12
    assert residual(shifts) > 0.5 * pattern.var().item()


def test_mesa_is_twice_one_minus_the_correlation_over_channels() -> None:
    own, average = tokens(4, 4, dim=16), tokens(4, 4, dim=16, seed=1)
    value = mesa(own, average)
    rho = np.array(
        [
            np.mean([np.corrcoef(own.patches[i, u], average.patches[i, u])[0, 1] for u in range(16)])
            for i in range(2)
        ]
    )
    np.testing.assert_allclose(value, 2 * (1 - rho), atol=1e-4)
    assert mesa(own, own).max() == 0
    assert mesa(own, Tokens(patches=3 * own.patches + 1, grid=(4, 4))).max() < 1e-8


def test_mesa_config() -> None:
    config = MesaConfig(weight=1.0, start=0.5)
    assert [config.acts(step, 4) for step in range(4)] == [False, False, True, True]
    assert not MesaConfig().acts(3, 4)
    with pytest.raises(ConfigError, match="not negative; got -1"):
        MesaConfig(weight=-1)
    with pytest.raises(ConfigError, match="a share of the steps; got 1"):
        MesaConfig(start=1.0)
