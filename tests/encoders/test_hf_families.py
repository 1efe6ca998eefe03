"""Every plausible family of transformers against its own forward pass, at its native size and at another one."""

import pytest
import torch

from codistill.encoders.load import load_encoder
from codistill.errors import ConfigError

transformers = pytest.importorskip("transformers")
from hf_families import FAMILIES, build  # noqa: E402 (needs transformers)

PREFIX = {
    "vit": 1, "deit": 2, "beit": 1, "data2vec_vision": 1, "vit_mae": 1, "vit_msn": 1, "yolos": 1, "dinov2": 1,
    "dinov2_with_registers": 3, "dinov3_vit": 5, "pixio": 3, "sapiens2": 3, "radio": 7, "clip": 1,
    "clip with text": 1, "metaclip_2": 1, "altclip": 1, "chinese_clip": 1, "mlcd": 1, "owlvit": 1, "blip": 1,
    "tipsv2": 2, "internvl": 1, "dinov3_convnext": 1, "dpt": 1,
}  # fmt: skip
"""Tokens before the patches, from each family's paper; 0 for the others."""

FIXED = {"aimv2", "sam", "sam3", "sam3 alone", "levit", "swin"}
"""Families that take other sizes not at all, or only some."""

REFUSED = {
    "vjepa2": "takes videos",
    "videomae": "cannot be run as an encoder of single images",
    "pixtral": "joins the images of a batch",
}

LIGHT = ("dinov3_vit", "radio", "siglip2", "dinov3_convnext", "vit_mae", "yolos", "sam3")
SUPPORTED = [name for name in FAMILIES if name not in REFUSED]


def params(names):
    return [pytest.param(name, marks=() if name in LIGHT else pytest.mark.slow) for name in names]


@pytest.fixture
def saved(tmp_path):
    def save(name: str) -> tuple[torch.nn.Module, str]:
        model = build(name)
        model.save_pretrained(tmp_path)
        return getattr(model, "vision_model", model), f"hf:{tmp_path},mean=none,std=none"

    return save


def reference(name: str, model, images: torch.Tensor) -> torch.Tensor:
    """`last_hidden_state` as its own library computes it, in its own terms."""
    batch, _, height, width = images.shape
    if name == "siglip2":
        patches = images.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 4, 5, 1).reshape(batch, -1, 768)
        grids = torch.tensor([[height // 16, width // 16]] * batch)
        mask = torch.ones(patches.shape[:2], dtype=torch.long)
        return model(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=grids).last_hidden_state
    options = {}
    if name == "vit_mae":
        model.config.mask_ratio = 0.0
        options["noise"] = torch.arange(height // 16 * (width // 16)).float().expand(batch, -1)
    if "interpolate_pos_encoding" in model.forward.__annotations__:
        options["interpolate_pos_encoding"] = True
    return model(pixel_values=images, **options).last_hidden_state


@pytest.mark.parametrize("name", params(SUPPORTED))
@torch.no_grad()
def test_patches_are_those_of_the_library(name: str, saved) -> None:
    model, text = saved(name)
    encoder = load_encoder(text)
    spec = encoder.spec
    side, patch = spec.image_size, spec.patch_size
    assert side is not None
    wide = (side, side) if name in FIXED else (side, 2 * side)
    for height, width in {(side, side), wide}:
        images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(height + width))
        expected = reference(name, model, images)
        if expected.ndim == 4:
            channels_last = expected.shape[-1] == spec.dim
            expected = expected.flatten(1, 2) if channels_last else expected.flatten(2).transpose(1, 2)
        tokens = encoder.encode(images)
        grid = (height // patch, width // patch)
        first = PREFIX.get(name, 0)
        assert tokens.grid == grid and tokens.patches.shape == (2, grid[0] * grid[1], spec.dim)
        wanted = expected[:, first : first + grid[0] * grid[1]]
        assert torch.allclose(tokens.patches, wanted, atol=2e-5)
        if first and name != "radio":
            assert torch.allclose(tokens.cls, expected[:, 0], atol=2e-5)
        assert spec.num_registers == (0 if tokens.registers is None else tokens.registers.shape[1])
        if spec.depth:
            bare = encoder.encode(images, norm=False)
            block = encoder.encode_blocks(images, [spec.depth - 1])[0]
            assert torch.allclose(block.patches, tokens.patches, atol=2e-5)
            assert torch.allclose(encoder.final_norm(bare.patches), tokens.patches, atol=2e-5)
    if name in FIXED - {"swin"}:
        with pytest.raises(ConfigError, match=rf"does not take images of .*{side}x{side}, its native size"):
            encoder.encode(torch.zeros(1, 3, 4 * side, 2 * side))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_an_encoder_is_refused_with_its_reason(name: str, saved) -> None:
    with pytest.raises(ConfigError, match=REFUSED[name]):
        load_encoder(saved(name)[1])


@torch.no_grad()
def test_radio_keeps_all_its_summary_tokens(saved) -> None:
    model, text = saved("radio")
    images = torch.rand(2, 3, 64, 96)
    expected = model(images)
    encoder = load_encoder(text)
    tokens = encoder.encode(images)
    assert encoder.spec.cls_dim == 3 * 48 and encoder.spec.num_registers == 4
    assert torch.allclose(tokens.cls, expected.summary, atol=1e-5)
    assert torch.allclose(tokens.patches, expected.features, atol=1e-5)
    places = model.config.summary_idxs
    one = load_encoder(f"{text},summary=1")
    assert one.spec.cls_dim is None and one.spec.num_registers == 6
    assert torch.allclose(one.encode(images).cls, expected.last_hidden_state[:, places[1]], atol=1e-5)
    with pytest.raises(ConfigError, match=r"it has 3 \(0 to 2\)"):
        load_encoder(f"{text},summary=3")


@pytest.mark.parametrize("name", params(["siglip", "siglip2", "clip", "aimv2", "tipsv2", "dinov3_convnext"]))
@torch.no_grad()
def test_pooled_summaries_are_those_of_the_library(name: str, saved) -> None:
    model, text = saved(name)
    encoder = load_encoder(f"{text},summary=pooled")
    images = torch.randn(2, 3, 64, 64)
    if name == "siglip2":
        patches = images.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 4, 5, 1).reshape(2, -1, 768)
        mask, grids = torch.ones(2, 16, dtype=torch.long), torch.tensor([[4, 4]] * 2)
        expected = model(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=grids)
    else:
        expected = model(pixel_values=images)
    tokens = encoder.encode(images)
    assert encoder.spec.has_cls and torch.allclose(tokens.cls, expected.pooler_output, atol=2e-5)
    assert torch.allclose(tokens.patches, load_encoder(text).encode(images).patches, atol=2e-5)
    with pytest.raises(ConfigError, match="norm=True"):
        encoder.encode(images, norm=False)


@pytest.mark.slow
@torch.no_grad()
def test_clip_s_projection_and_summaries_that_are_not_there(tmp_path) -> None:
    model = build("clip with text")
    model.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 64, 64)
    encoder = load_encoder(f"hf:{tmp_path},mean=none,std=none,summary=projected")
    expected = model.get_image_features(pixel_values=images)
    expected = getattr(expected, "pooler_output", expected)
    assert encoder.spec.cls_dim == 20 and torch.allclose(encoder.encode(images).cls, expected, atol=2e-5)
    build("vit_mae").save_pretrained(tmp_path / "mae")
    for word, said in (
        ("pooled", "no pooling"),
        ("projected", "no projection"),
        ("mean", "allowed: cls, pooled"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_encoder(f"hf:{tmp_path}/mae,summary={word}")
