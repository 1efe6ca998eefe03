"""8-bit products against the same integers multiplied by hand, and frozen networks in 8 bits against exact ones."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu

from codistill.nn.frozen import FrozenVisionTransformer
from codistill.nn.int8_linear import Int8Linear, eight_bits, int8_is_fast
from codistill.nn.vit import VisionTransformer, ViTConfig

pytestmark = pytest.mark.skipif(not int8_is_fast(), reason="this processor has no 8-bit products")


def parts() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 64, generator=draw) + 0.5
    return x, torch.randn(48, 64, generator=draw).double() / 8, torch.randn(48, generator=draw).double()


def test_numbers_are_rounded_to_the_nearest_level_and_zero_is_exact() -> None:
    x = torch.tensor([[-1.0, 0.0, 0.013, 4.0]])
    numbers, scale, zero = eight_bits(x)
    assert scale == pytest.approx(5.0 / 255) and zero == 51 and numbers.dtype == torch.uint8
    assert numbers.tolist() == [[0, 51, 52, 255]]
    back = scale * (numbers.float() - zero)
    assert back[0, 1] == 0.0 and (back - x).abs().max() <= scale / 2 + 1e-6
    same = torch.full((2, 3), 7.0)
    numbers, scale, zero = eight_bits(same)
    torch.testing.assert_close(scale * (numbers.float() - zero), same)
    assert not eight_bits(torch.zeros(2, 3))[0].any()


def test_products_are_those_of_the_rounded_numbers() -> None:
    x, weight, bias = parts()
    layer = Int8Linear((weight, bias), torch.float32)
    numbers, scale, zero = eight_bits(x.flatten(0, 1))
    step = weight.abs().amax(1) / 127
    rounded = (weight / step[:, None]).round()
    expected = ((numbers.double() - zero) @ rounded.T * step * scale + bias).float().unflatten(0, (3, 5))
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.gelu(x), gelu(expected), rtol=1e-4, atol=1e-4)
    residual = torch.randn(3, 5, 48)
    torch.testing.assert_close(layer.add(x, residual), residual + expected, rtol=1e-4, atol=1e-4)
    exact = x.double() @ weight.T + bias
    assert 0.002 < (layer(x) - exact).norm() / exact.norm() < 0.02
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


@pytest.mark.parametrize("position", ["learned", "rope"])
def test_tokens_stay_close(position: str) -> None:
    torch.manual_seed(0)
    config = ViTConfig(dim=64, depth=2, num_heads=2, image_size=56, layer_scale=None, position=position)  # type: ignore[arg-type]
    network = VisionTransformer(config).eval()
    images = torch.randn(2, 3, 56, 42)
    found = FrozenVisionTransformer(network, torch.bfloat16, Int8Linear).encode(images).patches
    with torch.no_grad():
        expected = network.encode(images).patches
    assert found.dtype == torch.float32
    assert 0.001 < (found - expected).norm() / expected.norm() < 0.05


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so(odd: float) -> None:
    x, weight, bias = parts()
    layer = Int8Linear((weight, bias), torch.float32)
    x[1, 2, 3] = odd
    assert not layer(x).isfinite().any() and not layer.gelu(x).isfinite().any()


@pytest.mark.parametrize(
    ("low", "high"), [(-1e-3, 5.0), (-7.3, 0.0), (2.0, 9.0), (-9.0, -2.0), (-1e30, 1e30)]
)
def test_no_level_wraps_around(low: float, high: float) -> None:
    x = torch.linspace(low, high, 4001).reshape(-1, 1)
    numbers, scale, zero = eight_bits(x)
    by_hand = (x.double() / scale + zero).round().clamp(0, 255)
    assert ((numbers.double() - by_hand).abs() <= 1).all()  # a tie in fp32 may fall either way
    assert (numbers.flatten().int().diff() >= 0).all()
