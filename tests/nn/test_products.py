"""Products of a computation: counted by hand for a small network, with gradients and without; their time alone."""

import pytest
import torch
from torch import nn

from codistill.nn.attention import SelfAttention
from codistill.nn.products import Operand, Product, count_flops, record_products


def test_a_linear_layer_is_one_product_forward_and_two_backward() -> None:
    layer, x = nn.Linear(8, 16), torch.randn(4, 5, 8, requires_grad=True)

    def training() -> None:
        layer(x).square().sum().backward()

    found = record_products(training)
    assert sorted(product.label for product in found.elements()) == ["16x20x8", "20x16x8", "20x8x16"]
    assert sum(product.flops * n for product, n in found.items()) == 3 * 2 * 20 * 8 * 16
    assert count_flops(training) == 3 * 2 * 20 * 8 * 16


def test_inference_mode_hides_nothing() -> None:
    layer, x = nn.Linear(8, 16), torch.randn(3, 8)

    @torch.inference_mode()
    def inference() -> None:
        layer(x)

    assert [product.label for product in record_products(inference).elements()] == ["3x8x16"]
    assert count_flops(inference) == 2 * 3 * 8 * 16


def test_attention_counts_its_two_products_forward_and_five_backward() -> None:
    attention, x = SelfAttention(32, 4), torch.randn(2, 10, 32, requires_grad=True)
    linear = 2 * 20 * 32 * (3 * 32 + 32)
    square = 2 * 2 * 4 * 10 * 10 * 8
    assert count_flops(lambda: attention(x)) == linear + 2 * square
    assert count_flops(lambda: attention(x).sum().backward()) == 3 * linear + (2 + 5) * square


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_alone_is_a_product_of_its_layout(transposed: bool) -> None:
    a = torch.randn(6, 4).T if transposed else torch.randn(4, 6)
    b = torch.randn(6, 3)
    (product,) = record_products(lambda: a @ b)
    assert product.left.stride == a.stride()
    assert product.call()().shape == (4, 3)
    assert product.flops == 2 * 4 * 6 * 3


def test_expanded_factors_are_replayed_whole() -> None:
    (product,) = record_products(lambda: torch.ones(1, 1).expand(4, 6) @ torch.randn(6, 3))
    assert product.left == Operand((4, 6), (6, 1), torch.float32, torch.device("cpu"))
    batched = Product(
        Operand((2, 4, 6), (24, 6, 1), torch.float32, torch.device("cpu")),
        Operand((2, 6, 3), (18, 3, 1), torch.float32, torch.device("cpu")),
    )
    assert (batched.flops, batched.label) == (2 * 2 * 4 * 6 * 3, "2x4x6x3")
