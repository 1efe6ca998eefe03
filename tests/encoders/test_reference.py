"""Our vision transformer against timm's and transformers' own implementations, with the same random weights."""

import pytest
import torch
from torch import Tensor, nn

from codistill.encoders.load import encoder_from_weights, load_encoder
from codistill.encoders.vit import ViTEncoder
from codistill.nn.vit import ViTConfig
from codistill.types import Tokens
from codistill.weights.contents import EncoderWeights
from codistill.weights.layouts import LAYOUTS, detect_layout
from codistill.weights.state import StateDict
from codistill.weights.stated import Stated
from shared_files import weights

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

TOLERANCE = 2e-5


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter random and of a size where it matters (norms and layer scales around 1)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            near_one = name.endswith(("gamma", "lambda1")) or ("norm" in name and name.endswith("weight"))
            parameter.copy_(1.0 + 0.1 * noise if near_one else 0.1 * noise)
    return model.eval()


def from_dinov2_keys(tensors: dict[str, Tensor], tmp_path, num_heads: int) -> ViTEncoder:
    """Through the same door as a DINOv2 file."""
    state = StateDict.of_checkpoint(tmp_path / "file.pth", tensors)
    like = "dinov2_reg" if "register_tokens" in tensors else "dinov2"
    weights = LAYOUTS[detect_layout(state)].read(state, Stated(like=like, num_heads=num_heads))
    assert isinstance(weights, EncoderWeights)
    return encoder_from_weights(weights)


def assert_close(ours: Tensor | None, theirs: Tensor) -> None:
    assert ours is not None
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


