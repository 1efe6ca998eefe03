"""Plausible teachers of timm, small and with random weights, against timm's own forward passes."""

import pytest
import torch

from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError

timm = pytest.importorskip("timm")

SMALL_VIT = {"embed_dim": 48, "depth": 2, "num_heads": 3}
NAMES: dict[str, dict] = {
    "vit_small_patch14_reg4_dinov2": {**SMALL_VIT, "img_size": 56},
    "vit_small_patch16_dinov3": {**SMALL_VIT, "img_size": 64},
    "vit_tiny_patch16_dinov3_qkvb": {**SMALL_VIT, "img_size": 64},
    "vit_base_patch16_radio_v3": {**SMALL_VIT, "img_size": 64},
    "vit_base_patch14_reg1_tipsv2": {**SMALL_VIT, "img_size": 56},
    "vit_base_patch16_siglip_224": {**SMALL_VIT, "img_size": 64},
    "vit_base_patch16_clip_224": {**SMALL_VIT, "img_size": 64},
    "vit_pe_core_tiny_patch16_384": {**SMALL_VIT, "img_size": 64},
    "vit_pe_spatial_tiny_patch16_512": {**SMALL_VIT, "img_size": 64},
    "aimv2_large_patch14_224": {**SMALL_VIT, "img_size": 56},
    "eva02_tiny_patch14_224": {**SMALL_VIT, "img_size": 56},
    "beit_base_patch16_224": {**SMALL_VIT, "img_size": 64},
    "naflexvit_base_patch16_gap": SMALL_VIT,
    "naflexvit_base_patch16_siglip": SMALL_VIT,
    "naflexvit_base_patch16_radio_v3": SMALL_VIT,
    "samvit_base_patch16_224": {**SMALL_VIT, "img_size": 64},
    "hiera_tiny_224": {"img_size": (64, 64), "embed_dim": 16, "num_heads": 1, "stages": (1, 1, 1, 1)},
    "convnext_tiny": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
    "convnextv2_atto": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
    "swin_tiny_patch4_window7_224": {
        "img_size": 64,
        "window_size": 2,
        "embed_dim": 24,
        "depths": (1, 1, 1),
        "num_heads": (1, 2, 2),
    },
    "fastvit_t8": {},
    "mobilenetv4_conv_small": {},
    "vit_base_r50_s16_224": {**SMALL_VIT, "img_size": 64},
}
FIXED = {"beit_base_patch16_224", "hiera_tiny_224"}
LIGHT = {"naflexvit_base_patch16_siglip", "hiera_tiny_224", "vit_pe_core_tiny_patch16_384", "convnext_tiny"}
POOLED = (
    "vit_base_patch16_siglip_224",
    "vit_pe_core_tiny_patch16_384",
    "naflexvit_base_patch16_siglip",
    "convnext_tiny",
)


def params(names):
    return [pytest.param(name, marks=() if name in LIGHT else pytest.mark.slow) for name in names]


@pytest.fixture
def small(monkeypatch):
    """`load_encoder` with timm's own model of that name at a small size, its native size said."""
    create = timm.create_model

    def load(name: str, options: str = ""):
        def create_model(name: str, **more: object):
            torch.manual_seed(0)
            model = create(name, **{**more, **NAMES[name]})
            side = NAMES[name].get("img_size", 64)
            side = side if isinstance(side, int) else side[0]
            model.pretrained_cfg = {**model.pretrained_cfg, "input_size": (3, side, side)}
            for parameter in model.parameters():
                parameter.data.add_(0.05 * torch.randn_like(parameter))
            return model

        monkeypatch.setattr(timm, "create_model", create_model)
        return load_encoder(f"timm:{name},pretrained=false{options}")

    return load


@pytest.mark.parametrize("name", params(NAMES))
@torch.no_grad()
def test_tokens_are_those_of_timm(name: str, small) -> None:
    encoder = small(name)
    spec, model = encoder.spec, encoder.model
    side = spec.image_size
    for height, width in {(side, side), (side, side) if name in FIXED else (side, 2 * side)}:
        images = torch.randn(2, 3, height, width)
        expected = model.forward_features(images)
        tokens = encoder.encode(images)
        grid = (height // spec.patch_size, width // spec.patch_size)
        assert tokens.grid == grid and tokens.patches.shape == (2, grid[0] * grid[1], spec.dim)
        if expected.ndim == 4:  # channels last or first
            last = expected.shape[-1] == spec.dim
            expected = expected.flatten(1, 2) if last else expected.flatten(2).transpose(1, 2)
        prefix = expected.shape[1] - tokens.patches.shape[1]
        assert prefix == int(spec.has_cls) + spec.num_registers
        assert torch.allclose(tokens.patches, expected[:, prefix:], atol=2e-5)
        if spec.has_cls:
            assert torch.allclose(tokens.cls, expected[:, 0], atol=2e-5)
    if name in FIXED:
        with pytest.raises(ConfigError, match=rf"does not take images of .* {side}x{side}, its native size"):
            encoder.encode(torch.zeros(1, 3, side, 3 * side))


@torch.no_grad()
def test_hiera_s_tokens_are_in_rows(small) -> None:
    """Its blocks work on tokens in another order; timm's maps put them back, and so must ours be."""
    encoder = small("hiera_tiny_224")
    images = torch.randn(1, 3, 64, 64)
    maps = encoder.model.forward_intermediates(images, indices=[3], intermediates_only=True)[0]
    assert torch.allclose(encoder.encode(images).feature_map(), maps, atol=2e-5)


@pytest.mark.parametrize("name", params(POOLED))
@torch.no_grad()
def test_pooled_summaries_are_those_of_timm(name: str, small) -> None:
    encoder = small(name, ",summary=pooled")
    images = torch.randn(2, 3, 64, 64)
    tokens = encoder.encode(images)
    assert encoder.spec.has_cls and torch.allclose(tokens.cls, encoder.model(images), atol=2e-5)
    assert torch.allclose(tokens.patches, small(name).encode(images).patches, atol=2e-5)


def test_summaries_that_are_not_there_are_refused(small) -> None:
    for word, said in (
        ("cls", "no class token"),
        ("projected", "cls and pooled"),
        ("first", "allowed: cls, pooled"),
    ):
        with pytest.raises(ConfigError, match=said):
            small("convnext_tiny", f",summary={word}")
