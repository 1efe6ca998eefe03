"""Frozen networks against the networks that they copy, in double precision; copies, devices' dtypes, what they skip."""

import copy
import pickle

import pytest
import torch
from torch import nn

from codistill.errors import ConfigError
from codistill.nn.blocks import init_transformer_weights
from codistill.nn.frozen import FrozenBlock, FrozenVisionTransformer
from codistill.nn.frozen_linear import FrozenLinear
from codistill.nn.linear import ONEDNN_LINEAR
from codistill.nn.products import count_flops, record_products
from codistill.nn.vit import VisionTransformer, ViTConfig

SHAPES = {
    "dinov2": {"num_registers": 2},
    "no layer scale": {"layer_scale": None, "has_mask_token": False},
    "mast3r": {"position": "rope", "patch_size": 16, "image_size": 64, "has_cls": False, "layer_scale": None},
    "rope with cls and registers": {"position": "rope", "num_registers": 3},
    "giant": {"feed_forward": "swiglu", "hidden": 56},
    "siglip": {"activation": "gelu_tanh", "has_cls": False, "norm_eps": 1e-5},
    "clip": {"activation": "quick_gelu"},
}


def network(**options: object) -> VisionTransformer:
    """A small network whose norms, biases and LayerScale are all different from what they start as."""
    torch.manual_seed(0)
    sizes = {"dim": 48, "depth": 3, "num_heads": 3, "image_size": 56, "layer_scale": 0.3}
    net = VisionTransformer(ViTConfig(**{**sizes, **options}))  # type: ignore[arg-type]
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3) if parameter.ndim == 1 else nn.init.normal_(parameter, std=0.1)
    for part in net.modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight, mean=1.0, std=0.3)
    return net.eval()


def images(net: VisionTransformer) -> torch.Tensor:
    patch = net.config.patch_size
    return torch.randn(2, 3, 3 * patch, 5 * patch, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SHAPES)
def test_tokens_are_those_of_the_network(name: str) -> None:
    net = network(**SHAPES[name])
    x = images(net)
    frozen = {dtype: FrozenVisionTransformer(net, dtype) for dtype in (torch.float32, torch.bfloat16)}
    exact = net.double()
    for norm in (True, False):
        with torch.no_grad():
            expected = exact.encode_blocks(x.double(), [0, -1], norm)
        for dtype, bound in ((torch.float32, 3e-6), (torch.bfloat16, 0.03)):
            for found, wanted in zip(frozen[dtype].encode_blocks(x, [0, -1], norm), expected, strict=True):
                for part in ("patches", "cls", "registers"):
                    y, z = getattr(found, part), getattr(wanted, part)
                    assert (y is None) == (z is None)
                    if y is not None:
                        assert y.dtype == torch.float32 and (y - z).norm() / z.norm() < bound
                assert found.grid == wanted.grid and found.normed == norm
    with torch.no_grad():
        maps = exact.attention_map(x.double(), 1)
    torch.testing.assert_close(frozen[torch.float32].attention_map(x, 1), maps, rtol=1e-4, atol=1e-5)


def test_autocast_changes_nothing_and_no_gradient_is_kept() -> None:
    net = network()
    frozen = FrozenVisionTransformer(net, torch.float32)
    alone = frozen.encode(images(net)).patches
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(frozen.encode(images(net)).patches, alone)
    assert not alone.requires_grad and not list(frozen.parameters()) and not frozen.state_dict()


def test_copies_pickles_and_casts_do_not_keep_the_old_layout_of_weights() -> None:
    net = network(position="rope")
    x = images(net)
    frozen = FrozenVisionTransformer(net, torch.float32)
    expected = frozen.encode(x).patches
    for other in (copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert torch.equal(other.encode(x).patches, expected)
    layer = FrozenLinear((torch.ones(4, 8), torch.zeros(4)), torch.float32)
    layer(torch.ones(2, 8))
    layer.to(torch.bfloat16)
    assert layer(torch.ones(2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_threads_may_see_many_sizes_at_once() -> None:
    frozen = FrozenVisionTransformer(network(), torch.float32)

    class Cleared(dict):  # what another thread does when it has stored the 33rd grid
        def __contains__(self, grid: object) -> bool:
            found = super().__contains__(grid)
            self.clear()
            return found

        def __setitem__(self, *item: object) -> None:
            self.clear()

    frozen._places = Cleared()
    assert [frozen._place((2, 3))[1].shape[1] for _ in range(2)] == [6, 6]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_keeps_its_dtypes(dtype: torch.dtype) -> None:
    net = network()
    x = images(net)
    frozen = FrozenVisionTransformer(net, dtype)
    expected = frozen.encode(x).patches
    for other in {torch.float32, torch.bfloat16, torch.float16} - {dtype}:
        with pytest.raises(ConfigError, match="keeps its dtypes"):
            nn.ModuleList([frozen]).to(other)
    assert torch.equal(frozen.to("cpu").encode(x).patches, expected)


@pytest.mark.parametrize("mkldnn", [True, False])
def test_what_follows_a_product_is_the_same_with_and_without_onednn(mkldnn: bool) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(24, 16), torch.randn(24)
    layer = FrozenLinear((weight, bias), torch.float32)
    x, residual = torch.randn(2, 5, 16), torch.randn(2, 5, 24)
    plain = x @ weight.T + bias
    with torch.backends.mkldnn.flags(enabled=mkldnn):
        torch.testing.assert_close(layer(x), plain)
        torch.testing.assert_close(layer.gelu(x), torch.nn.functional.gelu(plain))
        torch.testing.assert_close(layer.gelu(x, "tanh"), torch.nn.functional.gelu(plain, approximate="tanh"))
        torch.testing.assert_close(layer.add(x, residual), residual + plain)


def test_it_compiles_to_the_same_numbers() -> None:
    net = network(position="rope")
    init_transformer_weights(net)
    block = FrozenBlock(net.blocks[0], torch.float32, rotated=True)  # type: ignore[arg-type]
    frozen = FrozenVisionTransformer(net, torch.float32)
    x, _, rope = frozen.embed(images(net))
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, rope), block(x, rope))


@pytest.mark.skipif(ONEDNN_LINEAR is None, reason="PyTorch without oneDNN")
def test_its_products_are_counted_as_the_networks_own() -> None:
    net = network()
    x = images(net)
    frozen = FrozenVisionTransformer(net, torch.float32)
    frozen.encode(x)
    with torch.no_grad():
        expected = count_flops(lambda: net(x))
    padded = 2 * 2 * 15 * 48 * (592 - 588)  # the patch product's zeros
    assert count_flops(lambda: frozen.encode(x)) == expected + padded
    products = sum(
        product.flops * count for product, count in record_products(lambda: frozen.encode(x)).items()
    )
    attention = 3 * 4 * 2 * 16 * 16 * 48
    assert products == expected + padded - attention