EXACT = {
    "embeddings.cls_token": "cls_token",
    "embeddings.mask_token": "mask_token",
    "embeddings.register_tokens": "register_tokens",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
WITHIN_BLOCK = {
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "attention.output.dense.": "attn.proj.",
    "attention.o_proj.": "attn.proj.",
    "mlp.weights_in.": "mlp.w12.",
    "mlp.weights_out.": "mlp.w3.",
    "mlp.down_proj.": "mlp.w3.",
}
JOINED = {"query": ("attn.qkv", 0), "key": ("attn.qkv", 1), "value": ("attn.qkv", 2)}
JOINED |= {"q_proj": ("attn.qkv", 0), "k_proj": ("attn.qkv", 1), "v_proj": ("attn.qkv", 2)}
JOINED |= {"gate_proj": ("mlp.w12", 0), "up_proj": ("mlp.w12", 1)}


def dinov2_name(name: str) -> tuple[str, int | None]:
    """DINOv2's name of a transformers tensor, and its place if DINOv2 joins several into one."""
    if name in EXACT:
        return EXACT[name], None
    number, _, rest = name.removeprefix("encoder.layer.").partition(".")
    module, kind = rest.split(".")[-2:]
    if module in JOINED:
        to, place = JOINED[module]
        return f"blocks.{number}.{to}.{kind}", place
    for old, new in WITHIN_BLOCK.items():
        rest = rest.replace(old, new)
    return f"blocks.{number}.{rest}", None


def dinov2_from_transformers(model: nn.Module) -> dict[str, Tensor]:
    """A transformers DINOv2 model's tensors under DINOv2's own names."""
    parts: dict[str, dict[int, Tensor]] = {}
    for name, tensor in model.state_dict().items():
        to, place = dinov2_name(name)
        parts.setdefault(to, {})[place or 0] = tensor
    return {name: torch.cat([found[place] for place in sorted(found)]) for name, found in parts.items()}


def transformers_from_dinov2(model: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """The transformers model with a DINOv2 file's tensors."""
    state = model.state_dict()
    for name, tensor in state.items():
        to, place = dinov2_name(name)
        if to in tensors:
            whole = tensors[to]
            length = tensor.shape[0]
            tensor.copy_(whole if place is None else whole[place * length : (place + 1) * length])
    return model.eval()


@pytest.mark.parametrize(("height", "width"), [(84, 84), (56, 98), (112, 84)])
@pytest.mark.parametrize("swiglu", [False, True])
def test_dinov2_with_registers_equals_transformers(tmp_path, height: int, width: int, swiglu: bool) -> None:
    """Native and other sizes: both resize positions by size with antialiasing. SwiGLU: ViT-g's feed-forward."""
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        patch_size=14,
        image_size=84,
        num_register_tokens=4,
        use_swiglu_ffn=swiglu,
        layer_norm_eps=1e-6,
    )
    theirs = randomize(transformers.Dinov2WithRegistersModel(config))
    ours = from_dinov2_keys(dinov2_from_transformers(theirs), tmp_path, num_heads=3)
    assert ours.config.feed_forward == ("swiglu" if swiglu else "gelu")
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(pixel_values=images).last_hidden_state
        tokens = ours(images, norm=True)
    assert_close(tokens.cls, expected[:, 0])
    assert_close(tokens.registers, expected[:, 1:5])
    assert_close(tokens.patches, expected[:, 5:])


def test_dinov2_without_registers_equals_transformers_at_native_size(tmp_path) -> None:
    """Only there: transformers leaves out the offset that DINOv2 resizes positions with."""
    config = transformers.Dinov2Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        patch_size=14,
        image_size=70,
        layer_norm_eps=1e-6,
    )
    theirs = randomize(transformers.Dinov2Model(config))
    ours = from_dinov2_keys(dinov2_from_transformers(theirs), tmp_path, num_heads=1)
    images = torch.randn(2, 3, 70, 70, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(pixel_values=images).last_hidden_state
        tokens = ours(images)
    assert_close(tokens.cls, expected[:, 0])
    assert_close(tokens.patches, expected[:, 1:])


def test_real_dinov2_equals_transformers() -> None:
    """The published ViT-S/14, its positions resized once (so that both sides have the same ones)."""
    ours = load_encoder(weights(), image_size=112)
    config = transformers.Dinov2Config(
        hidden_size=384, num_attention_heads=6, patch_size=14, image_size=112, layer_norm_eps=1e-6
    )
    theirs = transformers_from_dinov2(transformers.Dinov2Model(config), dict(ours.state_dict()))
    images = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(pixel_values=images).last_hidden_state
        tokens = ours(images)
    assert_close(tokens.cls, expected[:, 0])
    assert_close(tokens.patches, expected[:, 1:])


def timm_vit(**options: object) -> nn.Module:
    return randomize(
        timm.models.vision_transformer.VisionTransformer(
            img_size=64,
            patch_size=16,
            embed_dim=64,
            depth=3,
            num_heads=2,
            num_classes=0,
            init_values=1e-5,
            dynamic_img_size=True,
            **options,
        )
    )


def test_plain_vit_equals_timm(tmp_path) -> None:
    """Class token, learned positions, native size: tokens, blocks and both norm states."""
    theirs = timm_vit()
    ours = from_dinov2_keys(dict(theirs.state_dict()), tmp_path, num_heads=2)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for norm in (True, False):
            found = theirs.forward_intermediates(
                images,
                indices=[0, 2],
                norm=norm,
                output_fmt="NLC",
                intermediates_only=True,
                return_prefix_tokens=True,
            )
            tokens = ours.intermediate(images, blocks=[0, 2], norm=norm)
            for mine, (patches, prefix) in zip(tokens, found, strict=True):
                assert mine.normed is norm
                assert_close(mine.cls, prefix[:, 0])
                assert_close(mine.patches, patches)


def test_registers_at_another_size_equal_timm() -> None:
    """timm gives its registers no positions either; it resizes them by size with antialiasing, ours so configured."""
    theirs = timm_vit(reg_tokens=2)
    state = theirs.state_dict()
    config = ViTConfig(
        dim=64,
        depth=3,
        num_heads=2,
        patch_size=16,
        image_size=64,
        num_registers=2,
        has_mask_token=False,
        position_offset=0.0,
        position_antialias=True,
    )
    tensors = {name: tensor for name, tensor in state.items() if name not in ("reg_token", "pos_embed")}
    # timm's positions of class token and registers are those of its first three tokens: fold them in
    tensors["cls_token"] = state["cls_token"]
    tensors["register_tokens"] = state["reg_token"] + state["pos_embed"][:, 1:3]
    tensors["pos_embed"] = torch.cat((state["pos_embed"][:, :1], state["pos_embed"][:, 3:]), dim=1)
    ours = encoder_from_weights(EncoderWeights(config=config, tensors=tensors, layout="test", name="test"))
    images = torch.randn(1, 3, 96, 48, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs.forward_features(images)
        tokens: Tokens = ours(images)
    assert_close(tokens.cls, expected[:, 0])
    assert_close(tokens.registers, expected[:, 1:3])
    assert_close(tokens.patches, expected[:, 3:])
