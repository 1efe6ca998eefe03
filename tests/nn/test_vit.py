"""The vision transformer: token order, intermediate blocks, any shape, compile, errors."""

import warnings

import pytest
import torch

from codistill.errors import ConfigError
from codistill.nn.vit import VIT_SIZES, VisionTransformer, ViTConfig, vit_config

SMALL = {"dim": 32, "depth": 3, "num_heads": 2, "patch_size": 7, "image_size": 28}


def small(**overrides: object) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(ViTConfig(**{**SMALL, **overrides})).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"num_registers": 4},
        {"has_cls": False, "position": "rope", "layer_scale": None, "has_mask_token": False},
        {"position": "rope", "num_registers": 2},
        {"feed_forward": "swiglu", "hidden": 40},
    ],
)
@pytest.mark.parametrize("shape", [(28, 28), (21, 42)])
def test_tokens(overrides: dict, shape: tuple[int, int]) -> None:
    vit = small(**overrides)
    tokens = vit(torch.randn(2, 3, *shape))
    rows, columns = shape[0] // 7, shape[1] // 7
    assert tokens.grid == (rows, columns)
    assert tokens.patches.shape == (2, rows * columns, 32)
    assert (tokens.cls is not None) == overrides.get("has_cls", True)
    registers = overrides.get("num_registers", 0)
    assert (tokens.registers.shape[1] if tokens.registers is not None else 0) == registers
    assert tokens.feature_map().shape == (2, 32, rows, columns)
    torch.testing.assert_close(tokens.feature_map()[:, :, 1, 2], tokens.patches[:, columns + 2])


def test_final_norm_and_intermediate_blocks() -> None:
    vit, images = small(num_registers=1), torch.randn(2, 3, 28, 28)
    plain, normed = vit(images, norm=False), vit(images)
    assert not plain.normed
    assert normed.normed
    torch.testing.assert_close(vit.norm(plain.patches), normed.patches)
    first, last, again = vit.encode_blocks(images, [0, -1, 2])
    torch.testing.assert_close(last.patches, normed.patches)
    torch.testing.assert_close(again.cls, normed.cls)
    shallow = VisionTransformer(ViTConfig(**{**SMALL, "depth": 1, "num_registers": 1}))  # type: ignore[arg-type]
    shallow.load_state_dict({k: v for k, v in vit.state_dict().items() if k in shallow.state_dict()})
    torch.testing.assert_close(shallow(images).patches, first.patches)
    with pytest.raises(ValueError, match=r"blocks \[3\] do not exist.*0 to 2"):
        vit.encode_blocks(images, [3])


def test_registers_get_no_position() -> None:
    vit = small(num_registers=2)
    with torch.no_grad():
        vit.pos_embed.fill_(5.0)
        vit.register_tokens.zero_()
    x, _, _ = vit.embed(torch.zeros(1, 3, 28, 28))
    assert (x[:, 1:3] == 0).all()
    torch.testing.assert_close(x[:, 0], vit.cls_token[:, 0] + 5.0)


def test_wrong_sizes() -> None:
    with pytest.raises(ValueError, match="multiples of the patch size 7; got 28x30"):
        small()(torch.zeros(1, 3, 28, 30))
    with pytest.raises(ConfigError, match="Did you mean 'vit_small'"):
        vit_config("vit_smal")
    with pytest.raises(ConfigError, match="nearest: 28"):
        ViTConfig(**{**SMALL, "image_size": 30})  # type: ignore[arg-type]


@pytest.mark.parametrize("size", VIT_SIZES)
def test_named_sizes_on_meta(size: str) -> None:
    with torch.device("meta"):
        vit = VisionTransformer(vit_config(size, num_registers=4))
    assert all(parameter.is_meta for parameter in vit.parameters())


def test_attention_map_of_last_block() -> None:
    vit = small(num_registers=1)
    attention = vit.attention_map(torch.randn(2, 3, 28, 28))
    assert attention.shape == (2, 2, 18, 18)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, 18))
    with pytest.raises(ConfigError, match=r"blocks \[3\] do not exist.*0 to 2"):
        vit.attention_map(torch.randn(2, 3, 28, 28), 3)


@pytest.mark.parametrize(
    ("overrides", "shape"),
    [({"num_registers": 2}, (21, 35)), ({"has_cls": False, "position": "rope"}, (28, 28))],
)
def test_compiles_without_graph_breaks(overrides: dict, shape: tuple[int, int]) -> None:
    vit, images = small(**overrides), torch.randn(1, 3, *shape)
    compiled = torch.compile(vit, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images).patches, vit(images).patches)


def test_gradients_reach_everything_but_the_unused() -> None:
    vit = small(num_registers=2)
    tokens = vit(torch.randn(1, 3, 21, 28), norm=False)
    (tokens.patches.sum() + tokens.cls.sum()).backward()  # type: ignore[union-attr]
    without = {name for name, parameter in vit.named_parameters() if parameter.grad is None}
    assert without == {"mask_token", "norm.weight", "norm.bias"}


@pytest.mark.parametrize("position", ["learned", "rope"])
def test_torchscripts_tracer_gives_the_same_tokens_for_any_batch(position: str) -> None:
    """For LibTorch; the size of the images is fixed."""
    network = small(position=position)

    class Patches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images).patches

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: sizes become constants
        for gradients in (False, True):  # the tracer itself compares with a graph without gradients
            with torch.set_grad_enabled(gradients):
                traced = torch.jit.trace(Patches(), torch.randn(1, 3, 42, 70))
            with torch.no_grad():
                images = torch.randn(3, 3, 42, 70)
                torch.testing.assert_close(traced(images), network(images).patches)
